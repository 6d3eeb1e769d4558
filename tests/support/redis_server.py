# SPDX-License-Identifier: Apache-2.0
"""A real Redis of a test on a free port of 127.0.0.1, and a client that speaks its protocol: the checkers
share no code with the program."""
import os
import pathlib
import shutil
import signal
import socket
import subprocess

import harness
import ports
import wait


class RedisError(Exception):
    pass


class Client:
    def __init__(self, port, timeout=20):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self._socket.makefile("rb")

    def close(self):
        self._file.close()
        self._socket.close()

    def send(self, *arguments):
        parts = [a if isinstance(a, bytes) else str(a).encode() for a in arguments]
        self._socket.sendall(b"*%d\r\n" % len(parts)
                             + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts))

    def call(self, *arguments):
        self.send(*arguments)
        return self.answer()

    def pipeline(self, commands):
        """Answers of many commands, sent in parts."""
        answers = []
        commands = list(commands)
        for at in range(0, len(commands), 500):
            part = commands[at:at + 500]
            for command in part:
                self.send(*command)
            answers += [self.answer() for _ in part]
        return answers

    def answer(self):
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b"+":
            return rest.decode()
        if kind == b":":
            return int(rest)
        if kind == b"$":
            size = int(rest)
            return None if size < 0 else self._file.read(size + 2)[:-2]
        count = int(rest)
        return None if count < 0 else [self.answer() for _ in range(count)]


def binary():
    """The system's server, or the one that WEIR_REDIS names (scripts/deps keeps a newer one)."""
    path = os.environ.get("WEIR_REDIS") or shutil.which("redis-server")
    if path is None or not os.access(path, os.X_OK):
        raise harness.Missing(f"no redis-server ({path}): run scripts/deps --tests")
    return path


class Server:
    def __init__(self, directory, **settings):
        """`settings`: of the server, with underscores for dashes; tls_port=0 takes a free one."""
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.binary = binary()
        self.port = ports.free()
        if settings.get("tls_port") == 0:
            settings["tls_port"] = self.tls_port = ports.free()
        self.address = f"127.0.0.1:{self.port}"
        self.settings = {"appendonly": "yes", "appendfsync": "always", "save": ""} | settings
        self.process = None
        self._client = None
        self.start()

    def start(self):
        self.launch()
        wait.until(lambda: self.call("PING") == "PONG", 30, "the Redis server answers")

    def launch(self):
        """Does not wait until it answers."""
        line = [self.binary, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.dir),
                "--daemonize", "no", "--logfile", str(self.dir / "redis.log")]
        for key, value in self.settings.items():
            line += ["--" + key.replace("_", "-"), str(value)]
        self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL,
                                        preexec_fn=harness.die_with_parent)

    def call(self, *arguments):
        """One command; on a new connection when the old one is gone."""
        try:
            if self._client is None:
                self._client = Client(self.port)
            return self._client.call(*arguments)
        except RedisError:
            raise
        except OSError:
            self._client = None
            raise

    def pipeline(self, commands):
        self.call("PING")
        return self._client.pipeline(commands)

    def entries(self, stream):
        """All entries: (id, {field: value}), as bytes."""
        found = self.call("XRANGE", stream, "-", "+")
        return [(key, dict(zip(pairs[::2], pairs[1::2]))) for key, pairs in found]

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self._client = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._client = None
