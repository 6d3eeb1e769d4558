#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a window, a running aggregate and a filter for what was seen before give over Kafka, Redis and
JetStream what a recomputation gives, whatever is killed, loses answers, joins or leaves.

Method: the same pipeline, with each of the three steps in a branch, within each system that keeps state;
then the inputs are gone through again by the few lines below. Results that the guarantee allows to come
twice may; none may be missing, wrong or made up."""
import collections
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import case, main, scale
from pair_flow import Pair
from systems import ATOMIC

SIZE, GRACE, KEYS = 40, 4, 7
GROUP = '"\\(.p)-\\(.n % 7)"'
SUMS = {"count": "count", "total": "sum(.n)"}
BRANCHES = {
    "window": [{"window": {"tumbling": f"{SIZE}ms", "key": GROUP, "time": ".n", "grace": f"{GRACE}ms",
                           "aggregate": SUMS}},
               {"map": '{what: "window", key, at: .window.start, count, total}'}],
    "running": [{"aggregate": {"key": GROUP, "aggregate": SUMS}},
                {"map": '{what: "running", key, at: .count, count, total}'}],
    "first": [{"dedupe": {"id": '"\\(.p)-\\(.n / 3 | floor)"', "ttl": "1h"}},
              {"map": '{what: "first", key: "\\(.p)", at: .n, count: 1, total: .n}'}]}


def recompute(fed):
    """What must come out of `fed` records of each key: those of a window that is closed at the last of them."""
    results = collections.Counter()
    for p, count in fed.items():
        windows, running = collections.defaultdict(list), collections.defaultdict(list)
        for n in range(count):
            group = f"{p}-{n % KEYS}"
            windows[group, n // SIZE * SIZE].append(n)
            running[group].append(n)
            results["running", group, len(running[group]), len(running[group]), sum(running[group])] += 1
            if n % 3 == 0:
                results["first", str(p), n, 1, n] += 1
        for (group, start), ns in windows.items():
            if count - 1 >= start + SIZE + GRACE:
                results["window", group, start, len(ns), sum(ns)] += 1
    return results


class Stateful(Pair):
    def text(self, process):
        text = json.loads(super().text(process))
        sink = text.pop("sink")
        text["steps"] = [{"map": "(reduce range(1000) as $i (0; . + $i)) as $sum "
                                 "| {p: (.p | tonumber), n: (.n | tonumber), $sum}"}]
        text["branches"] = [{"name": name, "when": "true", "steps": steps, "sink": sink}
                            for name, steps in BRANCHES.items()]
        return json.dumps(text)

    def results(self):
        found = [row for place in self.sink.records() for row in place]
        return collections.Counter((r["what"], r["key"], int(r["at"]), int(r["count"]), int(r["total"]))
                                   for r in found)

    def is_out(self):
        self.tend()
        wanted = recompute(self.source.fed)
        return self.sink.count() >= sum(wanted.values()) and not wanted - self.results()

    def account(self):
        found, wanted = self.results(), recompute(self.source.fed)
        missing, extra = wanted - found, found - wanted
        return collections.namedtuple("Account", "missing wrong repeated")(
            sorted(missing)[:3], sorted(set(extra) - set(wanted))[:3], sum(extra.values()))

    def judge(self):
        account = self.account()
        self.context.say(f"{self.promise.guarantee}: {self.total()} in, {sum(self.results().values())} results, "
                         f"{account.repeated} repeated")
        assert not account.missing and not account.wrong, account
        assert self.promise.repeats or account.repeated == 0, account


def composite(name, sink):
    def run(context):
        pair = Stateful(context, name, sink)
        pair.run(scale(1, 10))
        pair.judge()
        assert "state: kept in" in pair.promise.text, "state must be durable"
    run.__name__ = f"{name}-to-{sink}-keeps-state"
    return case(run)


for pair in [("kafka", "kafka"), ("redis-positioned", "redis"), ("nats-positioned", "nats"), ATOMIC]:
    composite(*pair)


if __name__ == "__main__":
    main()
