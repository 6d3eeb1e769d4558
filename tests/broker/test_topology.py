#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what happens to topics behind weir's back is noticed, never passed over (I7, I1, I10).

Method: records are deleted before they were read; partitions are added; topics appear that a pattern
matches; a topic is deleted and made again. weir must take in what is new, and where records are gone it
must stop and say how many, or go on from the earliest when told to."""
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main
from weir_process import pipeline

QUICK = {"topic.metadata.refresh.interval.ms": 1000}


def numbered(first, count, **more):
    return [{"value": b"%d" % i, "key": b"%d" % i} | more for i in range(first, first + count)]


def values(kafka, *topics):
    return sorted(int(m.value()) for m in kafka.read(*topics))


def records_deleted(context, on_data_loss, guarantee):
    """1,000 read, then 700 of the next 1,000 deleted while weir is away."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=1)
    kafka.produce(source, numbered(0, 1000))
    text = pipeline(context.name, kafka, {"topic": source, "on_data_loss": on_data_loss}, sink,
                    guarantee=guarantee)
    weir = context.weir(text, instance="d")
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    kafka.produce(source, numbered(1000, 1000))
    low = kafka.ends(source)[0] - 300
    lost = low - kafka.committed(context.name, source)[0]
    kafka.delete_records(source, {0: low})
    weir.start()
    return kafka, source, sink, weir, lost


def _lost(guarantee):
    def stop(context):
        kafka, _, sink, weir, lost = records_deleted(context, "stop", guarantee)
        assert weir.wait_exit(60) == 1, weir.tail()
        assert re.search(rf"\b{lost}\b", weir.text()), f"{lost} is not said:\n{weir.tail()}"
        assert values(kafka, sink) == list(range(1000))

    def go_on(context):
        kafka, source, sink, weir, lost = records_deleted(context, "earliest", guarantee)
        kafka.wait_drained(context.name, source, 60, [weir])
        weir.term()
        assert re.search(rf"\b{lost}\b", weir.text()), f"{lost} is not said:\n{weir.tail()}"
        assert values(kafka, sink) == list(range(1000)) + list(range(1700, 2000))

    for function, name in [(stop, "stop"), (go_on, "earliest")]:
        function.__name__ = f"records_deleted_{name}_{guarantee.replace('-', '_')}"
        case(function)


_lost("exactly-once")
_lost("at-least-once")


@case
def partitions_added(context):
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=2)
    weir = context.weir(pipeline(context.name, kafka, {"topic": source, "properties": QUICK}, sink))
    kafka.produce(source, numbered(0, 500))
    kafka.wait_drained(context.name, source, 60, [weir])
    kafka.grow(source, 6)
    kafka.produce(source, [record | {"partition": i % 6}
                           for i, record in enumerate(numbered(500, 600))])
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    assert values(kafka, sink) == list(range(1100))


@case
def topics_and_pattern(context):
    """Several topics by name; then by pattern, with one that appears later."""
    kafka = context.kafka()
    names = [f"{context.name}-in-{i}" for i in range(3)]
    late, other = f"{context.name}-in-late", f"{context.name}-elsewhere"
    sinks = [f"{context.name}-out-{i}" for i in range(2)]
    kafka.create(*names, other, *sinks, partitions=2)
    for i, name in enumerate(names):
        kafka.produce(name, numbered(100 * i, 100))
    kafka.produce(other, numbered(9000, 10))
    listed = context.weir(pipeline(f"{context.name}-list", kafka, {"topics": names}, sinks[0]),
                          name="listed")
    matched = context.weir(
        pipeline(f"{context.name}-pattern", kafka,
                 {"pattern": f"{context.name}-in-.*", "properties": QUICK}, sinks[1]),
        name="matched")
    for name in names:
        kafka.wait_drained(f"{context.name}-list", name, 60, [listed])
        kafka.wait_drained(f"{context.name}-pattern", name, 60, [matched])
    kafka.create(late, partitions=2)
    kafka.produce(late, numbered(300, 100))
    kafka.wait_drained(f"{context.name}-pattern", late, 60, [matched])
    listed.term()
    matched.term()
    assert values(kafka, sinks[0]) == list(range(300))
    assert values(kafka, sinks[1]) == list(range(400))


def made_again(context, on_data_loss, again):
    """500 records read; the topic is deleted and made again with `again` other records."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=1)
    text = pipeline(context.name, kafka,
                    {"topic": source, "on_data_loss": on_data_loss, "properties": QUICK}, sink)
    weir = context.weir(text)
    kafka.produce(source, numbered(0, 500))
    kafka.wait_drained(context.name, source, 60, [weir])
    kafka.delete(source)
    weir.run_for(4) if on_data_loss == "earliest" else None
    kafka.create(source, partitions=1)
    kafka.produce(source, numbered(1000, again))
    return kafka, source, sink, weir


def _deleted(again):
    def stop(context):
        """Never silent: it ends and names the topic, or it has read the whole new topic."""
        kafka, source, sink, weir = made_again(context, "stop", again)

        def settled():
            return not weir.running or len(kafka.read(sink)) == 500 + again
        wait.until(settled, 60, "weir has stopped or read everything")
        if weir.running:
            weir.term()
            assert values(kafka, sink) == list(range(500)) + list(range(1000, 1000 + again))
        else:
            assert weir.process.returncode == 1 and source in weir.text(), weir.tail()

    def go_on(context):
        kafka, source, sink, weir = made_again(context, "earliest", again)
        wait.until(lambda: weir.expect_running() or len(kafka.read(sink)) >= 500 + again, 60,
                   "the new topic's records are in the output")
        weir.term()
        assert values(kafka, sink) == list(range(500)) + list(range(1000, 1000 + again))

    for function, name in [(stop, "stop"), (go_on, "earliest")]:
        function.__name__ = f"topic_made_again_{name}_{again}"
        case(function)


_deleted(100)  # fewer than before: the old position is out of range
_deleted(900)  # more than before: the old position exists, and means other records


@case
def topic_made_again_unseen(context):
    """The program sees nothing of the time without the topic, and nothing fails: the topic's id tells."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=1)
    log = {"format": "json", "level": "debug"}
    weir = context.weir(pipeline(context.name, kafka, {"topic": source}, sink, log=log))
    kafka.produce(source, numbered(0, 500))
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.wait_log('"topic known"')
    weir.stop()
    kafka.delete(source)
    kafka.create(source, partitions=1)
    kafka.produce(source, numbered(1000, 900))
    weir.cont()
    assert weir.wait_exit(60) == 1, weir.tail()
    assert f"{source} was deleted and made again" in weir.text(), weir.tail()


if __name__ == "__main__":
    main()
