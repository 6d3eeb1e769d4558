#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: records take the way the graph says: branches, several sinks with `when`, several sources,
keys, 0..n results, and failures that stop or skip.

Method: small pipelines from files to files, run to their end; outputs are compared whole."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

WEIR = os.environ.get("WEIR_BIN", "build/release/weir")


class Graph(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, name, records):
        lines = [r if isinstance(r, str) else json.dumps(r, separators=(",", ":")) for r in records]
        (self.folder / name).write_text("".join(line + "\n" for line in lines))

    def run_weir(self, text, code=0):
        path = self.folder / "pipeline.yaml"
        path.write_text("name: graph\nhttp: off\nlog: {format: json}\n" + text)
        done = subprocess.run([pathlib.Path(WEIR).resolve(), "run", "pipeline.yaml"], cwd=self.folder,
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, code, done.stderr)
        return [json.loads(line) for line in done.stderr.splitlines()]

    def lines(self, name):
        return (self.folder / name).read_text().splitlines()

    def test_branches_each_get_what_they_ask_for(self):
        self.write("in", [{"n": n} for n in range(10)])
        self.run_weir("""
source: {file: {path: in}}
steps: [{map: '{n, even: (.n % 2 == 0)}'}]
branches:
  - name: evens
    when: .even
    steps: [{map: .n}]
    sink: {file: {path: evens}}
  - name: big
    when: .n >= 7
    sink: {file: {path: big}}
  - name: none
    when: .n > 100
    sink: {file: {path: none}}
""")
        self.assertEqual(self.lines("evens"), ["0", "2", "4", "6", "8"])
        self.assertEqual(self.lines("big"), ['{"n":7,"even":false}', '{"n":8,"even":true}',
                                             '{"n":9,"even":false}'])
        self.assertEqual((self.folder / "none").exists() and self.lines("none") or [], [])

    def test_several_sinks_with_when(self):
        self.write("in", [{"n": n} for n in range(6)])
        self.run_weir("""
source: {file: {path: in}}
sinks:
  - file: {path: all}
  - {when: .n < 2, file: {path: low}}
""")
        self.assertEqual(len(self.lines("all")), 6)
        self.assertEqual(self.lines("low"), ['{"n":0}', '{"n":1}'])

    def test_several_sources(self):
        self.write("a", [{"from": "a", "n": n} for n in range(100)])
        self.write("b", [{"from": "b", "n": n} for n in range(50)])
        self.run_weir("""
sources:
  - {name: first, file: {path: a}}
  - {name: second, file: {path: b}}
sink: {file: {path: out}}
""")
        records = [json.loads(line) for line in self.lines("out")]
        for name, count in (("a", 100), ("b", 50)):
            self.assertEqual([r["n"] for r in records if r["from"] == name], list(range(count)))

    def test_none_one_and_several_results(self):
        self.write("in", [{"n": n} for n in range(4)])
        self.run_weir("""
source: {file: {path: in}}
steps: [{map: 'range(.n)'}]
sink: {file: {path: out}}
""")
        self.assertEqual(self.lines("out"), ["0", "0", "1", "0", "1", "2"])

    def test_unchanged_bytes_pass_untouched(self):
        strange = '{"a" : 1.10, "b":100000000000000000000000,  "a":2}'
        self.write("in", [strange])
        self.run_weir("""
source: {file: {path: in}}
steps: [{filter: .a == 2}]
sink: {file: {path: out}}
""")
        self.assertEqual(self.lines("out"), [strange])

    def test_key_and_record(self):
        self.write("in", [{"user": "u1"}, {"user": None}, {"user": 5}])
        self.run_weir("""
source: {file: {path: in}}
steps: [{key: .user}, {map: '$record.key'}]
sink: {file: {path: out}}
""")
        self.assertEqual(self.lines("out"), ['"u1"', "null", '"5"'])

    def test_log_says_what_it_is_told_and_where(self):
        self.write("in", [{"id": 7, "secret": "hush"}])
        log = self.run_weir("""
source: {file: {path: in}}
steps: [{log: '"order \\(.id)"'}]
sink: drop
""")
        line = next(entry for entry in log if entry["message"] == "record")
        self.assertEqual((line["text"], line["topic"], line["partition"], line["offset"]),
                         ("order 7", "in", 0, 0))
        self.assertNotIn("hush", json.dumps(log))

    def test_stop_names_the_place_and_keeps_what_came_before(self):
        self.write("in", ['{"n":1}', '{"n":2}', '{"n":"x"}', '{"n":4}'])
        pipeline = """
source: {file: {path: in}}
steps: [{map: .n + 1}]
sink: {file: {path: out}}
"""
        log = self.run_weir(pipeline, code=1)
        self.assertEqual(self.lines("out"), ["2", "3"])
        error = next(entry for entry in log if entry["message"] == "ended")
        self.assertIn("offset 16", error["error"])
        self.assertIn("steps[0].map", error["path"])
        self.write("in", ['{"n":1}', '{"n":2}', '{"n":30}', '{"n":4}'])
        self.run_weir(pipeline)  # mended: goes on where it stopped
        self.assertEqual(self.lines("out"), ["2", "3", "31", "5"])

    def test_skip_leaves_out_and_goes_on(self):
        self.write("in", ['{"n":1}', "not json", '{"n":"x"}', '{"n":4}'])
        log = self.run_weir("""
source: {file: {path: in}}
steps: [{map: .n + 1}]
sink: {file: {path: out}}
on_error: skip
""")
        self.assertEqual(self.lines("out"), ["2", "5"])
        skipped = [entry["offset"] for entry in log if entry["message"] == "record skipped"]
        self.assertEqual(skipped, [8, 17])


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    unittest.main()
