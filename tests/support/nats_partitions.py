# SPDX-License-Identifier: Apache-2.0
"""A stream of four partitions that is read by position, a pipeline to another stream, and what must be in
that one afterwards."""
import json

import wait
from harness import scale
from nats_server import Server

PARTITIONS = 4


class Flow:
    """Subjects in.0 … in.3 of a stream, and a pipeline to another."""

    def __init__(self, context, version, folder="nats", extra="", **stream):
        self.context = context
        self.server = Server(context.dir / folder, version, extra)
        context.cleanup(self.server.stop)
        self.server.make("IN", "in.*", **stream)
        self.server.make("OUT", "out.>")
        self.counts = [0] * PARTITIONS

    def add(self, count):
        """So many to each partition."""
        self.server.publish_all((f"in.{p}", json.dumps({"p": p, "n": self.counts[p] + k}))
                                for k in range(count) for p in range(PARTITIONS))
        self.counts = [n + count for n in self.counts]

    def weir(self, name="weir", source=(), address=None, **more):
        url = address or self.server.address
        text = {"name": "flow",
                "source": {"nats": {"url": url, "stream": "IN", "partition": "in.{}", "key_token": 2,
                                    "partitions": PARTITIONS, "lease": "1s"} | dict(source)},
                "sink": {"nats": {"url": url, "subject": "out.x", "ack_timeout": "1s"}},
                "guarantee": "effectively-once",
                "commit_interval": "20ms", "lanes": 2, "http": {"listen": "127.0.0.1:0"},
                "log": {"format": "json", "level": "info"}} | more
        text["source"]["nats"] = {k: v for k, v in text["source"]["nats"].items() if v is not None}
        return self.context.weir(json.dumps(text), name)

    def total(self):
        return sum(self.counts)

    def found(self):
        return [json.loads(message.data) for _, message in self.server.messages("OUT")]

    def wait_out(self, count, seconds=60):
        wait.until(lambda: self.server.count("OUT") >= count, seconds, f"{count} are out")

    def check(self):
        """Exactly one output of each message, in the order of its partition."""
        found = [[] for _ in range(PARTITIONS)]
        for record in self.found():
            found[record["p"]].append(record["n"])
        for p in range(PARTITIONS):
            assert found[p] == list(range(self.counts[p])), \
                (p, len(found[p]), self.counts[p], len(set(found[p])),
                 [(a, b) for a, b in zip(found[p], found[p][1:]) if b != a + 1][:5])


class AtomicFlow(Flow):
    """Into a stream that weir makes, in batches that commit exactly once; on the newest server."""

    def __init__(self, context, version="new", folder="nats", extra=""):
        super().__init__(context, version, folder, extra)
        self.server.api("STREAM.DELETE.OUT")

    def weir(self, name="weir", source=(), address=None, sink=(), **more):
        url = address or self.server.address
        return super().weir(name, source, address,
                            **({"sink": {"nats": {"url": url, "subject": "out.x", "stream": "OUT",
                                                  "subjects": ["out.>"], "atomic": True} | dict(sink)},
                                "guarantee": "exactly-once"} | more))

    def outputs(self):
        return [message for _, message in self.server.messages("OUT") if message.subject.startswith("out.")]

    def found(self):
        return [json.loads(message.data) for message in self.outputs()]

    def wait_out(self, count, seconds=60):
        def done():
            info = self.server.api("STREAM.INFO.OUT", subjects_filter="out.>")["state"]
            return sum((info.get("subjects") or {}).values()) >= count
        wait.until(lambda: self.server.count("OUT") > 0 and done(), seconds, f"{count} are out")


COUNTS = [{"aggregate": {"key": ".p", "aggregate": {"count": "count", "sum": "sum(.n)"}}},
          {"map": "{p: (.key | tonumber), n: (.count - 1), sum}"}]


def counted(flow):
    """Running counts: a state that lost or doubled a message, or did not move with its partition, shows."""
    flow.check()
    for record in flow.found():
        assert record["sum"] == record["n"] * (record["n"] + 1) // 2, record


# ---- trouble that any way to commit has to survive -------------------------------------------


def again_and_again(flow, times, act):
    """While the messages come out."""
    for number in range(times):
        flow.wait_out(flow.total() * number // (times + scale(2, 20)) + 1)
        act()


def restart(weir):
    weir.kill()
    weir.start()


def survives_kills(flow, times, **more):
    flow.add(scale(5000, 50_000))
    weir = flow.weir(**more)
    again_and_again(flow, times, lambda: restart(weir))
    flow.wait_out(flow.total())
    weir.term()
    flow.check()


def survives_kills_of_the_server(flow, **more):
    flow.add(scale(5000, 50_000))
    weir = flow.weir(**more)
    again_and_again(flow, scale(3, 30), lambda: (flow.server.kill(), flow.server.start()))
    flow.wait_out(flow.total())
    weir.term()
    flow.check()


def survives_a_zombie(flow, slow):
    """A process that sleeps past its lease finds its partitions taken, and what it had under way refused."""
    flow.add(3000)
    first = flow.weir("first", steps=[{"map": slow}])
    flow.wait_out(100)
    first.stop()
    second = flow.weir("second", steps=[{"map": slow}])
    flow.wait_out(flow.total() // 2)
    first.cont()
    flow.add(1000)
    flow.wait_out(flow.total())
    first.term()
    second.term()
    flow.check()


def keeps_state(flow):
    """Killed, taken over by another, and cut behind snapshots."""
    flow.add(scale(3000, 30_000))
    weir = flow.weir(steps=COUNTS)
    again_and_again(flow, scale(4, 40), lambda: restart(weir))
    second = flow.weir("second", steps=COUNTS)
    second.wait_log("partition assigned", 20)
    flow.add(1000)
    flow.wait_out(flow.total())
    weir.kill()
    flow.add(100)
    flow.wait_out(flow.total())
    second.term()
    counted(flow)
