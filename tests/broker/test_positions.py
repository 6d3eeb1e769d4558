#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir lag` and `weir positions` tell and move what a Kafka group has committed, without ever
being a member, and refuse to move it while the pipeline runs.

Method: a pipeline processes a topic and stops; the commands run against its file, and a client that is
not weir (the test's own) says what is committed. Then the pipeline goes on, and what it writes shows
where it began."""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, weir_binary
from weir_process import pipeline

COUNT, PARTITIONS = 400, 4
T0 = 1_700_000_000_000  # time of record 0; each is a second later


def command(weir, *arguments, stdin="", code=0):
    done = subprocess.run([str(weir_binary()), *arguments], input=stdin, capture_output=True,
                          text=True, timeout=120, check=False, env=weir.env)
    if done.returncode != code:
        raise AssertionError(f"{arguments} ended with {done.returncode}, not {code}:\n"
                             f"{done.stdout}{done.stderr}")
    return done


def lag(weir):
    table = json.loads(command(weir, "lag", "--format", "json", str(weir.file)).stdout)
    return {row["partition"]: row for row in table["partitions"]}


def records(first, count):
    return [{"value": b"%d" % i, "partition": i % PARTITIONS, "timestamp": T0 + 1000 * i}
            for i in range(first, first + count)]


def begin(context, **more):
    """COUNT records processed, the pipeline stopped by SIGTERM."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=PARTITIONS)
    kafka.produce(source, records(0, COUNT))
    weir = context.weir(pipeline(context.name, kafka, source, sink, **more))
    kafka.wait_drained(context.name, source, 60, [weir])
    return kafka, source, sink, weir


def values(kafka, topic):
    return sorted(int(m.value()) for m in kafka.read(topic))


@case
def lag_before_while_and_after(context):
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=PARTITIONS)
    kafka.produce(source, records(0, COUNT))
    weir = context.weir(pipeline(context.name, kafka, source, sink), start=False)
    before = lag(weir)
    assert [before[p]["committed"] for p in range(PARTITIONS)] == [None] * PARTITIONS, before
    assert [before[p]["end"] for p in range(PARTITIONS)] == [100] * PARTITIONS, before
    weir.start()
    kafka.wait_drained(context.name, source, 60, [weir])
    members = set(kafka.members(context.name))
    running = lag(weir)
    assert all(row["lag"] == 0 and row["unit"] == "records" for row in running.values()), running
    assert set(kafka.members(context.name)) == members, "looking must not join the group"
    weir.term()
    kafka.produce(source, [{"value": b"1", "partition": 2}] * 7)
    after = lag(weir)
    assert [after[p]["lag"] for p in range(PARTITIONS)] == [0, 0, 7, 0], after
    committed = kafka.committed(context.name, source)
    assert {p: row["committed"] for p, row in after.items()} == committed, (after, committed)
    text = command(weir, "lag", str(weir.file)).stdout
    assert "source.kafka is behind by 7 records" in text, text


@case
def refused_while_it_runs(context):
    kafka, source, _, weir = begin(context)
    before = kafka.committed(context.name, source)
    for action in (["set", "--to", "earliest"], ["import"]):
        done = command(weir, "positions", *action, str(weir.file), code=1,
                       stdin=json.dumps({"topic": source, "partition": 0, "position": 0}))
        assert "the pipeline runs" in done.stderr and "with 4 partitions" in done.stderr, done.stderr
    dry = command(weir, "positions", "set", "--to", "earliest", "--dry-run", str(weir.file))
    assert "nothing was changed" in dry.stdout, dry.stdout
    weir.run_for(1)
    assert kafka.committed(context.name, source) == before
    weir.term()


@case
def set_to_the_beginning_and_the_end(context):
    kafka, source, sink, weir = begin(context)
    weir.term()
    done = command(weir, "positions", "set", "--to", "earliest", "--topic", source, "--partition",
                   "1", str(weir.file))
    assert f"{source} 1: 100 -> 0" in done.stdout, done.stdout
    assert kafka.committed(context.name, source) == {0: 100, 1: 0, 2: 100, 3: 100}
    weir.start()
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    again = [i for i in range(COUNT) if i % PARTITIONS == 1]
    assert values(kafka, sink) == sorted(list(range(COUNT)) + again)
    kafka.produce(source, records(COUNT, 40))
    command(weir, "positions", "set", "--to", "latest", str(weir.file))
    weir.start()
    weir.wait_ready()
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    assert max(values(kafka, sink)) == COUNT - 1, "the skipped records were processed"


@case
def set_to_a_time_and_to_an_offset(context):
    kafka, source, _, weir = begin(context, guarantee="at-least-once")
    weir.term()
    # Record 200 is the first at T0 + 200 s; partition p has those with i % 4 == p.
    command(weir, "positions", "set", "--to", "2023-11-14T22:16:40Z", str(weir.file))
    assert kafka.committed(context.name, source) == {0: 50, 1: 50, 2: 50, 3: 50}
    command(weir, "positions", "set", "--to", "2023-11-14T22:16:41.5Z", str(weir.file))
    assert kafka.committed(context.name, source) == {0: 51, 1: 51, 2: 50, 3: 50}
    command(weir, "positions", "set", "--to", "2030-01-01T00:00:00Z", str(weir.file))
    assert set(kafka.committed(context.name, source).values()) == {100}
    command(weir, "positions", "set", "--to", "17", "--topic", source, "--partition", "3",
            str(weir.file))
    assert kafka.committed(context.name, source)[3] == 17
    done = command(weir, "positions", "set", "--to", "101", str(weir.file), code=1)
    assert "101 is not among 0 to 100" in done.stderr, done.stderr
    done = command(weir, "positions", "set", "--to", "1", "--topic", source + "s", str(weir.file),
                   code=1)
    assert f'did you mean "{source}"?' in done.stderr, done.stderr


@case
def export_and_import(context):
    kafka, source, _, weir = begin(context)
    weir.term()
    kept = command(weir, "positions", "export", str(weir.file)).stdout
    rows = [json.loads(line) for line in kept.splitlines()]
    assert [(r["topic"], r["partition"], r["position"]) for r in rows] == \
        [(source, p, 100) for p in range(PARTITIONS)], rows
    command(weir, "positions", "set", "--to", "earliest", str(weir.file))
    dry = command(weir, "positions", "import", "--dry-run", str(weir.file), stdin=kept)
    assert f"{source} 0: 0 -> 100" in dry.stdout, dry.stdout
    assert set(kafka.committed(context.name, source).values()) == {0}
    command(weir, "positions", "import", str(weir.file), stdin=kept)
    assert set(kafka.committed(context.name, source).values()) == {100}
    wrong = kept + json.dumps({"topic": source, "partition": 9, "position": 0}) + "\n"
    command(weir, "positions", "set", "--to", "5", str(weir.file))
    done = command(weir, "positions", "import", str(weir.file), stdin=wrong, code=1)
    assert "line 5: the pipeline does not read this partition" in done.stderr, done.stderr
    assert set(kafka.committed(context.name, source).values()) == {5}, "half of it was imported"


@case
def patterns_and_missing_topics(context):
    kafka = context.kafka()
    # Extended expressions that tell cases apart, as libc's are.
    kafka.create(*(f"{context.name}-{name}" for name in ("a", "b", "c", "A")), partitions=1)
    pattern = {"pattern": f"{context.name}-(a|b)$"}
    weir = context.weir(pipeline(context.name, kafka, pattern, "nowhere"), start=False)
    table = json.loads(command(weir, "lag", "--format", "json", str(weir.file)).stdout)
    assert [row["topic"] for row in table["partitions"]] == \
        [f"{context.name}-a", f"{context.name}-b"], table
    weir.file.write_text(pipeline(context.name, kafka, "no-such-topic", "nowhere"))
    done = command(weir, "lag", str(weir.file), code=1)
    assert 'the topic "no-such-topic" does not exist' in done.stderr, done.stderr
    weir.file.write_text(pipeline(context.name, kafka, "t", "u", brokers="127.0.0.1:1"))
    done = command(weir, "lag", str(weir.file), code=1)
    assert "no answer from 127.0.0.1:1" in done.stderr, done.stderr


@case
def state_goes_with_its_positions(context):
    """Running counts: after --reset-state they begin at 1 again, and nothing of the old ones is left."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=PARTITIONS)
    kafka.produce(source, records(0, COUNT))
    counts = [{"aggregate": {"key": "0", "aggregate": {"n": "count"}}}, {"map": ".n"}]
    weir = context.weir(pipeline(context.name, kafka, source, sink, steps=counts))
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    once = sorted(list(range(1, COUNT // PARTITIONS + 1)) * PARTITIONS)
    assert values(kafka, sink) == once
    done = command(weir, "positions", "set", "--to", "earliest", str(weir.file), code=1)
    assert "--reset-state" in done.stderr, done.stderr
    command(weir, "positions", "set", "--to", "earliest", "--reset-state", str(weir.file))
    assert kafka.committed(context.name, source) == dict.fromkeys(range(PARTITIONS), 0)
    weir.start()
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    assert values(kafka, sink) == sorted(once * 2)


@case
def pipe_from_topic_to_topic(context):
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=2)
    environment = {"PATH": os.environ["PATH"]}
    weir = str(weir_binary())
    subprocess.run([weir, "pipe", "generate:?count=50", '{id: .n}',
                    f"kafka://{kafka.address}/{source}?compression=zstd"],
                   env=environment, timeout=60, check=True)
    process = subprocess.Popen(
        [weir, "pipe", "--name", context.name, f"kafka://{kafka.address}/{source}?start=earliest",
         "select(.id % 2 == 0) | .id", f"kafka:///{sink}"], env=environment,
        stderr=subprocess.PIPE, text=True)
    context.cleanup(process.kill)
    try:
        wait.until(lambda: process.poll() is not None or kafka.drained(context.name, source), 60,
                   "the one-liner is through")
    finally:
        process.terminate()
    log = process.communicate(timeout=60)[1]
    assert process.returncode == 0, log
    assert values(kafka, sink) == list(range(0, 50, 2))
    assert log == "", f"a one-liner is silent: {log}"


if __name__ == "__main__":
    main()
