# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy in front of a NATS server that knows its frames, and leaves out those that a test names:
answers are lost after the server has done what they are about, acknowledgements before it hears them."""
import socket
import threading


class Proxy:
    def __init__(self, port, drop):
        """`drop(from_server, subject, data)`: is this message to be lost? `dropped` counts them."""
        self._target, self._drop = port, drop
        self._lock = threading.Lock()
        self.dropped = 0
        self._sockets = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                server.settimeout(None)
            except OSError:  # the server is down
                client.close()
                continue
            self._sockets += [client, server]
            for source, sink, from_server in [(client, server, False), (server, client, True)]:
                threading.Thread(target=self._pump, args=(source, sink, from_server),
                                 daemon=True).start()

    def _pump(self, source, sink, from_server):
        stream = source.makefile("rb")
        try:
            while line := stream.readline():
                words = line.split()
                body = b""
                if words and words[0].upper() in (b"PUB", b"HPUB", b"MSG", b"HMSG"):
                    body = stream.read(int(words[-1]) + 2)
                    head = int(words[-2]) if words[0].upper() in (b"HPUB", b"HMSG") else 0
                    if self._drop(from_server, words[1].decode(), body[head:-2]):
                        with self._lock:
                            self.dropped += 1
                        continue
                sink.sendall(line + body)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self._listener.close()
        for end in self._sockets:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()
