#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the kill, abort and order tests can fail: a weir with a planted fault turns them red.

Method: WEIR_UNSAFE_TESTING=1 WEIR_FAULT=... makes weir commit positions before the outputs are safe
(commit_early), send each batch twice (send_twice), or go on after an abort without rewinding
(skip_rewind). The same load and the same verdict as in the real tests must then report loss or
duplicates. And without WEIR_UNSAFE_TESTING the switch must be refused."""
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main
from judge import Load
from weir_process import pipeline

RECORDS = 60_000


def faulty(context, fault, guarantee="exactly-once", kills=0, disturb=None):
    kafka, proxy = kafka_proxy.proxied(context)
    load = Load(context, kafka, RECORDS, rate=9000)
    text = pipeline(context.name, kafka, load.source, load.sink, guarantee=guarantee,
                    brokers=proxy.address, shutdown_timeout="4s")
    load.start()
    env = {"WEIR_FAULT": fault, "WEIR_UNSAFE_TESTING": "1"}
    weir = context.weir(text, instance="a", env=env)
    for _ in range(kills):
        load.wait_progress(1500, alive=[weir])
        weir.run_for(context.random.uniform(0.05, 0.3))
        weir.kill()
        weir.start()
    if disturb is not None:
        disturb(proxy, load, weir)
    load.drain(context.name, weir)
    weir.signal(signal.SIGTERM)
    weir.wait_exit(30)  # with any code: a planted fault may stand in the way of an orderly end
    return load.verdict(check=False, wait=8)


@case
def commit_early_loses(context):
    """Killed right after a commit, before what it skipped can be delivered."""
    def crash(proxy, load, weir):
        weir.kill()
        for _ in range(6):
            weir.start(env={"WEIR_FAILPOINT": "after_commit:4"})
            assert weir.wait_exit(60) == -signal.SIGKILL, weir.tail()
        weir.start()
    verdict = faulty(context, "commit_early", guarantee="at-least-once", disturb=crash)
    assert verdict["lost"] > 0, verdict


@case
def commit_early_loses_in_transactions(context):
    verdict = faulty(context, "commit_early", kills=8)
    assert verdict["lost"] > 0, verdict


@case
def send_twice_doubles(context):
    verdict = faulty(context, "send_twice")
    assert verdict["duplicated"] > 0 and verdict["lost"] == 0, verdict


@case
def skipped_rewind_loses(context):
    """An answer to AddOffsetsToTxn says "unknown error", so that an epoch aborts while the partitions
    stay; without rewinding it is gone."""
    def abort(proxy, load, weir):
        load.wait_progress(2000, alive=[weir])
        rule = proxy.add(kafka_proxy.ADD_OFFSETS_TO_TXN, "error")
        wait.until(lambda: weir.expect_running() or rule.hits > 0, 60, "an answer was changed")
        load.wait_progress(2000, seconds=120, alive=[weir])
    verdict = faulty(context, "skip_rewind", disturb=abort)
    assert verdict["lost"] > 0, verdict


@case
def switch_alone_is_refused(context):
    kafka = context.kafka()
    load = Load(context, kafka, 10)
    weir = context.weir(pipeline(context.name, kafka, load.source, load.sink),
                        env={"WEIR_FAULT": "send_twice"})
    assert weir.wait_exit(20) in (1, 2, 78), weir.tail()
    assert "send_twice" in weir.text(), weir.tail()


if __name__ == "__main__":
    main()
