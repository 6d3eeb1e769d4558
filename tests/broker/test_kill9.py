#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: SIGKILL at any moment loses and doubles nothing (I1 no loss, I2 no duplicate, I3 order per key,
I4 commit never ahead, I5 atomicity, I10 liveness).

Method: a pipeline is killed at random moments, from its first millisecond on, and started again, while
records that name themselves arrive in 4 partitions; every other time it is known to be working. Then
a read_committed reader checks that each input is in the output exactly once (at least once, where
only that is promised), in order per key, with key, headers, timestamp and value kept, and that no
transaction hangs.

    WEIR_LONG: 200 kills instead of 20."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

RECORDS = scale(200_000, 2_000_000)
KILLS = scale(20, 200)


def killed_and_restarted(context, guarantee, kills, longest, instance="a", env=None, **settings):
    kafka = context.kafka()
    load = Load(context, kafka, RECORDS, rate=9000)
    text = pipeline(context.name, kafka, load.source, load.sink, guarantee=guarantee, **settings)
    load.start()
    weir = context.weir(text, instance=instance, env=env)
    for number in range(kills):
        if number % 2 == 0:  # in the middle of work, else anywhere from the first millisecond on
            load.wait_progress(1, alive=[weir])
            weir.run_for(context.random.uniform(0, 0.4))
        else:
            weir.run_for(context.random.uniform(0.02, longest))
        weir.kill()
        weir.start()
    context.say(f"{kills} kills")
    load.drain(context.name, weir)
    weir.term()
    return load


@case
def exactly_once(context):
    load = killed_and_restarted(context, "exactly-once", KILLS, 2.0)
    assert load.verdict()["output"] == load.count


@case
def exactly_once_mapped(context):
    """The same through parsing, filtering and building new values."""
    load = killed_and_restarted(
        context, "exactly-once", KILLS // 4, 2.0,
        steps=[{"filter": ".s % 2 == 0"}, {"map": "{p, k, s}"}])
    verdict = load.verdict(same_value=False, every=2)
    assert verdict["output"] == verdict["expected"]


@case
def exactly_once_without_instance(context):
    """Dynamic members: each start is a new one, which gets the partitions when the dead one's session
    ends, and the old transaction ends by its time-out."""
    load = killed_and_restarted(context, "exactly-once", scale(2, 20), 12.0, instance=None)
    assert load.verdict()["output"] == load.count


@case
def at_least_once(context):
    load = killed_and_restarted(context, "at-least-once", KILLS, 2.0)
    load.verdict(at_least_once=True)


@case
def a_file_beside_kafka(context):
    """A second sink that is in no transaction: nothing is missing in either."""
    kafka = context.kafka()
    load = Load(context, kafka, scale(20_000, 200_000), rate=4000)
    path = context.dir / "out.jsonl"
    sinks = [{"name": "kafka", "kafka": {"brokers": kafka.address, "topic": load.sink}},
             {"name": "file", "file": {"path": str(path)}}]
    load.start()
    text = json.loads(pipeline(context.name, kafka, load.source, load.sink, sinks=sinks))
    del text["sink"], text["guarantee"]
    weir = context.weir(json.dumps(text), instance="a")
    for _ in range(scale(4, 40)):
        load.wait_progress(500, alive=[weir])
        weir.kill()
        weir.start()
    load.drain(context.name, weir)
    weir.term()
    load.verdict(at_least_once=True)
    seen = {(record["k"], record["s"]) for record in map(json.loads, path.open())}
    assert len(seen) == load.count, f"{len(seen)} of {load.count} are in the file"


@case
def commit_never_ahead(context):
    """While no produce request gets through, no position may move (I4); after a kill all is there."""
    kafka, proxy = kafka_proxy.proxied(context)
    load = Load(context, kafka, 20_000, rate=4000)
    weir = context.weir(pipeline(context.name, kafka, load.source, load.sink,
                                 guarantee="at-least-once", brokers=proxy.address), instance="c")
    load.start()
    load.wait_progress(2000, alive=[weir])
    rule = proxy.add(kafka_proxy.PRODUCE, "drop", side="request", times=1 << 30)
    wait.until(lambda: rule.hits > 0, 20, "a produce request was dropped")

    def not_ahead():
        """Read in this order, a position can only look older than it is."""
        committed = sum(kafka.committed(context.name, load.source).values())
        return committed <= load.progress()
    wait.holds(not_ahead, scale(5, 30), "positions are not ahead of the output")
    weir.kill()
    proxy.heal()
    weir.start()
    load.drain(context.name, weir)
    weir.term()
    load.verdict(at_least_once=True)


if __name__ == "__main__":
    main()
