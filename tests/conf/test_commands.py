#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: check, schema, list, docs and environment-only explain do what their help says, with the exit
codes of the design, and never show a secret.

Method: run the program in an environment of its own and look at output and exit codes.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

GOOD = "name: a\nsource: {kafka: {brokers: 'k:9092', topic: t}}\nsink: drop\n"
BAD = "name: a\nsource: {kafka: {brokers: 'k:9092', topik: t}}\nsink: drop\n"
KAFKA = {"KAFKA_BROKERS": "k1:9092", "TOPIC": "orders", "OUTPUT": "stdout:"}
SECRET = "canary-8f3a"


def weir(*arguments, env=None, stdin="", folder=None):
    keep = {name: os.environ[name] for name in ("PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS") if name in os.environ}
    return subprocess.run([os.environ["WEIR_BIN"], *arguments], env={**keep, **(env or {})}, input=stdin,
                          cwd=folder, capture_output=True, text=True, timeout=60, check=False)


class Commands(unittest.TestCase):
    def setUp(self):
        self.temporary = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self.temporary.name)
        for name, text in (("good.yaml", GOOD), ("bad.yaml", BAD)):
            (self.folder / name).write_text(text)

    def tearDown(self):
        self.temporary.cleanup()

    def test_check_takes_several_files(self):
        done = weir("check", "good.yaml", "bad.yaml", "none.yaml", folder=self.folder)
        self.assertEqual(done.returncode, 78)
        self.assertEqual(done.stdout, "good.yaml: ok\n")
        self.assertIn('bad.yaml:2:37: error: unknown key "topik"', done.stderr)
        self.assertIn("none.yaml: error: cannot be opened: No such file", done.stderr)

    def test_check_reads_standard_input(self):
        self.assertEqual(weir("check", "-", stdin=GOOD).returncode, 0)
        done = weir("check", "-", stdin=BAD)
        self.assertEqual(done.returncode, 78)
        self.assertIn("<stdin>:2:37", done.stderr)

    def test_check_as_json(self):
        done = weir("check", "--format", "json", "bad.yaml", "good.yaml", folder=self.folder)
        self.assertEqual((done.returncode, done.stderr), (78, ""))
        report = json.loads(done.stdout)
        self.assertEqual(report["errors"], 1)
        diagnostic = report["diagnostics"][0]
        self.assertEqual((diagnostic["file"], diagnostic["line"], diagnostic["column"]), ("bad.yaml", 2, 37))
        self.assertEqual((diagnostic["end_line"], diagnostic["end_column"]), (2, 42))
        self.assertEqual((diagnostic["severity"], diagnostic["suggestion"]), ("error", "topic"))
        self.assertEqual(diagnostic["path"], "source.kafka.topik")
        done = weir("check", "--format=json", "good.yaml", folder=self.folder)
        self.assertEqual((done.returncode, json.loads(done.stdout)), (0, {"errors": 0, "diagnostics": []}))

    def test_wrong_use(self):
        for arguments in (["check"], ["check", "--format", "xml", "a"], ["check", "--nonsense"], ["schema", "x"],
                          ["list", "x"], ["docs"], ["docs", "kafkaa"], ["nonsense"]):
            done = weir(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""), arguments)
            self.assertNotEqual(done.stderr, "")

    def test_help(self):
        for command in ("check", "schema", "list", "docs"):
            done = weir(command, "--help")
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            self.assertIn(f"Usage: weir {command}", done.stdout)
            self.assertIn("Exit:", done.stdout)

    def test_list_and_docs(self):
        done = weir("list")
        for word in ("sources\n", "steps\n", "sinks\n", "  kafka ", "  filter ", "  drop "):
            self.assertIn(word, done.stdout)
        self.assertNotIn("filter", weir("list", "sinks").stdout)
        done = weir("docs", "kafka")
        self.assertIn("source kafka:", done.stdout)
        self.assertIn("sink kafka:", done.stdout)
        self.assertNotIn("source kafka:", weir("docs", "sink.kafka").stdout)
        self.assertTrue(weir("docs", "--markdown", "filter").stdout.startswith("# step: filter\n"))
        self.assertIn("commit_interval", weir("docs", "pipeline").stdout)
        self.assertTrue(all(len(line) <= 100 for line in weir("docs", "pipeline").stdout.splitlines()))
        self.assertIn('did you mean "kafka"?', weir("docs", "kafak").stderr)

    def test_explain_says_who_is_asked_again(self):
        pipeline = (pathlib.Path(__file__).parent / "pipelines" / "answers_in_time.yaml").read_text()
        text = weir("explain", "-", stdin=pipeline).stdout
        self.assertIn("""
questions
  steps[0].nats_kv         asks again when nothing came for 1m; commits do not wait for its answers
  steps[2].nats_request    asks again when nothing came for 5s; commits wait for its answers
  a record may ask several times, also after a crash or an abort, and then get another answer;
  the guarantee is that of the outputs: who is asked must bear repetitions, each with the same id
""", text)
        self.assertNotIn("questions", weir("explain", "-", stdin=GOOD).stdout)

    def test_the_environment_is_a_pipeline(self):
        env = {**KAFKA, "CONSUMER_GROUP": "billing", "WORKER_COUNT": "3", "FLUSH_INTERVAL": "250ms",
               "STEPS": 'select(.paid) | {id, who: "it\'s"}'}
        done = weir("explain", env=env)
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ("name: 'billing'\n", "    topic: 'orders'\n", "batch_size: 100\n", "lanes: '3'\n",
                     "  - map: 'select(.paid) | {id, who: \"it''s\"}'\n", "sink: stdout\n",
                     "commit_interval: '250ms'\n", "environment WORKER_COUNT", "environment TOPIC"):
            self.assertIn(text, done.stdout)

    def test_the_environment_amounts_to_a_file(self):
        text = weir("explain", env=KAFKA).stdout.partition("\n")[2].partition("\n\n")[0] + "\n"
        (self.folder / "made.yaml").write_text(text)
        done = weir("check", "made.yaml", folder=self.folder)
        self.assertEqual((done.returncode, done.stdout), (0, "made.yaml: ok\n"), text + done.stderr)

    def test_variables_of_missing_features_are_errors(self):
        done = weir("explain", env={**KAFKA, "MAX_RETRIES": "3"})
        self.assertEqual((done.returncode, done.stdout), (78, ""))
        self.assertIn("environment: error: MAX_RETRIES is set, but this build has no", done.stderr)

    def test_the_environment_names_one_system(self):
        redis = {"REDIS_URL": "localhost:6379", "STREAM_NAME": "orders", "OUTPUT": "stdout:"}
        done = weir("explain", env={**redis, "DLQ_TOPIC": "dead"})
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ("    stream: 'orders'\n", "dead_letter:\n  redis:\n", "    stream: 'dead'\n"):
            self.assertIn(text, done.stdout)
        nats = {"NATS_URL": "localhost:4222", "STREAM_NAME": "ORDERS", "CONSUMER_GROUP": "paid",
                "OUTPUT": "nats:///orders.paid", "DLQ_TOPIC": "orders.dead"}
        done = weir("explain", env=nats)
        self.assertEqual(done.returncode, 0, done.stderr)
        for text in ("    stream: 'ORDERS'\n    durable: 'paid'\n", "sink:\n  nats:\n    subject: 'orders.paid'\n",
                     "dead_letter:\n  nats:\n", "    subject: 'orders.dead'\n"):
            self.assertIn(text, done.stdout)
        done = weir("explain", env={**KAFKA, **redis})
        self.assertEqual(done.returncode, 78)
        self.assertIn("KAFKA_BROKERS and REDIS_URL are both set", done.stderr)
        done = weir("explain", env={**KAFKA, "STREAM_NAME": "orders"})
        self.assertIn("STREAM_NAME is set, but REDIS_URL is not", done.stderr)

    def test_wrong_variables_are_errors(self):
        for name, value, message in (("BATCH_SIZE", "many", '"batch_size" must be an integer, not "many"'),
                                     ("WORKER_COUNT", "0", '"lanes" must be between 1 and 1024, not 0'),
                                     ("OUTPUT", "ftp://x", "OUTPUT is not a URL that this build can write to"),
                                     ("OUTPUT", "kafka://host", "OUTPUT names no topic"),
                                     ("OUTPUT", "kafka://u:p@host/t", "OUTPUT carries more than"),
                                     ("OUTPUT", "kafka://host/t?akcs=1", 'unknown key "akcs" in sink kafka')):
            done = weir("explain", env={**KAFKA, name: value})
            self.assertEqual((done.returncode, done.stdout), (78, ""))
            self.assertIn(message, done.stderr)
        done = weir("explain")
        self.assertEqual(done.returncode, 78)
        self.assertIn("KAFKA_BROKERS is not set", done.stderr)

    def test_secrets_are_never_shown(self):
        (self.folder / "key").write_text(SECRET + "\n")
        (self.folder / "key").chmod(0o600)
        text = GOOD.replace("topic: t", "topic: t, auth: {user: u, password: '${PASSWORD}'}, "
                            "properties: {client.id: '${file:key}', ssl.keystore.password: %s}" % SECRET)
        for name, body in (("explain.yaml", text), ("wrong.yaml", text + f"batch_size: '${{file:key}}'\n"),
                           ("typo.yaml", text.replace("user:", "usr:"))):
            path = self.folder / name
            path.write_text(body)
            path.chmod(0o600)
            for command in (["explain", name], ["check", name], ["check", "--format", "json", name]):
                done = weir(*command, env={"PASSWORD": SECRET}, folder=self.folder)
                self.assertNotIn(SECRET, done.stdout + done.stderr, command)
            self.assertEqual(done.returncode, 0 if name == "explain.yaml" else 78)

    def test_no_colours_without_a_terminal(self):
        self.assertNotIn("\033", weir("check", "-", stdin=BAD).stderr)


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=0))
