#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what each pair of systems promises, why, and what its servers must be told, is exactly what
pairs.expect says; so is what keeping state makes of it.

Method: `weir explain` of every pair, without a server, with and without a window and a running
aggregate. `--update` writes the file."""
import json
import os
import pathlib
import subprocess
import sys

EXPECTED = pathlib.Path(__file__).with_suffix("").with_name("pairs.expect")
REDIS, NATS = {"url": "r:6379", "stream": "in"}, {"url": "n:4222", "stream": "IN"}
SOURCES = {
    "kafka": {"kafka": {"brokers": "k:9092", "topic": "in"}},
    "redis shared": {"redis": REDIS | {"mode": "shared"}},
    "redis positioned": {"redis": REDIS | {"partitions": 4}},
    "jetstream shared": {"nats": NATS | {"mode": "shared"}},
    "jetstream positioned": {"nats": NATS | {"partition": "in.{}", "partitions": 4}},
    "file": {"file": {"path": "in.jsonl"}}}
SINKS = {
    "kafka": {"kafka": {"brokers": "k:9092", "topic": "out"}},
    "redis": {"redis": {"url": "r:6379", "stream": "out"}},
    "jetstream": {"nats": {"url": "n:4222", "subject": "out"}},
    "jetstream, atomic": {"nats": {"url": "n:4222", "subject": "out", "stream": "OUT", "atomic": True}},
    "file": {"file": {"path": "out.jsonl"}}}
COUNT = {"n": "count"}
STEPS = {
    "": [],
    ", a running aggregate": [{"aggregate": {"key": ".k", "aggregate": COUNT}}],
    ", a window": [{"window": {"tumbling": "1m", "key": ".k", "time": ".t", "aggregate": COUNT}}]}


def explained(source, sink, steps):
    pipeline = {"name": "p", "source": SOURCES[source], "steps": STEPS[steps], "sink": SINKS[sink]}
    done = subprocess.run([os.environ["WEIR_BIN"], "explain", "-"], input=json.dumps(pipeline), text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stdout[done.stdout.index("guarantee: "):done.stdout.index("\ntasks: ")]
    kept = [line for line in done.stdout.splitlines() if line.startswith(("state:", "state log:"))]
    said = "\n".join(line.rstrip() for line in said.split("\nsteps\n")[0].splitlines() if line)
    return f"=== {source} -> {sink}{steps}\n{said}\n" + "".join(f"{line}\n" for line in kept)


def main():
    found = "\n".join(
        explained(source, sink, steps) for steps in STEPS for source in SOURCES for sink in SINKS
        if (not steps or source.split(" ")[0] == sink.split(",")[0] or source == "file")
        and (sink != "jetstream, atomic" or source == "jetstream positioned"))
    if "--update" in sys.argv[1:]:
        EXPECTED.write_text(found)
        return 0
    if found == EXPECTED.read_text():
        print(f"{found.count('===')} pairs are as expected")
        return 0
    said, wanted = found.split("=== "), EXPECTED.read_text().split("=== ")
    for one in said:
        if one not in wanted:
            print(f"not expected (--update writes it):\n=== {one}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
