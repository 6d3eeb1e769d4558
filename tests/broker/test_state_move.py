#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: state in Kafka is looked at while the pipeline runs, and moves to a pipeline of another name
whole, with its positions.

Method: one pipeline windows the first half of the input, its state goes through `weir state export` and
`import`, another pipeline windows the rest; together they show what the whole input must yield."""
import collections
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
from harness import case, main, scale
from weir_process import pipeline

STEPS = [{"name": "sums", "window": {
    "sliding": {"size": "100ms", "every": "50ms"}, "key": ".k", "time": ".s",
    "aggregate": {"n": "count", "total": "sum(.s)", "kinds": "count_distinct(.s)"}}},
    {"name": "seen", "aggregate": {"key": ".key", "aggregate": {"windows": "count"}}}]


def state(action, path, stdin=None, code=0, *more):
    done = subprocess.run([harness.weir_binary(), "state", action, *more, path], input=stdin, timeout=120,
                          check=False, capture_output=True, text=True)
    assert done.returncode == code, (action, done.returncode, done.stderr)
    return done.stdout if code == 0 else done.stderr


def records(first, count, partition):
    return [{"value": json.dumps({"s": i, "k": i % 40}).encode(), "partition": partition}
            for i in range(first, first + count)]


def visible(kafka, topic):
    """Per key, partitions put together: how often each count was shown."""
    found = collections.Counter()
    for message in kafka.read(topic):
        result = json.loads(message.value())
        found[result["key"], result["windows"]] += 1
    return found


@case
def moves(context):
    kafka, count, partitions = context.kafka(), scale(4000, 200_000), 3
    kafka.create("in", "out-a", "out-b", partitions=partitions)
    texts = {name: pipeline(name, kafka, "in", f"out-{name}", steps=STEPS) for name in "ab"}
    for partition in range(partitions):
        kafka.produce("in", records(0, count // 2, partition))
    first = context.weir(texts["a"], "a")
    kafka.wait_drained("a", "in", 60, [first])
    running = json.loads(state("list", first.file, None, 0, "--format", "json"))["tables"]
    assert {t["step"] for t in running} == {"sums", "seen"} and len(running) == 2 * partitions, running
    assert sum(t["position"] for t in running if t["step"] == "sums") == partitions * count // 2
    first.term()
    kept = state("export", first.file)
    context.say(f"{len(kept.splitlines())} lines of state")
    second = context.weir(texts["b"], "b", start=False)
    assert state("import", second.file, kept).endswith("done\n")
    assert sorted(state("export", second.file).splitlines()) == sorted(kept.splitlines())
    assert "is not empty" in state("import", second.file, kept, 1)
    for partition in range(partitions):
        kafka.produce("in", records(count // 2, count - count // 2, partition))
    second.start()
    kafka.wait_drained("b", "in", 60, [second])
    assert "state restored" in second.text()
    assert "the pipeline runs" in state("import", second.file, kept, 1)
    second.term()
    windows = collections.Counter()
    last = count - 1
    for start in range(-50, last, 50):
        if start + 100 <= last:
            for key in {i % 40 for i in range(max(start, 0), start + 100)}:
                windows[key] += 1
    wanted = collections.Counter(
        {(key, n): partitions for key, total in windows.items() for n in range(1, total + 1)})
    found = visible(kafka, "out-a") + visible(kafka, "out-b")
    assert found == wanted, (sorted(wanted - found)[:3], sorted(found - wanted)[:3])


if __name__ == "__main__":
    main()
