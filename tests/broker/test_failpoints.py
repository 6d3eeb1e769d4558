#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a crash exactly at each step of the commit protocol leaves everything exactly once (I1, I2, I3,
I5): fault F2 of the plan.

Method: WEIR_FAILPOINT=<name>:<n> makes the process kill itself (SIGKILL) at the n-th passing of a named
point. Each point is hit at its first passing, and at later ones, under load; the
restarted process must finish the job, and the checker must find each input once."""
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

POINTS = ["after_poll", "after_produce", "before_send_offsets", "after_send_offsets",
          "before_commit", "after_commit"]
PASSINGS = scale([1, 7], [1, 2, 3, 7, 20, 40])


def crash_at(context, points, guarantee):
    kafka = context.kafka()
    rounds = [(point, passing) for point in points for passing in PASSINGS]
    load = Load(context, kafka, 3000, rate=3000)
    text = pipeline(context.name, kafka, load.source, load.sink, guarantee=guarantee)
    load.start()
    weir = context.weir(text, instance="a", start=False)
    for point, passing in rounds:
        weir.start(env={"WEIR_FAILPOINT": f"{point}:{passing}"})
        try:
            code = weir.wait_exit(60)
        except AssertionError as error:
            raise AssertionError(f"{point}:{passing} was not hit: {error}") from None
        assert code == -signal.SIGKILL, f"{point}:{passing} ended with {code}:\n{weir.tail()}"
    context.say(f"{len(rounds)} crashes")
    weir.start()
    load.drain(context.name, weir)
    weir.term()
    return load


@case
def exactly_once(context):
    load = crash_at(context, POINTS, "exactly-once")
    assert load.verdict()["output"] == load.count


@case
def at_least_once(context):
    load = crash_at(context, ["after_poll", "after_produce", "before_commit", "after_commit"],
                    "at-least-once")
    load.verdict(at_least_once=True)


@case
def unknown_point_is_refused(context):
    kafka = context.kafka()
    load = Load(context, kafka, 10)
    text = pipeline(context.name, kafka, load.source, load.sink)
    weir = context.weir(text, env={"WEIR_FAILPOINT": "no_such_point"})
    assert weir.wait_exit(20) in (1, 2, 78), weir.tail()
    assert "no_such_point" in weir.text(), weir.tail()


if __name__ == "__main__":
    main()
