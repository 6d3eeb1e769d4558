#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what passes through is what came in, and lies where a Java producer would have put it (I2, I3).

Method: records with null keys, empty keys, tombstones, repeated, empty and null headers and odd
timestamps go through; keys must land in the partition that Java's default partitioner (murmur2) names,
by vectors of its own tests; every codec is read and written, as the batches on the broker's disk show;
a group without positions begins where `start` says; and offsets that carry no record, of aborted or
compacted ones, are passed over to the end."""
import datetime
import pathlib
import struct
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main
from weir_process import pipeline

NOW_MS = 1_700_000_000_000
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def murmur2(data):
    """As org.apache.kafka.common.utils.Utils.murmur2, unsigned."""
    mask, m = 0xFFFFFFFF, 0x5BD1E995
    h = (0x9747B28C ^ len(data)) & mask
    whole = len(data) // 4 * 4
    for (k,) in struct.iter_unpack("<I", data[:whole]):
        k = k * m & mask
        k = (k ^ (k >> 24)) * m & mask
        h = (h * m & mask) ^ k
    rest = data[whole:]
    if rest:
        h = (h ^ int.from_bytes(rest, "little")) * m & mask
    h = (h ^ (h >> 13)) * m & mask
    return h ^ (h >> 15)


VECTORS = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536,
           b"a-little-bit-longer-string": -1486304829,
           b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971, b"abc": 479470107}


def topics(context, partitions, *names):
    kafka = context.kafka()
    made = [f"{context.name}-{name}" for name in names]
    kafka.create(*made, partitions=partitions)
    return [kafka, *made]


def through(context, kafka, source, sink, **more):
    weir = context.weir(pipeline(context.name, kafka, source, sink, **more))
    kafka.wait_drained(context.name, source["topic"] if isinstance(source, dict) else source, 60,
                       [weir])
    weir.term()


def fields(message):
    return (message.key(), message.value(), message.headers(), message.timestamp())


@case
def everything_is_kept(context):
    kafka, source, sink = topics(context, 1, "in", "out")
    records = [
        {"key": b"k", "value": b"v", "timestamp": NOW_MS},
        {"key": None, "value": b"no key", "timestamp": NOW_MS + 5},
        {"key": b"", "value": b"empty key", "timestamp": NOW_MS - 10_000},
        {"key": b"k", "value": None, "timestamp": NOW_MS + 1},
        {"key": None, "value": None, "timestamp": NOW_MS + 2},
        {"key": b"k", "value": b"", "timestamp": NOW_MS + 3},
        {"key": b"\0\xff\n", "value": b"\0\0", "timestamp": NOW_MS + 4},
        {"key": b"h", "value": b"1", "timestamp": NOW_MS,
         "headers": [("a", b"1"), ("a", b"2"), ("b", b""), ("c", None), ("\u00fc", b"\xff\0")]},
        {"key": b"h", "value": b"2", "timestamp": 0,
         "headers": [(f"h{i}", b"x" * i) for i in range(300)]},
        {"key": b"K" * 60_000, "value": b"V" * 900_000, "timestamp": NOW_MS},
    ]
    kafka.produce(source, records)
    through(context, kafka, source, sink)
    sent, got = kafka.read(source), kafka.read(sink)
    assert len(sent) == len(got) == len(records)
    for index, (a, b) in enumerate(zip(sent, got)):
        assert fields(a) == fields(b), f"record {index}: {str(fields(a))[:300]} became" \
                                       f" {str(fields(b))[:300]}"


@case
def kept_by_steps(context):
    """filter and map keep key, headers and timestamp of their input."""
    kafka, source, sink = topics(context, 1, "in", "out")
    kafka.produce(source, [{"key": b"k%d" % i, "value": b'{"i":%d}' % i, "timestamp": NOW_MS + i,
                            "headers": [("i", b"%d" % i), ("n", None)]} for i in range(100)])
    through(context, kafka, source, sink,
            steps=[{"filter": ".i % 2 == 1"}, {"map": "{j: .i}, {j: -.i}"}])
    got = kafka.read(sink)
    expected = [(b"k%d" % i, b'{"j":%d}' % j, [("i", b"%d" % i), ("n", None)], (1, NOW_MS + i))
                for i in range(1, 100, 2) for j in (i, -i)]
    assert [fields(message) for message in got] == expected


@case
def java_partitions(context):
    for data, expected in VECTORS.items():
        assert murmur2(data) == expected & 0xFFFFFFFF, f"the test's own murmur2 is wrong for {data}"
    kafka, source, sink = topics(context, 7, "in", "out")
    keys = [*VECTORS, *(b"key-%d" % i for i in range(2000)), b"", b"\xff" * 5]
    kafka.produce(source, [{"key": key, "value": b"v", "partition": 0} for key in keys] +
                  [{"key": None, "value": b"none", "partition": 1} for _ in range(2000)])
    through(context, kafka, source, sink)
    got = kafka.read(sink)
    assert len(got) == len(keys) + 2000
    for message in got:
        if message.key() is not None:
            place = (murmur2(message.key()) & 0x7FFFFFFF) % 7
            assert message.partition() == place, (message.key(), message.partition(), place)


def codecs_on_disk(kafka, topic):
    """Codec numbers of the batches of partition 0 that carry records, from the broker's log file."""
    data = (kafka.dir / "broker-0" / "data" / f"{topic}-0" / f"{0:020d}.log").read_bytes()
    found, at = set(), 0
    while at + 61 <= len(data):
        size, = struct.unpack_from(">i", data, at + 8)
        attributes, = struct.unpack_from(">h", data, at + 21)
        if size == 0:
            break
        if not attributes & 0x20:  # not a control batch
            found.add(attributes & 7)
        at += 12 + size
    return found


@case
def codecs(context):
    kafka = context.kafka()
    for index, codec in enumerate(CODECS):
        source, sink = f"{context.name}-{codec}-in", f"{context.name}-{codec}-out"
        kafka.create(source, sink, partitions=1)
        kafka.produce(source, [{"key": b"k", "value": b"compressible " * 30} for _ in range(500)],
                      compression_type=codec)
        writes = CODECS[(index + 1) % len(CODECS)]
        name = f"{context.name}-{codec}"
        weir = context.weir(pipeline(name, kafka, source, {"topic": sink, "compression": writes}),
                            name=codec)
        kafka.wait_drained(name, source, 60, [weir])
        weir.term()
        assert len(kafka.read(sink)) == 500
        assert codecs_on_disk(kafka, source) == {index}, f"the input is not in {codec}"
        assert codecs_on_disk(kafka, sink) == {CODECS.index(writes)}, f"not written in {writes}"


@case
def topic_and_key_from_expressions(context):
    kafka, source, odd, even = topics(context, 1, "in", "odd", "even")
    kafka.produce(source, [{"key": b"k", "value": b'{"i":%d,"u":"u%d"}' % (i, i % 3)}
                           for i in range(60)])
    sink = {"topic": {"jq": f'"{context.name}-" + (if .i % 2 == 0 then "even" else "odd" end)'},
            "key": ".u"}
    through(context, kafka, source, sink)
    for topic, rest in [(odd, 1), (even, 0)]:
        assert [(m.key(), m.value()) for m in kafka.read(topic)] == [
            (b"u%d" % (i % 3), b'{"i":%d,"u":"u%d"}' % (i, i % 3)) for i in range(rest, 60, 2)]


@case
def start_latest(context):
    """Only what comes later; and what "later" was stays fixed across a kill, because the first
    commit pins it."""
    kafka, source, sink = topics(context, 4, "in", "out")
    kafka.produce(source, [{"value": b"before"} for _ in range(400)])
    text = pipeline(context.name, kafka, {"topic": source, "start": "latest"}, sink)
    weir = context.weir(text, instance="l")
    wait.until(lambda: len(kafka.committed(context.name, source)) == 4, 40,
               "the start of all partitions is committed")
    weir.kill()
    kafka.produce(source, [{"value": b"after"} for _ in range(300)])
    weir.start()
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    assert [m.value() for m in kafka.read(sink)] == [b"after"] * 300


@case
def start_time(context):
    kafka, source, sink = topics(context, 3, "in", "out")
    kafka.produce(source, [{"value": b"%d" % i, "timestamp": NOW_MS + i * 1000, "partition": i % 3}
                           for i in range(300)])
    moment = datetime.datetime.fromtimestamp((NOW_MS + 123_000) / 1000, datetime.timezone.utc)
    through(context, kafka, {"topic": source, "start": moment.strftime("%Y-%m-%dT%H:%M:%SZ")}, sink)
    assert sorted(int(m.value()) for m in kafka.read(sink)) == list(range(123, 300))


@case
def start_time_after_the_end(context):
    """A time after the last record: nothing old, everything new."""
    kafka, source, sink = topics(context, 2, "in", "out")
    kafka.produce(source, [{"value": b"old", "timestamp": NOW_MS} for _ in range(50)])
    weir = context.weir(pipeline(
        context.name, kafka, {"topic": source, "start": "2035-01-01T00:00:00Z"}, sink))
    wait.until(lambda: len(kafka.committed(context.name, source)) == 2, 40, "the start is committed")
    kafka.produce(source, [{"value": b"new"} for _ in range(50)])
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    assert [m.value() for m in kafka.read(sink)] == [b"new"] * 50


def lag_is_gone(weir):
    weir.expect_running()
    return weir.metric("stream_consumer_lag") == 0


@case
def transactions_of_others(context):
    """Aborted records are nobody's, and a topic that ends in them and their markers has no lag."""
    kafka, source, sink = topics(context, 1, "in", "out")
    producer = kafka.producer(transactional_id=f"{context.name}-other")
    producer.init_transactions(30)
    for first, good in [(0, True), (100, False), (200, True), (300, False)]:
        producer.begin_transaction()
        for i in range(first, first + 100):
            producer.produce(source, b"%d" % i)
        producer.flush(30)
        producer.commit_transaction(30) if good else producer.abort_transaction(30)
    wait.until(lambda: kafka.ends(source) == {0: 404}, 30, "400 records and 4 markers are there")
    weir = context.weir(pipeline(context.name, kafka, source, sink))
    kafka.wait_drained(context.name, source, 60, [weir])
    wait.until(lambda: lag_is_gone(weir), 30, "no lag is shown")
    weir.term()
    assert [int(m.value()) for m in kafka.read(sink)] == [*range(100), *range(200, 300)]


@case
def compacted(context):
    """Offsets have gaps, also at the end; what is left passes, tombstones too, and nothing counts as
    lost."""
    kafka, source, sink = topics(context, 1, "in", "out")
    kafka.delete(source)
    kafka.create(source, partitions=1, config={
        "cleanup.policy": "compact", "segment.ms": "100", "min.cleanable.dirty.ratio": "0.001",
        "max.compaction.lag.ms": "100", "delete.retention.ms": "600000"})

    def left():
        return [(m.offset(), m.key(), m.value()) for m in kafka.read(source)]

    for turn in range(4):
        kafka.produce(source, [{"key": b"k%d" % (i % 10), "value": b"%d" % (turn * 100 + i)}
                               for i in range(100)])
        kafka.produce(source, [{"key": b"k3", "value": None}])
    before = len(left())

    def is_compacted():
        kafka.produce(source, [{"key": b"last", "value": b"x"}])  # another segment begins
        return len(left()) < before
    wait.until(is_compacted, 90, "the broker has compacted the topic")
    weir = context.weir(pipeline(context.name, kafka, source, sink))
    kafka.wait_drained(context.name, source, 60, [weir])
    wait.until(lambda: lag_is_gone(weir), 30, "no lag is shown")
    weir.term()
    found = [(m.key(), m.value()) for m in kafka.read(sink)]
    newest = dict(found)
    assert newest[b"k3"] is None and newest[b"k4"] == b"394", newest
    assert len(found) < before, "gaps were read"


if __name__ == "__main__":
    main()
