#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a signal ends weir in order: it stops taking, finishes, commits and leaves with 0; when that is
impossible, it leaves with 1 in time (I1, I2, I10, I12; fault F5).

Method: SIGTERM and SIGINT under load, again and again with a restart, must leave each input exactly once
also under at-least-once, because an orderly end loses nothing to repeat. With a sink that answers
nothing, `shutdown_timeout` and a second signal end it with 1, and the restart still finds everything."""
import pathlib
import signal
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

ROUNDS = scale(4, 30)


def orderly(context, guarantee, number):
    kafka = context.kafka()
    load = Load(context, kafka, 20_000, rate=6000)
    text = pipeline(context.name, kafka, load.source, load.sink, guarantee=guarantee)
    load.start()
    weir = context.weir(text, instance="t")
    for _ in range(ROUNDS):
        load.wait_progress(1000, alive=[weir])
        weir.run_for(context.random.uniform(0, 0.3))
        weir.signal(number)
        assert weir.wait_exit(35) == 0, weir.tail()
        weir.start()
    load.drain(context.name, weir)
    weir.term()
    load.verdict()


@case
def sigterm_exactly_once(context):
    orderly(context, "exactly-once", signal.SIGTERM)


@case
def sigterm_at_least_once(context):
    orderly(context, "at-least-once", signal.SIGTERM)


@case
def sigint(context):
    orderly(context, "exactly-once", signal.SIGINT)


@case
def while_starting(context):
    """A signal in the first moments, before anything is assigned."""
    kafka = context.kafka()
    load = Load(context, kafka, 5000)
    load.start().finish()
    text = pipeline(context.name, kafka, load.source, load.sink)
    weir = context.weir(text, instance="t", start=False)
    for _ in range(ROUNDS * 2):
        weir.start()
        wait.until(lambda: weir.text(), 20, "weir has said something")
        weir.run_for(context.random.uniform(0, 0.2))
        weir.term()
    weir.start()
    weir.wait_ready()  # there may be nothing left to do
    load.drain(context.name, weir)
    weir.term()
    load.verdict()


def with_dead_sink(context, patience, end):
    """The broker gets no produce request; `end(weir)` must end it with 1; then all is healed. Returns how
    long the end took."""
    kafka, proxy = kafka_proxy.proxied(context)
    load = Load(context, kafka, 20_000)
    load.start().finish()
    text = pipeline(context.name, kafka, load.source, load.sink, brokers=proxy.address,
                    shutdown_timeout=patience)
    rule = proxy.add(kafka_proxy.PRODUCE, "hold", side="request", times=1 << 30)
    weir = context.weir(text, instance="t")
    wait.until(lambda: weir.expect_running() or rule.hits > 0, 60, "a produce request is held")
    weir.signal(signal.SIGTERM)
    started = time.monotonic()
    end(weir)
    assert weir.wait_exit(20) == 1, weir.tail()
    seconds = time.monotonic() - started
    proxy.heal()
    weir.start()
    load.drain(context.name, weir)
    weir.term()
    load.verdict()
    return seconds


@case
def timeout(context):
    seconds = with_dead_sink(context, "3s", lambda weir: None)
    # Not before its time. Not later than a request that was under way takes: the wait above ends at
    # shutdown_timeout + transaction_timeout and some.
    assert seconds > 2, f"{seconds:.1f} s for a shutdown_timeout of 3 s"


@case
def second_signal(context):
    def again(weir):
        weir.run_for(0.3)
        weir.signal(signal.SIGTERM)
    with_dead_sink(context, "10m", again)


if __name__ == "__main__":
    main()
