#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: where reading is, and what is counted, has one shape for Kafka, Redis, JetStream and files: the table
of `weir lag` and `weir positions`, its columns, names and numbers, and the names and labels of metrics.

Method: the same records through each source; while it runs its metrics are read, when it has ended and more
has come the tables."""
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import case, main
from pair_flow import Pair
from systems import PARTITIONS, SOURCES

COLUMNS = ["source", "topic", "partition", "first", "committed", "end", "lag", "unit"]
shapes = {}


def table(weir, *command):
    done = subprocess.run([str(harness.weir_binary()), *command, "--format", "json", str(weir.file)],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, env=weir.env)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def places(rows):
    return sorted((row["source"], row["topic"], str(row["partition"])) for row in rows)


def metrics(weir):
    """(names with their label names, labels of the lag -> its value)."""
    shape, lag = set(), {}
    for line in weir.get("/metrics")[1].splitlines():
        match = re.match(r"(\w+)(?:\{(.*)\})?\s+(\S+)", line)
        if match is None:
            continue
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
        if match[1] != "stream_errors_total":  # there when there was one
            shape.add((match[1], *labels))
        if match[1] == "stream_consumer_lag":
            lag[labels["source"], labels["topic"], labels["partition"]] = float(match[3])
    return shape, lag


def shape_of(name):
    def run(context):
        pair = Pair(context, name, "file", commit_interval="20ms")
        if not pair.is_bounded:
            pair.begin("a")
            pair.processes[0].wait_log("partition assigned", 30)
        pair.source.feed(20)
        weir = pair.processes[0] if pair.processes else pair.begin("a")
        wait.until(lambda: not pair.account().lost, 60, "all is out")
        if not pair.is_bounded:  # one that ends shows them for a moment only
            wait.until(lambda: weir.metric("stream_messages_processed_total", status="ok") == pair.total(), 30,
                       "all is counted")

            def lag_is_shown():
                lag = metrics(weir)[1].values()
                return len(lag) == (1 if pair.mode == "shared" else PARTITIONS) and not any(lag)
            wait.until(lag_is_shown, 30, "the lag is 0")
            found, lag = metrics(weir)
            weir.term()
            weir.start()
            wait.until(lag_is_shown, 30, "who finds nothing left shows it too")
            pair.end()
        else:
            assert weir.wait_exit() == 0
        before = table(weir, "lag")
        assert all(row["lag"] == 0 for row in before["partitions"]), before
        pair.source.feed(10)
        after = table(weir, "lag")
        context.say(json.dumps(after["partitions"][-1]))
        assert list(after) == list(table(weir, "positions", "show")), after
        assert after["partitions"] == table(weir, "positions", "show")["partitions"]
        assert all(list(row) == COLUMNS for row in after["partitions"]), after
        if pair.is_bounded:
            assert [row["lag"] for row in after["partitions"]] == [0, None], after
            assert {row["unit"] for row in after["partitions"]} == {"bytes"}, after
            return
        assert {row["unit"] for row in after["partitions"]} == {"records"}, after
        assert sum(row["lag"] for row in after["partitions"]) == 10 * PARTITIONS, after
        assert places(after["partitions"]) == sorted(lag), (places(after["partitions"]), lag)
        shapes[name] = found
        first = next(iter(shapes))
        assert found == shapes[first], (name, first, found ^ shapes[first])
    run.__name__ = f"{name}-is-shown"
    return case(run)


for name in SOURCES:
    shape_of(name)


if __name__ == "__main__":
    main()
