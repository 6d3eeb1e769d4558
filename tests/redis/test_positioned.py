#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: read by position and committed with its outputs, each entry has exactly one output in the
order of its stream, whoever dies, hangs, comes, goes, or does not get an answer.

Method: numbered entries through pipelines on a real server, which are killed, stopped beyond their
leases, robbed of the answers to commits, and joined by others; then every output is counted."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import redis_proxy
import wait
from harness import case, long_case, main, scale
from redis_flow import Flow, owned

# Slow work, so that the pipeline is in the middle of it when something happens.
SLOW = {"steps": [{"map": "(reduce range(1000) as $i (0; . + $i)) as $sum | {p, n, $sum}"}],
        "batch_size": 50}


@case
def once_when_nothing_happens(context):
    flow = Flow(context)
    flow.add(3000)
    weir = flow.weir()
    flow.wait_done(weir)
    flow.add(5)
    flow.wait_done(weir)
    weir.term()
    flow.account().expect()
    for p in range(flow.partitions):
        group = flow.redis.call("XINFO", "GROUPS", flow.stream(p))[0]
        fields = dict(zip(group[::2], group[1::2]))
        assert (fields[b"entries-read"], fields[b"lag"]) == (3005, 0), fields
    assert flow.redis.call("KEYS", "weir:*:lease") == [], "a lease was not given back"


@case
def one_stream(context):
    flow = Flow(context, partitions=1)
    flow.redis.pipeline([("XADD", "in", "*", "p", 0, "n", n) for n in range(2000)])
    weir = flow.weir(source={"partitions": None, "mode": "positioned"})
    flow.wait_out(2000)
    weir.term()
    flow.counts[0] = 2000
    flow.account().expect()


@case
def starts(context):
    """At the end, or at a time; once there is a position it counts."""
    flow = Flow(context, partitions=1)
    flow.redis.pipeline([("XADD", flow.stream(0), f"{n + 1}000-0", "p", 0, "n", n)
                         for n in range(10)])
    weir = flow.weir(source={"start": "1970-01-01T00:00:08Z"})
    flow.wait_out(3)
    weir.term()
    weir = flow.weir("weir2", source={"start": "latest"}, name="other",
                     sink={"stream": "out2"})
    wait.until(lambda: flow.redis.call("GET", "weir:other:in:{0}:position"), 20, "it has begun")
    flow.redis.call("XADD", flow.stream(0), "11000-0", "p", 0, "n", 10)
    wait.until(lambda: flow.redis.call("XLEN", "out2") >= 1, 20, "the new one is out")
    weir.term()
    assert flow.found() == [(0, 7), (0, 8), (0, 9)], flow.found()
    assert [f[b"n"] for _, f in flow.redis.entries("out2")] == [b"10"]
    assert flow.redis.call("GET", "weir:other:in:{0}:position").split(b":")[4] == b"11"


@case
def position_gone(context):
    """`start` is for a stream that was never read: one whose position the server has lost begins before what came
    meanwhile."""
    flow = Flow(context, partitions=1, appendonly="no")
    weir = flow.weir(source={"start": "latest"})
    wait.until(lambda: flow.redis.call("GET", "weir:flow:in:{0}:position"), 20, "it has begun")
    flow.add(10)
    flow.wait_done(weir)
    weir.stop()
    flow.redis.kill()
    flow.redis.start()
    flow.counts = [0]
    flow.add(10)
    weir.cont()
    flow.wait_done(weir)
    weir.term()
    flow.account().expect()


def kill_often(context, flow, kills, **options):
    weir = flow.weir(**SLOW, **options)
    total = sum(flow.counts)
    for number in range(kills):
        flow.wait_out(total * number // (kills + 1) + 1, alive=[weir])
        weir.run_for(context.random.uniform(0, 0.1))
        weir.kill()
        weir.start()
    flow.wait_done(weir)
    weir.wait_log("starting")
    return weir


@long_case
def weir_killed(context):
    flow = Flow(context)
    flow.add(scale(4000, 40_000))
    kill_often(context, flow, scale(5, 200), source={"lease": "500ms"}).term()
    flow.account().expect()


@long_case
def server_killed(context):
    """With appendfsync always the server loses nothing that it has answered."""
    flow = Flow(context)
    flow.add(scale(4000, 40_000))
    weir = flow.weir(**SLOW)
    kills = scale(3, 40)
    for number in range(kills):
        flow.wait_out(sum(flow.counts) * number // (kills + 1) + 1, alive=[weir])
        flow.redis.kill()
        flow.redis.start()
    flow.wait_done(weir)
    weir.term()
    flow.account().expect()


@case
def answers_lost(context):
    """A commit that was applied and not answered is found to stand, and not repeated."""
    flow = Flow(context)
    flow.add(scale(4000, 40_000))
    proxy = redis_proxy.Proxy(flow.redis.port)
    context.cleanup(proxy.stop)
    proxy.drops = redis_proxy.commit_answers(context.random, 0.5, surely=3)
    flow.address = proxy.address
    weir = flow.weir(**SLOW, source={"lease": "60s"})  # a server that is slow does not end it
    flow.wait_done(weir)
    weir.term()
    context.say(f"{proxy.dropped} answers lost")
    assert proxy.dropped >= 3
    assert not [line for line in weir.log() if line["message"] == "lease lost"], \
        "a commit that stood was taken for another's"
    flow.account().expect()


@case
def zombie(context):
    """Stopped beyond its leases, another goes on; when it comes back it can commit nothing."""
    flow = Flow(context)
    flow.add(scale(4000, 20_000))
    first = flow.weir("first", **SLOW)
    second = None
    for number in range(scale(2, 20)):
        flow.wait_out(sum(flow.counts) * number // scale(3, 21) + 1)
        first.stop()
        if second is None:
            second = flow.weir("second", **SLOW)
        before = flow.redis.call("XLEN", "out")
        wait.until(lambda: owned(second) == flow.partitions, 20,
                   "the second has all streams")
        flow.add(50)
        flow.wait_out(before + 1)
        first.cont()
        first.wait_log("lease lost", 20)
        wait.until(lambda: owned(second) == flow.partitions // 2
                   and owned(first) == flow.partitions // 2, 20,
                   "they share again")
    flow.wait_done(first, second)
    first.term()
    second.term()
    flow.account().expect()


@case
def come_and_go(context):
    """Streams move between processes without a loss, a repeat or a change of order."""
    flow = Flow(context, partitions=6)
    flow.add(scale(1500, 15_000))
    processes = [flow.weir(f"weir{n}", **SLOW) for n in range(2)]
    for number in range(scale(3, 30)):
        wait.until(lambda: sum(owned(p) for p in processes) == 6, 30,
                   "every stream has an owner")
        if len(processes) > 2:
            processes.pop(context.random.randrange(len(processes))).term()
        else:
            processes.append(flow.weir(f"more{number}", **SLOW))
        flow.add(100)
        wait.until(lambda: sum(owned(p) for p in processes) == 6, 30,
                   "every stream has an owner again")
    flow.wait_done(*processes)
    for process in processes:
        process.term()
    flow.account().expect()


def is_red(context, fault, disturb):
    flow = Flow(context)
    flow.add(4000)
    weir = flow.weir(**SLOW, source={"lease": "500ms"},
                     env={"WEIR_FAULT": fault, "WEIR_UNSAFE_TESTING": "1"})
    flow.wait_out(500)
    disturb(flow, weir)
    wait.until(lambda: flow.is_done() or not weir.running, 30, "done, or given up")
    account = flow.account()
    context.say(f"{fault}: {account}")
    return account


@long_case
def faults_are_seen(context):
    """The account can turn red."""
    def kill(flow, weir):
        weir.kill()
        for _ in range(3):
            flow.add(200)
            weir.start(env={"WEIR_FAILPOINT": "after_commit:1"})
            weir.wait_exit(20)
        weir.start()
    assert is_red(context, "commit_early", kill).lost > 0
    (context.dir / "redis").rename(context.dir / "redis1")
    assert is_red(context, "send_twice", lambda flow, weir: None).repeated > 0


if __name__ == "__main__":
    main()
