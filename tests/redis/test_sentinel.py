#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a pipeline finds the primary through sentinels and goes on with whichever server takes its place:
of what that server has, nothing is lost, and by position nothing is doubled.

Method: a real primary, its replica and three sentinels; numbered entries go from stream to stream while the
primary is killed or told to step down, or while its replica lags behind, so that acknowledged entries and
outputs are gone with it; then both streams of the promoted server are compared."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from redis_server import Client, RedisError
from redis_sets import Sentinels


class Flow:
    def __init__(self, context, **settings):
        self.context = context
        self.redis = Sentinels(context.dir / "redis", appendfsync="everysec", **settings)
        context.cleanup(self.redis.stop)
        self.count = 0

    @property
    def connection(self):
        return {"sentinel": {"addresses": self.redis.addresses, "master": "main"}}

    def add(self, count, **more):
        pairs = [text for pair in more.items() for text in pair]
        self.redis.primary.pipeline([("XADD", "in", "*", "n", n, *pairs)
                                     for n in range(self.count, self.count + count)])
        self.count += count

    def weir(self, name="weir", connection=None, source=(), **more):
        text = {"name": "flow",
                "source": {"redis": (connection or self.connection) | {"stream": "in"} | dict(source)},
                "steps": [{"map": "(reduce range(100) as $i (0; . + $i)) as $sum | {n, $sum}"}],
                "sink": {"redis": {"stream": "out"}}, "commit_interval": "50ms", "batch_size": 100,
                "http": {"listen": "127.0.0.1:0"}, "log": {"format": "json", "level": "info"}} | more
        return self.context.weir(json.dumps(text), name, instance="a")

    def numbers(self, stream):
        return [int(fields[b"n"]) for _, fields in self.redis.primary.entries(stream)]

    def wait_out(self, count):
        wait.until(lambda: self.redis.primary.call("XLEN", "out") >= count, 60, f"{count} are out")

    def wait_all(self, weir):
        def done():
            weir.expect_running()
            return set(self.numbers("in")) <= set(self.numbers("out"))
        wait.until(done, 60, "everything that the primary has is out")


SHARED = {"claim_idle": "1s"}


@case
def primary_killed(context):
    flow = Flow(context)
    flow.add(scale(10_000, 100_000))
    weir = flow.weir(source=SHARED)
    for number in range(scale(1, 10)):
        flow.wait_out(flow.count // 10)
        old = flow.redis.primary
        old.kill()
        flow.redis.wait_failed_over(old)
        flow.add(2000)
        flow.wait_all(weir)
        old.start()  # the sentinels make it the replica
        wait.until(lambda: b"master_link_status:up" in old.call("INFO", "replication"), 30, "it follows")
        flow.add(2000)
    flow.wait_all(weir)
    weir.term()
    context.say(f"{len(flow.numbers('in'))} in, {len(flow.numbers('out')) - len(set(flow.numbers('out')))} repeated")


@case
def primary_steps_down(context):
    """The old one lives on, as a replica that refuses to be written to."""
    flow = Flow(context)
    flow.add(scale(10_000, 100_000))
    weir = flow.weir(source=SHARED)
    flow.wait_out(500)
    old = flow.redis.primary
    flow.redis.ask(0, "SENTINEL", "FAILOVER", "main")
    flow.redis.wait_failed_over(old)
    flow.add(2000)
    flow.wait_all(weir)
    weir.term()


POSITIONED = {"source": {"mode": "positioned", "lease": "1s"}, "guarantee": "exactly-once"}


@case
def exactly_once(context):
    """Killed, and told to step down: each entry that the primary has has one output, in order."""
    flow = Flow(context)
    flow.add(scale(10_000, 100_000))
    weir = flow.weir(**POSITIONED)
    for number in range(scale(2, 20)):
        flow.wait_out(flow.count * (number + 1) // scale(4, 40))
        old = flow.redis.primary
        if number % 2 == 0:
            old.kill()
        else:
            flow.redis.ask(0, "SENTINEL", "FAILOVER", "main")
        flow.redis.wait_failed_over(old)
        flow.add(1000)
        if number % 2 == 0:
            old.start()
        wait.until(lambda: b"master_link_status:up" in old.call("INFO", "replication"), 30, "it follows")
    flow.wait_all(weir)
    weir.term()
    assert flow.numbers("out") == flow.numbers("in")


def lag_behind(context, more):
    """The replica misses the last entries and what was made of them, and is promoted; then numbers go on
    where it is, so that entries of the old primary that nobody has any more would show."""
    flow = Flow(context)
    flow.add(1000)
    weir = flow.weir(**more)
    flow.wait_all(weir)
    old, replica = flow.redis.servers
    assert old is flow.redis.primary
    pad = "x" * 20_000
    replica.pause()
    flow.add(1500, pad=pad)
    had = flow.count
    flow.wait_out(1000 + 500)
    old.kill()
    replica.resume()
    flow.redis.wait_failed_over(old)
    entries = flow.redis.primary.entries("in")
    context.say(f"{had - len(entries)} entries are gone with the old primary")
    assert len(entries) < had, "the replica lacks nothing: this tests nothing"
    last = entries[-1][0].split(b"-")
    # The next ids are the lowest possible, below those that the old primary gave.
    flow.redis.primary.pipeline([("XADD", "in", b"%s-%d" % (last[0], int(last[1]) + 1 + n), "n", had + n)
                                 for n in range(1000)])
    flow.wait_all(weir)
    return flow, weir


@case
def replica_lags_shared(context):
    flow, weir = lag_behind(context, {"source": SHARED})
    weir.term()


@case
def replica_lags_exactly_once(context):
    # A long lease: it is not by losing it that the entries which are gone are noticed.
    flow, weir = lag_behind(context, POSITIONED | {"source": {"mode": "positioned", "lease": "60s"}})
    weir.wait_log("on another server, or on one that was started again")
    weir.term()
    assert flow.numbers("out") == flow.numbers("in")


@case
def sentinels_die(context):
    """One that answers is enough; the order does not matter. Without any, what is connected works on."""
    flow = Flow(context)
    flow.add(1000)
    for number in (0, 1):
        flow.redis.processes[number].kill()
        flow.redis.processes[number].wait(10)
    flow.redis.ports = flow.redis.ports[2:]
    weir = flow.weir(source=SHARED)
    flow.wait_all(weir)
    server = flow.redis.primary
    flow.redis.processes[2].kill()
    before = server.call("XLEN", "out")
    server.pipeline([("XADD", "in", "*", "n", n) for n in range(1000, 1500)])
    wait.until(lambda: server.call("XLEN", "out") == before + 500, 30, "the rest is out")
    weir.term()


@case
def wrong_settings(context):
    flow = Flow(context, sentinel_settings=["requirepass geheim"])
    good = flow.connection["sentinel"]
    for change, code, word in (({"master": "other", "auth": {"password": "geheim"}}, 78, "no sentinel watches"),
                               ({}, 1, "NOAUTH"), ({"auth": {"password": "falsch"}}, 1, "WRONGPASS")):
        weir = flow.weir(connection={"sentinel": good | change})
        assert weir.wait_exit(20) == code, weir.tail()
        assert word in weir.text(), weir.tail()
        assert "geheim" not in weir.text() and "falsch" not in weir.text()
    weir = flow.weir(connection={"sentinel": good | {"auth": {"password": "geheim"}}})
    flow.add(10)
    flow.wait_all(weir)
    weir.term()


if __name__ == "__main__":
    main()
