#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: windows over state in Kafka are those of an offline recomputation, whatever is killed; each
final result comes exactly once.

Method: records that name themselves arrive in 4 partitions while the pipeline (a tumbling window with
count and sum per key, then a running count per window) is killed and started, or while processes join
and leave, so that shards move. Afterwards every partition's input is read and windowed again by the
dozen lines below; the visible results must be the same, as multisets.

    WEIR_LONG: 60 kills instead of 8; 1,000,000 keys that move instead of 60,000."""
import collections
import json
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main, scale
from judge import Load
from weir_process import pipeline

SIZE, GRACE = 40, 4
STEPS = [{"name": "sums", "window": {
    "tumbling": f"{SIZE}ms", "key": ".k", "time": ".s", "grace": f"{GRACE}ms",
    "aggregate": {"n": "count", "total": "sum(.s)"}}}]


def recompute(kafka, topic):
    """Finals of the windows that are closed at each partition's last record."""
    windows, clocks = collections.defaultdict(lambda: [0, 0]), {}
    for message in sorted(kafka.read(topic), key=lambda m: (m.partition(), m.offset())):
        value, at = json.loads(message.value()), message.partition()
        clock = clocks[at] = max(clocks.get(at, value["s"]), value["s"])
        start = value["s"] // SIZE * SIZE
        if clock < start + SIZE + GRACE:
            window = windows[at, start, value["k"]]
            window[0] += 1
            window[1] += value["s"]
    return collections.Counter(
        (key, start, n, total) for (at, start, key), (n, total) in windows.items()
        if clocks[at] >= start + SIZE + GRACE)


def visible(kafka, topic):
    results = [json.loads(m.value()) for m in kafka.read(topic)]
    assert all(r["window"]["end"] - r["window"]["start"] == SIZE for r in results)
    return collections.Counter((r["key"], r["window"]["start"], r["n"], r["total"]) for r in results)


def verdict(context, kafka, load):
    wanted, found = recompute(kafka, load.source), visible(kafka, load.sink)
    missing, extra = wanted - found, found - wanted
    context.say(f"{sum(wanted.values())} windows, {sum(missing.values())} missing, "
                f"{sum(extra.values())} too many or wrong")
    assert len(wanted) > 1000, "too few windows to show anything"
    assert not missing and not extra, (sorted(missing)[:3], sorted(extra)[:3])


def loaded(context, kafka, records, rate):
    load = Load(context, kafka, records, rate=rate, keys=100)
    return load, pipeline(context.name, kafka, load.source, load.sink, steps=STEPS)


@case
def killed(context):
    kafka = context.kafka()
    load, text = loaded(context, kafka, 60_000, 6000)
    load.start()
    weir = context.weir(text, instance="a")
    for _ in range(scale(8, 60)):
        load.wait_progress(1, alive=[weir])
        weir.run_for(context.random.uniform(0, 0.6))
        weir.kill()
        weir.start()
    load.drain(context.name, weir)
    assert "state restored" in weir.text(), "nothing was restored: nothing was shown"
    weir.term()
    verdict(context, kafka, load)


@case
def failpoints(context):
    """A crash exactly at each step of the commit: between state, positions and the transaction's end."""
    kafka = context.kafka()
    load, text = loaded(context, kafka, 60_000, 6000)
    load.start()
    weir = context.weir(text, instance="a", start=False)
    points = ["after_poll", "after_produce", "before_send_offsets", "after_send_offsets", "before_commit",
              "after_commit"]
    for passing in scale([2], [1, 2, 3, 7, 20]):
        for point in points:
            weir.start(env={"WEIR_FAILPOINT": f"{point}:{passing}"})
            code = weir.wait_exit(60)
            assert code == -signal.SIGKILL, f"{point}:{passing} ended with {code}:\n{weir.tail()}"
    weir.start()
    load.drain(context.name, weir)
    assert "state restored" in weir.text(), "nothing was restored: nothing was shown"
    weir.term()
    verdict(context, kafka, load)


@case
def keys_move_and_come_back(context):
    """Every key is counted three times: by one process, by two, by one again; the counts go on from
    where they were, wherever the key is."""
    kafka, keys, partitions = context.kafka(), scale(60_000, 1_000_000), 8
    kafka.create("many", "counts", partitions=partitions)
    text = pipeline(context.name, kafka, "many", {"topic": "counts", "key": ".key", "compression": "lz4"},
                    steps=[{"name": "n", "aggregate": {"key": ".", "aggregate": {"n": "count"}}}])

    def once():
        kafka.produce("many", ({"value": b"%d" % key, "partition": key % partitions} for key in range(keys)),
                      queue_buffering_max_messages=2_000_000)
        kafka.wait_drained(context.name, "many", scale(120, 900), [p for p in (first, other) if p.process])

    first = context.weir(text, "first")
    other = context.weir(text, "other", start=False)
    once()
    other.start()
    wait.until(lambda: sum(1 for owned in kafka.members(context.name).values() if owned) == 2, 90,
               "a second member owns partitions")
    once()
    restored = [line for line in other.log() if line.get("message") == "state restored"]
    moved = sum(line["keys"] for line in restored)
    other.term()
    other.process = None
    once()
    first.term()
    context.say(f"{keys} keys, {moved} of them moved, in at most {max(l['took_ms'] for l in restored)} ms a shard")
    assert moved > keys // 4, moved
    found = collections.Counter()
    for message in kafka.read("counts", seconds=scale(60, 600)):
        result = json.loads(message.value())
        found[result["key"], result["n"]] += 1
    assert len(found) == 3 * keys and set(found.values()) == {1}, (len(found), found.most_common(2))


@case
def shards_move(context):
    kafka = context.kafka()
    load, text = loaded(context, kafka, 60_000, 6000)
    load.start()
    first = context.weir(text, "first")
    other = context.weir(text, "other", start=False)
    for number in range(scale(3, 20)):
        other.start()
        wait.until(lambda: sum(1 for owned in kafka.members(context.name).values() if owned) >= 2,
                   40, "a second member owns partitions")
        load.wait_progress(1, alive=[first, other])
        other.run_for(context.random.uniform(0.2, 1.5))
        if number % 2:
            other.kill()
        else:
            other.term()
    load.drain(context.name, first)
    first.term()
    verdict(context, kafka, load)


@case
def answers_lost(context):
    """EndTxn is answered by silence: the outcome of a commit is unknown, the state must follow it."""
    kafka, proxy = kafka_proxy.proxied(context)
    load = Load(context, kafka, 30_000, rate=5000, keys=100)
    text = pipeline(context.name, kafka, load.source, load.sink, steps=STEPS, brokers=proxy.address)
    load.start()
    weir = context.weir(text, instance="a")
    for _ in range(scale(3, 20)):
        load.wait_progress(1, alive=[weir])
        rule = proxy.add(kafka_proxy.END_TXN, "drop")
        wait.until(lambda: weir.expect_running() or rule.hits > 0, 60, "an answer is dropped")
        load.wait_progress(200, seconds=120, alive=[weir])
        proxy.heal()
    load.drain(context.name, weir)
    weir.term()
    verdict(context, kafka, load)


if __name__ == "__main__":
    main()
