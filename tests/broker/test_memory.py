#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: behind a sink that does not take anything, memory stays bounded, however deep the input is; when
the sink is back, nothing is missing (I11 bounds, I1, I10).

Method: the input holds many times the budget in flight (64 MiB by default). The sink's cluster is another
one and paused, or its produce requests are held by a proxy so that the same cluster goes on serving
fetches. Resident memory is watched meanwhile; then the sink heals."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main, scale
from judge import Load
from kafka_cluster import Cluster
from weir_process import pipeline

MB = 1 << 20
BOUND = 150 * MB
RECORDS = scale(300_000, 2_000_000)
SECONDS = scale(12, 60)


def bounded(context, weir, seconds):
    def check():
        weir.expect_running()
        assert weir.resident_bytes() < BOUND, f"{weir.resident_bytes() / MB:.0f} MB resident"
        return True
    wait.holds(check, seconds, "memory is bounded")
    context.say(f"peak {weir.peak_bytes() / MB:.0f} MB")


def another(context):
    return context.shared("another", lambda directory: Cluster(directory, heap="384m"))


@case
def paused_sink_cluster(context):
    source = context.kafka()
    sink = another(context)
    load = Load(context, source, RECORDS, pad=900, sink_cluster=sink)
    load.start().finish()
    weir = context.weir(pipeline(context.name, source, load.source,
                                 {"topic": load.sink, "brokers": sink.address},
                                 guarantee="at-least-once"))
    load.wait_progress(1000, alive=[weir])
    sink.pause()
    bounded(context, weir, SECONDS)
    sink.resume()
    load.drain(context.name, weir)
    assert weir.peak_bytes() < BOUND, f"peak {weir.peak_bytes() / MB:.0f} MB"
    weir.term()
    load.verdict(at_least_once=True)


@case
def held_produce_requests(context):
    kafka, proxy = kafka_proxy.proxied(context)
    load = Load(context, kafka, RECORDS, pad=900)
    load.start().finish()
    rule = proxy.add(kafka_proxy.PRODUCE, "hold", side="request", times=1 << 30)
    weir = context.weir(pipeline(context.name, kafka, load.source, load.sink,
                                 brokers=proxy.address), instance="m")
    wait.until(lambda: rule.hits > 0, 60, "a produce request is held")
    bounded(context, weir, SECONDS)
    proxy.heal()
    load.drain(context.name, weir)
    assert weir.peak_bytes() < BOUND, f"peak {weir.peak_bytes() / MB:.0f} MB"
    weir.term()
    load.verdict()


@case
def sink_absent_from_the_start(context):
    source = context.kafka()
    sink = another(context)
    load = Load(context, source, RECORDS // 3, pad=900, sink_cluster=sink)
    load.start().finish()
    sink.kill()
    weir = context.weir(pipeline(context.name, source, load.source,
                                 {"topic": load.sink, "brokers": sink.address},
                                 guarantee="at-least-once"))
    bounded(context, weir, SECONDS)
    sink.restart()
    load.drain(context.name, weir)
    assert weir.peak_bytes() < BOUND, f"peak {weir.peak_bytes() / MB:.0f} MB"
    weir.term()
    load.verdict(at_least_once=True)


if __name__ == "__main__":
    main()
