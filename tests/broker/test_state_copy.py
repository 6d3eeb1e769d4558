#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: state is copied from every medium to every other, file, Kafka, Redis and JetStream, with positions
to match; what cannot be is refused, and what was thrown away is gone.

Method: the same two partitions lie in four systems. In each a pipeline counts the first half per key; its
state, exported, with the topics and positions of the other system in its lines, is imported into one there,
which counts the second half: every count must be shown exactly once."""
import collections
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import nats_server
import redis_server
import wait
from harness import case, main

HALF, KEYS, PARTITIONS = 300, 37, 2


class World:
    def __init__(self, context):
        self.context, self.dir = context, context.dir
        self.kafka = context.kafka()
        self.redis = redis_server.Server(context.dir / "redis")
        context.cleanup(self.redis.stop)
        self.nats = nats_server.Server(context.dir / "nats")
        context.cleanup(self.nats.stop)
        self.nats.make("IN", "in.>")
        self.topic = f"in-{context.name}"
        self.kafka.create(self.topic, partitions=PARTITIONS)

    def add(self, first):
        for p in range(PARTITIONS):
            lines = [json.dumps({"p": p, "k": n % KEYS}) for n in range(first, first + HALF)]
            with open(self.dir / f"in{p}.jsonl", "a", encoding="utf-8") as file:
                file.writelines(line + "\n" for line in lines)
            self.kafka.produce(self.topic, [{"value": line.encode(), "partition": p} for line in lines])
            self.redis.pipeline([("XADD", f"in:{{{p}}}", "*", "p", p, "k", n % KEYS) for n in range(first, first + HALF)])
            self.nats.publish_all((f"in.{p}", line) for line in lines)

    def source(self, medium):
        return {"file": {"file": {"paths": [str(self.dir / f"in{p}.jsonl") for p in range(PARTITIONS)]}},
                "kafka": {"kafka": {"brokers": self.kafka.address, "topic": self.topic, "start": "earliest"}},
                "redis": {"redis": {"url": self.redis.address, "stream": "in", "partitions": PARTITIONS,
                                    "lease": "1s"}},
                "nats": {"nats": {"url": self.nats.address, "stream": "IN", "partitions": PARTITIONS,
                                  "partition": "in.{}", "lease": "1s"}}}[medium]

    def place(self, medium, p):
        """Topic, partition and position behind the first half."""
        path = self.dir / f"in{p}.jsonl"
        return {"file": (str(path), 0, len("".join(path.read_text().splitlines(True)[:HALF]))),
                "kafka": (self.topic, p, HALF), "redis": (f"in:{{{p}}}", p, HALF),
                "nats": (f"IN/in.{p}", p, PARTITIONS * HALF + 1)}[medium]

    def weir(self, medium, name, start):
        text = {"name": name, "source": self.source(medium),
                "steps": [{"map": "{p: (.p|tonumber), k: (.k|tonumber)}"},
                          {"name": "counts", "aggregate": {"key": "[.p, .k]", "aggregate": {"n": "count"}}}],
                "sink": {"file": {"path": str(self.dir / f"{name}.out")}}, "commit_interval": "50ms",
                "on_end": "hold", "http": "off", "log": {"format": "json", "level": "info"}}
        if medium == "file":
            text["state"] = {"dir": str(self.dir / f"{name}.state")}
        return self.context.weir(json.dumps(text), name, start=start)

    def shown(self, name):
        path = self.dir / f"{name}.out"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(tuple(r["key"]), r["n"]) for r in map(json.loads, lines)]

    def count_half(self, medium, weir):
        """Until it has shown half of the input; the end."""
        if medium == "file":
            assert weir.wait_exit() == 0, weir.tail()
        else:
            wait.until(lambda: len(self.shown(weir.name)) >= PARTITIONS * HALF, 60,
                       f"{weir.name} shows half of it")
            weir.term()


def state(action, weir, *more, stdin=None, code=0, command="state"):
    done = subprocess.run([harness.weir_binary(), command, action, *more, weir.file], input=stdin, timeout=120,
                          check=False, capture_output=True, text=True)
    assert done.returncode == code, (action, weir.file, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


def carried(world, lines, origin, target):
    """What `export` wrote, with another system's topics and positions."""
    places = {world.place(origin, p)[:2]: world.place(target, p) for p in range(PARTITIONS)}
    made = []
    for line in map(json.loads, lines.splitlines()):
        topic, partition, position = places[line["topic"], line["partition"]]
        line |= {"topic": topic, "partition": partition}
        made.append(line | ({"position": position} if "position" in line else {}))
    return "".join(json.dumps(line) + "\n" for line in made)


def entries(lines):
    return collections.Counter((e["key"], e["value"]) for e in map(json.loads, lines.splitlines()) if "value" in e)


@case
def everywhere(context):
    world = World(context)
    media = ("file", "kafka", "redis", "nats")
    world.add(0)
    kept = {}
    for medium in media:
        first = world.weir(medium, f"from-{medium}", True)
        world.count_half(medium, first)
        kept[medium] = state("export", first)
        assert sum(entries(kept[medium]).values()) == PARTITIONS * KEYS, medium
        assert entries(kept[medium]) == entries(kept["file"]), medium
    world.add(HALF)
    wanted = collections.Counter(((p, k), n) for p in range(PARTITIONS) for k in range(KEYS)
                                 for n in range(1, len(range(k, 2 * HALF, KEYS)) + 1))
    for origin in media:
        for target in media:
            weir = world.weir(target, f"{origin}-to-{target}", False)
            lines = carried(world, kept[origin], origin, target)
            assert state("import", weir, stdin=lines).endswith("done\n")
            assert entries(state("export", weir)) == entries(lines), (origin, target)
            again = state("import", weir, stdin=lines, code=1)
            assert "state already" in again or "is not empty" in again, again
            weir.start()
            world.count_half(target, weir)
            found = collections.Counter(world.shown(f"from-{origin}") + world.shown(weir.name))
            assert found == wanted, (origin, target, sorted(wanted - found)[:3], sorted(found - wanted)[:3])


@case
def thrown_away(context):
    """Not while somebody reads; afterwards the counts begin anew at the positions that were set."""
    world = World(context)
    world.add(0)
    for medium in ("kafka", "redis", "nats"):
        weir = world.weir(medium, f"away-{medium}", True)
        wait.until(lambda: len(world.shown(weir.name)) >= PARTITIONS * HALF, 60, f"{weir.name} has counted")
        told = state("set", weir, "--to", "earliest", "--reset-state", command="positions", code=1)
        assert "the pipeline runs" in told, told
        weir.term()
        told = state("set", weir, "--to", "earliest", command="positions", code=1)
        assert "--reset-state" in told, told
        before = collections.Counter(world.shown(weir.name))
        state("set", weir, "--to", "earliest", "--reset-state", command="positions")
        assert entries(state("export", weir)) == collections.Counter(), medium
        weir.start()
        wait.until(lambda: len(world.shown(weir.name)) >= 2 * PARTITIONS * HALF, 60, f"{weir.name} counts anew")
        weir.term()
        assert collections.Counter(world.shown(weir.name)) == before + before, medium


if __name__ == "__main__":
    main()
