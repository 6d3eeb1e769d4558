#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the topic that holds a pipeline's state is made so that nothing in it expires, refused when it
is not so, cut only behind a snapshot, and read to its very end before the first record is processed.

Method: counts per window go through a real broker; the topic is prepared wrongly, looked at, or blocked
by an open transaction of the test's own while weir restores. All results are compared with what the
input must yield."""
import collections
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import case, main
from weir_process import pipeline

def records(first, count, partition, pad="", keys=10):
    return [{"value": json.dumps({"s": i, "k": i % keys, "p": f"{i:09}{pad}"}).encode(),
             "partition": partition} for i in range(first, first + count)]


def check_results(kafka, topic, count, partitions, size=100, keys=10):
    """Of each partition: times 0 … count - 1 once each, so every window but the last is closed."""
    wanted = collections.Counter()
    for i in range((count - 1) // size * size):
        wanted[i % keys, i // size * size] += 1
    found = collections.defaultdict(list)
    for message in kafka.read(topic):
        result = json.loads(message.value())
        found[result["key"], result["window"]["start"]].append(result["n"])
    assert found == {at: [n] * partitions for at, n in wanted.items()}, (len(found), len(wanted))


def settings_of(kafka, topic):
    from confluent_kafka.admin import ConfigResource
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    found = kafka.admin.describe_configs([resource])[resource].result(30)
    return {name: entry.value for name, entry in found.items()}


def begins(kafka, topic):
    from confluent_kafka import TopicPartition
    from confluent_kafka.admin import OffsetSpec
    asked = {TopicPartition(topic, p): OffsetSpec.earliest() for p in kafka.partitions(topic)}
    return {tp.partition: future.result(15).offset
            for tp, future in kafka.admin.list_offsets(asked).items()}


def prepared(context, kafka, partitions=2, size=100):
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=partitions)
    steps = [{"name": "counts", "window": {
        "tumbling": f"{size}ms", "key": ".k", "time": ".s",
        "aggregate": {"n": "count", "p": "max(.p)"}}}]
    return source, sink, pipeline(context.name, kafka, source, sink, steps=steps)


@case
def made_where_topics_make_themselves(context):
    """The broker makes any topic that a producer asks for, with its own number of partitions and its
    own retention: the question whether the topic is there must not make it."""
    kafka = context.kafka(settings={"auto.create.topics.enable": "true", "num.partitions": "7",
                                    "log.retention.ms": "3600000"})
    source, sink, text = prepared(context, kafka, 3)
    for partition in range(3):
        kafka.produce(source, records(0, 2000, partition))
    weir = context.weir(text)
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    check_results(kafka, sink, 2000, 3)
    state = f"{context.name}.state"
    assert len(kafka.partitions(state)) == 3
    found = settings_of(kafka, state)
    assert found["cleanup.policy"] == "delete", found["cleanup.policy"]
    assert found["retention.ms"] == "-1" and found["retention.bytes"] == "-1", found


def _refused(name, partitions, config, said):
    def refused(context):
        kafka = context.kafka()
        source, sink, text = prepared(context, kafka)
        kafka.create(f"{context.name}.state", partitions=partitions, config=config)
        kafka.produce(source, records(0, 1000, 0))
        weir = context.weir(text)
        assert weir.wait_exit(60) == 78, weir.tail()
        for word in said:
            assert word in weir.text(), f"{word} is not said:\n{weir.tail()}"
        assert not kafka.read(sink) and not kafka.committed(context.name, source)

    refused.__name__ = f"refused_{name}"
    case(refused)


_refused("partitions", 5, {}, ["has 5 partitions", "the source has 2"])
_refused("retention", 2, {"retention.ms": "3600000"}, ["retention.ms=3600000", "retention.ms=-1"])
_refused("bytes", 2, {"retention.bytes": "1000000"}, ["retention.bytes=1000000"])
_refused("compacted", 2, {"cleanup.policy": "compact"}, ["cleanup.policy=compact"])


@case
def cut_behind_snapshots(context):
    """Many megabytes of changes of a state that stays small; restored from what is left of them."""
    kafka, step = context.kafka(), 4000
    source, sink, text = prepared(context, kafka, 1, size=step)
    weir = context.weir(text)
    for number in range(7):
        kafka.produce(source, records(number * step, step, 0, "x" * 600, keys=step))
        kafka.wait_drained(context.name, source, 60, [weir])
    weir.wait_log("state topic cut behind a snapshot", 30)
    weir.kill()
    state = f"{context.name}.state"
    begin, end = begins(kafka, state)[0], kafka.end_sum(state)
    context.say(f"entries {begin} to {end} are left")
    assert begin > 0
    weir.start()
    kafka.produce(source, records(7 * step, step + 1, 0, "x" * 600, keys=step))
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.wait_log("state restored", 30)
    weir.term()
    check_results(kafka, sink, 8 * step + 1, 1, size=step, keys=step)


@case
def waits_for_what_is_open(context):
    """A transaction that is still open in the state topic when a successor restores: what is decided
    later lies before what counts, so nothing is processed until then."""
    kafka = context.kafka()
    source, sink, text = prepared(context, kafka, 1)
    kafka.produce(source, records(0, 2050, 0))
    weir = context.weir(text)
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    other = kafka.producer(transactional_id=f"{context.name}-other", transaction_timeout_ms=60000)
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(f"{context.name}.state", b"never to be read", partition=0)
    assert other.flush(30) == 0
    kafka.produce(source, records(2050, 2050, 0))
    weir.start()
    weir.wait_log("restoring state", 60)
    assert "partition assigned" not in weir.text(), weir.tail()
    code, page = weir.get("/readyz")
    assert code == 503 and "being restored" in page and "MB so far" in page, page
    other.abort_transaction(30)
    kafka.wait_drained(context.name, source, 60, [weir])
    assert "state restored" in weir.text(), weir.tail()
    weir.term()
    check_results(kafka, sink, 4100, 1)


if __name__ == "__main__":
    main()
