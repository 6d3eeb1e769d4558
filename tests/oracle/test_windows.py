#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: windows are what Kafka Streams 4.3.1 computes, where weir means the same.

Method: recorded cases (windows.jsonl: input in order of arrival, every result) run through a
pipeline from file to standard output, with several batch sizes; results are compared as multisets of
(key, start, end, value); as sets for updates of event windows, of which Kafka shows one that is both
the window of a record and the one behind another twice. Left out when the cases were recorded: records without a key, sessions that
depend on a store's retention, event windows with late records or times below their size. Windows
with a negative start exist in weir only. Then worked.jsonl: the cases that the tests of Kafka Streams and
Flink write out by hand (values "+1": what was added), with restarts and numbers of windows missed.
"""
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
AGGREGATES = {
    "count": "count",
    "sum": "sum(.value)",
    "concat": 'reduce(""; .state + (.value.value // "" | tostring); .a + .b)',
}


def step(case):
    window, kind = case["window"], case["window"]["kind"]
    shape = {
        "tumbling": {"tumbling": {"size": f"{window.get('size_ms')}ms",
                                  "offset": f"{window.get('offset_ms', 0)}ms"}},
        "hopping": {"sliding": {"size": f"{window.get('size_ms')}ms",
                                "every": f"{window.get('advance_ms')}ms",
                                "offset": f"{window.get('offset_ms', 0)}ms"}},
        "sliding": {"sliding": f"{window.get('size_ms')}ms"},
        "session": {"session": f"{window.get('gap_ms')}ms"},
    }[kind]
    return {"window": {**shape, "key": ".key", "time": ".ts", "grace": f"{window['grace_ms']}ms",
                       "emit": case["emit"], "aggregate": {"value": AGGREGATES[case["aggregate"]]}}}


def run(weir, folder, case, batch_size):
    """The results, over all starts of the process."""
    for path in pathlib.Path(folder).glob("*/*"):
        path.unlink()
    pipeline = {"name": "windows", "http": "off", "on_end": case.get("on_end", "hold"),
                "batch_size": batch_size, "state": {"log": "file" if "restart" in case["input"] else "none"},
                "source": {"file": {"path": "in.jsonl"}}, "steps": [step(case)],
                "sink": {"file": {"path": "out.jsonl"}}}
    pathlib.Path(folder, "weir.yaml").write_text(json.dumps(pipeline))
    pathlib.Path(folder, "out.jsonl").unlink(missing_ok=True)
    text = ""
    for record in case["input"] + ["restart"]:
        if record != "restart":
            text += json.dumps(dict(zip(("key", "value", "ts"), record)), ensure_ascii=False) + "\n"
            continue
        pathlib.Path(folder, "in.jsonl").write_text(text)
        done = subprocess.run([weir, "run", "weir.yaml"], cwd=folder, timeout=60, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            return f"exit code {done.returncode}: {done.stderr.decode()[-600:]}"
    return [json.loads(line) for line in pathlib.Path(folder, "out.jsonl").read_text().splitlines()]


def missed(weir, folder, case):
    """How many windows records came too late for, as weir counts it."""
    records = [{"key": k, "json": {"key": k, "value": v, "ts": t}} for k, v, t in case["input"]]
    pathlib.Path(folder, "test.yaml").write_text(json.dumps({
        "pipeline": {"name": "windows", "http": "off", "source": {"kafka": {"brokers": "b:9092", "topic": "t"}},
                     "steps": [step(case)], "sink": {"drop": {}}},
        "cases": [{"name": "missed", "input": records,
                   "metrics": {"stream_late_windows_total": case["missed"]}}]}))
    done = subprocess.run([weir, "test", "test.yaml"], cwd=folder, timeout=60, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return None if done.returncode == 0 else done.stdout.decode()[-600:]


def frozen(value, case):
    """Windows that are merged of slices know their records' order by slice, not by arrival."""
    if isinstance(value, str) and case["window"]["kind"] in ("hopping", "sliding"):
        return json.dumps(sorted(value))
    return json.dumps(value)


def expected(case):
    gap = case["window"].get("gap_ms") or 0
    wanted = collections.Counter()
    for key, start, end, value in case["output"]:
        if value is not None:  # a tombstone; weir retracts only what has other bounds
            wanted[(key, start, end + gap, frozen(value, case))] += 1
    return wanted


def got(results, case):
    found = collections.Counter()
    for result in results:
        window = result["window"]
        if (window["start"] >= 0 or case.get("negative")) and window["kind"] != "retraction":
            value = frozen(result["value"], case)
            found[(result["key"], window["start"], window["end"], value)] += 1
    return found


def main():
    weir = os.path.abspath(os.environ["WEIR_BIN"])
    cases = [json.loads(line) for name in ("windows.jsonl", "worked.jsonl")
             for line in (HERE / name).read_text().splitlines()]
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for case in cases:
            if "missed" in case:
                told = missed(weir, folder, case)
                if told:
                    wrong += 1
                    print(f"{case['name']}: {told}")
            for batch_size in (1, 500) if case["name"][0] in "AB" else (1, 7, 500):
                results = run(weir, folder, case, batch_size)
                if isinstance(results, str):
                    wrong += 1
                    print(f"{case['name']}: {results}")
                    break
                found = got(results, case)
                wanted = expected(case)
                if case["window"]["kind"] == "sliding" and case["emit"] == "update":
                    wanted = +collections.Counter(dict.fromkeys(wanted, 1))
                    found = +collections.Counter(dict.fromkeys(found, 1))
                missing, extra = wanted - found, found - wanted
                if missing or extra:
                    wrong += 1
                    print(f"{case['name']}, batches of {batch_size}: missing "
                          f"{sorted(missing)[:4]}, extra {sorted(extra)[:4]}")
                    break
    print(f"{len(cases)} cases, {wrong} wrong")
    sys.exit(1 if wrong or len(cases) < 110 else 0)


if __name__ == "__main__":
    main()
