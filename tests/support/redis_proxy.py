# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy in front of a Redis that understands what it carries: it can cut a connection right
after the server has answered a command of the test's choice, so that the command was applied and
its answer is lost, or in front of a command, so that it never came. Runs in threads of the test."""
import collections
import socket
import threading


class Splitter:
    """Cuts a stream of RESP values into whole ones."""

    def __init__(self):
        self.data = b""

    def feed(self, chunk):
        self.data += chunk
        at = 0
        while True:
            end = self._end(at)
            if end is None:
                break
            yield self.data[at:end]
            at = end
        self.data = self.data[at:]

    def _end(self, at):
        """Behind the value that begins at `at`; None: not there yet."""
        left = 1
        while left > 0:
            line = self.data.find(b"\r\n", at)
            if line < 0:
                return None
            kind = self.data[at:at + 1]
            size = int(self.data[at + 1:line]) if kind in (b"$", b"*") else 0
            at = line + 2
            left -= 1
            if kind == b"$" and size >= 0:
                at += size + 2
                if at > len(self.data):
                    return None
            elif kind == b"*" and size > 0:
                left += size
        return at


def command_name(command):
    size, _, rest = command.split(b"\r\n", 1)[1].partition(b"\r\n")
    return rest[:int(size[1:])].upper()


class Link:
    """One connection through the proxy. `seen`: how often each command was given."""

    def __init__(self, proxy, client, server):
        self.proxy, self.client, self.server = proxy, client, server
        self.seen = collections.Counter()
        self.asked = collections.deque()
        for work in (self._up, self._down):
            threading.Thread(target=work, daemon=True).start()

    def close(self):
        for end in (self.client, self.server):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def _up(self):
        splitter = Splitter()
        try:
            while chunk := self.client.recv(1 << 16):
                out = []
                for command in splitter.feed(chunk):
                    name = command_name(command)
                    if self.proxy.refuses(self, name):
                        self.server.sendall(b"".join(out))
                        self.proxy.dropped += 1
                        self.close()
                        return
                    self.seen[name] += 1
                    self.asked.append(name)
                    out.append(command)
                self.server.sendall(b"".join(out))
        except OSError:
            pass
        self.close()

    def _down(self):
        splitter = Splitter()
        try:
            while chunk := self.server.recv(1 << 16):
                out = []
                for answer in splitter.feed(chunk):
                    name = self.asked.popleft()
                    if self.proxy.drops(self, name, answer):
                        self.client.sendall(b"".join(out))
                        self.proxy.dropped += 1
                        self.close()
                        return
                    out.append(answer)
                if out:
                    self.client.sendall(b"".join(out))
        except OSError:
            pass
        self.close()


class Proxy:
    """`drops(link, command, answer)`: true cuts the connection in the place of that answer;
    `refuses(link, command)`: in the place of that command."""

    def __init__(self, port):
        self.target = port
        self.dropped = 0
        self.drops = lambda link, command, answer: False
        self.refuses = lambda link, command: False
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._links = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            self._links.append(Link(self, client, server))

    def stop(self):
        self._listener.close()
        for link in self._links:
            link.close()


def commit_answers(random, share, surely=0):
    """For `drops`: loses the answers to so many commits (EXEC behind WATCH), and that share of those
    to the others."""
    lost = 0

    def drops(link, command, answer):
        nonlocal lost
        if command != b"EXEC" or link.seen[b"WATCH"] == 0 or answer[:2] == b"*-":
            return False
        lost += 1
        return lost <= surely or random.random() < share
    return drops
