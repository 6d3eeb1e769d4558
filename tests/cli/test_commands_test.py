#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir test` says ok for what is right and shows what is wrong: outputs, order, fates, errors,
files that cannot be read; --update writes what it saw and nothing else; --crash and
--shuffle-batches find an engine that loses records; reports parse.

Method: small test files, run as a user would. An engine that loses is made with a planted fault."""
import json
import sys
import unittest
import xml.etree.ElementTree as xml

from commands import CommandTest

PIPELINE = """
name: orders
source: {kafka: {brokers: "nowhere:9092", topics: [orders, refunds]}}
steps:
  - map: 'if .bad then error("bad one") else {n, from: $record.topic} end'
sinks:
  - {name: even, when: .n % 2 == 0, kafka: {topic: even, key: '.n|tostring'}}
  - {name: odd, when: .n % 2 == 1, kafka: {topic: {jq: '"odd-\\(.n)"'}}}
dead_letter: {kafka: {topic: dead}}
"""

CASES = """# What the pipeline must do.
pipeline: orders.yaml
cases:
  - name: all ways out
    input:
      - {key: a, json: {n: 1}}       # the first
      - {key: b, json: {n: 2}, partition: 1}
      - {advance: 10s}
      - {key: c, json: {n: 3}, topic: refunds, time: 5, headers: {trace: t1}}
      - {restart: true}
      - {json: {bad: true}}
      - {value: not json}
      - {json: {n: 4}}
      - {end: true}
    expect:
      even:
        - {key: "2", topic: even, json: {from: orders, n: 2}}
        - {key: "4", json: {n: 4.0, from: orders}}
      odd:
        # of two topics
        - {key: a, topic: odd-1, json: {n: 1, from: orders}}
        - {key: c, json: {n: 3, from: refunds}, time: 5, headers: {trace: t1}}
      dead_letter:
        - {json: {bad: true}, headers: {weir.partition: "0", weir.offset: "1"}}
        - {value: not json, headers: {weir.topic: orders}}
    records: {ok: 4, dead: 2, filtered: 0}
    metrics: {stream_messages_processed_total: 6}

  - name: time is the clock's
    start: 2026-01-31T12:00:00Z
    input:
      - {json: {n: 2}}
      - {advance: 1m}
      - {json: {n: 4}}
    expect:
      even:
        - {key: "2", time: 2026-01-31T12:00:00Z}
        - {key: "4", time: 2026-01-31T12:01:00Z}
"""


class Test(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("orders.yaml", PIPELINE)
        self.write("t.yaml", CASES)

    def change(self, old, new):
        self.assertIn(old, CASES)
        self.write("t.yaml", CASES.replace(old, new))

    def test_what_is_right_passes_whatever_happens(self):
        done = self.weir("test", "--crash", "--shuffle-batches", "t.yaml")
        self.assertEqual(done.stdout, "ok    all ways out\nok    time is the clock's\n"
                                      "2 passed, 0 failed\n")
        self.assertEqual(done.stderr, "")

    def test_a_difference_is_shown_where_it_is(self):
        self.change("{n: 4.0, from: orders}", "{n: 4, from: [orders]}")
        done = self.weir("test", "t.yaml", code=1)
        self.assertIn("""FAIL  all ways out (t.yaml:4)
  even: 2 records expected (-), 2 came (+)
      {key: "2", json: {"from":"orders","n":2}, topic: "even"}
    - {key: "4", json: {"n":4,"from":["orders"]}}
    + {key: "4", json: {"n":4,"from":"orders"}, topic: "even"}
        .from: ["orders"] expected, "orders" came
""", done.stdout)
        self.assertIn("1 passed, 1 failed", done.stdout)

    def test_one_missing_record_is_one_line(self):
        self.change('        - {key: "2", topic: even, json: {from: orders, n: 2}}\n', "")
        done = self.weir("test", "t.yaml", code=1)
        lines = [line for line in done.stdout.splitlines() if line.startswith(("    -", "    +"))]
        self.assertEqual(lines, ['    + {key: "2", json: {"n":2,"from":"orders"}}'])

    def test_every_part_of_an_expectation_counts(self):
        for old, new, said in (
                ("key: \"4\"", "key: \"5\"", "even: 2 records"),
                ("time: 5, headers: {trace: t1}}\n      dead", "time: 6}\n      dead", "odd: 2 records"),
                ("topic: odd-1", "topic: odd-2", "odd: 2 records"),
                ("value: not json, headers", "value: not  json, headers", "dead_letter: 2 records"),
                ("{weir.topic: orders}", "{weir.topic: order}", "dead_letter: 2 records"),
                ("dead: 2, filtered: 0", "dead: 1", "records.dead: 1 expected, 2 came"),
                ("total: 6", "total: 7", "metrics.stream_messages_processed_total: 7 expected, 6"),
                ("12:01:00Z", "12:01:01Z", "even: 2 records"),
                ("      dead_letter:", "      dead_letter: []\n    error: boom\n    x:", "unknown key"),
                ("{end: true}", "{value: x}", "dead_letter: 2 records expected (-), 3 came")):
            with self.subTest(new=new):
                self.change(old, new)
                done = self.weir("test", "t.yaml", code=1)
                self.assertIn(said, done.stdout + done.stderr)

    def test_order_counts(self):
        first, second = [line for line in CASES.splitlines(True) if "- {key: \"" in line][:2]
        self.change(first + second, second + first)
        self.assertIn("even: 2 records expected", self.weir("test", "t.yaml", code=1).stdout)

    def test_a_sink_that_is_not_named_gets_nothing(self):
        self.change("    expect:\n      even:\n        - {key: \"2\", time",
                    "    expect:\n      odd: []\n      dead_letter:\n        - {key: \"2\", time")
        done = self.weir("test", "t.yaml", code=1)
        self.assertIn("even: 0 records expected (-), 2 came (+)", done.stdout)
        self.assertIn("dead_letter: 2 records expected (-), 0 came (+)", done.stdout)

    def test_a_pipeline_that_stops(self):
        self.write("orders.yaml", PIPELINE.replace("dead_letter: {kafka: {topic: dead}}\n", ""))
        text = """
pipeline: orders.yaml
cases:
  - name: stops
    input: [{json: {n: 2}}, {json: {bad: true}}, {json: {n: 4}}]
    expect: {even: [{key: "2"}]}
"""
        self.write("t.yaml", text)
        done = self.weir("test", "t.yaml", code=1)
        self.assertIn("the pipeline failed: steps[0].map: orders, partition 0, offset 1: bad one",
                      done.stdout)
        self.write("t.yaml", text + "    error: offset 1\n")
        self.weir("test", "--crash", "--shuffle-batches", "t.yaml")
        self.write("t.yaml", text + "    error: offset 2\n")
        self.assertIn('"offset 2" expected', self.weir("test", "t.yaml", code=1).stdout)

    def test_a_pipeline_in_the_file(self):
        text = """
# é: what stands before the pipeline does not move its places
pipeline:
  name: here
  source: {stdin: {}}
  steps: [{filter: .a}]
  sink: {stdout: {}}
cases:
  - {name: short, input: [{json: {a: z}}, {json: {}}], expect: {sink: [{json: {a: z}}]}}
"""
        self.write("t.yaml", text)
        self.weir("test", "t.yaml")
        self.write("t.yaml", text.replace(".a}]", ".b}]"))
        self.weir("test", "t.yaml", code=1)
        self.write("t.yaml", text.replace("filter", "filtr"))
        self.assertIn("t.yaml:6:12: error", self.weir("test", "t.yaml", code=1).stderr)

    def test_wrong_files_say_where(self):
        for old, new, said in (
                ("      - {advance: 10s}", "      - {advanced: 10s}", 't.yaml:8:10: error: unknown key'),
                ("advance: 10s", "advance: soon", "t.yaml:8:19: error:"),
                ("{json: {bad: true}}\n", "{json: {bad: true}, value: x}\n", "t.yaml:11:"),
                ("      even:\n        - {key: \"2\", topic", "      evn:\n        - {key: \"2\", topic",
                 'the pipeline has no sink "evn"'),
                ("topic: refunds", "source: nobody", 'the pipeline has no source "nobody"'),
                ("pipeline: orders.yaml", "pipeline: order.yaml", "order.yaml"),
                ("name: time is the clock's", "name: all ways out", "t.yaml:"),
                ("      - {json: {n: 4}}\n      - {end: true}",
                 "      - {end: true}\n      - {json: {n: 4}}", "nothing can happen after the end"),
                ("    expect:\n      even:\n        - {key: \"2\", time", "    expect:\n        - {key: \"2\", time",
                 "`expect` is a mapping")):
            with self.subTest(new=new):
                self.change(old, new)
                done = self.weir("test", "t.yaml", code=1)
                self.assertIn(said, done.stderr)
                self.assertNotIn("ok ", done.stdout)
        self.assertIn("nothing.yaml", self.weir("test", "nothing.yaml", code=1).stderr)

    def test_update_changes_what_differs_and_nothing_else(self):
        self.change("json: {n: 4.0, from: orders}", "json: {n: 7}")
        wrong = self.read("t.yaml")
        done = self.weir("test", "--update", "t.yaml")
        self.assertEqual(done.stderr, "t.yaml: 1 case updated\n")
        updated = self.read("t.yaml")
        before, after = wrong.splitlines(), updated.splitlines()
        self.assertEqual(len(before), len(after))
        changed = [new for old, new in zip(before, after) if old != new]
        self.assertEqual(changed, ['        - {key: "2", json: {"n":2,"from":"orders"}, topic: "even"}',
                                   '        - {key: "4", json: {"n":4,"from":"orders"}, topic: "even"}'])
        self.weir("test", "--update", "t.yaml")
        self.assertEqual(self.read("t.yaml"), updated)

    def test_update_writes_what_was_missing(self):
        text = CASES[:CASES.index("    expect:")] + "    # the end\n"
        self.write("t.yaml", text)
        self.weir("test", "t.yaml", code=1)
        self.weir("test", "--update", "t.yaml")
        self.assertTrue(self.read("t.yaml").endswith("    # the end\n"))
        self.assertIn('      dead_letter:\n        - {json: {"bad":true}}\n        - {value: "not json"}\n',
                      self.read("t.yaml"))
        self.weir("test", "t.yaml")

    def test_update_keeps_a_dollar(self):
        self.write("t.yaml", """
pipeline: {name: d, source: {stdin: {}}, sink: {stdout: {}}}
cases:
  - name: dollar
    input: [{value: "$${HOME} $x"}]
""")
        self.weir("test", "--update", "t.yaml")
        self.assertIn('- {value: "$${HOME} $x"}', self.read("t.yaml"))
        self.weir("test", "t.yaml")

    def test_what_is_no_text_makes_no_broken_file(self):
        self.write("t.yaml", """
pipeline: {name: d, source: {stdin: {}}, steps: [{map: '@base64d'}], sink: {stdout: {}}}
cases:
  - name: bytes
    input: [{json: "/w=="}]
""")
        self.weir("test", "--update", "t.yaml")
        self.weir("test", "t.yaml")

    def test_processing_time_survives(self):
        self.write("t.yaml", """
pipeline:
  name: w
  source: {stdin: {}}
  steps:
    - window: {session: 5s, key: .u, aggregate: {n: count}, emit: {every: 10s}}
  sink: {stdout: {}}
cases:
  - name: early results
    input:
      - {json: {u: a}, time: 1000}
      - {advance: 5s}
      - {json: {u: a}, time: 2000}
      - {advance: 25s}
      - {restart: true}
      - {json: {u: a}, time: 20000}
      - {end: true}
    expect:
      sink:
        - json: {key: a, window: {start: 1000, end: 7000, kind: early}, n: 2}
        - json: {key: a, window: {start: 1000, end: 7000, kind: final}, n: 2}
        - json: {key: a, window: {start: 20000, end: 25000, kind: final}, n: 1}
""")
        self.weir("test", "--shuffle-batches", "--crash", "t.yaml")

    def test_one_case(self):
        self.assertEqual(self.weir("test", "--case", "clock", "t.yaml").stdout,
                         "ok    time is the clock's\n1 passed, 0 failed\n")
        self.assertIn('no case has "nothing"',
                      self.weir("test", "--case", "nothing", "t.yaml", code=1).stderr)

    PRICES = """
pipeline:
  name: prices
  source: {kafka: {brokers: "nowhere:9092", topic: orders}}
  steps:
    - nats_request: {url: "nowhere:4222", subject: {jq: '"prices." + .shop'}, request: .item,
                     result: '{item, got: $answer}'}
    - nats_kv: {url: "nowhere:4222", bucket: b, key: .item, answer: text, result: '. + {kind: $answer}'}
  sink: {kafka: {topic: priced}}
  on_error: skip
cases:
"""

    def test_steps_that_ask(self):
        """By table, by program, with another answer later, with an error, after a silence; the same again
        with crashes at each question and with answers that get lost."""
        self.write("asks.yaml", self.PRICES + """
  - name: all answers
    answers:
      nats_request:
        tea: {price: 3}
        jam: null
      nats_kv: {tea: drink, mud: soil}
    input:
      - {json: {shop: a, item: tea}}
      - {json: {shop: a, item: jam}, partition: 1}
      - answers: {nats_request: '{price: 4, shop: $record.topic}'}
      - {json: {shop: b, item: tea}}
      - answers: {nats_request: 'if . == "mud" then error("404: we have none") else {} end'}
      - {json: {shop: a, item: mud}}
      - {json: {shop: a, item: tea}, partition: 1}
      - answers: {nats_request: {}}
      - {json: {shop: a, item: silk}}
      - {advance: 1m}
      - answers: {nats_request: {silk: 9}}
      - {json: {shop: a, item: silk}}
      - {end: true}
    expect:
      sink:
        - {json: {item: tea, got: {price: 3}, kind: drink}}
        - {json: {item: jam, got: null, kind: null}}
        - {json: {item: tea, got: {price: 4, shop: prices.b}, kind: drink}}
        - {json: {item: tea, got: {}, kind: drink}}
        - {json: {item: silk, got: 9, kind: null}}
        - {json: {item: silk, got: 9, kind: null}}
    records: {ok: 6, skipped: 1}
""")
        self.weir("test", "asks.yaml")
        self.weir("test", "--shuffle-batches", "--crash", "asks.yaml")

    def test_steps_that_ask_beside_a_window(self):
        """A window looks at the clock ten times a second; a tick that passes a step is no question."""
        shapes = {"tumbling": "10s", "sliding": {"size": "10s", "every": "10s"}, "session": "10s", "count": 2}
        asks = {"nats_kv": {"bucket": "b", "key": ".k"}, "nats_request": {"subject": "s", "request": ".k"}}
        for name, options in asks.items():
            ask = {name: {"url": "nowhere:4222", "result": ". + {got: $answer}", **options}}
            for shape, size in shapes.items():
                window = {"window": {shape: size, "key": ".k", "time": ".t", "aggregate": {"n": "count"}}}
                for steps in ([ask, window], [window, {"map": "{k: .key, n}"}, ask]):
                    with self.subTest(steps=steps):
                        self.write("asks.yaml", json.dumps({
                            "pipeline": {"name": "asks",
                                         "source": {"kafka": {"brokers": "nowhere:9092", "topic": "in"}},
                                         "steps": [*steps, {"map": "{n}"}], "sink": {"kafka": {"topic": "out"}}},
                            "cases": [{"name": "one key", "answers": {name: {"a": 1, "b": 2}},
                                       "input": [{"json": {"k": "a", "t": 1000}}, {"json": {"k": "a", "t": 2000}},
                                                 {"restart": True}, {"json": {"k": "b", "t": 100000}},
                                                 {"advance": "1s"}],
                                       "expect": {"sink": [{"json": {"n": 2}}]}}]}))
                        self.weir("test", "--shuffle-batches", "--crash", "asks.yaml")

    def test_other_answer_than_expected(self):
        self.write("asks.yaml", self.PRICES + """
  - name: one
    answers: {nats_request: '1', nats_kv: {tea: drink}}
    input: [{json: {shop: a, item: tea}}]
    expect: {sink: [{json: {item: tea, got: 2, kind: drink}}]}
""")
        self.assertIn(".got: 2 expected, 1 came", self.weir("test", "asks.yaml", code=1).stdout)

    def test_question_without_answer(self):
        for end in ("", ", {end: true}"):
            self.write("asks.yaml", self.PRICES + f"""
  - name: silence
    answers: {{nats_request: {{tea: 1}}, nats_kv: {{}}}}
    input: [{{json: {{shop: a, item: mud}}}}{end}]
    expect: {{}}
""")
            self.assertEqual(self.weir("test", "asks.yaml", code=1).stdout,
                             "FAIL  silence (asks.yaml:13)\n  nats_request gets no answer to mud\n"
                             "0 passed, 1 failed\n")

    ASKS = """pipeline:
  name: asks
  source: {stdin: {}}
  branches:
    - name: one
      steps: [{nats_kv: {url: "nowhere:4222", bucket: b, key: .k, result: .}}]
      sink: {stdout: {}}
    - name: two
      steps:
        - nats_kv: {url: "nowhere:4222", bucket: b, key: .k, result: .}
        - name: second
          nats_request: {url: "nowhere:4222", subject: b, result: .}
      sink: {stdout: {}}
cases:
"""

    def wrong_answers(self, case, said):
        self.write("asks.yaml", self.ASKS + case)
        self.assertEqual(self.weir("test", "asks.yaml", code=1).stderr, said)

    def test_wrong_answers(self):
        hint = ("      = hint: Write the answers below the name of their step: `answers: {nats_kv: {KEY: VALUE}}`, "
                "or a jq program that gets the question.\n")
        self.wrong_answers("  - {name: one, answers: {second: [1]}}\n", """\
asks.yaml:15:35: error: the answers of a step are a table or a jq program, not a list
   15 |   - {name: one, answers: {second: [1]}}
      |                                   ^
""" + hint)
        self.wrong_answers("  - {name: one, answers: nobody}\n", """\
asks.yaml:15:26: error: `answers` is a mapping, not text
   15 |   - {name: one, answers: nobody}
      |                          ^
""" + hint)
        self.wrong_answers("  - {name: one, answers: {second: '.a | ('}}\n", """\
asks.yaml:15:42: error: unexpected the end of the program, expected a value or a path
   15 |   - {name: one, answers: {second: '.a | ('}}
      |                                          ^
""")
        self.wrong_answers("  - {name: one, input: [{answers: {second: .a}, end: true}]}\n", """\
asks.yaml:15:49: error: only one of "value", "json", "tombstone", "advance", "jump", "jump_back", "restart", "end" and "answers" can be given
   15 |   - {name: one, input: [{answers: {second: .a}, end: true}]}
      |                                                 ^~~
      = hint: A line of `input` is a record (value, json or tombstone) or something that happens.
""")
        self.wrong_answers("  - {name: one, answers: {'one.steps[0].nats_kv': {}, second: {}, nats_kv: {}}}\n", """\
asks.yaml:15:12: error: the step two.steps[0].nats_kv asks, and nothing says what is answered
   15 |   - {name: one, answers: {'one.steps[0].nats_kv': {}, second: {}, nats_kv: {}}}
      |            ^~~
      = hint: Write `answers: {'two.steps[0].nats_kv': {KEY: VALUE}}` beside `input`, or above the cases for all of them.
asks.yaml:15:67: error: the pipeline has no step "nats_kv" that asks
   15 |   - {name: one, answers: {'one.steps[0].nats_kv': {}, second: {}, nats_kv: {}}}
      |                                                                   ^~~~~~~
      = hint: Those that ask: one.steps[0].nats_kv, two.steps[0].nats_kv, second.
""")
        self.write("asks.yaml", "pipeline: {name: d, source: {stdin: {}}, sink: {stdout: {}}}\n"
                                "answers: {nats_kv: {}}\ncases: [{name: one}]\n")
        self.assertEqual(self.weir("test", "asks.yaml", code=1).stderr, """\
asks.yaml:2:11: error: the pipeline has no step "nats_kv" that asks
    2 | answers: {nats_kv: {}}
      |           ^~~~~~~
      = hint: None of its steps does.
""")

    def test_reports(self):
        self.change("dead: 2", "dead: 3")
        done = self.weir("test", "--format", "json", "--junit", "r.xml", "t.yaml", code=1)
        report = json.loads(done.stdout)
        self.assertEqual((report["passed"], report["failed"]), (1, 1))
        case = report["cases"][0]
        self.assertEqual((case["file"], case["line"], case["name"], case["passed"]),
                         ("t.yaml", 4, "all ways out", False))
        self.assertEqual(case["difference"], "  records.dead: 3 expected, 2 came\n")
        root = xml.fromstring(self.read("r.xml"))
        self.assertEqual((root.get("tests"), root.get("failures")), ("2", "1"))
        cases = root.findall("testsuite/testcase")
        self.assertEqual([c.get("name") for c in cases], ["all ways out", "time is the clock's"])
        self.assertEqual([len(c) for c in cases], [1, 0])
        self.assertIn("3 expected, 2 came", cases[0][0].text)

    def test_crash_finds_what_loses_records(self):
        self.write("t.yaml", """
pipeline: {name: d, source: {stdin: {}}, sink: {stdout: {}}}
cases:
  - name: two
    input: [{value: a}, {value: b}]
    expect: {sink: [{value: a}, {value: b}]}
""")
        fault = {"WEIR_UNSAFE_TESTING": "1", "WEIR_FAULT": "commit_early"}
        self.weir("test", "t.yaml", **fault)
        done = self.weir("test", "--crash", "t.yaml", code=1, **fault)
        self.assertRegex(done.stdout, r"a crash before call \d+ \(\w+\) changes the outputs\n"
                                      r"  sink: 2 records expected \(-\), 1 came \(\+\)")
        self.weir("test", "--crash", "t.yaml")

    def test_windows_survive(self):
        self.write("t.yaml", """
pipeline:
  name: w
  source: {kafka: {brokers: "nowhere:9092", topic: orders}}
  steps:
    - window: {tumbling: 10s, key: .user, grace: 1s, aggregate: {n: count, total: sum(.a)}}
  sink: {kafka: {topic: out}}
cases:
  - name: tumbling
    partitions: 2
    input:
      - {json: {user: a, a: 1}, time: 1000}
      - {json: {user: b, a: 5}, time: 2000}
      - {json: {user: a, a: 2}, time: 3000, partition: 1}
      - {json: {user: a, a: 2}, time: 9999}
      - {json: {user: a, a: 7}, time: 10500}
      - {restart: true}
      - {json: {user: a, a: 7}, time: 5000}
      - {json: {user: a, a: 1}, time: 11000}
      - {json: {user: a, a: 1}, time: 4000}
      - {json: {user: a, a: 1}, time: 30000}
    expect:
      sink:
        - {key: a, time: 9999, json: {key: a, window: {start: 0, end: 10000, kind: final}, n: 3, total: 10}}
        - {key: b, json: {key: b, window: {start: 0, end: 10000, kind: final}, n: 1, total: 5}}
        - {key: a, json: {key: a, window: {start: 10000, end: 20000, kind: final}, n: 2, total: 8}}
    records: {late: 1, ok: 8}
""")
        self.weir("test", "--crash", "--shuffle-batches", "t.yaml")


if __name__ == "__main__":
    sys.argv = sys.argv[:1]
    unittest.main()
