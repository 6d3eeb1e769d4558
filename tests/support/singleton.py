# SPDX-License-Identifier: Apache-2.0
"""What must hold of processes with `singleton: true`, whatever system keeps their lease. A place has
`server`, sink(name): where the process of that name leaves a trace of each record, and count(name)."""
import json

import wait
from harness import scale

LEASE_MS = 1500


def start(context, place, name):
    """Counts records up without end under its own name."""
    text = {"name": "single", "singleton": True, "singleton_timeout": f"{LEASE_MS}ms",
            "source": {"generate": {"rate": 200, "template": "{n}"}}, "sink": place.sink(name),
            "commit_interval": "20ms", "lanes": 1, "http": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "info"}, "state": {"log": "none"}}
    return context.weir(json.dumps(text), name)


def works(place, process):
    before = place.count(process.name)
    wait.until(lambda: place.count(process.name) > before + 5, LEASE_MS / 1000 * 2 + 3,
               f"{process.name} works")


def rests(place, process):
    before = place.count(process.name)
    wait.holds(lambda: place.count(process.name) == before, 0.5, f"{process.name} does nothing")


def role(process):
    return json.loads(process.get("/status")[1]).get("role")


def one_works(context, place):
    processes = [start(context, place, f"p{n}") for n in range(3)]
    wait.until(lambda: sum(place.count(p.name) > 0 for p in processes) == 1, 20, "one has begun")
    for number in range(scale(3, 20)):
        leader = next(p for p in processes if p.running and role(p) == "leader")
        others = [p for p in processes if p is not leader]
        works(place, leader)
        for other in others:
            rests(place, other)
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


def ends_while_standing_by(context, place):
    first = start(context, place, "first")
    works(place, first)
    second = start(context, place, "second")
    second.wait_log("standing by")
    second.term()
    assert place.count("second") == 0
    works(place, first)
    first.term()


def server_away(context, place):
    """Without the server nobody leads: the work ends before the lease does, and goes on afterwards."""
    first = start(context, place, "first")
    works(place, first)
    place.server.pause()
    first.wait_log("the lease is lost", 20)
    wait.until(lambda: first.get("/readyz")[0] == 503, 20, "it is not ready")
    place.server.resume()
    works(place, first)
    first.term()


CASES = [one_works, ends_while_standing_by, server_away]
