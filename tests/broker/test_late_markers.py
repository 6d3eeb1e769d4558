#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a successor begins with the state of the last commit, also when the coordinator has answered that
commit while the broker that leads the state topic has not heard of it: its marker is late.

Method: two brokers talk to each other through a proxy, which keeps back the markers for the one that leads
the state topic; positions, input and output are the other's, and clients go straight to both. A process
commits and is killed. Its successor sees the new positions at once and must wait for the state; every
count of every key comes once."""
import collections
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main
from weir_process import pipeline

KEYS, PARTITIONS = 50, 2


def create_on(kafka, broker, *topics):
    """All partitions are led by that broker, which is the only one to have them."""
    from confluent_kafka.admin import NewTopic
    new = [NewTopic(topic, PARTITIONS, replica_assignment=[[broker]] * PARTITIONS,
                    config={"retention.ms": "-1", "retention.bytes": "-1"}) for topic in topics]
    for future in kafka.admin.create_topics(new, operation_timeout=20).values():
        future.result(30)
    for topic in topics:
        wait.until(lambda t=topic: kafka.partitions(t) == dict.fromkeys(range(PARTITIONS), broker), 20,
                   f"topic {topic} is led by {broker}")


def group_led_by(kafka, broker, prefix):
    """The name of a group whose positions are that broker's: Kafka places it by the hash of its name."""
    def place(name, count):
        value = 0
        for char in name:
            value = (31 * value + ord(char)) % (1 << 32)
        return min(value, (1 << 32) - value) % count

    wait.until(lambda: kafka.committed(prefix, "in") == {}, 30, "there are groups")
    leaders = kafka.partitions("__consumer_offsets")
    return next(name for name in (f"{prefix}-{n}" for n in range(1000))
                if leaders[place(name, len(leaders))] == broker)


def feed(kafka, topic, rounds):
    kafka.produce(topic, ({"value": b"%d" % key, "partition": key % PARTITIONS}
                          for _ in range(rounds) for key in range(KEYS)))


def counts(kafka):
    found = collections.Counter()
    for message in kafka.read("out"):
        result = json.loads(message.value())
        found[result["key"], result["n"]] += 1
    return found


@case
def successor_waits_for_the_marker(context):
    kafka = context.kafka(brokers=2, proxy=True, heap="384m",
                          settings={"inter.broker.listener.name": "PROXY"})
    proxy = kafka_proxy.Proxy(kafka)
    context.cleanup(proxy.close)
    create_on(kafka, 1, "in", "out")
    name = group_led_by(kafka, 1, context.name)
    state = f"{name}.state"
    create_on(kafka, 2, state)
    text = pipeline(name, kafka, "in", "out",
                    steps=[{"name": "n", "aggregate": {"key": ".", "aggregate": {"n": "count"}}}])
    first = context.weir(text, "first")
    feed(kafka, "in", 20)
    kafka.wait_drained(name, "in", 60, [first])

    rule = proxy.add(kafka_proxy.WRITE_TXN_MARKERS, "hold", side="request", times=1 << 30, broker=1)
    before = kafka.committed(name, "in")
    feed(kafka, "in", 20)
    late = wait.until(lambda: first.expect_running() or [
        p for p, offset in kafka.committed(name, "in").items() if offset > before[p]], 60,
        "a commit is answered and its positions are visible")
    first.kill()
    ends, stable = kafka.ends(state), kafka.ends(state, "read_committed")
    assert rule.hits > 0 and all(stable[p] < ends[p] for p in late), (rule.hits, late, ends, stable)

    shown = sum(counts(kafka).values())
    other = context.weir(text, "other")
    other.wait_log('"restoring state"', 60)  # for a while
    other.expect_running()
    restored = {line["partition"] for line in other.log() if line.get("message") == "state restored"}
    assert not restored & set(late), other.tail()
    assert sum(counts(kafka).values()) == shown, "it went on without the state"
    assert kafka.ends(state, "read_committed") == stable
    proxy.heal()
    kafka.wait_drained(name, "in", 60, [other])
    other.term()
    context.say(f"{len(late)} partitions waited for their marker")
    found = counts(kafka)
    assert found == {(key, n): 1 for key in range(KEYS) for n in range(1, 41)}, found.most_common(3)


if __name__ == "__main__":
    main()
