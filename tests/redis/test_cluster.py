#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: in a cluster, keys are found where they are and wherever they go: nothing is lost or doubled when a
primary dies or a slot moves, and what cannot be committed as one is said before, not found out after.

Method: three real primaries with a replica each; numbered entries of several streams go to a stream in the
slot of each, under leases, while a primary is killed and slots migrate; then input and output of each are
compared."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import case, main, scale
from redis_sets import Cluster

PARTITIONS = 4
TAGGED = {"stream": {"jq": '"out:{\\($record.partition)}"'}}
SLOW = "(reduce range(200) as $i (0; . + $i)) as $sum | {p, n, $sum}"


class Flow:
    def __init__(self, context):
        self.context = context
        self.redis = context.shared("cluster", Cluster)
        wait.until(self.redis.is_whole, 30, "the cluster is whole")
        for key in [f"{name}:{{{p}}}" for name in ("in", "out") for p in range(PARTITIONS)]:
            self.redis.call("DEL", key)
        self.name = context.name
        self.counts = [0] * PARTITIONS

    def add(self, count):
        for p in range(PARTITIONS):
            stream = f"in:{{{p}}}"
            commands = [("XADD", stream, "*", "p", p, "n", n) for n in range(self.counts[p], self.counts[p] + count)]
            self.redis.pipeline(stream, commands)
            self.counts[p] += count

    def text(self, source=(), sink=(), **more):
        return json.dumps(
            {"name": self.name, "source": {"redis": {"url": self.redis.address, "cluster": True, "stream": "in"}
                                           | dict(source)},
             "steps": [{"map": SLOW}], "sink": {"redis": {"stream": "out"} | dict(sink) if "command" not in dict(sink) else dict(sink)}, "commit_interval": "50ms", "batch_size": 100,
             "lanes": 2, "http": {"listen": "127.0.0.1:0"}, "log": {"format": "json", "level": "info"}} | more)

    def weir(self, name="weir", source=(), sink=(), **more):
        return self.context.weir(self.text(source, sink, **more), name)

    def exactly_once(self, name="weir"):
        return self.weir(name, {"partitions": PARTITIONS, "lease": "2s"}, TAGGED, guarantee="exactly-once")

    def numbers(self, stream):
        return [int(fields[b"n"]) for _, fields in self.redis.entries(stream)]

    def length(self):
        return sum(self.redis.call("XLEN", f"out:{{{p}}}") for p in range(PARTITIONS))

    def wait_out(self, count):
        wait.until(lambda: self.length() >= count, 60, f"{count} are out")

    def wait_done(self, *processes):
        def done():
            for process in processes:
                process.expect_running()
            return self.length() >= sum(self.counts)
        wait.until(done, 90, f"all of {self.counts} are out")

    def expect_once(self):
        for p in range(PARTITIONS):
            assert self.numbers(f"out:{{{p}}}") == self.numbers(f"in:{{{p}}}") == list(range(self.counts[p])), p


@case
def spread_over_nodes(context):
    flow = Flow(context)
    flow.add(2000)
    first, second = flow.exactly_once(), flow.exactly_once("second")
    flow.wait_done(first, second)
    flow.add(10)
    flow.wait_done(first, second)
    first.term()
    second.term()
    flow.expect_once()
    owners = {flow.redis.owners()[flow.redis.slot(f"in:{{{p}}}")].port for p in range(PARTITIONS)}
    assert len(owners) > 1, "all streams are on one node"
    file = context.dir / "weir.yaml"
    shown = subprocess.run([str(harness.weir_binary()), "lag", str(file)], capture_output=True, text=True, timeout=60)
    assert shown.returncode == 0 and shown.stdout.count("2010") >= PARTITIONS, shown.stdout + shown.stderr


@case
def slot_moves(context):
    """Under load, away and back."""
    flow = Flow(context)
    flow.add(scale(3000, 30_000))
    weir = flow.exactly_once()
    for number in range(scale(4, 40)):
        flow.wait_out(sum(flow.counts) * (number + 1) // scale(8, 80))
        key = f"in:{{{number % PARTITIONS}}}"
        home = flow.redis.owners()[flow.redis.slot(key)]
        primaries = {node.port: node for node in flow.redis.owners().values()}
        to = next(node for port, node in sorted(primaries.items()) if node is not home)
        moved = flow.redis.migrate(key, to)
        assert moved >= 4, f"{moved} keys of {key} moved"
    weir.wait_log("on another server, or on one that was started again")
    flow.add(500)
    flow.wait_done(weir)
    weir.term()
    flow.expect_once()


@case
def primary_dies(context):
    flow = Flow(context)
    flow.add(scale(3000, 30_000))
    weir = flow.exactly_once()
    flow.wait_out(sum(flow.counts) // 4)
    victim = flow.redis.owners()[flow.redis.slot("in:{0}")]
    wait.until(lambda: victim.call("WAIT", 1, 1000) >= 1, 20, "the replica is in step")
    victim.kill()
    wait.until(lambda: flow.redis.is_whole() and victim not in set(flow.redis.owners().values()), 60, "a replica is promoted")
    # Entries that had not reached the replica are gone with the primary: what counts is what it has.
    flow.counts = [len(flow.numbers(f"in:{{{p}}}")) for p in range(PARTITIONS)]
    flow.wait_done(weir)
    weir.term()
    victim.start()
    for p in range(PARTITIONS):
        assert flow.numbers(f"out:{{{p}}}") == flow.numbers(f"in:{{{p}}}"), p


@case
def at_least_once(context):
    """One shared stream, outputs to as many slots as there are keys, while one of them moves."""
    flow = Flow(context)
    count = scale(10_000, 100_000)
    flow.redis.call("DEL", "one")
    for slot in range(20):
        flow.redis.call("DEL", f"hash:{slot}")
    flow.redis.pipeline("one", [("XADD", "one", "*", "p", 0, "n", n) for n in range(count)])
    weir = flow.weir(source={"stream": "one", "claim_idle": "1s"},
                     sink={"command": '["HSET", "hash:\\(.n | tonumber % 20)", .n, 1]'})
    def out():
        return sum(flow.redis.call("HLEN", f"hash:{n}") for n in range(20))
    wait.until(lambda: out() > count // 10, 60, "some are out")
    for key in ("one", "hash:3"):
        home = flow.redis.owners()[flow.redis.slot(key)]
        flow.redis.migrate(key, next(n for n in set(flow.redis.owners().values()) if n is not home))
    wait.until(lambda: out() == count, 60, "all are out")
    wait.until(lambda: flow.redis.call("XPENDING", "one", flow.name)[0] == 0, 20, "all are acknowledged")
    weir.term()


@case
def spread_by_key(context):
    flow = Flow(context)
    flow.add(1000)
    weir = flow.weir(source={"partitions": PARTITIONS}, sink={"stream": "out", "partitions": PARTITIONS, "key": ".n"})
    flow.wait_done(weir)
    weir.term()
    assert flow.length() == sum(flow.counts)


def explained(flow, *arguments, **more):
    done = subprocess.run([str(harness.weir_binary()), "explain", "-"], input=flow.text(*arguments, **more),
                          text=True, capture_output=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@case
def what_is_one(context):
    """Only what lies in the slot of the input is committed with it."""
    flow = Flow(context)
    one = {"stream": "orders", "mode": "positioned"}
    for source, sink, guarantee in ((one, {"stream": "paid:{orders}"}, "exactly-once"),
                                    (one, {"stream": "paid"}, "at-least-once"),
                                    ({"partitions": 2}, {"stream": "paid"}, "at-least-once"),
                                    ({"partitions": 2}, {"stream": "in", "partitions": 2}, "at-least-once"),
                                    ({"partitions": 2}, TAGGED, "exactly-once")):
        code, text = explained(flow, source, sink)
        assert code == 0 and f"guarantee: {guarantee}\n" in text, (source, sink, text)
    code, text = explained(flow, one, {"stream": "paid"}, guarantee="exactly-once")
    assert code == 78, text
    flow.add(10)
    weir = flow.weir(source={"partitions": PARTITIONS}, sink={"stream": {"jq": '"elsewhere"'}}, guarantee="exactly-once")
    assert weir.wait_exit() != 0
    weir.wait_log(r"elsewhere is not in the slot of in:\{")
    assert flow.redis.call("EXISTS", "elsewhere") == 0


def state(action, weir, *more, stdin=None, code=0, command="state"):
    done = subprocess.run([harness.weir_binary(), command, action, *more, weir.file], input=stdin, timeout=120,
                          check=False, capture_output=True, text=True)
    assert done.returncode == code, (action, done.returncode, done.stdout, done.stderr)
    return done.stdout if code == 0 else done.stderr


@case
def state_moves(context):
    """To another name, stream by stream: each has its slot. An import that died is no state to begin with."""
    flow = Flow(context)

    def counting(name, start):
        flow.name = f"{context.name}-{name}"
        text = json.loads(flow.text({"partitions": PARTITIONS, "lease": "1s"}, TAGGED, guarantee="exactly-once"))
        text["steps"] = [{"map": "{p: (.p | tonumber)}"}, {"name": "counts", "aggregate": {"key": ".p", "aggregate": {"n": "count"}}},
                         {"map": "{p: .key, n: (.n - 1)}"}]
        return context.weir(json.dumps(text), name, start=start)

    flow.add(200)
    first = counting("first", True)
    flow.wait_done(first)
    second = counting("second", False)
    told = state("import", first, stdin='{"topic": "in:{0}", "partition": 0, "position": 7}\n', code=1)
    assert "the pipeline runs" in told, told
    first.term()
    kept = state("export", first)

    assert state("import", second, stdin=kept).endswith("done\n")
    assert "has state already" in state("import", second, stdin=kept, code=1)
    keys = {key for node in set(flow.redis.owners().values()) for key in node.call("KEYS", f"*{context.name}-second*")}
    assert sum(key.endswith(b":state") for key in keys) == PARTITIONS, keys
    assert not any(key.endswith(b".import") for key in keys), keys
    key = next(key for key in keys if key.endswith(b":{3}:state")).decode()
    flow.redis.owners()[flow.redis.slot(key)].call("RENAME", key, key + ".import")
    second.start()
    assert second.wait_exit() != 0, "it began with the state of some streams only"
    second.wait_log(r"an import of state ended before all of it was in place: .*\{3\}.*--reset-state")
    state("set", second, "--to", "earliest", "--reset-state", command="positions")
    assert state("import", second, stdin=kept).endswith("done\n")
    assert sorted(state("export", second).splitlines()) == sorted(kept.splitlines())

    flow.add(200)
    second.start()
    flow.wait_done(second)
    second.term()
    for p in range(PARTITIONS):
        assert flow.numbers(f"out:{{{p}}}") == list(range(400)), p


@case
def not_told(context):
    """A node of a cluster that is taken for a single server, and the other way round."""
    flow = Flow(context)
    weir = flow.weir(source={"cluster": False, "url": flow.redis.nodes[0].address})
    assert weir.wait_exit() == 78, weir.tail()
    weir.wait_log("is a node of a cluster")


if __name__ == "__main__":
    main()
