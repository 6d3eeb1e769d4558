#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the checker itself can be trusted: it sees each kind of damage it is there for.

Method: an honest copy of a topic must pass; then copies with one planted fault each (a record
missing, twice, out of order, altered, in another partition, aborted, in a transaction that nobody
ends) must be reported as exactly that. Stands behind I1, I2, I3 and I5 of the other tests."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import case, main

COUNT = 4000


def copied(context, change):
    """Copies the input to an output topic as `change(list of messages)` says; returns the verdict."""
    kafka = context.kafka()
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink)
    context.tool("produce", kafka, topic=source, count=COUNT, keys=50, headers=True)
    records = [{"key": m.key(), "value": m.value(), "partition": m.partition(),
                "timestamp": m.timestamp()[1], "headers": m.headers()} for m in kafka.read(source)]
    assert len(records) == COUNT
    kafka.produce(sink, change(records))
    return context.tool("verify", kafka, check=False, wait=20 if change is same else 5,
                        same_value=True, **{"in": source, "out": sink})


def same(records):
    return records


def only(verdict, **faults):
    for name in ["lost", "duplicated", "reordered", "altered", "unknown", "scattered", "hanging"]:
        assert verdict[name] == faults.get(name, 0), (name, verdict)
    assert verdict["exit"] == (1 if faults else 0), verdict


@case
def honest_copy_passes(context):
    verdict = copied(context, same)
    only(verdict)
    assert verdict["input"] == verdict["output"] == COUNT, verdict


@case
def loss_is_seen(context):
    only(copied(context, lambda records: records[:1000] + records[1001:]), lost=1)


@case
def duplicate_is_seen(context):
    only(copied(context, lambda records: records + records[7:9]), duplicated=2)


@case
def disorder_is_seen(context):
    def change(records):
        first = 10
        second = next(i for i in range(first + 1, len(records))
                      if records[i]["key"] == records[first]["key"])
        records[first], records[second] = records[second], records[first]
        return records
    only(copied(context, change), reordered=1)


@case
def alteration_is_seen(context):
    def change(records):
        records[5]["headers"] = records[5]["headers"][:1]
        records[6]["timestamp"] += 1
        records[7]["value"] = records[7]["value"].replace(b"pad", b"dap")
        records[8]["key"] = b"k999"
        return records
    only(copied(context, change), altered=4)


@case
def scattered_key_is_seen(context):
    def change(records):
        last = max(i for i, record in enumerate(records) if record["key"] == records[0]["key"])
        records[last]["partition"] = (records[last]["partition"] + 1) % 4
        return records
    only(copied(context, change), scattered=1)


def in_transaction(context, finish):
    """An honest copy, then one record more in a transaction that ends as `finish` does."""
    kafka = context.kafka()
    only(copied(context, same))
    producer = kafka.producer(transactional_id=f"{context.name}-id", transaction_timeout_ms=60000)
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(f"{context.name}-out", key=b"k0", value=b'{"k":"k0","s":0}', partition=0)
    producer.flush(20)
    finish(producer)
    verdict = context.tool("verify", kafka, check=False, wait=5, same_value=True,
                           **{"in": f"{context.name}-in", "out": f"{context.name}-out"})
    return producer, verdict


@case
def aborted_records_do_not_count(context):
    _, verdict = in_transaction(context, lambda producer: producer.abort_transaction(20))
    only(verdict)


@case
def hanging_transaction_is_seen(context):
    producer, verdict = in_transaction(context, lambda producer: None)
    only(verdict, hanging=1)
    producer.abort_transaction(20)


if __name__ == "__main__":
    main()
