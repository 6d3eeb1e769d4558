#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir pipe` runs what `--explain` shows, understands URLs of every component, and answers a
wrong URL with what to write instead.

Method: one-liners over files and standard streams; what --explain prints is checked and run as a file."""
import sys
import unittest

from commands import CommandTest

ORDERS = '{"id":1,"paid":true}\n{"id":2}\n{"id":3,"paid":true}\n'


class Pipe(CommandTest):
    def setUp(self):
        super().setUp()
        self.write("orders.jsonl", ORDERS)

    def explain(self, *arguments, **options):
        return self.weir("pipe", "--explain", *arguments, **options).stdout

    def test_files_and_streams(self):
        self.assertEqual(self.weir("pipe", "orders.jsonl", "select(.paid) | .id", "-").stdout, "1\n3\n")
        self.assertEqual(self.weir("pipe", "-", ".id", "-", stdin=ORDERS).stdout, "1\n2\n3\n")
        self.assertEqual(self.weir("pipe", "orders.jsonl", "-").stdout, ORDERS)
        self.weir("pipe", f"file://{self.folder}/orders.jsonl", ".id", "file:ids.txt")
        self.assertEqual(self.read("ids.txt"), "1\n2\n3\n")
        self.weir("pipe", "orders.jsonl", "drop:")

    def test_the_same_line_twice_does_the_same_twice(self):
        for _ in range(2):
            done = self.weir("pipe", "orders.jsonl", ".id", "ids.txt")
            self.assertEqual((done.stdout, done.stderr), ("", ""))
        self.assertEqual(self.read("ids.txt"), "1\n2\n3\n" * 2)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"orders.jsonl", "ids.txt"})

    def test_options_stand_in_the_query(self):
        self.assertEqual(self.weir("pipe", "generate:?count=3", ".n", "-").stdout, "0\n1\n2\n")
        self.write("gaps.txt", "1\n\n2\n")
        self.weir("pipe", "file:gaps.txt?empty_lines=%6beep", "all.txt")
        self.assertEqual(self.read("all.txt"), "1\n\n2\n")
        text = self.explain("kafka://h1:9092,h2:9093/orders?start=latest&group=g&tls.ca=/ca.pem&tls.verify=false"
                            "&properties.client.id=me", '{id: "it\'s ${HOME}"}',
                            "kafka:///out%2Fput?key=.id&compression=zstd", "--name", "mine")
        self.assertEqual(text, """\
name: 'mine'
source:
  kafka:
    brokers: 'h1:9092,h2:9093'
    topic: 'orders'
    start: 'latest'
    group: 'g'
    tls:
      ca: '/ca.pem'
      verify: 'false'
    properties:
      client.id: 'me'
steps:
  - map: '{id: "it''s $${HOME}"}'
sink:
  kafka:
    topic: 'out/put'
    key: '.id'
    compression: 'zstd'
http: off
log: {level: warn, format: text}
""")

    def test_what_is_explained_can_be_run(self):
        self.write("made.yaml", self.explain("orders.jsonl", ".id", "ids.txt"))
        self.assertEqual(self.weir("check", "made.yaml").stdout, "made.yaml: ok\n")
        self.weir("run", "made.yaml")
        self.assertEqual(self.read("ids.txt"), "1\n2\n3\n")
        self.assertIn("state: {log: none}\n", self.read("made.yaml"))

    def test_secrets_come_from_the_environment_and_are_not_shown(self):
        url = "kafka://h:9092/t?auth.user=me&auth.password=${PASSWORD}"
        text = self.explain(url, "-", PASSWORD="canary-1")
        self.assertIn("password: '${PASSWORD}'", text)
        done = self.weir("pipe", "--explain", url + "&topik=1", "-", code=78, PASSWORD="canary-1")
        self.assertNotIn("canary", done.stdout + done.stderr)
        self.assertIn("PASSWORD is not set", self.weir("pipe", url, "-", code=78).stderr)

    def test_errors_say_what_to_write(self):
        for arguments, answers in (
                (["kafka://h/orders?strat=latest", "-"], ['unknown key "strat"', 'did you mean "start"?']),
                (["generate:?count=many", "-"], ['"count" must be an integer']),
                (["generatr:?count=1", "-"], ["SOURCE is not a URL", 'did you mean "generate"?']),
                (["kafak://h/t", "-"], ["SOURCE is not a URL", 'did you mean "kafka"?']),
                (["orders.jsonl", "ftp://h/t"], ["SINK is not a URL", "kafka://HOST:PORT/TOPIC", "stdout:"]),
                (["orders.jsonl", "stdin:"], ["SINK is not a URL that this build can write to"]),
                (["kafka://h", "-"], ["SOURCE names no topic", "Write kafka://HOST:PORT/TOPIC."]),
                (["kafka://me:secret@h/t", "-"], ["carries more than a host", "auth.user=NAME"]),
                (["generate://h?count=1", "-"], ["generate: has no host"]),
                (["file://host", "-"], ["file: has no host", "file:///PATH"]),
                (["file:orders.jsonl?empty_lines", "-"], ['"empty_lines" is not NAME=VALUE']),
                (["file:a?empty_lines=%zz", "-"], ["% without two hexadecimal digits", "%25"]),
                (["orders.jsonl", ".id | ", "-"], ["unexpected the end of the program"]),
                (["--name", "a b", "orders.jsonl", "-"], ['"name"'])):
            done = self.weir("pipe", *arguments, code=78)
            for answer in answers:
                self.assertIn(answer, done.stderr)
            self.assertNotIn("secret", done.stderr)
            self.assertEqual(done.stdout, "")
        self.assertIn("SINK is missing", self.weir("pipe", "orders.jsonl", code=2).stderr)
        self.assertIn("No such file", self.weir("pipe", "none.txt", "-", code=78).stderr)

    def test_a_colon_in_a_name_is_no_url(self):
        self.write("a:b.txt", "1\n")
        self.assertEqual(self.weir("pipe", "a:b.txt", "-").stdout, "1\n")


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=0))
