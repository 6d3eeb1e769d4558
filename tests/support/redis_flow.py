# SPDX-License-Identifier: Apache-2.0
"""Numbered entries through a pipeline that reads Redis streams by position, and the account of them:
each must have exactly one output, in the order of its stream."""
import collections
import json

import wait
from redis_server import Server


class Account:
    """What became of the records {p, n}: lost, repeated, out of order."""

    def __init__(self, counts, found):
        seen = collections.Counter(found)
        self.lost = sum(1 for p, count in enumerate(counts) for n in range(count)
                        if (p, n) not in seen)
        self.repeated = sum(times - 1 for times in seen.values())
        self.unknown = sum(1 for p, n in seen if p >= len(counts) or n >= counts[p])
        self.disordered, last = 0, {}
        for p, n in found:
            self.disordered += n < last.get(p, -1)
            last[p] = n

    def __str__(self):
        return (f"{self.lost} lost, {self.repeated} repeated, {self.disordered} out of order, "
                f"{self.unknown} unknown")

    def expect(self, repeats=False):
        assert self.lost == 0 and self.unknown == 0, str(self)
        assert repeats or (self.repeated == 0 and self.disordered == 0), str(self)


def drop_none(values):
    return {key: value for key, value in values.items() if value is not None}


def owned(process):
    try:
        return process.metric("stream_partitions_assigned")
    except LookupError:
        return 0



class Flow:
    """Streams in:{0} … in:{n-1} and out of one server, and a pipeline between them."""

    def __init__(self, context, partitions=4, through=None, **settings):
        self.context = context
        self.redis = Server(context.dir / "redis", **settings)
        context.cleanup(self.redis.stop)
        self.address = self.redis.address
        self.partitions = partitions
        self.counts = [0] * partitions

    def stream(self, partition):
        return f"in:{{{partition}}}"

    def add(self, count):
        """So many to each stream."""
        for p in range(self.partitions):
            self.redis.pipeline([("XADD", self.stream(p), "*", "p", p, "n", n)
                                 for n in range(self.counts[p], self.counts[p] + count)])
            self.counts[p] += count

    def text(self, source=(), sink=(), replace=(), **more):
        """`source` and `sink`: options of the Redis ones; `replace`: whole keys of the pipeline."""
        text = {"name": "flow",
                "source": {"redis": drop_none({"url": self.address, "stream": "in",
                                               "partitions": self.partitions, "lease": "2s"}
                                              | dict(source))},
                "steps": [{"map": "{p, n}"}],
                "sink": {"redis": drop_none({"url": self.address, "stream": "out"} | dict(sink))},
                "guarantee": "exactly-once", "commit_interval": "50ms", "lanes": 2,
                "http": {"listen": "127.0.0.1:0"}, "log": {"format": "json", "level": "info"}} | more | dict(replace)
        return json.dumps(drop_none(text))

    def weir(self, process="weir", source=(), sink=(), instance=None, env=None, **more):
        return self.context.weir(self.text(source, sink, **more), process, instance=instance, env=env)

    def found(self):
        return [(int(fields[b"p"]), int(fields[b"n"])) for _, fields in self.redis.entries("out")]

    def position(self, partition):
        text = self.redis.call("GET", f"weir:flow:in:{{{partition}}}:position")
        return int(text.split(b":")[4]) if text else 0

    def is_done(self):
        return all(self.position(p) >= count for p, count in enumerate(self.counts))

    def wait_out(self, count, seconds=60, alive=()):
        def out():
            for process in alive:
                process.expect_running()
            return self.redis.call("XLEN", "out") >= count
        wait.until(out, seconds, f"{count} are out")

    def wait_done(self, *processes, seconds=90):
        def done():
            for process in processes:
                process.expect_running()
            return self.is_done()
        wait.until(done, seconds, f"all of {self.counts} are committed; "
                                  f"{[self.position(p) for p in range(self.partitions)]}")

    def account(self):
        return Account(self.counts, self.found())
