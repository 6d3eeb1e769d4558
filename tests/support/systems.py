# SPDX-License-Identifier: Apache-2.0
"""The systems that weir reads and writes, each behind the same few calls: a source that is fed numbered
records, a sink that tells what it holds, a server that dies and comes back, and a proxy in front of it
that loses answers to what was done. A test that is written against these runs on every pair of them.

A record is {p, n}: the n-th of key p. The records of one key enter in order."""
import json
import os

import kafka_proxy
import nats_server
import redis_server
import wait
from nats_proxy import Proxy as NatsProxy
from redis_proxy import Proxy as RedisProxy

PARTITIONS = 3


class System:
    """`restarts`: how long its server takes to come back, in seconds, about."""
    restarts = 0.2

    def __init__(self, context, name, mode=None):
        """`mode`: how it is read, where it is the source."""
        self.context, self.name, self.mode = context, name, mode
        self.fed = {}

    def feed(self, count):
        """So many records more for each partition."""
        records = [(p, self.fed.get(p, 0) + k) for k in range(count) for p in range(PARTITIONS)]
        self.put(records)
        for p in range(PARTITIONS):
            self.fed[p] = self.fed.get(p, 0) + count

    def found(self):
        """What the sink holds, a list for each place in which order means something."""
        return [[(int(r["p"]), int(r["n"])) for r in place] for place in self.records()]

    def restart(self):
        self.kill()
        self.start()


class Redis(System):
    LOSABLE = {b"XADD", b"EXEC", b"XACK", b"EVAL", b"EVALSHA", b"SET", b"HSET", b"XREADGROUP", b"XAUTOCLAIM"}

    def __init__(self, context, name, mode=None, **settings):
        super().__init__(context, name, mode)
        self.server = redis_server.Server(context.dir / "redis", **settings)
        context.cleanup(self.server.stop)
        self.proxy = RedisProxy(self.server.port)
        context.cleanup(self.proxy.stop)
        self.address = self.proxy.address
        self.kill, self.start = self.server.kill, self.server.start

    def source(self, process):
        return {"redis": {"url": self.address, "stream": "in", "mode": self.mode}
                | ({"claim_idle": "500ms"} if self.mode == "shared" else
                   {"partitions": PARTITIONS, "lease": "1s"})}

    def sink(self, process):
        return {"redis": {"url": self.address, "stream": "out"}}

    def put(self, records):
        self.server.pipeline([("XADD", "in" if self.mode == "shared" else f"in:{{{p}}}", "*", "p", p, "n", n)
                              for p, n in records])

    def count(self):
        return self.server.call("XLEN", "out")

    def records(self):
        return [[{key.decode(): value.decode() for key, value in fields.items()}
                 for _, fields in self.server.entries("out")]]

    def lose(self, count):
        """Some of what changes something is lost, or its answer, and the connection with it."""
        goal = self.proxy.dropped + count

        def chosen(command):
            return command in self.LOSABLE and self.proxy.dropped < goal and self.context.random.random() < 0.2
        self.proxy.drops = lambda link, command, answer: chosen(command)
        self.proxy.refuses = lambda link, command: chosen(command)
        return lambda: self.proxy.dropped >= goal

    def heal(self):
        self.proxy.drops = lambda link, command, answer: False
        self.proxy.refuses = lambda link, command: False


class Nats(System):
    """The oldest or the newest version that is supported, by the seed, unless one is asked for."""

    def __init__(self, context, name, mode=None, version=None, is_atomic=False, source_config=(), sink_config=()):
        super().__init__(context, name, mode)
        self.server = nats_server.Server(context.dir / "nats",
                                         version or ("new" if is_atomic else context.random.choice(["old", "new"])))
        context.cleanup(self.server.stop)
        self.server.make("IN", "in.*", **dict(source_config))
        if not is_atomic:
            self.server.make("OUT", "out.>", **dict(sink_config))
        self.is_atomic = is_atomic
        self.left = 0
        self.commits_unanswered = False
        self.proxy = NatsProxy(self.server.port, self._drops)
        context.cleanup(self.proxy.stop)
        self.address = self.proxy.address
        self.kill, self.start = self.server.kill, self.server.start

    def source(self, process):
        return {"nats": {"url": self.address, "stream": "IN", "mode": self.mode}
                | ({"ack_wait": "1s"} if self.mode == "shared" else
                   {"partition": "in.{}", "partitions": PARTITIONS, "lease": "1s"})}

    def sink(self, process):
        return {"nats": {"url": self.address, "subject": "out.x", "ack_timeout": "1s"}
                | ({"stream": "OUT", "subjects": "out.>", "atomic": True} if self.is_atomic else {})}

    def put(self, records):
        self.server.publish_all((f"in.{r[0]}", json.dumps({"p": r[0], "n": r[1]})) for r in records)

    def count(self):
        try:
            found = self.server.api("STREAM.INFO.OUT", subjects_filter="out.>")["state"].get("subjects") or {}
        except nats_server.NatsError:  # weir has not made it yet
            return 0
        return sum(found.values())

    def records(self):
        return [[json.loads(message.data) for _, message in self.server.messages("OUT")
                 if message.subject.startswith("out.")]]

    def _drops(self, from_server, subject, data):
        """Acknowledgements of publishes (of outputs, positions, leases) and answers to acknowledgements."""
        if self.commits_unanswered and from_server and data.startswith(b'{"stream":"weir-'):
            return True
        is_one = from_server and (data.startswith(b'{"stream":') or data == b"") and "_INBOX" in subject
        if self.left > 0 and is_one and self.context.random.random() < 0.3:
            self.left -= 1
            return True
        return False

    def lose(self, count):
        self.left = count
        return lambda: self.left == 0

    def heal(self):
        self.left = 0


class Kafka(System):
    restarts = 5

    def __init__(self, context, name, mode=None):
        super().__init__(context, name, mode)
        self.cluster, self.proxy = kafka_proxy.proxied(context)
        self.address = self.proxy.address
        self.topics = [f"{name}-in", f"{name}-out"]
        self.cluster.create(self.topics[0], partitions=PARTITIONS)
        self.cluster.create(self.topics[1], partitions=1)
        self.reader, self.seen = None, []
        self.kill, self.start = self.cluster.kill, self.cluster.restart
        context.cleanup(self._close)

    def _close(self):
        if self.reader is not None:
            self.reader.close()

    def source(self, process):
        return {"kafka": {"brokers": self.address, "topic": self.topics[0], "start": "earliest",
                          "session_timeout": "6s"}}

    def sink(self, process):
        return {"kafka": {"brokers": self.address, "topic": self.topics[1]}}

    def put(self, records):
        self.cluster.produce(self.topics[0], [
            {"value": json.dumps({"p": r[0], "n": r[1]}), "partition": r[0]} for r in records])

    def _read(self):
        """Goes on reading the output to where committed readers stop."""
        from confluent_kafka import Consumer, KafkaError, TopicPartition
        if self.reader is None:
            self.reader = Consumer({
                "bootstrap.servers": self.cluster.address, "group.id": "reader", "enable.auto.commit": False,
                "isolation.level": "read_committed", "enable.partition.eof": True, "fetch.wait.max.ms": 20,
                "log_level": 2})
            self.reader.assign([TopicPartition(self.topics[1], 0, 0)])
        for message in self.reader.consume(10_000, 0.1):
            if message.error() is None:
                self.seen.append(json.loads(message.value()))
            elif message.error().code() != KafkaError._PARTITION_EOF:
                raise RuntimeError(str(message.error()))

    def count(self):
        self._read()
        return len(self.seen)

    def records(self):
        before = -1
        while len(self.seen) > before:
            before = len(self.seen)
            self._read()
        return [list(self.seen)]

    def lose(self, count):
        rules = [self.proxy.add(api, "cut", times=count, skip=1)
                 for api in (kafka_proxy.PRODUCE, kafka_proxy.END_TXN, kafka_proxy.OFFSET_COMMIT)]
        return lambda: any(rule.hits >= count for rule in rules)

    def heal(self):
        self.proxy.heal()


class File(System):
    """Each time that it is fed a file of its own, with a key of its own."""
    restarts = None


    def __init__(self, context, name, mode=None):
        super().__init__(context, name, mode)
        self.outputs = {}

    def source(self, process):
        return {"file": {"path": str(self.context.dir / "in-*.jsonl")}}

    def sink(self, process):
        self.outputs[process] = self.context.dir / f"out-{process}.jsonl"
        return {"file": {"path": str(self.outputs[process])}}

    def feed(self, count):
        p = len(self.fed)
        self.fed[p] = count * PARTITIONS
        self.put([(p, n) for n in range(self.fed[p])])

    def put(self, records):
        path = self.context.dir / f"in-{len(self.fed):04}.jsonl"
        path.with_suffix(".new").write_text("".join(f'{{"p":{r[0]},"n":{r[1]}}}\n' for r in records))
        os.rename(path.with_suffix(".new"), path)

    def count(self):
        return sum(path.stat().st_size for path in self.outputs.values() if path.exists())

    def records(self):
        """A line that a kill has cut is ended by the next start and written again whole."""
        return [self._lines(path) for path in self.outputs.values() if path.exists()]

    @staticmethod
    def _lines(path):
        found = []
        for line in path.read_text().splitlines():
            try:
                record = json.loads(line)
                found.append({"p": record["p"], "n": record["n"]} | record)
            except (ValueError, KeyError, TypeError):
                pass
        return found


SYSTEMS = {"redis": Redis, "nats": Nats, "kafka": Kafka, "file": File}
# Name of a source -> its system and mode. A file is one process's own; what is shared has no order.
SOURCES = {"kafka": ("kafka", None), "redis-shared": ("redis", "shared"),
           "redis-positioned": ("redis", "positioned"), "nats-shared": ("nats", "shared"),
           "nats-positioned": ("nats", "positioned"), "file": ("file", None)}
SINKS = ("kafka", "redis", "nats", "file")
# Beside them, a stream that takes outputs and positions as one batch.
ATOMIC = ("nats-positioned", "nats-atomic")
