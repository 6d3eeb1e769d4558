#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: an editor that is given the schema marks what weir refuses, completes keys and explains them.

Method: a real YAML language server (the one that editors run) is spoken to over its protocol: it opens
good and wrong pipelines that name the schema in their first line, and is asked for completions and for
the text at a key."""
import json
import os
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SERVER = ROOT / "build" / "deps" / "yaml-language-server" / "node_modules" / "yaml-language-server"
MODELINE = "# yaml-language-server: $schema=weir.schema.json\n"


class Server:
    """A process and the messages that come from it."""

    def __init__(self, folder):
        self.folder = folder
        self.process = subprocess.Popen(
            ["node", str(SERVER / "bin" / "yaml-language-server"), "--stdio"], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.messages = queue.Queue()
        self.asked = 0
        threading.Thread(target=self._read, daemon=True).start()
        self.ask("initialize", processId=os.getpid(), rootUri=folder.as_uri(), capabilities={
            "textDocument": {"publishDiagnostics": {}, "completion": {}, "hover": {}}})
        self.tell("initialized")

    def close(self):
        self.process.kill()
        self.process.wait(10)
        self.process.stdin.close()
        self.process.stdout.close()

    def _read(self):
        size = 0
        while line := self.process.stdout.readline():
            if line.lower().startswith(b"content-length:"):
                size = int(line.split(b":")[1])
            elif line == b"\r\n":
                self.messages.put(json.loads(self.process.stdout.read(size)))

    def _send(self, message):
        data = json.dumps({"jsonrpc": "2.0"} | message).encode()
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        self.process.stdin.flush()

    def _wait(self, wanted):
        while True:
            message = self.messages.get(timeout=60)
            if "method" in message and "id" in message:  # it asks for settings: there are none
                items = message["params"].get("items", [])
                self._send({"id": message["id"], "result": [None] * len(items) or None})
            if wanted(message):
                return message

    def tell(self, method, **params):
        self._send({"method": method, "params": params})

    def ask(self, method, **params):
        self.asked += 1
        number = self.asked
        self._send({"id": number, "method": method, "params": params})
        return self._wait(lambda m: m.get("id") == number and "method" not in m)["result"]

    def open(self, name, text):
        """(uri, {(line, column): [message]}), counted from 1 as weir does."""
        uri = (self.folder / name).as_uri()
        self.tell("textDocument/didOpen", textDocument={
            "uri": uri, "languageId": "yaml", "version": 1, "text": MODELINE + text})
        found = self._wait(lambda m: m.get("method") == "textDocument/publishDiagnostics"
                           and m["params"]["uri"] == uri)["params"]["diagnostics"]
        marks = {}
        for one in found:
            start = one["range"]["start"]
            marks.setdefault((start["line"] + 1, start["character"] + 1), []).append(one["message"])
        return uri, marks

    def at(self, method, uri, line, column):
        return self.ask(f"textDocument/{method}", textDocument={"uri": uri},
                        position={"line": line - 1, "character": column - 1})


class Editor(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.temporary = tempfile.TemporaryDirectory()
        folder = pathlib.Path(cls.temporary.name)
        schema = subprocess.run([os.environ["WEIR_BIN"], "schema"], check=True, capture_output=True).stdout
        (folder / "weir.schema.json").write_bytes(schema)
        cls.server = Server(folder)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()
        cls.temporary.cleanup()

    def test_good_files_have_no_marks(self):
        for path in [*(ROOT / "examples").glob("*.yaml"), *(ROOT / "tests/conf/pipelines").glob("ok_*.yaml")]:
            if ".test." not in path.name:
                self.assertEqual(self.server.open(path.name, path.read_text())[1], {}, path.name)

    def test_mistakes_are_marked_where_they_are(self):
        _, marks = self.server.open("bad.yaml", "name: a\nsource:\n  kafka: {brokers: a, topik: b}\n"
                                    "steps:\n  - filtr: .a\nsink: stdout\nlanes: many\n")
        self.assertIn("topik", str(marks[4, 23]))
        self.assertIn("filtr", str(marks[6, 5]))
        self.assertIn((8, 8), marks)

    def test_keys_are_completed(self):
        uri, _ = self.server.open("some.yaml", "name: a\nsource:\n  kafka:\n    brokers: a\n    \n")
        labels = [item["label"] for item in self.server.at("completion", uri, 6, 5)["items"]]
        self.assertLessEqual({"topic", "pattern", "tls", "auth", "start"}, set(labels))
        self.assertNotIn("brokers", labels)

    def test_keys_are_explained(self):
        uri, _ = self.server.open("told.yaml", "name: a\nsource:\n  kafka: {brokers: a, topic: b, group: c}\n"
                                  "sink: stdout\n")
        self.assertIn("Consumer group", str(self.server.at("hover", uri, 4, 36)))


if __name__ == "__main__":
    if not SERVER.is_dir():
        sys.exit("no YAML language server: scripts/deps --tests installs it")
    unittest.main(verbosity=0)
