#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: records that are gone before they were read, and topics that are made again, cost no state: what was
counted stays counted, what is there is counted once, and what is missing is told once (I7, I4).

Method: a running count in one partition, whose results number the records that were counted without a gap.
Records are deleted, or the topic is, while the pipeline is away or at work; then it is started again and must
go on from where it was, with nothing more to tell."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main
from weir_process import pipeline

GOING_ON = "going on with"
STEPS = [{"name": "n", "aggregate": {"key": '"all"', "aggregate": {"n": "count"}}}]


class Counted:
    """500 records that were counted."""

    def __init__(self, context, on_data_loss):
        self.kafka, self.group = context.kafka(), context.name
        self.source, self.sink = f"{context.name}-in", f"{context.name}-out"
        self.kafka.create(self.source, self.sink, partitions=1)
        source = {"topic": self.source, "on_data_loss": on_data_loss,
                  "properties": {"topic.metadata.refresh.interval.ms": 1000}}
        self.weir = context.weir(pipeline(context.name, self.kafka, source, self.sink, steps=STEPS))
        self.count = 0
        self.add(500)

    def add(self, count):
        """So many records, and waits until they are counted."""
        self.produce(count)
        self.wait_counted(count)

    def produce(self, count):
        self.kafka.produce(self.source, [{"value": b"%d" % i} for i in range(count)])

    def wait_counted(self, count):
        self.count += count
        self.kafka.wait_drained(self.group, self.source, 60, [self.weir])
        wait.until(lambda: self.weir.expect_running() or len(self.found()) >= self.count, 60, "they are counted")

    def found(self):
        return [json.loads(message.value())["n"] for message in self.kafka.read(self.sink)]

    def lose(self, left):
        """Deletes all records but so many of those that were not read."""
        ends = self.kafka.ends(self.source)
        self.kafka.delete_records(self.source, {0: ends[0] - left})

    def told(self):
        return [line for line in self.weir.log() if GOING_ON in line["message"]]

    def end(self):
        """Started once more, it has nothing to tell and counts on."""
        self.weir.term()
        self.weir.start()
        self.add(50)
        assert not self.told() and "state restored" in self.weir.text(), self.weir.text()
        self.weir.term()
        assert sorted(self.found()) == list(range(1, self.count + 1))


def deleted_while_away(context, on_data_loss):
    counted = Counted(context, on_data_loss)
    counted.weir.term()
    counted.produce(400)
    position = counted.kafka.committed(counted.group, counted.source)[0]
    counted.lose(100)
    counted.weir.start()
    return counted, counted.kafka.ends(counted.source)[0] - 100 - position


@case
def deleted_go_on(context):
    counted, lost = deleted_while_away(context, "earliest")
    counted.wait_counted(100)
    assert [line["lost"] for line in counted.told()] == [lost], counted.weir.text()
    counted.end()


@case
def deleted_stop(context):
    counted, lost = deleted_while_away(context, "stop")
    assert counted.weir.wait_exit(60) == 1, counted.weir.tail()
    text = counted.weir.text()
    assert f"{lost} records" in text and "on_data_loss: earliest" in text, text
    assert sorted(counted.found()) == list(range(1, 501))


@case
def deleted_and_nothing_left(context):
    """No record says where the state stands now: the commit without any does."""
    counted = Counted(context, "earliest")
    counted.weir.term()
    counted.produce(400)
    counted.lose(0)
    counted.weir.start()
    counted.wait_counted(0)
    counted.end()


def made_again(context, on_data_loss, count, away):
    """The topic is another one, with so many records."""
    counted = Counted(context, on_data_loss)
    if away:
        counted.weir.term()
    counted.kafka.delete(counted.source)
    if not away and on_data_loss == "earliest":
        counted.weir.wait_log("partition given back")
    counted.kafka.create(counted.source, partitions=1)
    counted.produce(count)
    if away:
        counted.weir.start()
    return counted


def _made_again(count, away):
    def go_on(context):
        counted = made_again(context, "earliest", count, away)
        counted.wait_counted(count)
        context.say("; ".join(line["message"] for line in counted.told()))
        assert len(counted.told()) == 1, counted.weir.text()
        counted.end()

    def stop(context):
        counted = made_again(context, "stop", count, away)
        assert counted.weir.wait_exit(60) == 1, counted.weir.tail()
        text = counted.weir.text()
        assert counted.source in text and "on_data_loss: earliest" in text, text
        assert sorted(counted.found()) == list(range(1, 501))

    for function in (go_on, stop):
        function.__name__ = f"made_again_{count}_{'away' if away else 'at_work'}_{function.__name__}"
        case(function)


for number in (100, 900):  # the old position is out of range; it exists, and means another record
    _made_again(number, True)
    _made_again(number, False)


if __name__ == "__main__":
    main()
