#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what a pair with Redis can promise, how its stream is read, and what the server must be told, are
as the guide's table says. Method: `weir explain` of each pair, without a server."""
import json
import os
import subprocess
import unittest

REDIS = {"redis": {"url": "r:6379", "stream": "in"}}
SENTINEL = {"addresses": ["s1", "s2"], "master": "main"}
KAFKA = {"kafka": {"brokers": "k:9092", "topic": "t"}}
OUT = {"redis": {"url": "r:6379", "stream": "out"}}
WINDOW = [{"window": {"tumbling": "1m", "key": ".k", "aggregate": {"n": "count"}}}]
SHARED, COMMITTED = "shared among consumers", "committed in the transaction"
#  source, sink, more, guarantee, what is said of the source
PAIRS = [
    (REDIS, OUT, {}, "at-least-once", SHARED),
    (REDIS, OUT, {"guarantee": "exactly-once"}, "exactly-once", COMMITTED),
    (REDIS, OUT, {"steps": WINDOW}, "exactly-once", COMMITTED),
    (REDIS, OUT, {"steps": WINDOW, "guarantee": "at-least-once"}, "at-least-once", "state are committed"),
    (REDIS, KAFKA, {}, "at-least-once", SHARED),
    (REDIS, KAFKA, {"steps": WINDOW}, "at-least-once", "positions and state are committed"),
    (REDIS, {"redis": {"url": "other:6379", "stream": "out"}}, {"steps": WINDOW}, "at-least-once",
     "positions and state are committed"),
    (REDIS, {"file": {"path": "o"}}, {}, "at-least-once", SHARED),
    (REDIS, {"drop": None}, {}, "at-least-once", SHARED),
    ({"redis": REDIS["redis"] | {"mode": "positioned"}}, KAFKA, {}, "at-least-once",
     "positions are committed in its group"),
    ({"redis": REDIS["redis"] | {"partitions": 3}}, OUT, {}, "exactly-once", COMMITTED),
    ({"redis": {"sentinel": SENTINEL, "stream": "in"}}, {"redis": {"stream": "out"}},
     {"guarantee": "exactly-once"}, "exactly-once", COMMITTED),
    ({"redis": {"sentinel": SENTINEL, "stream": "in", "mode": "positioned"}},
     {"redis": {"sentinel": SENTINEL | {"master": "other"}, "stream": "out"}}, {}, "at-least-once",
     "positions are committed in its group"),
    (KAFKA, OUT, {}, "at-least-once", "positions are committed in its group"),
    ({"file": {"path": "i"}}, OUT, {}, "at-least-once", "state log"),
    ({"stdin": None}, OUT, {}, "at-most-once", "cannot be read again"),
]


def weir(command, pipeline):
    return subprocess.run([os.environ["WEIR_BIN"], command, "-"], input=json.dumps(pipeline), text=True,
                          capture_output=True, timeout=60, check=False)


class Guarantees(unittest.TestCase):
    def test_pairs(self):
        for source, sink, more, guarantee, said in PAIRS:
            with self.subTest(source=source, sink=sink, more=more):
                done = weir("explain", {"name": "a", "source": source, "sink": sink} | more)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertIn(f"guarantee: {guarantee}\n", done.stdout)
                line = next(l for l in done.stdout.splitlines() if l.startswith("  source "))
                self.assertIn(said, line)
                self.assertIn("appendfsync", done.stdout)
                self.assertEqual(done.stdout.count("a crash of the server"), 1)

    def test_shared_promises_less(self):
        for more in ({"guarantee": "exactly-once"}, {"steps": WINDOW, "state": {"log": "redis"}}):
            source = {"redis": REDIS["redis"] | {"mode": "shared"}}
            done = weir("check", {"name": "a", "source": source, "sink": OUT} | more)
            self.assertEqual(done.returncode, 78, done.stdout)
            self.assertIn("shared", done.stderr)

    def test_options_of_the_other_mode(self):
        for options in ({"mode": "shared", "lease": "5s"}, {"mode": "shared", "partitions": 2},
                        {"mode": "positioned", "consumer": "c"}, {"partitions": 2, "claim_idle": "5s"}):
            source = {"redis": REDIS["redis"] | options}
            done = weir("check", {"name": "a", "source": source, "sink": OUT})
            self.assertEqual(done.returncode, 78, options)
            self.assertIn("has no meaning here", done.stderr)


if __name__ == "__main__":
    unittest.main()
