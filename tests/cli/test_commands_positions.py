#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir lag` and `weir positions` for files: the state log is shown, moved, saved and restored; a
running pipeline is left alone.

Method: a pipeline over two files, run to its end; after each change what it reads again shows where it
went on. Kafka's side is tests/broker/test_positions.py."""
import fcntl
import json
import sys
import unittest

from commands import CommandTest

PIPELINE = """\
name: p
source: {file: {paths: [a.txt, b.txt]}}
sink: {file: {path: out.txt}}
lanes: 1
http: off
log: {level: warn}
"""
A, B = "".join(f"{i}\n" for i in range(100)), "10\n20\n30\n"


class Positions(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("p.yaml", PIPELINE)
        self.write("a.txt", A)
        self.write("b.txt", B)

    def positions(self, action, *arguments, **options):
        return self.weir("positions", action, *arguments, "p.yaml", **options)

    def table(self):
        shown = json.loads(self.weir("lag", "--format", "json", "p.yaml").stdout)
        self.assertEqual(shown["pipeline"], "p")
        return shown

    def committed(self):
        return [row["committed"] for row in self.table()["partitions"]]

    def output_of_a_run(self):
        before = self.read("out.txt") if (self.folder / "out.txt").exists() else ""
        self.weir("run", "p.yaml")
        return self.read("out.txt")[len(before):]

    def test_a_sink_that_drops_what_it_has_is_named(self):
        self.output_of_a_run()
        self.write("p.yaml", PIPELINE.replace("sink: {file: {path: out.txt}}", "sink: {nats: {url: x, subject: out, stream: OUT}}"))
        for to, dry in (("latest", ()), ("earliest", ("--dry-run",)), ("earliest", ())):
            done = self.positions("set", "--to", to, *dry)
            self.assertEqual("sink.nats drops outputs that it was sent before" in done.stderr, to == "earliest", done.stderr)
        self.assertNotIn("drops", self.positions("set", "--to", "latest").stderr)
        self.write("p.yaml", self.read("p.yaml") + "guarantee: at-least-once\n")
        self.assertEqual(self.positions("set", "--to", "earliest").stderr, "")

    def test_a_server_that_is_away(self):
        for source in ("nats: {url: '127.0.0.1:1', stream: S, mode: positioned, auth: {token: canary-8f3a}}",
                       "nats: {url: '127.0.0.1:1', stream: S}",
                       "redis: {url: '127.0.0.1:1', stream: S, auth: {password: canary-8f3a}}",
                       "redis: {url: '127.0.0.1:1', stream: S, mode: positioned}"):
            self.write("away.yaml", f"name: p\nsource: {{{source}}}\nsink: drop\n")
            for verb in (("lag",), ("positions", "show"), ("positions", "set", "--to", "earliest"), ("positions", "export")):
                said = self.weir(*verb, "away.yaml", code=1).stderr
                self.assertIn(f"source.{source.split(':')[0]}: cannot connect to 127.0.0.1:1", said)
                self.assertIn("`weir check --connect`", said)
                self.assertNotIn("canary", said)

    def test_lag(self):
        shown = self.table()
        self.assertIsNone(shown["last_commit"])
        self.assertEqual(shown["partitions"][0], {
            "source": "source.file", "topic": "a.txt", "partition": 0, "first": 0, "committed": None,
            "end": len(A), "lag": None, "unit": "bytes"})
        self.assertFalse((self.folder / "p.state").exists(), "looking makes nothing")
        self.assertEqual(self.output_of_a_run(), A + B)
        self.assertEqual(self.committed(), [len(A), len(B)])
        self.assertIsNotNone(self.table()["last_commit"])
        self.write("b.txt", B + "40\n")
        text = self.weir("lag", "p.yaml").stdout
        self.assertIn("source.file is behind by 3 bytes\n", text)
        self.assertEqual(text, self.positions("show").stdout)

    def test_set(self):
        self.assertEqual(self.output_of_a_run(), A + B)
        done = self.positions("set", "--to", "earliest", "--topic", "b.txt")
        self.assertEqual(done.stdout, f"source.file b.txt 0: {len(B)} -> 0\ndone\n")
        self.assertEqual(self.output_of_a_run(), B)
        self.positions("set", "--to", "3", "--topic", "b.txt", "--partition", "0")
        self.assertEqual(self.output_of_a_run(), "20\n30\n")
        self.positions("set", "--to", "earliest")
        self.positions("set", "--to", "latest", "--topic", "a.txt")
        self.assertEqual(self.output_of_a_run(), B)

    def test_set_before_the_first_run(self):
        self.positions("set", "--to", "latest", "--topic", "a.txt")
        self.assertEqual(self.output_of_a_run(), B)

    def test_dry_run(self):
        self.weir("run", "p.yaml")
        done = self.positions("set", "--to", "earliest", "--dry-run")
        self.assertIn(f"source.file a.txt 0: {len(A)} -> 0\n", done.stdout)
        self.assertIn("nothing was changed", done.stdout)
        self.assertEqual(self.committed(), [len(A), len(B)])

    def test_refused(self):
        self.weir("run", "p.yaml")
        for arguments, answer in (
                (["--to", "4", "--topic", "b.txt"], "b.txt: no line begins at byte 4"),
                (["--to", "999"], "a.txt, partition 0: 999 is not among 0 to"),
                (["--to", "2026-01-01T00:00:00Z"], "source.file has no times"),
                (["--to", "0", "--topic", "c.txt"], 'does not read "c.txt"; did you mean'),
                (["--to", "0", "--topic", "a.txt", "--partition", "7"], "there is no partition 7")):
            self.assertIn(answer, self.positions("set", *arguments, code=1).stderr)
        for arguments, answer in (
                ([], "set needs --to"), (["--to", "tomorrow"], 'not "tomorrow"'), (["--to=-1"], "--to is"),
                (["--to", "0", "--partition", "1"], "stands beside --topic"),
                (["--to", "0", "--format", "json"], "--format has no meaning for set")):
            self.assertIn(answer, self.positions("set", *arguments, code=2).stderr)
        self.assertEqual(self.committed(), [len(A), len(B)])
        self.write("p.yaml", PIPELINE + "state: {log: none}\n")
        self.assertIn("positions are not kept", self.positions("set", "--to", "earliest", code=1).stderr)
        self.assertIn('unknown key "sorce"', self.weir("lag", "-", code=78, stdin="sorce: 1\n").stderr)

    def test_state_goes_with_its_positions(self):
        self.write("p.yaml", PIPELINE.replace("sink:", "steps:\n  - aggregate: {key: '0', aggregate: {n: count}}\n"
                                              "  - map: .n\nsink:"))
        counts = [str(i) for i in range(1, 101)] + ["1", "2", "3"]
        self.assertEqual(self.output_of_a_run().split(), counts)
        self.write("a.txt", A + "1\n")
        self.assertEqual(self.output_of_a_run().split(), ["101"])
        done = self.positions("set", "--to", "earliest", code=1)
        self.assertIn("keeps state", done.stderr)
        self.assertIn("--reset-state", done.stderr)
        done = self.positions("set", "--to", "earliest", "--topic", "a.txt", "--reset-state", code=1)
        self.assertIn("every partition must be moved", done.stderr)
        saved = self.positions("export").stdout
        done = self.positions("set", "--to", "earliest", "--reset-state", "--dry-run")
        self.assertIn("nothing was changed", done.stdout)
        self.assertEqual(self.output_of_a_run(), "")
        self.assertIn("the state was thrown away", self.positions("set", "--to", "earliest", "--reset-state").stdout)
        self.assertEqual(self.output_of_a_run().split(), [str(i) for i in range(1, 102)] + ["1", "2", "3"])
        self.positions("import", "--reset-state", stdin=saved)
        self.write("b.txt", B + "40\n")
        self.assertEqual(self.output_of_a_run().split(), ["1"], "positions as saved, counts anew")

    def test_without_state_there_is_none_to_reset(self):
        self.assertIn("keeps no state", self.positions("set", "--to", "earliest", "--reset-state", code=1).stderr)

    def test_refused_while_it_runs(self):
        self.weir("run", "p.yaml")
        with open(self.folder / "p.state" / "lock") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = self.positions("set", "--to", "earliest", code=1)
            self.assertIn("p.state is in use by another process", done.stderr)
            self.positions("import", code=1, stdin='{"topic":"a.txt","partition":0,"position":0}\n')
            self.assertEqual(self.committed(), [len(A), len(B)], "looking needs no lock")
        self.assertEqual(self.output_of_a_run(), "")

    def test_export_and_import(self):
        self.weir("run", "p.yaml")
        kept = self.positions("export").stdout
        self.assertEqual([json.loads(line) for line in kept.splitlines()], [
            {"source": "source.file", "topic": "a.txt", "partition": 0, "position": len(A)},
            {"source": "source.file", "topic": "b.txt", "partition": 0, "position": len(B)}])
        self.positions("set", "--to", "earliest")
        self.positions("import", "--dry-run", stdin=kept)
        self.assertEqual(self.committed(), [0, 0])
        self.positions("import", stdin=kept)
        self.assertEqual(self.committed(), [len(A), len(B)])
        line = json.dumps({"topic": "a.txt", "partition": 0, "position": 0}) + "\n"
        for lines, answer in (("", "has no positions"), ("x\n", "line 1: "), (line * 2, "line 2: this partition came"),
                              (line + '{"topic":"c","partition":0,"position":0}\n', "line 2: the pipeline does not"),
                              ('{"topic":"a.txt"}\n', "line 1: it has no topic, partition and position")):
            self.assertIn(answer, self.positions("import", code=1, stdin=lines).stderr)
        self.assertEqual(self.committed(), [len(A), len(B)])


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=0))
