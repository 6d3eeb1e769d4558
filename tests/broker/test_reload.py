#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: reloading under load on Kafka loses and doubles nothing (I1, I2, I3), alone and beside another
member, and a configuration that cannot work does not end the pipeline.

Method: a producer writes all the time; the file changes and SIGHUP follows, again and again, sometimes
while the last reload is still on its way. In the end each input must be in the output exactly once, in
order per key."""
import json
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

ROUNDS = scale(6, 60)


def text(context, kafka, load, **more):
    return pipeline(context.name, kafka, load.source, load.sink, **more)


def reload(process, config, times):
    process.file.write_text(config)
    process.signal(signal.SIGHUP)
    process.wait_log('"message":"reloading"')
    wait.until(lambda: process.text().count('"starting"') >= times + 1, 40,
               f"{process.name} starts again; {process.tail()}")


def rounds(context, guarantee, instance):
    kafka = context.kafka()
    load = Load(context, kafka, 40_000, rate=4000)
    load.start()
    first = context.weir(text(context, kafka, load, guarantee=guarantee), "first",
                         instance=instance)
    load.wait_progress(100, alive=[first])
    for k in range(ROUNDS):
        config = text(context, kafka, load, guarantee=guarantee, lanes=1 + k % 3,
                      batch_size=100 + k, commit_interval=f"{50 + 10 * k}ms")
        reload(first, config, k + 1)
        load.wait_progress(100, alive=[first])
        first.run_for(context.random.uniform(0.0, 0.5))
    load.drain(context.name, first)
    first.term()
    assert first.text().count('"starting"') == ROUNDS + 1
    return load


@case
def exactly_once(context):
    assert rounds(context, "exactly-once", None).verdict()


@case
def static_member(context):
    assert rounds(context, "exactly-once", "a").verdict()


@case
def at_least_once(context):
    """A reload drains: it repeats nothing by itself."""
    verdict = rounds(context, "at-least-once", None).verdict(at_least_once=True)
    assert verdict["duplicated"] == 0, verdict


@case
def hurried(context):
    """Signals in the middle of reloads, beside a second member that joins and leaves."""
    kafka = context.kafka()
    load = Load(context, kafka, 40_000, rate=4000)
    load.start()
    first = context.weir(text(context, kafka, load), "first")
    second = context.weir(text(context, kafka, load), "second")
    load.wait_progress(100, alive=[first, second])
    for k in range(ROUNDS * 3):
        process = (first, second)[k % 2]
        process.file.write_text(text(context, kafka, load, lanes=1 + k % 2, batch_size=100 + k))
        process.signal(signal.SIGHUP)
        process.run_for(context.random.uniform(0.0, 0.8))
    load.drain(context.name, first, second)
    for process in (first, second):
        process.expect_running()
        process.term()
        assert process.text().count('"message":"reloading"') >= 2, process.tail()
    assert load.verdict()


@case
def broken_files(context):
    """Errors and another name: the records go on flowing. A topic that does not exist is waited for,
    and the next reload mends it."""
    kafka = context.kafka()
    load = Load(context, kafka, 20_000, rate=4000)
    good = text(context, kafka, load)
    load.start()
    weir = context.weir(good, "weir")
    load.wait_progress(100, alive=[weir])
    for broken in ("{", good.replace('"lanes"', '"lames"'),
                   json.dumps(json.loads(good) | {"name": "another"})):
        before = weir.text().count("not reloaded")
        weir.file.write_text(broken)
        weir.signal(signal.SIGHUP)
        wait.until(lambda: weir.text().count("not reloaded") > before, 20, "it is refused")
        load.wait_progress(100, alive=[weir])
    weir.file.write_text(good.replace(load.source, "there-is-no-such-topic"))
    weir.signal(signal.SIGHUP)
    weir.wait_log("UNKNOWN_TOPIC_OR_PART", 60)
    weir.file.write_text(good)
    weir.signal(signal.SIGHUP)
    load.wait_progress(100, alive=[weir])
    load.drain(context.name, weir)
    weir.term()
    assert load.verdict()


if __name__ == "__main__":
    main()
