#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a broker that does not answer holds up what needs the answer, and nothing else (I1, I2, I8): not
the commits of other partitions, the rebalances of other sources, what is told over HTTP, or the end.

Method: a proxy swallows or holds the answers about committed positions, or to commits, while partitions move;
what does not need them must go on meanwhile, and in the end each input is in the output exactly once."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main
from judge import Load
from weir_process import pipeline


OFFSET_METADATA_TOO_LARGE = 12


class Silence:
    """A load over four partitions, and a coordinator that answers no question for positions."""

    def __init__(self, context):
        self.kafka, self.proxy = kafka_proxy.proxied(context)
        self.context = context
        self.load = Load(context, self.kafka, 10_000, rate=3000).start()
        self.text = pipeline(context.name, self.kafka, self.load.source, self.load.sink,
                             brokers=self.proxy.address)
        self.first = context.weir(self.text, "first")
        self.rule = None

    def begin(self):
        self.rule = self.proxy.add(kafka_proxy.OFFSET_FETCH, "drop", times=1_000_000)
        return self

    def ask_at_start(self):
        """The first has worked, and starts again: it asks where its partitions stand, and hears nothing."""
        self.load.wait_progress(2000, alive=[self.first])
        self.first.term()
        self.begin()
        self.first.start()
        self.await_question()

    def await_question(self, count=1):
        wait.until(lambda: self.first.expect_running() or self.rule.hits >= count, 60,
                   "positions are asked for")

    def shared(self):
        return sum(1 for owned in self.kafka.members(self.context.name).values() if owned) >= 2

    def commits(self):
        self.first.expect_running()
        return self.first.metric("stream_epochs_total", result="committed")

    def is_told(self):
        status, body = self.first.get("/readyz")
        return status == 503 and "positions of 2 of its partitions are not known yet" in body

    def end(self):
        self.proxy.heal()
        self.load.drain(self.context.name, self.first)
        self.first.term()
        self.load.verdict()


@case
def others_go_on(context):
    silence = Silence(context)
    second = context.weir(silence.text, "second")
    wait.until(silence.shared, 60, "both own partitions")
    silence.load.wait_progress(2000, alive=[silence.first, second])
    silence.begin()
    second.term()
    wait.until(silence.is_told, 60, "what waits is told")
    before = silence.commits()
    wait.until(lambda: silence.commits() >= before + 3, 120, "the others' records are committed")
    assert silence.is_told()
    silence.proxy.heal()
    silence.first.wait_ready()
    silence.end()


@case
def given_away_meanwhile(context):
    """What was asked for before it left and came back is not what counts then."""
    silence = Silence(context)
    silence.ask_at_start()
    second = context.weir(silence.text, "second")
    wait.until(silence.shared, 60, "both own partitions")
    silence.await_question(silence.rule.hits + 1)
    second.kill()
    silence.end()


@case
def ended_meanwhile(context):
    silence = Silence(context)
    silence.ask_at_start()
    silence.first.term()
    silence.proxy.heal()
    silence.first.start()
    silence.end()


class Held:
    """A process with two sources, of which the second shares its topic with another process."""

    def __init__(self, context, guarantee, **source):
        self.kafka, self.proxy = kafka_proxy.proxied(context)
        self.context, self.other = context, f"{context.name}-other"
        self.load = Load(context, self.kafka, 5_000, rate=1000).start()
        self.kafka.create(self.other, partitions=4)
        text = json.loads(pipeline(context.name, self.kafka, {"topic": self.load.source} | source, self.load.sink,
                                   guarantee=guarantee, brokers=self.proxy.address, transaction_timeout="120s"))
        beside = {"topic": self.other, "group": self.other, "start": "earliest", "session_timeout": "6s",
                  "brokers": self.proxy.address}
        text["sources"] = [text.pop("source"), {"kafka": beside}]
        self.first = context.weir(json.dumps(text), "first")
        self.second = self.reader("second", self.other)
        wait.until(lambda: len(self.owners(self.other)) == 2, 60, "the second source's partitions are shared")
        self.load.wait_progress(500, alive=[self.first])

    def reader(self, name, topic):
        """A process that talks to the brokers without the proxy."""
        source = {"topic": topic, "group": topic if topic == self.other else self.context.name}
        return self.context.weir(pipeline(f"{self.context.name}-{name}", self.kafka, source, self.load.sink), name)

    def owners(self, group):
        self.first.expect_running()
        return [owned for owned in self.kafka.members(group).values() if owned]

    def hold(self, api):
        self.rule = self.proxy.add(api, "hold", times=1_000_000)
        wait.until(lambda: self.first.expect_running() or self.rule.hits > 0, 60, "an answer is held")

    def lose_records(self, partitions=range(4)):
        """Deletes what is in the topic behind the answer to a fetch that is held."""
        fetch = self.proxy.add(kafka_proxy.FETCH, "hold", times=1_000_000)
        wait.until(lambda: self.first.expect_running() or fetch.hits >= 2, 60, "both sources' fetches are held")
        goal = self.kafka.end_sum(self.load.source) + 1000
        wait.until(lambda: self.kafka.end_sum(self.load.source) >= goal, 60, "more records lie in the topic")
        ends = self.kafka.ends(self.load.source)
        self.kafka.delete_records(self.load.source, {one: ends[one] for one in partitions})
        fetched = self.proxy.counts["answer", kafka_proxy.FETCH]
        fetch.left = 0
        fetch.release()
        wait.until(lambda: self.proxy.counts["answer", kafka_proxy.FETCH] >= fetched + 4, 60,
                   "it hears that they are gone")

    def end_with_loss(self):
        self.end()
        counted = sum(line["lost"] for line in self.first.log() if "going on with the oldest" in line["message"])
        values = [message.value() for message in self.kafka.read(self.load.sink)]
        assert len(values) == len(set(values))
        assert self.load.count - len(values) == counted > 0, (self.load.count, len(values), counted)

    def shown(self, topic):
        partitions = json.loads(self.first.get("/status")[1])["partitions"]
        return sum(1 for one in partitions if one["topic"] == topic)

    def others_move(self):
        """The second process goes, and control takes its partitions over while the answer is held."""
        self.second.term()
        wait.until(lambda: self.first.expect_running() or self.shown(self.other) == 4, 60,
                   "the other source's partitions are taken over")
        assert not self.rule.released.is_set() and self.shown(self.load.source) == 4

    def end(self, *processes):
        self.proxy.heal()
        self.load.drain(self.context.name, self.first, *processes)
        for process in (self.first, *processes):
            process.term()


@case
def revoked_while_a_commit_is_not_answered(context):
    """What was taken away is given back when its last commit is known, and not before."""
    held = Held(context, "exactly-once")
    held.hold(kafka_proxy.END_TXN)
    third = held.reader("third", held.load.source)

    def taken_away():
        members = held.kafka.members(context.name)
        return len(members) == 2 and sum(len(owned) for owned in members.values()) == 2
    wait.until(taken_away, 60, "the group takes partitions away")
    held.others_move()
    assert len(held.owners(context.name)) == 1, "given back before the answer"
    held.proxy.heal()
    wait.until(lambda: len(held.owners(context.name)) == 2, 60, "the third has its share")
    held.end(third)
    held.load.verdict()


@case
def positions_that_are_not_committed(context):
    """Without a transaction: a coordinator that does not answer holds up its own group."""
    held = Held(context, "at-least-once", session_timeout="120s", properties={"socket.timeout.ms": "120000"})
    held.hold(kafka_proxy.OFFSET_COMMIT)
    held.others_move()
    held.end()
    held.load.verdict()


@case
def positions_that_are_refused(context):
    """They are offered again, and the coordinator is not flooded with it."""
    kafka, proxy = kafka_proxy.proxied(context)
    load = Load(context, kafka, 5_000, rate=1000).start()
    weir = context.weir(pipeline(context.name, kafka, load.source, load.sink, brokers=proxy.address,
                                 guarantee="at-least-once"))
    load.wait_progress(500, alive=[weir])
    rule = proxy.add(kafka_proxy.OFFSET_COMMIT, "error", times=1_000_000, code=OFFSET_METADATA_TOO_LARGE)
    wait.until(lambda: weir.expect_running() or rule.hits >= 10, 60, "positions are refused")
    # The pause is between an answer and the next request, so a slow machine only makes it longer.
    pauses = [later - earlier for earlier, later in zip(rule.met, rule.met[1:])]
    assert min(pauses) >= 0.1, pauses
    proxy.heal()
    load.drain(context.name, weir)
    weir.term()
    load.verdict()


@case
def begun_anew_while_a_commit_is_not_answered(context):
    """A partition whose records are gone waits for the commit before it begins with the oldest."""
    held = Held(context, "exactly-once", on_data_loss="earliest")
    held.hold(kafka_proxy.END_TXN)
    held.lose_records()
    held.others_move()
    held.end_with_loss()


@case
def read_before_the_loss(context):
    """What was read and waits for a sink that is full is written before the partition begins anew, although nothing
    says for how long: batches of one record, so that the lane stands between two of them."""
    kafka, proxy = kafka_proxy.proxied(context)
    source, sink = f"{context.name}-in", f"{context.name}-out"
    kafka.create(source, sink, partitions=1)

    def produce(first, count):
        kafka.produce(source, [{"value": b"%d" % i} for i in range(first, first + count)])
    produce(0, 600)
    held = proxy.add(kafka_proxy.PRODUCE, "hold", times=1_000_000)
    weir = context.weir(pipeline(context.name, kafka, {"topic": source, "on_data_loss": "earliest"}, sink, lanes=1,
                                 brokers=proxy.address, in_flight="1MiB", batch_size=1, commit_interval="10s",
                                 transaction_timeout="120s"))
    wait.until(lambda: weir.expect_running() or held.hits > 0, 60, "the sink's answers are held")
    wait.until(lambda: weir.metric("stream_in_flight_bytes") > 40_000, 60, "what it does not take waits")
    fetch = proxy.add(kafka_proxy.FETCH, "hold", times=1_000_000)
    wait.until(lambda: weir.expect_running() or fetch.hits > 0, 60, "a fetch is held")
    produce(600, 100)
    kafka.delete_records(source, {0: 700})
    fetched = proxy.counts["answer", kafka_proxy.FETCH]
    fetch.left = 0
    fetch.release()
    wait.until(lambda: proxy.counts["answer", kafka_proxy.FETCH] > fetched, 60, "it hears that they are gone")
    weir.get("/status")  # no condition: what must not happen is that it begins anew now
    proxy.heal()
    weir.wait_log("going on with the oldest", 60)
    produce(700, 100)
    kafka.wait_drained(context.name, source, 60, [weir])
    weir.term()
    lost = [line["lost"] for line in weir.log() if "going on with the oldest" in line["message"]]
    found = sorted(int(message.value()) for message in kafka.read(sink))
    assert lost == [100] and found == [*range(600), *range(700, 800)], (lost, len(found), found[:3], found[-3:])


@case
def lost_records_that_nobody_counts(context):
    """Where the oldest record is nobody says: that holds up the partition that lost records, no other."""
    held = Held(context, "exactly-once", on_data_loss="earliest")
    held.rule = held.proxy.add(kafka_proxy.LIST_OFFSETS, "drop", times=1_000_000)
    held.lose_records([0])
    wait.until(lambda: "positions of 1 of its partitions are not known yet" in held.first.get("/readyz")[1], 60,
               "what waits is told")
    held.load.wait_progress(2000, alive=[held.first])
    held.end_with_loss()


if __name__ == "__main__":
    main()
