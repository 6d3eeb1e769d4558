#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: windows of every kind are what a plain recomputation makes of the same records when their state lies
in Kafka, Redis or JetStream, in memory or RocksDB, whatever batches and commits, and is restored half-way.

Method: that of tests/oracle/test_window_reference.py, whose streams, kinds and reference these are; but the
input has no end, so only what its time has closed is compared.

    WEIR_LONG: every kind × medium × table × commit; else a sample that WEIR_SEED chooses."""
import itertools
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "support"), str(HERE.parent / "oracle")]
import nats_server
import redis_server
import test_window_reference as oracle
import wait
import window_reference
from harness import case, main, scale

MEDIA, PARTITIONS = ("kafka", "redis", "nats"), 3
TABLES = [{}, {"table": "rocksdb", "memory": "1MiB"}]
COMMITS = [{"batch_size": 500}, {"batch_size": 7, "commit_interval": "10ms"}]


class World:
    def __init__(self, context):
        self.context, self.runs = context, 0
        self.kafka = context.kafka()
        self.redis = redis_server.Server(context.dir / "redis")
        context.cleanup(self.redis.stop)
        self.nats = nats_server.Server(context.dir / "nats")
        context.cleanup(self.nats.stop)

    def make(self, medium, name):
        """The source of a pipeline, and what puts records into a partition of it."""
        if medium == "kafka":
            self.kafka.create(name, partitions=PARTITIONS)
            return ({"kafka": {"brokers": self.kafka.address, "topic": name, "start": "earliest"}},
                    lambda p, lines: self.kafka.produce(name, [{"value": t.encode(), "partition": p} for t in lines]))
        if medium == "redis":
            return ({"redis": {"url": self.redis.address, "stream": name, "partitions": PARTITIONS,
                               "field": "v", "lease": "500ms"}},
                    lambda p, lines: self.redis.pipeline([("XADD", f"{name}:{{{p}}}", "*", "v", t) for t in lines]))
        self.nats.make(name, f"{name}.>")
        return ({"nats": {"url": self.nats.address, "stream": name, "partitions": PARTITIONS,
                          "partition": f"{name}.{{}}", "lease": "500ms"}},
                lambda p, lines: self.nats.publish_all((f"{name}.{p}", t) for t in lines))

    def run(self, medium, number, table, commit, seed):
        kind, grace, emit, step = oracle.KINDS[number]
        self.runs += 1
        name = f"w{self.runs}"
        streams = [oracle.stream(f"{seed}-{p}", step, 250) for p in range(PARTITIONS)]
        wanted, late = [], []
        for records in streams:
            partition = window_reference.Partition(kind, grace, emit, lambda *result: wanted.append(result),
                                                   lambda r: late.append(r["t"]))
            for record in records:
                partition.add(record)
        source, put = self.make(medium, name)
        aggregates = oracle.FIXED if seed % 2 else oracle.AGGREGATES
        window = oracle.window_of(kind, grace, emit, aggregates)
        files = {sink: self.context.dir / f"{name}.{sink}" for sink in ("out", "late")}
        text = {"name": name, "http": "off", "source": source, "steps": [{"name": "w", "window": window}],
                "sinks": [{"name": sink, "file": {"path": str(path)}} for sink, path in files.items()],
                "log": {"format": "json", "level": "info"}, **commit,
                **({"state": table | {"dir": str(self.context.dir / f"{name}.disk")}} if table else {})}
        weir = self.context.weir(json.dumps(text), name)

        def read(sink):
            return [json.loads(t) for t in files[sink].read_text().splitlines()] if files[sink].exists() else []
        for half in (slice(0, 125), slice(125, 250)):
            for p, records in enumerate(streams):
                put(p, [json.dumps(r) for r in records[half]])
        wait.until(lambda: len(read("out")) >= len(wanted) and len(read("late")) >= len(late), 60,
                   f"{medium} {kind} {table} {commit} seed {seed}: {len(wanted)} results")
        weir.term()
        told = oracle.differences(read("out"), read("late"), wanted, late, aggregates)
        assert not told, (medium, kind, grace, emit, table, commit, seed, told[:3])
        return len(wanted)


@case
def agree(context):
    world = World(context)
    ways = list(itertools.product(MEDIA, range(len(oracle.KINDS)), TABLES, COMMITS))
    chosen = ways if scale(0, 1) else context.random.sample(ways, 12)
    results = sum(world.run(*way, context.random.randrange(1 << 30)) for way in chosen)
    context.say(f"{results} results of {len(chosen)} pipelines")
    assert results > 500


if __name__ == "__main__":
    main()
