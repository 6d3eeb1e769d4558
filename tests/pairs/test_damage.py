#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: state that was damaged where it lies, in Kafka, Redis or JetStream, is never used: weir ends and says
what is wrong with it, and the sound state, put back, goes on to right results.

Method: a running aggregate is stopped; the frames of one shard are read, written back with a byte flipped,
cut, left out, doubled or in another order, and weir is started over them. In the end the sound frames are
put back, and the sums must be those of a recomputation."""
import collections
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from pair_flow import Pair, Promise


class Running(Pair):
    """Counts and sums each key, result by result."""

    def text(self, process):
        text = json.loads(super().text(process))
        text["steps"] += [{"aggregate": {"key": '"\\(.p)"', "aggregate": {"count": "count", "total": "sum(.n)"}}},
                          {"map": "{p: (.key | tonumber), n: (.count - 1), total}"}]
        return json.dumps(text)

    def sums_are_right(self):
        rows = {(int(r["p"]), int(r["n"]), int(r["total"])) for place in self.sink.records() for r in place}
        assert all(total == n * (n + 1) // 2 for _, n, total in rows), rows


class Redis:
    source, sink = "redis-positioned", "redis"

    def __init__(self, pair):
        self.server = pair.source.server
        self.key = next(key for key in self.server.call("KEYS", "*state*") if b"{0}" in key).decode()
        self.ids = [key for key, _ in self.server.entries(self.key)]

    def read(self):
        return [fields[b"f"] for _, fields in self.server.entries(self.key)]

    def write(self, frames):
        last = int(self.ids[-1].split(b"-")[0])
        ids = self.ids + [b"%d-1" % (last + 1 + more) for more in range(len(frames) - len(self.ids))]
        self.server.call("DEL", self.key)
        self.server.pipeline([("XADD", self.key, ids[n], "f", frame) for n, frame in enumerate(frames)])


class Kafka:
    source, sink = "kafka", "kafka"

    def __init__(self, pair):
        self.cluster, self.topic = pair.source.cluster, f"{pair.name}.state"
        self.keys = [message.key() for message in self._messages()]

    def _messages(self):
        return [message for message in self.cluster.read(self.topic) if message.partition() == 0]

    def read(self):
        return [message.value() for message in self._messages()]

    def write(self, frames):
        self.cluster.delete_records(self.topic, {0: self.cluster.ends(self.topic)[0]})
        self.cluster.produce(self.topic, [{"value": frame, "key": self.keys[0], "partition": 0} for frame in frames])


class JetStream:
    source, sink = "nats-positioned", "nats"

    def __init__(self, pair):
        self.server, self.stream = pair.source.server, f"weir-{pair.name}"
        self.subject = self.server.messages(self.stream)[0][1].subject
        self.records = self._records()

    def _records(self):
        return [message.data for _, message in self.server.messages(self.stream) if message.subject == self.subject]

    def read(self):
        """What is between `f ` and the end of a record is a frame."""
        return [data[2:] for data in self.records if data.startswith(b"f ")]

    def write(self, frames):
        """Frame by frame in the place of the old ones: more or fewer stand before the last commit."""
        left, records = list(frames), []
        last = max(n for n, data in enumerate(self.records) if data.startswith(b"f "))
        for n, data in enumerate(self.records):
            if n == last:
                records += [b"f " + frame for frame in left]
            elif not data.startswith(b"f "):
                records.append(data)
            elif left:
                records.append(b"f " + left.pop(0))
        self.server.api(f"STREAM.PURGE.{self.stream}", filter=self.subject)
        self.server.publish_all([(self.subject, data) for data in records])


def damages(frames, random, count):
    """(what, frames): each is another damage."""
    for _ in range(count):
        n = random.randrange(len(frames))
        at = random.randrange(len(frames[n]))
        flipped = frames[n][:at] + bytes([frames[n][at] ^ 1 << random.randrange(8)]) + frames[n][at + 1:]
        yield f"a bit of byte {at} in frame {n}", frames[:n] + [flipped] + frames[n + 1:]
        yield f"frame {n} cut at {at}", frames[:n] + [frames[n][:at]] + frames[n + 1:]
    for n in {0, len(frames) // 2, len(frames) - 1}:
        yield f"frame {n} is gone", frames[:n] + frames[n + 1:]
        yield f"frame {n} is there twice", frames[:n + 1] + frames[n:]
    yield "two in another order", [frames[1], frames[0]] + frames[2:]


def damaged(medium):
    def run(context):
        pair = Running(context, medium.source, medium.sink)
        pair.has_names = True  # Kafka then waits for no session's end
        pair.begin("a")
        pair.promise = Promise(pair.processes[0].file)
        for n in range(4):  # a frame each, at least
            pair.source.feed(5)
            wait.until(lambda n=n: len(medium(pair).read()) > n, 60, "what was fed is in a frame")
        pair.wait_out()
        pair.end()
        log = medium(pair)
        sound = log.read()
        assert len(sound) > 2, len(sound)
        seen = collections.Counter()
        for what, frames in damages(sound, context.random, scale(3, 200)):
            log.write(frames)
            weir = context.weir(pair.text("a"), "damaged", instance="a")
            assert weir.wait_exit(60) in (1, 78), f"{what}: {weir.tail()}"  # what is used does not end
            end = json.loads(weir.tail(1))
            assert end["status"] in ("corrupt", "config") and "state" in end["error"], end
            seen[end["error"]] += 1
        context.say(f"refused: {dict(seen)}")
        log.write(sound)
        pair.processes = []
        pair.begin("a")
        pair.feed()
        pair.wait_out()
        pair.end()
        pair.sums_are_right()
        pair.judge()
    run.__name__ = medium.__name__.lower()
    return case(run)


for medium in (Redis, Kafka, JetStream):
    damaged(medium)


if __name__ == "__main__":
    main()
