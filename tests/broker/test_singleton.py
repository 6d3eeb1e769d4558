#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the lease of a singleton in a Kafka group: of several processes one works at any time, another takes
over within the stated time, and what was stopped beyond its lease makes nothing visible when it wakes up.

Method: processes that work leave a trace, each in a topic of its own, while they are killed, stopped and
ended in turn on a real broker; then the same under a load from Kafka to Kafka, which the checker judges."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from judge import Load
from kafka_cluster import Cluster
from weir_process import pipeline

LEASE_MS = 3000
PATIENCE = LEASE_MS / 1000 * 2 + 10  # of a loaded machine; the time itself is not what is tested


def cluster(context):
    return context.shared("singleton", lambda directory: Cluster(
        directory, settings={"group.min.session.timeout.ms": 2000}))


def singleton(**more):
    return {"singleton": True, "singleton_timeout": f"{LEASE_MS}ms"} | more


def start(context, kafka, name):
    """Counts records up without end, into a topic of its own name."""
    kafka.create(f"{context.name}-{name}", partitions=1)
    text = singleton(
        name=context.name, source={"generate": {"rate": 200, "template": "{n}"}},
        sink={"kafka": {"brokers": kafka.address, "topic": f"{context.name}-{name}"}},
        commit_interval="20ms", lanes=1, http={"listen": "127.0.0.1:0"},
        log={"format": "json", "level": "info"}, state={"log": "none"})
    return context.weir(json.dumps(text), name)


def count(kafka, context, process):
    return kafka.end_sum(f"{context.name}-{process.name}")


def role(process):
    return json.loads(process.get("/status")[1]).get("role")


def leader_of(processes):
    def find():
        for process in processes:
            if process.running and role(process) == "leader":
                return process
        return None
    return wait.until(find, PATIENCE, "one leads")


def works(kafka, context, process):
    before = count(kafka, context, process)
    wait.until(lambda: count(kafka, context, process) > before + 5, PATIENCE, f"{process.name} works")


def rests(kafka, context, process):
    before = count(kafka, context, process)
    wait.holds(lambda: count(kafka, context, process) == before, 0.5, f"{process.name} does nothing")


def disturb(number, leader, others):
    """The leader is killed, ended or stopped; when another leads, it comes back."""
    if number % 3 == 0:
        leader.kill()
    elif number % 3 == 1:
        leader.stop()
    else:
        leader.term()
    leader_of(others)
    if leader.running:
        leader.cont()
        leader.wait_log("the lease is lost", 20)
    else:
        leader.start()
    wait.until(lambda: role(leader) == "standby", PATIENCE, "it stands by")


@case
def one_works(context):
    kafka = cluster(context)
    processes = [start(context, kafka, f"p{n}") for n in range(3)]
    for number in range(scale(3, 20)):
        leader = leader_of(processes)
        others = [p for p in processes if p is not leader]
        works(kafka, context, leader)
        for other in others:
            other.wait_ready()
            rests(kafka, context, other)
            assert role(other) == "standby" and other.metric("stream_singleton_leader") == 0
        assert leader.metric("stream_singleton_leader") == 1
        disturb(number, leader, others)
        assert sum(role(p) == "leader" for p in processes) == 1
    for process in processes:
        process.term()


@case
def exactly_once(context):
    """Who comes back from a stop has read and written something that it must not commit."""
    kafka = cluster(context)
    load = Load(context, kafka, 10_000, rate=3000)
    load.start()
    text = pipeline(context.name, kafka, load.source, load.sink, **singleton())
    processes = [context.weir(text, f"p{n}") for n in range(2)]
    for number in range(scale(3, 20)):
        load.wait_progress(2000, seconds=60)
        leader = leader_of(processes)
        disturb(number, leader, [p for p in processes if p is not leader])
    load.drain(context.name, *processes)
    for process in processes:
        process.term()
    load.verdict()


@case
def broker_away(context):
    """Without the broker nobody leads: the work ends before the lease does, and goes on afterwards."""
    kafka = cluster(context)
    first = start(context, kafka, "first")
    works(kafka, context, first)
    kafka.pause()
    first.wait_log("the lease is lost", 20)
    wait.until(lambda: first.get("/readyz")[0] == 503, 20, "it is not ready")
    kafka.resume()
    works(kafka, context, first)
    first.term()


@case
def time_that_brokers_refuse(context):
    kafka = cluster(context)
    text = singleton(name=context.name, singleton_timeout="1s",
                     source={"generate": {"rate": 10, "template": "{n}"}},
                     sink={"kafka": {"brokers": kafka.address, "topic": "unused"}},
                     state={"log": "none"}, log={"format": "json"})
    weir = context.weir(json.dumps(text))
    assert weir.wait_exit(30) != 0
    assert "singleton_timeout: the brokers do not take 1000 ms" in weir.text(), weir.tail()


@case
def topic_with_partitions(context):
    kafka = cluster(context)
    kafka.create(f"{context.name}.singleton", partitions=3)
    text = singleton(name=context.name, source={"generate": {"rate": 10, "template": "{n}"}},
                     sink={"kafka": {"brokers": kafka.address, "topic": "unused"}},
                     state={"log": "none"}, log={"format": "json"})
    weir = context.weir(json.dumps(text))
    assert weir.wait_exit(30) != 0
    assert "has 3 partitions" in weir.text(), weir.tail()


if __name__ == "__main__":
    main()
