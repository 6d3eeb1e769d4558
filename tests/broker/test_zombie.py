#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a process that was away beyond its session can publish nothing once a successor works (I8
fencing, I1, I2, I3).

Method: the first process is stopped (SIGSTOP) under load for longer than its session time-out (6 s); a
successor takes over and makes progress; then the first goes on (SIGCONT) and must either come back as
an ordinary member or end with an error, while the checker finds each input exactly once. Done with
dynamic members (each has its own transactional id) and with the same instance started twice (the
second fences the first by its id)."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

ROUNDS = scale(2, 10)


def setting(context, rate=5000, **more):
    kafka = context.kafka()
    load = Load(context, kafka, 20_000, rate=rate)
    return kafka, load, pipeline(context.name, kafka, load.source, load.sink, **more)


@case
def successor_then_zombie(context):
    kafka, load, text = setting(context)
    load.start()
    workers = [context.weir(text, "first"), context.weir(text, "second", start=False)]
    for _ in range(ROUNDS):
        zombie, successor = workers
        load.wait_progress(3000, alive=[zombie])
        zombie.stop()
        successor.start()
        # Only the successor moves now: once it has all four partitions the zombie's session is over.
        wait.until(lambda: sorted(len(p) for p in kafka.members(context.name).values()) == [4], 60,
                   "the successor owns everything")
        load.wait_progress(3000, alive=[successor])
        zombie.cont()
        load.wait_progress(3000, alive=[successor])
        zombie.expect_running()
        zombie.term()
        workers = [successor, zombie]
    load.drain(context.name, workers[0])
    workers[0].term()
    load.verdict()


@case
def zombie_returns_to_work(context):
    """The awakened process must not only be harmless: it joins again and works on alone."""
    _, load, text = setting(context)
    load.start()
    zombie = context.weir(text, "zombie")
    load.wait_progress(3000, alive=[zombie])
    zombie.stop()
    successor = context.weir(text, "successor")
    load.wait_progress(3000, alive=[successor])
    zombie.cont()
    load.wait_progress(3000, alive=[successor])
    successor.term()
    load.wait_progress(3000, seconds=60, alive=[zombie])
    load.drain(context.name, zombie)
    zombie.term()
    load.verdict()


@case
def same_instance_twice(context):
    """A second process with the same instance: the newer one wins, the older one ends and says why."""
    _, load, text = setting(context)
    load.start()
    older = context.weir(text, "older", instance="x")
    load.wait_progress(3000, alive=[older])
    older.stop()
    newer = context.weir(text, "newer", instance="x")
    load.wait_progress(3000, alive=[newer])
    older.cont()
    assert older.wait_exit(60) == 1, older.tail()
    assert "fenced" in older.text().lower(), older.tail()
    load.drain(context.name, newer)
    newer.term()
    load.verdict()


@case
def at_least_once(context):
    _, load, text = setting(context, guarantee="at-least-once")
    load.start()
    zombie = context.weir(text, "zombie")
    load.wait_progress(3000, alive=[zombie])
    zombie.stop()
    successor = context.weir(text, "successor")
    load.wait_progress(3000, alive=[successor])
    zombie.cont()
    load.wait_progress(3000, alive=[successor])
    zombie.expect_running()
    zombie.term()
    load.drain(context.name, successor)
    successor.term()
    load.verdict(at_least_once=True)


if __name__ == "__main__":
    main()
