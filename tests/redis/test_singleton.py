#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: of several processes with `singleton: true` one works at any time, another takes over within the
stated time, and what was stopped beyond its lease does nothing when it wakes up.

Method: processes that read the same file and write into Redis, so that every one that works leaves a
trace, are killed, stopped and ended in turn on a real server."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from redis_flow import Flow

LEASE_MS = 1500


def start(context, flow, name):
    """Counts records up without end under its own name."""
    text = {"name": "single", "singleton": True, "singleton_timeout": f"{LEASE_MS}ms",
            "source": {"generate": {"rate": 200, "template": "{n}"}},
            "sink": {"redis": {"url": flow.address, "command": f'["INCR", "by:{name}"]'}},
            "commit_interval": "20ms", "lanes": 1, "http": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "info"}, "state": {"log": "none"}}
    return context.weir(json.dumps(text), name)


def count(flow, process):
    return int(flow.redis.call("GET", f"by:{process.name}") or 0)


def works(flow, process):
    before = count(flow, process)
    wait.until(lambda: count(flow, process) > before + 5, LEASE_MS / 1000 * 2 + 3,
               f"{process.name} works")


def rests(flow, process):
    before = count(flow, process)
    wait.holds(lambda: count(flow, process) == before, 0.5, f"{process.name} does nothing")


def role(process):
    return json.loads(process.get("/status")[1]).get("role")


@case
def one_works(context):
    flow = Flow(context, partitions=1)
    processes = [start(context, flow, f"p{n}") for n in range(3)]
    wait.until(lambda: sum(count(flow, p) > 0 for p in processes) == 1, 20, "one has begun")
    for number in range(scale(3, 20)):
        leader = next(p for p in processes if p.running and role(p) == "leader")
        others = [p for p in processes if p is not leader]
        works(flow, leader)
        for other in others:
            rests(flow, other)
            other.wait_ready()
            assert role(other) == "standby" and other.metric("stream_singleton_leader") == 0
        assert leader.metric("stream_singleton_leader") == 1
        if number % 3 == 0:
            leader.kill()
        elif number % 3 == 1:
            leader.term()
        else:
            leader.stop()
        wait.until(lambda: any(role(p) == "leader" for p in others), LEASE_MS / 1000 + 3,
                   "another has taken over")
        if leader.running:
            leader.cont()
            leader.wait_log("the lease is lost", 20)
            wait.until(lambda: role(leader) == "standby", 20, "it stands by")
        else:
            leader.start()
            wait.until(lambda: role(leader) == "standby", 20, "it stands by")
        assert sum(role(p) == "leader" for p in processes) == 1
    for process in processes:
        process.term()


@case
def ends_while_standing_by(context):
    flow = Flow(context, partitions=1)
    first = start(context, flow, "first")
    works(flow, first)
    second = start(context, flow, "second")
    second.wait_log("standing by")
    second.term()
    assert count(flow, second) == 0
    works(flow, first)
    first.term()


@case
def server_away(context):
    """Without the server nobody leads: the work ends before the lease does, and goes on afterwards."""
    flow = Flow(context, partitions=1)
    first = start(context, flow, "first")
    works(flow, first)
    flow.redis.pause()
    first.wait_log("the lease is lost", 20)
    wait.until(lambda: first.get("/readyz")[0] == 503, 20, "it is not ready")
    flow.redis.resume()
    works(flow, first)
    first.term()


if __name__ == "__main__":
    main()
