#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: when the answer to a commit is lost, weir finds out what happened and neither repeats nor skips
(I1, I2, I3, I5; PROTOCOLS, Kafka transactions 5).

Method: all of weir's connections go through a proxy that knows Kafka's framing. Under load it swallows,
delays, or cuts off the answers to one API at a time: the broker has acted, weir does not know. It also
holds an EndTxn *request* beyond the client's patience and releases it into a later transaction (the
hazard of brokers before KIP-890's protocol). And answers are replaced by errors that abort the
transaction while the partitions stay (PROTOCOLS 4), or end the producer (6). Afterwards each input is in the output exactly once.
Each case asserts that its fault really happened."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

ROUNDS = scale(1, 8)
TIMEOUT = "4s"  # of transactions and requests


def through_proxy(context, disturb, guarantee="exactly-once", rate=3000, instance="u"):
    kafka, proxy = kafka_proxy.proxied(context)
    load = Load(context, kafka, 10_000, rate=rate)
    text = pipeline(context.name, kafka, load.source, load.sink, guarantee=guarantee,
                    brokers=proxy.address, transaction_timeout=TIMEOUT)
    load.start()
    weir = context.weir(text, instance=instance)
    load.wait_progress(2000, alive=[weir])
    disturb(proxy, load, weir)
    proxy.heal()
    load.drain(context.name, weir, seconds=180)
    weir.term()
    load.verdict(at_least_once=True) if guarantee != "exactly-once" else load.verdict()


def faults(api, action, **options):
    """The fault, ROUNDS times, each time waiting until weir has recovered."""
    def disturb(proxy, load, weir):
        for _ in range(ROUNDS):
            rule = proxy.add(api, action, **options)
            wait.until(lambda: weir.expect_running() or rule.hits > 0, 60,
                       f"the {action} of {kafka_proxy.API_NAMES[api]} hit a frame")
            load.wait_progress(2000, seconds=120, alive=[weir])
            proxy.heal()
    return disturb


def _add(name, api, action, **options):
    def function(context):
        through_proxy(context, faults(api, action, **options))
    function.__name__ = name
    case(function)


for _api in (kafka_proxy.END_TXN, kafka_proxy.ADD_OFFSETS_TO_TXN, kafka_proxy.TXN_OFFSET_COMMIT,
             kafka_proxy.ADD_PARTITIONS_TO_TXN, kafka_proxy.PRODUCE):
    _name = kafka_proxy.API_NAMES[_api].lower()
    _add(f"{_name}_answer_cut", _api, "cut")
    _add(f"{_name}_answer_delayed", _api, "delay", seconds=2)
    _add(f"{_name}_answer_dropped", _api, "drop")
_add("addoffsetstotxn_unknown_error", kafka_proxy.ADD_OFFSETS_TO_TXN, "error", code=-1)
_add("txnoffsetcommit_illegal_generation", kafka_proxy.TXN_OFFSET_COMMIT, "error", code=22)
_add("txnoffsetcommit_unknown_member", kafka_proxy.TXN_OFFSET_COMMIT, "error", code=25)
_add("endtxn_answer_delayed_beyond_timeout", kafka_proxy.END_TXN, "delay", seconds=8)
_add("endtxn_request_cut", kafka_proxy.END_TXN, "cut", side="request")


@case
def late_endtxn_request(context):
    """The request itself is held until weir has given up on it and works again; then it arrives."""
    def disturb(proxy, load, weir):
        for _ in range(ROUNDS):
            rule = proxy.add(kafka_proxy.END_TXN, "hold", side="request")
            wait.until(lambda: rule.hits > 0, 60, "an EndTxn is held")
            load.wait_progress(2000, seconds=180, alive=[weir])
            rule.release()
            load.wait_progress(2000, seconds=120, alive=[weir])
    through_proxy(context, disturb)


@case
def given_up_by_the_broker(context):
    """The broker says that our transaction is no more, as it does of one that took too long. Without an
    instance nobody else can have our id: weir goes on as the same member of the group."""
    invalid_producer_epoch = 47
    inner = faults(kafka_proxy.ADD_OFFSETS_TO_TXN, "error", code=invalid_producer_epoch)

    def disturb(proxy, load, weir):
        members = sorted(load.cluster.members(context.name))
        assert members, "weir is a member"
        inner(proxy, load, weir)
        assert sorted(load.cluster.members(context.name)) == members, "the same member"
    through_proxy(context, disturb, instance=None)


@case
def all_connections_cut(context):
    def disturb(proxy, load, weir):
        for _ in range(ROUNDS * 3):
            proxy.cut()
            load.wait_progress(1500, seconds=120, alive=[weir])
    through_proxy(context, disturb)


@case
def produce_answers_cut_at_least_once(context):
    through_proxy(context, faults(kafka_proxy.PRODUCE, "cut", times=3), guarantee="at-least-once")


if __name__ == "__main__":
    main()
