#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: windows, aggregates and dedupe over Redis are those of a recomputation, whatever is killed.

Method: the entries of several streams pass a window, or a filter for what was seen before, while the
pipeline and the server are killed and streams move between processes; then the inputs are read
again and windowed by the dozen lines below. The visible results must be the same, as multisets."""
import collections
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import redis_proxy
import wait
from harness import case, long_case, main, scale, weir_binary
from redis_flow import Flow, owned

SIZE, GRACE = 40, 4
PARSED = {"map": "{p: (.p|tonumber), n: (.n|tonumber), k: (\"k\" + ((.n|tonumber) % 17|tostring))}"}
WINDOW = {"window": {"tumbling": f"{SIZE}ms", "key": ".k", "time": ".n", "grace": f"{GRACE}ms",
                     "aggregate": {"count": "count", "total": "sum(.n)"}}}
FLAT = {"map": "{p: .key, n: .window.start, count, total}"}


def recompute(counts):
    """Finals of the windows that are closed at each stream's last entry: n is the event time."""
    results = collections.Counter()
    for count in counts:
        windows = collections.defaultdict(lambda: [0, 0])
        for n in range(count):
            window = windows[n // SIZE * SIZE, f"k{n % 17}"]
            window[0] += 1
            window[1] += n
        results.update((key, start, *sums) for (start, key), sums in windows.items()
                       if count - 1 >= start + SIZE + GRACE)
    return results


def verdict(context, flow):
    found = collections.Counter((f[b"p"].decode(), int(f[b"n"]), int(f[b"count"]), int(f[b"total"]))
                                for _, f in flow.redis.entries("out"))
    wanted = recompute(flow.counts)
    missing, extra = wanted - found, found - wanted
    context.say(f"{sum(wanted.values())} windows, {sum(missing.values())} missing, "
                f"{sum(extra.values())} too many or wrong")
    assert sum(wanted.values()) > 500, "too few windows to show anything"
    assert not missing and not extra, (sorted(missing)[:3], sorted(extra)[:3])


def windows(flow, process="weir", **more):
    return flow.weir(process, steps=[PARSED, WINDOW, FLAT], guarantee=None, batch_size=50, **more)


@long_case
def killed(context):
    flow = Flow(context, partitions=3)
    weir = windows(flow, source={"lease": "500ms"})
    kills = scale(6, 60)
    for number in range(kills):
        flow.add(1000)
        flow.wait_out(1, alive=[weir])
        weir.run_for(context.random.uniform(0, 0.4))
        weir.kill()
        if number % 3 == 2:
            flow.redis.kill()
            flow.redis.start()
        weir.start()
    flow.wait_done(weir)
    assert "state restored" in weir.text(), "nothing was restored: nothing was shown"
    seen(flow, weir)
    weir.term()
    verdict(context, flow)


def seen(flow, weir):
    """What `weir state` reads from outside, while the pipeline runs."""
    shown = subprocess.run([weir_binary(), "state", "list", "--format", "json", weir.file], timeout=60,
                           check=True, capture_output=True)
    tables = json.loads(shown.stdout)["tables"]
    assert sorted(t["position"] for t in tables) == sorted(flow.counts), (tables, flow.counts)
    assert all(0 < t["keys"] <= 2 * 17 for t in tables), tables


@case
def moved(context):
    """Shards move with their streams; answers to commits get lost meanwhile."""
    flow = Flow(context, partitions=4)
    proxy = redis_proxy.Proxy(flow.redis.port)
    context.cleanup(proxy.stop)
    proxy.drops = redis_proxy.commit_answers(context.random, 0.1)
    flow.address = proxy.address
    processes = [windows(flow, "weir0")]
    for number in range(scale(4, 40)):
        flow.add(500)
        if len(processes) == 1:
            processes.append(windows(flow, f"weir{number + 1}"))
        else:
            processes.pop(context.random.randrange(2)).term()
        wait.until(lambda: all(owned(p) == flow.partitions // len(processes) for p in processes), 30,
                   "the streams are shared")
        flow.wait_done(*processes)
    processes[0].wait_log("state restored")
    for process in processes:
        process.term()
    context.say(f"{proxy.dropped} answers lost")
    verdict(context, flow)


@case
def snapshots_cut_the_log(context):
    """The log does not grow without end, and what is cut is not needed."""
    flow = Flow(context, partitions=1)
    many = [{"map": "{p: (.p|tonumber), n: (.n|tonumber), k: (.n|tonumber % 20000|tostring), "
                    "text: (\"x\" * 200)}"},
            {"aggregate": {"key": ".k", "aggregate": {"count": "count", "last": "last(.text)"}}},
            {"filter": "false"}]
    weir = flow.weir(steps=many, guarantee=None)

    def cut():
        flow.add(5000)
        flow.wait_done(weir)
        return "state cut behind a snapshot" in weir.text()
    wait.until(cut, 120, "the log was cut")
    weir.kill()
    weir.start()
    weir.wait_log("state restored", 30)
    weir.term()
    first = flow.redis.call("XRANGE", "weir:flow:in:{0}:state", "-", "+", "COUNT", 1)
    assert not first[0][0].startswith(b"1-"), first[0][0]


@long_case
def seen_before(context):
    """Dedupe remembers across a crash."""
    flow = Flow(context, partitions=2)
    weir = flow.weir(steps=[{"dedupe": {"id": ".n", "ttl": "1h"}}], guarantee=None,
                     source={"lease": "500ms"})
    flow.add(500)
    flow.wait_done(weir)
    weir.kill()
    for p in range(2):  # the same again
        flow.redis.pipeline([("XADD", flow.stream(p), "*", "p", p, "n", n) for n in range(500)])
    weir.start()
    wait.until(lambda: [flow.position(p) for p in range(2)] == [1000, 1000], 30, "all are read")
    weir.term()
    flow.account().expect()


if __name__ == "__main__":
    main()
