#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir state` shows, saves and moves what steps keep, exactly; `check --state` says what a start
would do with it.

Method: a pipeline over a file stops with open windows; its state goes through export and import into a
pipeline of another name, which reads the rest of the file: together they must write what one run writes.
Kafka's side is tests/broker/test_state_move.py."""
import json
import sys
import unittest

from commands import CommandTest

STEPS = """\
steps:
  - name: sums
    window: {tumbling: 1h, key: .k, time: .t, aggregate: {n: count, d: count_distinct(.v), l: 'collect(.v; 5)'}}
  - {name: once, dedupe: '[.key, .n] | tostring'}
"""
PIPELINE = """\
name: NAME
source: {file: {path: in.jsonl}}
sink: {file: {path: NAME.out}}
on_end: hold
lanes: 1
http: off
log: {level: warn}
""" + STEPS


def sliding_version(kind, size, every):
    """What the state of `aggregate: {n: count}` says of itself (aggregates_layout, window_layout)."""
    layout = 2166136261
    for part in (b"n\0count\0", *(number.to_bytes(8, "little") for number in (kind, size, every, 0))):
        for byte in part:
            layout = (layout ^ byte) * 16777619 & 0xFFFFFFFF
        layout ^= layout >> 24
    return 3 << 24 | layout & 0xFFFFFF


class State(CommandTest):
    def setUp(self):
        super().setUp()
        self.lines = [json.dumps({"k": f"u{i % 5}" if i % 7 else None, "t": i * 60000, "v": i}) + "\n"
                      for i in range(400)]
        for name in ("a", "b", "whole"):
            self.write(f"{name}.yaml", PIPELINE.replace("NAME", name))
        self.write("in.jsonl", "".join(self.lines[:250]))

    def state(self, action, *arguments, **options):
        return self.weir("state", action, *arguments, **options)

    def test_nothing_yet(self):
        self.assertEqual(len(self.state("list", "a.yaml").stdout.splitlines()), 1)
        self.assertEqual(self.state("export", "a.yaml").stdout, "")
        self.assertFalse((self.folder / "a.state").exists(), "looking makes nothing")

    def test_list_and_get(self):
        self.weir("run", "a.yaml")
        tables = json.loads(self.state("list", "--format", "json", "a.yaml").stdout)["tables"]
        self.assertEqual([(t["step"], t["topic"], t["partition"], t["clock"]) for t in tables],
                         [("sums", "in.jsonl", 0, 249 * 60000), ("once", "in.jsonl", 0, 249 * 60000)])
        self.assertEqual({t["position"] for t in tables}, {len("".join(self.lines[:250]))})
        total = sum(t["keys"] for t in tables)
        self.assertIn(f"keys    {total}\n", self.state("size", "a.yaml").stdout)
        found = [json.loads(line) for line in
                 self.state("get", "--key", "u3", "--step", "sums", "a.yaml").stdout.splitlines()]
        last = [json.loads(line) for line in self.lines[240:250]]
        mine = [r for r in last if r["k"] == "u3"]
        self.assertEqual([f["shows"] for f in found if "records" in f["shows"]],
                         [{"key": "u3", "start": 240 * 60000, "first": mine[0]["t"],
                           "last": mine[-1]["t"], "records": len(mine)}])
        self.assertIn('"key":null', self.state("get", "--key", "null", "a.yaml").stdout)
        self.assertIn("nothing is kept for the key u9", self.state("get", "--key", "u9", "a.yaml", code=1).stderr)

    def test_moves(self):
        self.weir("run", "a.yaml")
        kept = self.state("export", "a.yaml").stdout
        self.assertEqual(self.state("import", "b.yaml", stdin=kept).stdout.splitlines()[-1], "done")
        again = self.state("export", "b.yaml").stdout
        self.assertEqual(sorted(again.splitlines()), sorted(kept.splitlines()), "nothing is lost")
        self.write("in.jsonl", "".join(self.lines))
        self.weir("run", "b.yaml")
        self.weir("run", "whole.yaml")
        self.assertEqual(self.read("a.out") + self.read("b.out"), self.read("whole.out"))
        self.assertGreater(len(self.read("b.out").splitlines()), 5)

    def test_refused(self):
        self.weir("run", "a.yaml")
        kept = self.state("export", "a.yaml").stdout
        self.assertIn("a.state is not empty", self.state("import", "a.yaml", code=1, stdin=kept).stderr)
        lines = kept.splitlines(keepends=True)
        step = next(i for i, line in enumerate(lines) if '"version"' in line)
        for text, answer in (
                ("", "has no state"), ("{", "line 1: not JSON"), ("{}\n", "line 1: it has no topic"),
                ("".join(lines[step:]), "line 1: the line with the shard's position"),
                ("".join(lines[:step] + lines[step + 1:]), "line 2: the line with the step's version"),
                ("".join(lines + lines[step + 1:step + 2]), "this key came before"),
                (kept.replace('"value":"', '"value":"x', 1), "its key, value or timer")):
            done = self.state("import", "b.yaml", code=1, stdin=text)
            self.assertIn(answer, done.stderr)
        self.assertFalse((self.folder / "b.state").exists(), "a refusal writes nothing")
        self.assertIn("nothing was written", self.state("import", "--dry-run", "b.yaml", stdin=kept).stdout)
        self.assertFalse((self.folder / "b.state").exists())
        self.assertIn("get needs --key", self.state("get", "a.yaml", code=2).stderr)
        self.assertIn("--key has no meaning for list", self.state("list", "--key", "a", "a.yaml", code=2).stderr)
        self.assertIn("export takes FILE, not --url", self.state("export", "--url", "http://127.0.0.1:1", code=2).stderr)
        self.assertIn("import takes FILE, not --url", self.state("import", "--url", "http://127.0.0.1:1", code=2).stderr)
        self.write("n.yaml", PIPELINE.replace("NAME", "n") + "state: {log: none}\n")
        self.assertIn("keeps its state nowhere", self.state("list", "n.yaml", code=1).stderr)

    def test_sliding_windows_from_before_slices_were_merged_are_refused(self):
        """Their directories mean something else; the number behind the window's kind says so."""
        step = "steps: [{name: sums, window: {sliding: {size: 100ms, every: 20ms}, key: .k, time: .t, aggregate: {n: count}}}]\n"
        for name in ("a", "b"):
            self.write(f"{name}.yaml", PIPELINE.replace("NAME", name).replace(STEPS, step))
        self.weir("run", "a.yaml")
        kept = self.state("export", "a.yaml").stdout
        versions = {kind: sliding_version(kind, 100, 20) for kind in (2, 5)}
        now, before = (f'"version":{versions[kind]},' for kind in (5, 2))
        self.assertEqual(kept.count(now), 1, kept[:1000])
        refused = self.state("import", "b.yaml", code=1, stdin=kept.replace(now, before))
        self.assertIn("would not go on with this state", refused.stderr)
        self.assertFalse((self.folder / "b.state").exists())
        self.state("import", "b.yaml", stdin=kept)

    def test_plan(self):
        self.weir("run", "a.yaml")
        self.assertIn("goes on with", self.weir("check", "--state", "a.yaml").stdout)
        changed = PIPELINE.replace("NAME", "a").replace("name: sums", "name: totals")
        self.write("a.yaml", changed)
        plan = self.weir("check", "--state", "a.yaml", code=78).stdout
        self.assertIn("refused: no step has this name now", plan)
        self.assertRegex(plan, r"totals +begins empty")
        self.assertRegex(plan, r"once +goes on with \d+ keys")
        kept = self.state("export", "a.yaml").stdout
        self.write("b.yaml", changed.replace("name: a", "name: b"))
        self.assertIn("nothing was written", self.state("import", "b.yaml", code=1, stdin=kept).stderr)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=0))
