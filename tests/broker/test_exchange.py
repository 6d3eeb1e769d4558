#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: windows by a key that the topic is not partitioned by, through an exchange topic, are those of
an offline recomputation over all partitions, each final result exactly once, whatever is killed and
however partitions and shards move between processes.

Method: records that name themselves arrive in 4 partitions, each in order; the windows' key is made of
their number. Afterwards the input is read and windowed again by the dozen lines below, up to the
slowest partition's time. Partitions that come late or fall idle have cases of their own.

    WEIR_LONG: 50 kills instead of 2, each step of a commit five times."""
import collections
import json
import pathlib
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale, weir_binary
from judge import Load
from weir_process import pipeline

SIZE, KEYS, SHARDS = 40, 37, 5


def step(**more):
    return {"name": "sums", "exchange": {"via": "topic", "shards": SHARDS},
            "window": {"tumbling": f"{SIZE}ms", "key": f".g % {KEYS}", "time": ".g",
                       "aggregate": {"n": "count", "total": "sum(.g)"}} | more}


def recompute(values, closed):
    """Finals of the windows that end at `closed` or before."""
    windows = collections.defaultdict(lambda: [0, 0])
    for g in values:
        window = windows[g % KEYS, g // SIZE * SIZE]
        window[0] += 1
        window[1] += g
    return collections.Counter((key, start, n, total) for (key, start), (n, total) in windows.items()
                               if start + SIZE <= closed)


def visible(kafka, topic):
    results = [json.loads(m.value()) for m in kafka.read(topic)]
    return collections.Counter((r["key"], r["window"]["start"], r["n"], r["total"]) for r in results)


def of_load(kafka, topic):
    values, greatest = [], {}
    for message in kafka.read(topic):
        g, at = json.loads(message.value())["g"], message.partition()
        values.append(g)
        greatest[at] = max(greatest.get(at, g), g)
    return recompute(values, min(greatest.values()))


def compare(context, wanted, found):
    missing, extra = wanted - found, found - wanted
    context.say(f"{sum(wanted.values())} windows, {sum(missing.values())} missing, "
                f"{sum(extra.values())} too many or wrong")
    assert not missing and not extra, (sorted(missing)[:3], sorted(extra)[:3])


def drain(context, kafka, load, *processes):
    load.drain(context.name, *processes)
    exchange = f"{context.name}.sums.exchange"
    wait.until(lambda: kafka.ends(exchange, "read_committed") == kafka.ends(exchange), 60,
               "no transaction of a killed process holds readers back")
    kafka.wait_drained(exchange, exchange, 120, alive=processes)


def standing(weir, *arguments):
    done = subprocess.run([weir_binary(), *arguments, weir.file], timeout=60, check=True, capture_output=True, text=True)
    return done.stdout


def expect_backlog(context, kafka, weir):
    """`weir lag` shows the exchange beside the source; positions are saved without it."""
    rows = json.loads(standing(weir, "lag", "--format", "json"))["partitions"]
    exchange = f"{context.name}.sums.exchange"
    own = [row for row in rows if row["topic"] == exchange]
    assert len(own) == SHARDS and {row["source"] for row in own} == {"sums.exchange"}, rows
    assert sum(row["end"] for row in own) == sum(kafka.ends(exchange).values()), own
    assert all(0 <= row["committed"] <= row["end"] and row["lag"] <= 2 for row in own), own
    assert exchange not in standing(weir, "positions", "export")


def loaded(context, kafka, records, rate):
    load = Load(context, kafka, records, rate=rate, keys=100)
    return load, pipeline(context.name, kafka, load.source, load.sink, steps=[step()])


@case
def killed(context):
    kafka = context.kafka()
    load, text = loaded(context, kafka, scale(20_000, 60_000), 6000)
    load.start()
    weir = context.weir(text, instance="a")
    for _ in range(scale(2, 50)):
        load.wait_progress(1, alive=[weir])
        weir.run_for(context.random.uniform(0, 0.8))
        weir.kill()
        weir.start()
    drain(context, kafka, load, weir)
    assert "state restored" in weir.text(), "nothing was restored: nothing was shown"
    expect_backlog(context, kafka, weir)
    weir.term()
    wanted = of_load(kafka, load.source)
    assert len(wanted) > 1000, "too few windows to show anything"
    compare(context, wanted, visible(kafka, load.sink))


@case
def partitions_and_shards_move(context):
    kafka = context.kafka()
    load, text = loaded(context, kafka, scale(20_000, 60_000), 6000)
    load.start()
    first = context.weir(text, "first")
    other = context.weir(text, "other", start=False)
    exchange = f"{context.name}.sums.exchange"
    for number in range(scale(2, 20)):
        other.start()
        for group in (context.name, exchange):
            wait.until(lambda group=group: sum(map(bool, kafka.members(group).values())) >= 2, 40,
                       f"a second member of {group} owns partitions")
        load.wait_progress(1, alive=[first, other])
        other.run_for(context.random.uniform(0.2, 1.5))
        if number % 2:
            other.kill()
        else:
            other.term()
    drain(context, kafka, load, first)
    first.term()
    compare(context, of_load(kafka, load.source), visible(kafka, load.sink))


@case
def killed_at_each_step_of_a_commit(context):
    """The exchange's records and marks, both groups' positions, the state and the results are one
    transaction, at whatever step of it the process dies."""
    kafka = context.kafka()
    load, text = loaded(context, kafka, 3000, 2000)
    load.start()
    weir = context.weir(text, instance="a", start=False)
    points = [f"{point}:{passing}" for passing in scale([2], [1, 2, 3, 7, 20])
              for point in ("after_poll", "after_produce", "before_send_offsets",
                            "after_send_offsets", "before_commit", "after_commit")]
    for point in points:
        weir.start(env={"WEIR_FAILPOINT": point})
        code = weir.wait_exit(60)
        assert code == -signal.SIGKILL, f"{point} ended with {code}:\n{weir.tail()}"
    weir.start()
    drain(context, kafka, load, weir)
    weir.term()
    context.say(f"{len(points)} crashes")
    compare(context, of_load(kafka, load.source), visible(kafka, load.sink))


def records(numbers, partition):
    return [{"value": json.dumps({"g": g}), "partition": partition} for g in numbers]


@case
def a_late_partition_is_waited_for(context):
    """Three partitions have everything, the fourth nothing: no window closes. Then it comes, from the
    beginning on, and nothing of it is late."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink)
    values = list(range(4000))
    for p in range(3):
        kafka.produce(source, records(values[p::4], p))
    weir = context.weir(pipeline(context.name, kafka, source, sink, steps=[step()]))
    exchange = f"{context.name}.sums.exchange"
    kafka.wait_drained(context.name, source, alive=[weir])
    kafka.wait_drained(exchange, exchange, alive=[weir])
    assert not kafka.read(sink), "a window closed before every partition had shown its time"
    kafka.produce(source, records(values[3::4], 3))
    kafka.wait_drained(context.name, source, alive=[weir])
    wait.until(lambda: len(kafka.read(sink)) >= len(recompute(values, 3996)), 60, "all windows closed")
    weir.term()
    compare(context, recompute(values, 3996), visible(kafka, sink))


@case
def an_idle_partition_is_not(context):
    """The fourth partition has nothing at all; with idle_timeout the others go on without it. What was
    read of the exchange is deleted."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink)
    values = list(range(3000))
    for p in range(3):
        kafka.produce(source, records(values[p::3], p))
    weir = context.weir(pipeline(context.name, kafka, source, sink,
                                 steps=[step(idle_timeout="1s", grace="1s")]))
    exchange = f"{context.name}.sums.exchange"
    wanted = recompute(values, 3000)
    wait.until(lambda: weir.expect_running() or len(kafka.read(sink)) >= len(wanted), 60,
               "the windows close by the wall clock, when all are idle")
    compare(context, wanted, visible(kafka, sink))

    def deleted():
        from confluent_kafka import TopicPartition
        from confluent_kafka.admin import OffsetSpec
        asked = {TopicPartition(exchange, p): OffsetSpec.earliest() for p in range(SHARDS)}
        return all(f.result(15).offset > 0 for f in kafka.admin.list_offsets(asked).values())
    wait.until(lambda: weir.expect_running() or deleted(), 60, "what was read is deleted")
    assert len(kafka.partitions(exchange)) == SHARDS
    weir.term()


@case
def other_shards_are_refused(context):
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink)
    kafka.produce(source, records(range(100), 0))
    text = pipeline(context.name, kafka, source, sink, steps=[step()])
    weir = context.weir(text)
    kafka.wait_drained(context.name, source, alive=[weir])
    weir.term()
    weir.file.write_text(text.replace(f'"shards": {SHARDS}', '"shards": 6'))
    weir.start()
    assert weir.wait_exit() == 78, weir.tail()
    assert f"has {SHARDS} partitions, the exchange 6 shards" in weir.text(), weir.tail()


if __name__ == "__main__":
    main()
