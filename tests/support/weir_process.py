# SPDX-License-Identifier: Apache-2.0
"""weir as a process of a test: started from a pipeline's text, watched through its log lines, its
metrics and /proc, and treated badly by signals."""
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

import harness
import wait


def pipeline(name, cluster, source, sink, steps=(), guarantee="exactly-once", brokers=None, **more):
    """The text of a Kafka to Kafka pipeline. `source`, `sink` and `more` are merged over defaults;
    a value of None removes its key. JSON is YAML, so the text is JSON."""
    kafka_source = {"brokers": brokers or cluster.address, "start": "earliest",
                    "session_timeout": "6s"}
    kafka_source |= source if isinstance(source, dict) else {"topic": source}
    kafka_sink = sink if isinstance(sink, dict) else {"topic": sink}
    text = {"name": name, "source": {"kafka": kafka_source}, "steps": list(steps),
            "sink": {"kafka": kafka_sink}, "guarantee": guarantee, "commit_interval": "100ms",
            "lanes": 2, "http": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "info"}}
    text |= more
    if not text["steps"]:
        del text["steps"]
    return json.dumps({key: value for key, value in text.items() if value is not None}, indent=1)


class Weir:
    def __init__(self, context, text, name="weir", env=None, instance=None, prefix=(), start=True):
        self.name = name
        self.file = context.dir / f"{name}.yaml"
        self.file.write_text(text)
        self.log_file = context.dir / f"{name}.log"
        self.out_file = context.dir / f"{name}.out"
        self.env = {key: value for key, value in os.environ.items()
                    if key in ("PATH", "HOME", "LANG", "TMPDIR") or "SAN_OPTIONS" in key}
        if instance is not None:
            self.env["WEIR_INSTANCE"] = instance
        self.env |= env or {}
        self.prefix = list(prefix)
        self.process = None
        self.starts = 0
        self._from = 0
        if start:
            self.start()

    def start(self, env=None):
        """Starts it, also again; the log is appended to, `log` shows what the last start wrote."""
        self._from = self.log_file.stat().st_size if self.log_file.exists() else 0
        self.starts += 1
        with open(self.log_file, "ab") as log, open(self.out_file, "ab") as out:
            self.process = subprocess.Popen(
                [*self.prefix, str(harness.weir_binary()), "run", str(self.file)],
                stdin=subprocess.DEVNULL, stdout=out, stderr=log, env=self.env | (env or {}),
                preexec_fn=harness.die_with_parent, start_new_session=True)
        return self

    # ---- what it says --------------------------------------------------------------------------

    def text(self):
        with open(self.log_file, "rb") as log:
            log.seek(self._from)
            return log.read().decode("utf-8", "replace")

    def log(self):
        """The log lines of the last start, as objects; a line that is not JSON as {"message": it}."""
        lines = []
        for line in self.text().splitlines():
            try:
                parsed = json.loads(line)
                lines.append(parsed if isinstance(parsed, dict) else {"message": line})
            except ValueError:
                lines.append({"message": line})
        return lines

    def tail(self, count=12):
        return "\n".join(self.text().splitlines()[-count:])

    def wait_log(self, pattern, seconds=30):
        """The first log line (as text) in which the pattern occurs."""
        def find():
            for line in self.text().splitlines():
                if re.search(pattern, line):
                    return line
            return None
        return wait.until(find, seconds, f"{self.name} logs /{pattern}/; it logged\n{self.tail()}")

    @property
    def port(self):
        line = self.wait_log(r"127\.0\.0\.1:[1-9]\d*.*http|http.*127\.0\.0\.1:[1-9]\d*", 20)
        return int(re.findall(r"127\.0\.0\.1:([1-9]\d*)", line)[-1])

    def get(self, path):
        """(status, body) of a page of its admin server."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def metric(self, name, **labels):
        """The sum of all samples of a metric that carry these labels."""
        total, found = 0.0, False
        for line in self.get("/metrics")[1].splitlines():
            match = re.match(r"(\w+)(?:\{(.*)\})?\s+(\S+)", line)
            if not match or match[1] != name:
                continue
            have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match[2] or ""))
            if all(have.get(key) == value for key, value in labels.items()):
                total, found = total + float(match[3]), True
        if not found:
            raise LookupError(f"no metric {name} {labels}")
        return total

    def wait_ready(self, seconds=30):
        def ready():
            self.expect_running()
            return self.get("/readyz")[0] == 200
        wait.until(ready, seconds, f"{self.name} is ready")

    # ---- what it costs -------------------------------------------------------------------------

    def _status(self, key):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(rf"^{key}:\s+(\d+)", status.read(), re.M)[1]) * 1024

    def resident_bytes(self):
        return self._status("VmRSS")

    def peak_bytes(self):
        return self._status("VmHWM")

    # ---- its life ------------------------------------------------------------------------------

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def expect_running(self):
        if not self.running:
            raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.tail()}")

    def run_for(self, seconds):
        """Lets it run that long; it must not end by itself."""
        try:
            code = self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return
        raise AssertionError(f"{self.name} ended with {code}:\n{self.tail()}")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        self.signal(signal.SIGSTOP)

    def cont(self):
        self.signal(signal.SIGCONT)

    def wait_exit(self, seconds=40):
        try:
            return self.process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds} s:\n{self.tail()}") \
                from None

    def term(self, seconds=40, code=0):
        """SIGTERM: drains, commits and ends with 0."""
        self.signal(signal.SIGTERM)
        ended = self.wait_exit(seconds)
        if ended != code:
            raise AssertionError(f"{self.name} ended with {ended}, not {code}:\n{self.tail()}")

    def end(self):
        """Whatever its state, it is gone afterwards."""
        if self.running:
            self.process.kill()
            self.process.wait(10)
