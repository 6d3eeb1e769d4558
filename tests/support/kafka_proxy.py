# SPDX-License-Identifier: Apache-2.0
"""A TCP proxy that understands as much of Kafka's protocol as faults need: it cuts the stream into
requests and answers, knows which API an answer belongs to (by connection and correlation id), and
drops, delays or holds chosen ones. The broker must advertise the proxy's port (scripts/kafka start
--proxy); then every client that is given that address goes through here.

A `Rule` takes effect on the next `times` frames of its API. Threads, not a loop: a proxy carries one
or two processes of a test, and a held frame must stop only its own connection."""
import socket
import struct
import threading
import time

from kafka_cluster import Cluster

PRODUCE, FETCH, LIST_OFFSETS, METADATA, OFFSET_COMMIT, OFFSET_FETCH, TXN_OFFSET_COMMIT = 0, 1, 2, 3, 8, 9, 28
ADD_PARTITIONS_TO_TXN, ADD_OFFSETS_TO_TXN, END_TXN, INIT_PRODUCER_ID = 24, 25, 26, 22
WRITE_TXN_MARKERS = 27  # from the coordinator to leaders, where brokers talk through here too
API_NAMES = {0: "Produce", 8: "OffsetCommit", 24: "AddPartitionsToTxn", 25: "AddOffsetsToTxn", 26: "EndTxn",
             28: "TxnOffsetCommit", 22: "InitProducerId"}


class Rule:
    """What happens to frames of one API.

    side      "answer" (the broker has acted, the client does not learn it) or "request"
    action    "drop": swallowed, the connection stays open and silent for that request
              "cut": swallowed, the connection is closed
              "delay": kept back for `seconds`
              "hold": kept back until `release()`
              "error": the answer says `code` instead of what the broker said (AddOffsetsToTxn; OffsetCommit
              and TxnOffsetCommit, of which the last partition)
    times     how many frames; `hits` says how many it has met so far, `met` when
    skip      how many frames of that API pass first
    broker    only frames from and to this one, by index
    """

    def __init__(self, api, action, side="answer", times=1, skip=0, seconds=0.0, code=-1, broker=None):
        self.api, self.action, self.side, self.code, self.broker = api, action, side, code, broker
        self.left, self.skip, self.seconds = times, skip, seconds
        self.hits, self.met = 0, []
        self.released = threading.Event()

    def release(self):
        self.released.set()


class Proxied:
    """A cluster behind a proxy, shared by the cases of a program: context.shared("proxied", Proxied)."""

    def __init__(self, directory):
        self.dir = directory
        self.kafka = Cluster(directory, proxy=True)
        self.proxy = Proxy(self.kafka)

    def stop(self):
        self.proxy.close()
        self.kafka.stop()


def proxied(context):
    """(cluster, proxy) without rules; what the case adds is forgotten at its end."""
    both = context.shared("proxied", Proxied)
    context.cleanup(both.proxy.heal)
    return both.kafka, both.proxy


class Proxy:
    def __init__(self, cluster):
        self._lock = threading.Lock()
        self._rules = []
        self._closing = threading.Event()
        self._connections = set()
        self.counts = {}
        self._listeners = []
        for broker, ports in enumerate(cluster.plan["proxy"]):
            listener = socket.create_server(("127.0.0.1", ports["listen"]))
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, ports["target"], broker),
                             daemon=True).start()
        self.address = cluster.plan["address"]["proxy"]

    def add(self, *arguments, **options):
        rule = Rule(*arguments, **options)
        with self._lock:
            self._rules.append(rule)
        return rule

    def heal(self):
        """Forgets all rules and lets held frames go."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            rule.left = 0
            rule.release()

    def cut(self):
        """Closes every connection now; new ones are accepted."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            _shut(connection)

    def close(self):
        self._closing.set()
        for listener in self._listeners:
            _shut(listener)
        self.heal()
        self.cut()

    # ---- one connection: a thread per direction -------------------------------------------------

    def _accept(self, listener, target, broker):
        while not self._closing.is_set():
            try:
                client, _ = listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", target), timeout=5)
            except OSError:
                client.close()
                continue
            server.settimeout(None)
            for connection in (client, server):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._connections |= {client, server}
            apis = {}
            for side, source, sink in [("request", client, server), ("answer", server, client)]:
                threading.Thread(target=self._carry, args=(side, source, sink, apis, broker),
                                 daemon=True).start()

    def _carry(self, side, source, sink, apis, broker):
        try:
            while True:
                frame = _frame(source)
                if side == "request":
                    api, correlation = struct.unpack_from(">hxxi", frame, 4)
                    apis[correlation] = api
                else:
                    api = apis.pop(struct.unpack_from(">i", frame, 4)[0], None)
                with self._lock:
                    self.counts[side, api] = self.counts.get((side, api), 0) + 1
                frame = self._judged(side, api, frame, broker)
                if frame is not None:
                    sink.sendall(frame)
        except (OSError, EOFError, struct.error):
            pass
        finally:
            _shut(source)
            _shut(sink)
            with self._lock:
                self._connections -= {source, sink}

    def _take(self, side, api, broker):
        with self._lock:
            for rule in self._rules:
                if rule.api != api or rule.side != side or rule.left == 0:
                    continue
                if rule.broker not in (None, broker):
                    continue
                if rule.skip > 0:
                    rule.skip -= 1
                    return None
                rule.left -= 1
                rule.hits += 1
                rule.met.append(time.monotonic())
                return rule
        return None

    def _judged(self, side, api, frame, broker):
        """The frame as it is to be sent on, now; None if not at all."""
        rule = self._take(side, api, broker)
        if rule is None:
            return frame
        if rule.action == "cut":
            raise EOFError
        if rule.action == "drop":
            return None
        if rule.action == "error":
            changed = bytearray(frame)
            struct.pack_into(">h", changed, _ERROR_AT[api] % len(frame), rule.code)
            return bytes(changed)
        limit = time.monotonic() + rule.seconds if rule.action == "delay" else None
        while not rule.released.is_set() and not self._closing.is_set():
            left = 0.1 if limit is None else min(0.1, limit - time.monotonic())
            if left <= 0:
                break
            # A held request outlives its client: nobody else reads from that connection.
            rule.released.wait(left)
        return frame


# Where the error code stands: AddOffsetsToTxn 0 is size, correlation, time, code; OffsetCommit 9 and
# TxnOffsetCommit 3 end with the last partition's code and three empty lists of tags.
_ERROR_AT = {ADD_OFFSETS_TO_TXN: 12, OFFSET_COMMIT: -5, TXN_OFFSET_COMMIT: -5}


def _frame(source):
    head = _exactly(source, 4)
    return head + _exactly(source, struct.unpack(">i", head)[0])


def _exactly(source, size):
    parts = bytearray()
    while len(parts) < size:
        part = source.recv(min(1 << 20, size - len(parts)))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def _shut(connection):
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass
    connection.close()
