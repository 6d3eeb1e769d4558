#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the account of the pairs can turn red, whatever system the fault is planted in.

Method: first on lists that are damaged by hand. Then WEIR_FAULT makes weir commit positions before the outputs
are safe, write twice, or go on after an abort without going back; the same load and trouble as in the
other tests must then show what the fault costs."""
import collections
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main
from pair_flow import Account, Pair, Promise

# So slow that what is skipped has not been done meanwhile.
SLOWER = {"steps": [{"map": "(reduce range(40000) as $i (0; . + $i)) as $sum "
                           "| {p: (.p | tonumber), n: (.n | tonumber), $sum}"}], "batch_size": 20}
Promised = collections.namedtuple("Promised", "repeats is_ordered")


@case
def damage_by_hand_is_seen(context):
    fed, whole = {0: 5, 1: 3}, [(0, n) for n in range(5)] + [(1, n) for n in range(3)]
    strict, loose = Promised(False, True), Promised(True, False)
    for places, wrong, wrong_loosely in [
            ([whole], [], []),
            ([whole[:4], whole[4:]], [], []),
            ([whole[:2] + whole[3:]], ["lost"], ["lost"]),
            ([whole + whole[6:7]], ["repeated"], []),
            ([whole, whole[:1]], ["repeated"], []),
            ([[whole[1], whole[0], *whole[2:]]], ["out of order"], []),
            ([whole[:3] + whole[:5] + whole[5:]], ["repeated"], []),
            ([whole + [(1, 3)]], ["unknown"], ["unknown"]),
            ([whole + [(2, 0)]], ["unknown"], ["unknown"])]:
        account = Account(fed, places)
        assert account.wrong(strict) == wrong, (places, str(account))
        assert account.wrong(loose) == wrong_loosely, (places, str(account))


def planted(context, fault, source, sink, trouble):
    pair = Pair(context, source, sink, env={"WEIR_FAULT": fault, "WEIR_UNSAFE_TESTING": "1"},
                **SLOWER)
    pair.source.feed(60)
    weir = pair.begin("a")
    pair.promise = Promise(weir.file)
    wait.until(lambda: pair.sink.count() > 0, 60, "it has begun")
    trouble(pair, weir)
    account = pair.account()
    context.say(f"{fault}, {pair.promise.guarantee}: {account}")
    return account


def crashes(pair, weir):
    """Right after a commit, in front of what it skipped; then the rest. Again, if all that was skipped was written
    before the process died: it is a matter of luck each time."""
    for _ in range(6):
        weir.kill()
        for _ in range(3):
            pair.source.feed(30)
            weir.start(env={"WEIR_FAILPOINT": "after_commit:2"})
            weir.wait_exit(60)
        weir.start()
        pair.source.feed(30)
        settle(pair, weir)
        if pair.account().lost > 0:
            break


def settle(pair, weir):
    """Until nothing new comes for a while: with a fault in it, it may never come to an end."""
    seen = [-1, 0]

    def is_calm():
        count = pair.sink.count()
        seen[:] = [count, seen[1] + 1 if count == seen[0] else 0]
        return not weir.running or seen[1] > 30
    wait.until(is_calm, 60, "nothing new comes out")


def breaks(pair, weir):
    """The sink's answers are lost, so that an epoch is aborted."""
    for _ in range(2):
        is_done = pair.sink.lose(1)

        def fed_on():
            pair.source.feed(5)
            return is_done()
        wait.until(fed_on, 30, "an answer is lost")
        pair.sink.heal()
        settle(pair, weir)


def seen(fault, source, sink, trouble, found):
    def run(context):
        assert found(planted(context, fault, source, sink, trouble)), "the planted fault was not seen"
    run.__name__ = f"{fault}-{source}-to-{sink}"
    return case(run)


for pair in [("redis-shared", "nats"), ("redis-positioned", "redis"), ("redis-positioned", "file"),
             ("nats-shared", "redis"), ("nats-positioned", "nats"), ("nats-positioned", "redis"), ("file", "redis")]:
    seen("commit_early", *pair, crashes, lambda account: account.lost > 0)
for pair in [("redis-positioned", "redis"), ("nats-shared", "redis"), ("nats-positioned", "file")]:
    seen("send_twice", *pair, settle, lambda account: account.repeated > 0)
for pair in [("nats-positioned", "redis"), ("nats-shared", "redis")]:
    seen("skip_rewind", *pair, breaks, lambda account: account.lost > 0)


if __name__ == "__main__":
    main()
