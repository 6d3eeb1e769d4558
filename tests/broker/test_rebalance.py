#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: partitions that move between processes under load lose and double nothing (I1, I2, I3, I8, I10).

Method: one process works all the time, a second and a third join and leave (by SIGTERM and by SIGKILL)
every few seconds. In the end each input must be in the output exactly once, in order per key, and
every member must have owned partitions at some moment, or nothing was tested."""
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

ROUNDS = scale(3, 40)


def storm(context, guarantee, leave, instances):
    kafka = context.kafka()
    load = Load(context, kafka, 60_000, rate=6000)
    text = pipeline(context.name, kafka, load.source, load.sink, guarantee=guarantee)
    load.start()
    name = (lambda index: f"i{index}") if instances else (lambda index: None)
    first = context.weir(text, "first", instance=name(0))
    others = [context.weir(text, f"other{index}", instance=name(index), start=False)
              for index in (1, 2)]
    for _ in range(ROUNDS):
        for other in others:
            other.start()
            wait.until(lambda: _shared(kafka, context.name) >= 2, 40,
                       "a second member owns partitions")
            load.wait_progress(1, alive=[first, other])
            other.run_for(context.random.uniform(0.2, 1.5))
        for other in others:
            if leave == signal.SIGKILL:
                other.kill()
            else:
                other.term()
            first.run_for(context.random.uniform(0.2, 1.5))
    load.drain(context.name, first)
    first.term()
    return load


def _shared(kafka, group):
    """How many members own something."""
    return sum(1 for owned in kafka.members(group).values() if owned)


@case
def join_and_leave(context):
    assert storm(context, "exactly-once", signal.SIGTERM, False).verdict()


@case
def join_and_die(context):
    assert storm(context, "exactly-once", signal.SIGKILL, False).verdict()


@case
def static_members(context):
    assert storm(context, "exactly-once", signal.SIGTERM, True).verdict()


@case
def at_least_once(context):
    """Cooperative hand-overs commit what was sent: nothing missing; without crashes also nothing
    doubled beyond what one commit interval holds."""
    load = storm(context, "at-least-once", signal.SIGTERM, False)
    verdict = load.verdict(at_least_once=True)
    assert verdict["duplicated"] < load.count / 2, verdict


if __name__ == "__main__":
    main()
