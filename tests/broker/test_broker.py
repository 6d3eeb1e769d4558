#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: brokers that die, hang or hand over leadership cost time, not records (I1, I2, I3, I10).

Method: under load, the only broker is killed and restarted, or paused for 20 s (beyond session and
transaction time-outs); of three brokers, the leader of a partition or the coordinator is killed. weir
must not end, must work again by itself, and the checker must find each input exactly once."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from judge import Load
from kafka_cluster import Cluster
from weir_process import pipeline


def under_load(context, kafka, disturb, guarantee="exactly-once", rate=5000):
    load = Load(context, kafka, 20_000, rate=rate)
    text = pipeline(context.name, kafka, load.source, load.sink, guarantee=guarantee)
    load.start()
    weir = context.weir(text)
    load.wait_progress(3000, alive=[weir])
    disturb(load, weir)
    load.drain(context.name, weir, seconds=180)
    weir.term()
    return load


def killed(kafka, context):
    def disturb(load, weir):
        for _ in range(scale(2, 10)):
            kafka.kill()
            weir.run_for(context.random.uniform(0.1, 3))
            kafka.restart()
            load.wait_progress(3000, seconds=120, alive=[weir])
    return disturb


@case
def killed_and_restarted(context):
    kafka = context.kafka()
    under_load(context, kafka, killed(kafka, context)).verdict()


@case
def killed_at_least_once(context):
    kafka = context.kafka()
    load = under_load(context, kafka, killed(kafka, context), guarantee="at-least-once")
    load.verdict(at_least_once=True)


@case
def paused_for_20_seconds(context):
    kafka = context.kafka()

    def disturb(load, weir):
        for _ in range(scale(1, 4)):
            kafka.pause()
            weir.run_for(20)
            kafka.resume()
            load.wait_progress(3000, seconds=120, alive=[weir])
    under_load(context, kafka, disturb).verdict()


def three(context):
    return context.shared("three", lambda directory: Cluster(directory, brokers=3, heap="384m"))


@case
def leader_of_three_killed(context):
    kafka = three(context)

    def disturb(load, weir):
        for _ in range(scale(1, 8)):
            leader = kafka.partitions(load.sink)[context.random.randrange(4)]
            kafka.kill(leader - 1)
            wait.until(lambda: leader not in kafka.partitions(load.sink).values() and
                       len(kafka.partitions(load.sink)) == 4, 60, "other brokers lead")
            load.wait_progress(3000, seconds=120, alive=[weir])
            kafka.restart(leader - 1)
            load.wait_progress(3000, seconds=120, alive=[weir])
    under_load(context, kafka, disturb, rate=3000).verdict()


@case
def coordinator_of_three_killed(context):
    """The coordinator of the group goes, and stays away: positions find their way to the next one."""
    kafka = three(context)

    def disturb(load, weir):
        name = context.name.encode()
        partitions = kafka.partitions("__consumer_offsets")
        number = java_hash(name) % len(partitions)
        coordinator = partitions[number]
        kafka.kill(coordinator - 1)
        load.wait_progress(3000, seconds=120, alive=[weir])
        kafka.restart(coordinator - 1)
        load.wait_progress(3000, seconds=120, alive=[weir])
    under_load(context, kafka, disturb, rate=3000).verdict()


def java_hash(text):
    """Of String.hashCode, without its sign: what chooses the group's partition."""
    number = 0
    for byte in text:
        number = (31 * number + byte) & 0xffffffff
    return number & 0x7fffffff


@case
def absent_at_the_start(context):
    """weir is started before its broker answers: it waits instead of ending."""
    kafka = context.kafka()
    load = Load(context, kafka, 1000)
    load.start().finish()
    kafka.kill()
    weir = context.weir(pipeline(context.name, kafka, load.source, load.sink))
    weir.run_for(3)
    kafka.restart()
    load.drain(context.name, weir)
    weir.term()
    load.verdict()


if __name__ == "__main__":
    main()
