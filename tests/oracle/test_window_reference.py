#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: windows of every kind, with every aggregate and every way of showing them, are what a plain
recomputation makes of the same records, whatever the table, the log, batches and epochs.

Method: seeded streams (out of order, late, missing values, three partitions of which one falls silent) go
through weir and through window_reference.py; results and late records are compared as multisets.

Every other run has only aggregates of a fixed size. Every kind meets two of the ways to keep state (table × log × size of a batch and a commit), which WEIR_SEED
chooses; the kinds share them out. Logs in Kafka, Redis and JetStream: tests/broker/test_window_media.py.

    WEIR_LONG: each kind meets every way, three seeds each. WEIR_SEED: the first of them."""
import collections
import itertools
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import window_reference

AGGREGATES = {
    "n": "count", "c": "count(.v)", "s": "sum(.v)", "d": "sum(.d)", "a": "avg(.v)", "mi": "min(.v)",
    "ma": "max(.v)", "f": "first(.v)", "l": "last(.v)", "va": "variance(.v)", "sd": "stddev(.v)",
    "co": "collect(.v; 5)", "cd": "count_distinct(.v)", "q": "quantile(.v; 0.9)", "to": "top(.v; 3)",
    "h": "histogram(.v; [100, 400])", "r": "reduce(0; .state + (.value.v // 0); .a + .b)",
    "fx": 'first("\\(.i), longer than a slot has room for")', "lx": 'last("\\(.i), longer than a slot has room for")'}
GROWING = ("co", "cd", "q", "to", "r")  # without these, sliding windows merge their slices ahead
FIXED = {name: call for name, call in AGGREGATES.items() if name not in GROWING}
HOUR = 3600_000
# window, grace, emit, milliseconds from record to record
KINDS = [
    ({"tumbling": {"size": 50}}, 0, "close", 2), ({"tumbling": {"size": 50, "offset": 7}}, 20, "both", 2),
    ({"tumbling": {"size": 80}}, 15, {"count": 3, "discard": True}, 2),
    ({"tumbling": {"size": 80}}, 30, {"count": 2, "close": False}, 2),
    ({"tumbling": {"calendar": "day", "timezone": "Europe/Berlin"}}, 10 * HOUR, "close", 3 * HOUR),
    ({"tumbling": {"calendar": "week", "timezone": "America/New_York"}}, 0, "update", 9 * HOUR),
    ({"tumbling": {"calendar": "month", "timezone": "Asia/Kathmandu"}}, HOUR, "close", 31 * HOUR),
    ({"tumbling": {"calendar": "month"}}, 0, "close", 31 * HOUR),
    ({"sliding": {"size": 60, "every": 20}}, 10, "close", 2), ({"sliding": {"size": 50, "every": 15}}, 0, "both", 2),
    ({"sliding": {"size": 20, "every": 30}}, 5, "close", 2),
    ({"sliding": {"size": 60, "every": 20}}, 25, {"count": 4}, 2),
    ({"sliding": {"size": 200, "every": 5}}, 0, "close", 2), ({"sliding": {"size": 150, "every": 10}}, 7, "both", 2),
    ({"sliding": {"size": 400, "every": 4}}, 0, {"count": 5}, 1), ({"sliding": {"size": 210, "every": 60}}, 0, "close", 2),
    ({"sliding": {"size": 30}}, 0, "close", 3), ({"sliding": {"size": 30}}, 15, "close", 3),
    ({"session": {"gap": 12}}, 0, "close", 2), ({"session": {"gap": 12}}, 20, "both", 2),
    ({"session": {"gap": 15, "max": 60}}, 5, {"count": 3}, 2),
    ({"count": {"size": 7}}, 0, "close", 2), ({"count": {"size": 12, "every": 4}}, 0, {"count": 3}, 2),
]
TABLES = [{"table": "memory"}, {"table": "rocksdb", "memory": "1MiB"}]
LOGS = [{"log": "file"}, {"log": "none"}]
COMMITS = [{"batch_size": 500}, {"batch_size": 50, "commit_interval": "100ms"},
           {"batch_size": 7, "commit_interval": "10ms"}, {"batch_size": 1, "commit_interval": "10ms"}]
SETTINGS = [{**commit, "state": {**table, **log}}
            for table, log, commit in itertools.product(TABLES, LOGS, COMMITS)]


def stream(seed, step, count):
    source, made, now = random.Random(seed), [], 1711800000000 if step > HOUR else 0
    for i in range(count):
        now += source.choice((0, step, step, 2 * step))
        late = source.choice((0, 0, 0, 5, 12, 40)) * step if source.random() < 0.6 else 0
        made.append({"k": f"k{source.randrange(6)}", "t": now - late, "i": i,
                     "v": None if source.random() < 0.1 else source.randrange(1, 600),
                     "d": None if source.random() < 0.1 else source.randrange(10_000) / 100})
    return made


def milliseconds(setting):
    return {name: f"{value}ms" if isinstance(value, int) and name in ("size", "offset", "gap", "max", "every")
            else value for name, value in setting.items()}


def window_of(kind, grace, emit, aggregates):
    """The step as it is written in a pipeline."""
    name, window = next(iter(kind.items()))
    made = {name: window if name == "count" else milliseconds(window), "key": ".k", "time": ".t",
            "grace": f"{grace}ms", "emit": emit, "late": {"to": "late"}, "aggregate": aggregates}
    if name == "count":
        del made["grace"]
    return made


def run(weir, folder, kind, grace, emit, aggregates, settings, streams):
    """The results and the late records of weir, as it wrote them."""
    for number, records in enumerate(streams):
        pathlib.Path(folder, f"in{number}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    window = window_of(kind, grace, emit, aggregates)
    pipeline = {"name": "w", "http": "off", "source": {"file": {"paths": [f"in{i}.jsonl" for i in range(3)]}},
                "steps": [{"name": "w", "window": window}],
                "sinks": [{"name": "out", "file": {"path": "out.jsonl"}},
                          {"name": "late", "file": {"path": "late.jsonl"}}], **settings}
    pathlib.Path(folder, "w.yaml").write_text(json.dumps(pipeline))
    done = subprocess.run([weir, "run", "w.yaml"], cwd=folder, timeout=120, check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise SystemExit(f"{kind}: exit code {done.returncode}: {done.stderr.decode()[-800:]}")
    return [[json.loads(line) for line in pathlib.Path(folder, f"{name}.jsonl").read_text().splitlines()]
            if pathlib.Path(folder, f"{name}.jsonl").exists() else [] for name in ("out", "late")]


def reference(kind, grace, emit, streams):
    results, late = [], []

    def out(key, start, end, kind_of, records):
        results.append((key, start, end, kind_of, records))

    for records in streams:
        partition = window_reference.Partition(kind, grace, emit, out, lambda r: late.append(r["t"]))
        for record in records:
            partition.add(record)
        partition.end()
    return results, late


def close_to(name, found, wanted):
    if wanted is None or found is None or isinstance(wanted, list):
        return found == wanted
    near = 0.0101 if name == "q" else 1e-9
    exact = name in ("n", "c", "s", "mi", "ma", "f", "l", "cd", "co", "r", "fx", "lx")
    return found == wanted if exact else math.isclose(found, wanted, rel_tol=near, abs_tol=1e-9)


def same(found, records, aggregates):
    if records is None:
        return set(found) == {"key", "window"}
    wanted = window_reference.aggregate(records)
    found = dict(found, co=len(found.get("co", ())))
    return all(close_to(name, found[name], wanted[name]) for name in aggregates)


def differences(found, late_found, wanted, late_wanted, aggregates):
    if collections.Counter(r["t"] for r in late_found) != collections.Counter(late_wanted):
        return [f"{len(late_found)} late records, not {len(late_wanted)}"]
    groups = collections.defaultdict(list)
    for result in found:
        window = result["window"]
        groups[result["key"], window["start"], window["end"], window["kind"]].append(result)
    wrong = []
    for key, start, end, kind, records in wanted:
        group = groups[key, start, end, kind]
        match = next((r for r in group if same(r, records, aggregates)), None)
        if match is None:
            wrong.append(f"missing {(key, start, end, kind)} "
                         f"{records and window_reference.aggregate(records)}; there is {group[:1]}")
        else:
            group.remove(match)
    return wrong + [f"too many: {group[0]}" for group in groups.values() if group]


def main():
    weir = os.path.abspath(os.environ["WEIR_BIN"])
    is_long = os.environ.get("WEIR_LONG", "") not in ("", "0")
    first = int(os.environ.get("WEIR_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    print(f"WEIR_SEED={first}")
    wrong = results = lates = runs = 0
    order = random.Random(first).sample(range(len(SETTINGS)), len(SETTINGS))
    for number, (kind, grace, emit, step) in enumerate(KINDS):
        for i in range(len(SETTINGS) * 3 if is_long else 2):
            seed, runs = first + i, runs + 1
            aggregates = FIXED if i % 2 else AGGREGATES
            streams = [stream(f"{seed}-{p}", step, (400, 400, 60)[p]) for p in range(3)]
            settings = SETTINGS[order[(2 * number + i) % len(SETTINGS)]]
            with tempfile.TemporaryDirectory() as folder:
                found, late = run(weir, folder, kind, grace, emit, aggregates, settings, streams)
            wanted, late_wanted = reference(kind, grace, emit, streams)
            results, lates = results + len(wanted), lates + len(late_wanted)
            told = differences(found, late, wanted, late_wanted, aggregates)
            if told:
                wrong += 1
                print(f"{kind} grace {grace} emit {emit} {settings} seed {seed}: {len(told)} differences")
                print("\n".join(f"    {line}" for line in told[:3]))
    print(f"{results} results, {lates} late records, {wrong} of {runs} runs differ")
    sys.exit(1 if wrong or results < 5000 or lates < 500 else 0)


if __name__ == "__main__":
    main()
