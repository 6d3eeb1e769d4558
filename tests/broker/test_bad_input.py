#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: no input can crash weir or vanish in silence (I7 accounting, I12 no crash).

Method: broken UTF-8, JSON of depth 100,000, values of 20 MB, empty values, tombstones, NUL bytes, numbers
out of range and half documents are written between good records. Untouched (no steps) all must come out
byte for byte. Where a step parses, `on_error: stop` must end with 1 and name topic, partition, offset
and reason; `skip` must pass exactly the good ones and count the others; a restart after `stop` must stop
at the same record again without having doubled what came before it."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import case, main
from weir_process import pipeline

MB = 1 << 20
LARGE = {"max.message.bytes": str(32 * MB)}
LARGE_CLIENT = {"message.max.bytes": 32 * MB}

# Not JSON, each in its own way.
BAD = {
    "depth of 100,000": b"[" * 100_000 + b"]" * 100_000,
    "depth of 100,000, open": b'{"a":' * 100_000,
    "empty": b"",
    "spaces": b"  \n ",
    "NUL bytes": b"\0\0\0",
    "NUL inside": b'{"a":1}\0',
    "half a document": b'{"a":[1,2',
    "two documents": b'{"a":1}{"a":2}',
    "number out of nothing": b'{"a":1e}',
    "naked word": b"hello",
    "control character": b'{"a":"\x01"}',
    "lone surrogate escape": b'{"a":"\\ud800"}',
    "broken UTF-8 that is no JSON": b'\xff\xfe{"a":1}',
    "20 MB that are no JSON": b"x" * (20 * MB),
}
# Broken UTF-8 inside a string: jq's reader puts U+FFFD there, so it is not an error.
REPAIRED = {
    "broken UTF-8": (b'{"a":"\xff"}', '"\ufffd"'),
    "overlong UTF-8": (b'{"a":"x\xc0\xaf"}', None),
    "surrogate in UTF-8": (b'{"a":"\xed\xa0\x80"}', None),
    "cut off UTF-8": (b'{"a":"\xe2\x82"}', None),
}
# JSON, each in its own way.
GOOD = {
    "20 MB string": b'{"a":"' + b"x" * (20 * MB) + b'"}',
    "large number": b'{"a":1e999}',
    "minus zero": b'{"a":-0}',
    "many digits": b'{"a":12345678901234567890123}',
    "NUL escape": b'{"a":"\\u0000"}',
    "repeated key": b'{"a":1,"a":2}',
    "not an object": b"[]",
    "depth of 200": b"[" * 200 + b"]" * 200,
}


def topics(context, *names):
    kafka = context.kafka()
    made = [f"{context.name}-{name}" for name in names]
    kafka.create(*made, partitions=1, config=LARGE)
    return [kafka, *made]


def text(context, kafka, source, sink, **more):
    return pipeline(
        context.name, kafka, {"topic": source, "fetch_bytes": "64MiB"},
        {"topic": sink, "properties": {"message.max.bytes": 32 * MB}}, **more)


@case
def untouched_bytes_pass(context):
    """No step looks into the values: whatever they are, they come out as they went in."""
    kafka, source, sink = topics(context, "in", "out")
    names = [*BAD, "tombstone", *GOOD, "tombstone", *REPAIRED]
    values = [*BAD.values(), None, *GOOD.values(), None, *(v for v, _ in REPAIRED.values())]
    kafka.produce(source, [{"value": v, "key": str(i)} for i, v in enumerate(values)],
                  **LARGE_CLIENT)
    weir = context.weir(text(context, kafka, source, sink))
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    out = kafka.read(sink)
    assert [m.key() for m in out] == [str(i).encode() for i in range(len(values))]
    for name, sent, message in zip(names, values, out):
        # A client library may show an empty value as none; the length tells them apart elsewhere.
        assert (message.value() or b"") == (sent or b""), f"{name} was altered"


@case
def stop_names_position_and_reason(context):
    kafka = context.kafka()
    for number, (name, value) in enumerate(BAD.items()):
        source, sink = f"{context.name}-{number}-in", f"{context.name}-{number}-out"
        kafka.create(source, sink, partitions=1, config=LARGE)
        good = [{"value": json.dumps({"a": i})} for i in range(7)]
        kafka.produce(source, [*good, {"value": value}, *good], **LARGE_CLIENT)
        config = pipeline(
            f"{context.name}-{number}", kafka, {"topic": source, "fetch_bytes": "64MiB"},
            {"topic": sink, "properties": {"message.max.bytes": 32 * MB}},
            steps=[{"map": ".a"}], on_error="stop")
        weir = context.weir(config, name=f"weir-{number}", instance="s")
        for _ in range(2):
            code = weir.wait_exit(40)
            assert code == 1, f"{name}: ended with {code}:\n{weir.tail()}"
            lines = [line for line in weir.log() if source in json.dumps(line)
                     and line.get("offset") == 7 and line.get("partition") == 0]
            assert lines, f"{name}: no line names topic, partition and offset 7:\n{weir.tail()}"
            out = [m.value() for m in kafka.read(sink)]
            assert out == [str(i).encode() for i in range(7)], f"{name}: {out}"
            weir.start()
        weir.wait_exit(40)


@case
def skip_counts(context):
    kafka, source, sink = topics(context, "in", "out")
    records, expected = [], 0
    for value in BAD.values():
        records += [{"value": json.dumps({"n": expected})},
                    {"value": value, "headers": [("ce_id", b"id-%d" % expected)]}]
        expected += 1
    for value in GOOD.values():
        records.append({"value": value})
    kafka.produce(source, records, **LARGE_CLIENT)
    weir = context.weir(text(context, kafka, source, sink, on_error="skip",
                             steps=[{"map": 'if type == "object" and has("n") then .n else "good" end'}]))
    kafka.wait_drained(context.name, source, 60, [weir])
    skipped = weir.metric("stream_messages_processed_total", status="skipped")
    assert skipped == len(BAD), weir.get("/metrics")[1]
    weir.term()
    told = [(line["offset"], line["message_id"]) for line in weir.log() if "skipped" in line["message"]]
    assert told == [(2 * i + 1, f"id-{i}") for i in range(len(BAD))], told
    out = [m.value() for m in kafka.read(sink)]
    assert out == [str(i).encode() for i in range(expected)] + [b'"good"'] * len(GOOD), out


def _computed_topics(guarantee):
    def computed_topics(context):
        """A topic that a record names and that is none, or does not exist, costs that record only;
        headers without a value, with an empty one, and tombstones arrive as they were."""
        kafka, source, sink = topics(context, "in", "out")
        names = {10: f"{context.name}-nowhere", 20: "no name!", 30: "..", 40: "x" * 250, 50: ""}
        headers = [("null", None), ("empty", b""), ("some", b"x")]
        kafka.produce(source, [{"value": json.dumps({"n": i, "to": names.get(i, sink)}), "key": str(i),
                                "headers": headers} for i in range(60)])
        weir = context.weir(pipeline(context.name, kafka, {"topic": source},
                                     {"topic": {"jq": ".to"}, "compression": "none"},
                                     guarantee=guarantee, on_error="skip"))
        kafka.wait_drained(context.name, source, 60, [weir])
        skipped = weir.metric("stream_messages_processed_total", status="skipped")
        assert skipped == len(names), weir.get("/metrics")[1]
        weir.term()
        out = kafka.read(sink)
        wanted = {str(i).encode() for i in range(60) if i not in names}
        assert {m.key() for m in out} == wanted
        assert guarantee == "at-least-once" or len(out) == len(wanted), "doubled"
        assert all(m.headers() == headers for m in out), out[0].headers()

    computed_topics.__name__ = f"computed_topics_{guarantee.replace('-', '_')}"
    case(computed_topics)


_computed_topics("exactly-once")
_computed_topics("at-least-once")


@case
def broken_utf8_is_repaired(context):
    """As jq reads it: never a crash, never invalid bytes in what a step made."""
    kafka, source, sink = topics(context, "in", "out")
    kafka.produce(source, [{"value": value} for value, _ in REPAIRED.values()])
    weir = context.weir(text(context, kafka, source, sink, steps=[{"map": ".a"}]))
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    out = [m.value().decode("utf-8") for m in kafka.read(sink)]
    assert len(out) == len(REPAIRED), out
    for (name, (_, expected)), got in zip(REPAIRED.items(), out):
        assert "\ufffd" in got and expected in (None, got), (name, got)


@case
def tombstones(context):
    """A record without a value passes where nothing looks at it, and is null for an expression."""
    kafka, source, sink = topics(context, "in", "out")
    kafka.produce(source, [{"key": "a", "value": None}, {"key": "b", "value": "1"},
                           {"key": "c", "value": None}])
    weir = context.weir(text(context, kafka, source, sink, steps=[{"filter": ". == null"}]))
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    assert [(m.key(), m.value()) for m in kafka.read(sink)] == [(b"a", None), (b"c", None)]


@case
def too_large_for_the_sink(context):
    """A record that the output topic refuses stops the pipeline by name, or is skipped and counted;
    its neighbours are written once and in order."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, partitions=1, config=LARGE)
    kafka.create(sink, partitions=1, config={"max.message.bytes": "100000"})
    values = [b"%d" % i for i in range(50)]
    values[20] = b"y" * 300_000
    kafka.produce(source, [{"value": value} for value in values], **LARGE_CLIENT)
    weir = context.weir(pipeline(context.name, kafka, source, sink, on_error="stop"), name="stop",
                        instance="s")
    assert weir.wait_exit(60) == 1, weir.tail()
    assert any(line.get("offset") == 20 for line in weir.log()), weir.tail()
    assert [m.value() for m in kafka.read(sink)] == values[:20]
    weir = context.weir(pipeline(context.name, kafka, source, sink, on_error="skip"), name="skip",
                        instance="s")
    kafka.wait_drained(context.name, source, 60, [weir])
    assert weir.metric("stream_messages_processed_total", status="skipped") == 1
    weir.term()
    assert [m.value() for m in kafka.read(sink)] == values[:20] + values[21:]


@case
def batches_too_large_for_the_sink(context):
    """The topic takes 10,000 bytes at a time, far less than a batch: every record fits by itself, so
    all must be written."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, partitions=1)
    kafka.create(sink, partitions=1, config={"max.message.bytes": "10000"})
    kafka.produce(source, [{"value": b"%06d" % i + b"z" * 300} for i in range(3000)])
    weir = context.weir(pipeline(context.name, kafka, source, sink))
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    assert [int(m.value()[:6]) for m in kafka.read(sink)] == list(range(3000))


if __name__ == "__main__":
    main()
