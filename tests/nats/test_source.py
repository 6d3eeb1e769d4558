#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what is in a JetStream stream reaches the output at least once, whoever dies meanwhile, and is
acknowledged only then.

Method: numbered messages go through weir from stream to stream of a real server, the oldest and the
newest version, while processes and the server are killed and stopped and the consumer is taken away;
then both streams and what the consumer has not acknowledged are compared."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import main, scale
from nats_flow import Flow, both, long_both
from nats_proxy import Proxy
from nats_server import NatsError


@both
def once_when_nothing_happens(context, version):
    flow = Flow(context, version)
    flow.add(20_000)
    weir = flow.weir()
    assert flow.wait_done(weir) == 0
    flow.add(5)
    assert flow.wait_done(weir) == 0
    assert flow.found() == list(range(flow.count))
    wait.until(lambda: weir.metric("stream_consumer_lag") == 0, 20, "the lag is shown, and none")
    weir.term()


def output(flow, **source):
    """What a fresh consumer of these settings reads, with keys, until nothing is left."""
    weir = flow.weir(source=source, sink={"key_header": "Key"})
    wait.until(lambda: weir.get("/readyz")[0] == 200 and flow.pending() == 0, 30, "all is read")
    weir.term()
    return [(json.loads(m.data)["n"], m.headers.get("Key")) for _, m in flow.server.messages("OUT")]


@both
def starting_points(context, version):
    """By sequence, by time, at the last message, from now on."""
    flow = Flow(context, version)
    flow.add(20)
    time_ns = flow.server.api("STREAM.MSG.GET.IN", seq=16)["message"]["time"]
    for source, expected in [({"start_sequence": 11}, range(10, 20)), ({"start": "last"}, [19]),
                             ({"start": time_ns}, range(15, 20))]:
        found = [n for n, _ in output(flow, **source)]
        # A time is read in milliseconds, so messages of the same millisecond may come before it.
        assert found[-len(expected):] == list(expected), (source, found)
        assert "start_sequence" not in source or len(found) == len(expected), found
        flow.server.api("CONSUMER.DELETE.IN.flow")
        flow.server.api("STREAM.PURGE.OUT")
    weir = flow.weir(source={"start": "latest"})
    wait.until(lambda: flow.server.consumer("IN", "flow"), 20, "the consumer exists")
    flow.add(5)
    flow.wait_out(5)
    weir.term()
    assert flow.found() == list(range(20, 25))


@both
def filters_and_keys(context, version):
    flow = Flow(context, version)
    flow.add(70)
    threes = [(n, f"in.{n % 7}") for n in range(70) if n % 7 == 3]
    assert output(flow, filter="in.3") == threes
    many = {"filter": ["in.1", "in.5"], "key_token": 2}
    if version == "new":
        found = output(flow, **many)
        # The consumer is updated; it goes on behind what it has read.
        assert found[:len(threes)] == threes
        flow.add(7)
        assert output(flow, **many)[-2:] == [(71, "1"), (75, "5")]
    else:
        weir = flow.weir(source=many)
        assert weir.wait_exit() == 78
        assert "needs nats-server 2.10" in weir.text(), weir.text()


@both
def headers_and_bytes(context, version):
    flow = Flow(context, version)
    value = bytes(range(256)) * 20
    flow.server.publish_all([("in.a", value, {"customer": "c1", "Nats-Msg-Id": "x"}), ("in.a", b"")])
    weir = flow.weir(source={"key_header": "customer"}, sink={"key_header": "Key"})
    flow.wait_out(2)
    weir.term()
    first, second = [m for _, m in flow.server.messages("OUT")]
    assert first.data == value and first.headers == {"customer": "c1", "Key": "c1"}, first.headers
    assert second.data == b"" and second.headers == {}


@both
def large_messages(context, version):
    """Larger than a quarter of the memory, by which each request is bounded."""
    flow = Flow(context, version)
    for size in (900_000, 10, 900_000, 900_000, 10):
        flow.add(1, pad="x" * size)
    weir = flow.weir(in_flight="2MiB")
    flow.wait_done(weir)
    weir.term()


@long_both
def weir_killed(context, version):
    flow = Flow(context, version)
    flow.add(scale(20_000, 200_000))
    slow = "(reduce range(200) as $i (.n; . + $i)) as $sum | {n, $sum}"
    weir = flow.weir(steps=[{"map": slow}])
    for number in range(scale(4, 60)):
        flow.wait_out(flow.count * number // scale(8, 120) + 1)
        weir.run_for(context.random.uniform(0, 0.1))
        weir.kill()
        weir.start()
    flow.add(100)
    flow.wait_done(weir)
    weir.term()


@long_both
def server_killed(context, version):
    flow = Flow(context, version, extra="")
    flow.add(scale(30_000, 300_000))
    weir = flow.weir()
    for number in range(scale(3, 30)):
        flow.wait_out(flow.count * number // scale(6, 60) + 1)
        flow.server.kill()
        flow.server.start()
    flow.wait_done(weir)
    weir.term()


@long_both
def zombie(context, version):
    """A stopped process's messages are given to another; when it wakes up, nothing is lost."""
    flow = Flow(context, version)
    flow.add(scale(30_000, 300_000))
    first = flow.weir("first", instance="first")
    flow.wait_out(1)
    first.stop()
    second = flow.weir("second", instance="second")
    flow.wait_done(second)
    first.cont()
    flow.add(1000)
    flow.wait_done(first, second)
    first.term()
    second.term()


@both
def work_longer_than_the_deadline(context, version):
    """Work on what was delivered takes several times `ack_wait`: the server hears that it goes on,
    and gives the messages to nobody else."""
    flow = Flow(context, version)
    flow.add(300)
    slow = "(reduce range(60000) as $i (.n; . + $i)) as $sum | {n, $sum}"
    weir = flow.weir(steps=[{"map": slow}], commit_interval="1s", batch_size=10)
    other = flow.weir("other", steps=[{"map": slow}], commit_interval="1s", batch_size=10)
    assert flow.wait_done(weir, other) == 0
    weir.term()
    other.term()


@both
def given_back_at_the_end(context, version):
    """What a process that ends had been given is another's at once, long before the deadline. Of many
    messages given back, nats-server 2.9 hands out the last one twice and one not before its deadline."""
    flow = Flow(context, version)
    flow.add(5000)
    wait_ms = {"ack_wait": "4s" if version == "old" else "10m"}
    slow = "(reduce range(3000) as $i (.n; . + $i)) as $sum | {n, $sum}"
    first = flow.weir("first", source=wait_ms, steps=[{"map": slow}], batch_size=20)
    flow.wait_out(1)
    first.term()
    assert flow.server.consumer("IN", "flow")["num_ack_pending"] < 5000
    second = flow.weir("second", source=wait_ms)
    assert flow.wait_done(second, seconds=30) <= (version == "old")
    second.term()


@both
def consumer_deleted(context, version):
    """It is made again behind what was acknowledged: messages may come twice, none is missed."""
    flow = Flow(context, version)
    flow.add(1000)
    weir = flow.weir()
    flow.wait_done(weir)
    flow.server.api("CONSUMER.DELETE.IN.flow")
    wait.until(lambda: flow.server.consumer("IN", "flow"), 30, "the consumer is made again")
    flow.add(1000)
    flow.wait_done(weir)
    weir.term()


def gone_while_stopped(context, version, act, before=100):
    """Begun at the end of a stream that had something; then all of `before` is acknowledged, and whatever `act` does
    happens while the process is stopped. Returns how many messages came twice."""
    flow = Flow(context, version)
    flow.server.publish_all(("in.old", '{"n": -1}') for _ in range(10))
    looks = [0]

    def count(from_server, subject, data):
        looks[0] += from_server and subject.endswith(".look")
        return False
    proxy = Proxy(flow.server.port, count)
    context.cleanup(proxy.stop)
    weir = flow.weir(source={"start": "latest"}, address=proxy.address)
    wait.until(lambda: flow.server.consumer("IN", "flow"), 30, "the consumer exists")
    if before > 0:
        flow.add(before)
        flow.wait_done(weir)
        seen = looks[0]
        wait.until(lambda: looks[0] > seen + 1, 30, "it was asked how far the consumer is")
    weir.stop()
    act(flow)
    flow.add(100)
    weir.cont()
    wait.until(lambda: flow.server.consumer("IN", "flow"), 30, "the consumer is made again")
    repeated = flow.wait_done(weir)
    weir.term()
    return repeated


@both
def latest_consumer_deleted(context, version):
    """It goes on behind what was acknowledged: `latest` was where it began."""
    def act(flow):
        flow.server.api("CONSUMER.DELETE.IN.flow")
    assert gone_while_stopped(context, version, act) == 0


@both
def latest_consumer_deleted_unused(context, version):
    """It has delivered nothing yet: what the stream had before is none of it."""
    def act(flow):
        flow.server.api("CONSUMER.DELETE.IN.flow")
    assert gone_while_stopped(context, version, act, before=0) == 0


@both
def latest_stream_made_anew(context, version):
    """What is in the new stream was never read."""
    def act(flow):
        flow.server.api("STREAM.DELETE.IN")
        flow.server.make("IN", "in.>")
    assert gone_while_stopped(context, version, act) == 0


@both
def bound(context, version):
    """Nothing is made or changed; what is not there, or cannot be read, ends the run."""
    flow = Flow(context, version)
    flow.add(10)
    weir = flow.weir(source={"manage": "bind"})
    assert weir.wait_exit() == 78 and "has no consumer flow" in weir.text(), weir.text()
    config = {"durable_name": "flow", "ack_policy": "none", "deliver_policy": "all"}
    flow.server.api("CONSUMER.DURABLE.CREATE.IN.flow", stream_name="IN", config=config)
    weir = flow.weir(source={"manage": "bind"})
    assert weir.wait_exit() == 78 and "acknowledge explicitly" in weir.text(), weir.text()
    flow.server.api("CONSUMER.DELETE.IN.flow")
    config |= {"ack_policy": "explicit", "max_deliver": 5, "max_ack_pending": 7}
    flow.server.api("CONSUMER.DURABLE.CREATE.IN.flow", stream_name="IN", config=config)
    weir = flow.weir(source={"manage": "bind"})
    flow.wait_done(weir)
    weir.wait_log("limit of deliveries")
    weir.term()
    now = flow.server.consumer("IN", "flow")["config"]
    assert now["max_deliver"] == 5 and now["max_ack_pending"] == 7, now
    weir = flow.weir(source={"manage": "bind", "stream": "NONE"})
    assert weir.wait_exit() == 78 and "the stream NONE does not exist" in weir.text(), weir.text()


@both
def limit_on_the_server(context, version):
    """A consumer that weir manages has none, also if somebody gave it one: the server would leave out, for
    good, what reaches it. What was delivered more often, to processes that died, is processed like anything else."""
    flow = Flow(context, version)
    flow.add(50)
    config = {"durable_name": "flow", "ack_policy": "explicit", "deliver_policy": "all", "ack_wait": 10**9,
              "max_ack_pending": 100_000, "max_deliver": 2}  # all else is as weir wants it
    flow.server.api("CONSUMER.DURABLE.CREATE.IN.flow", stream_name="IN", config=config)
    slow = "(reduce range(60000) as $i (.n; . + $i)) as $sum | {n, $sum}"
    weir = flow.weir(steps=[{"map": slow}], commit_interval="1m")
    for delivery in range(1, 5):
        wait.until(lambda: (info := flow.server.consumer("IN", "flow"))["num_ack_pending"] == 50
                   and info["delivered"]["consumer_seq"] >= 50 * delivery, 30, f"delivery {delivery}")
        weir.kill()
        if delivery < 4:
            weir.start()
    assert flow.server.consumer("IN", "flow")["config"]["max_deliver"] == -1
    last = flow.weir("last")
    flow.wait_done(last)
    last.term()


@both
def stream_made(context, version):
    flow = Flow(context, version)
    weir = flow.weir(source={"stream": "MADE", "subjects": ["made.>"]})
    wait.until(lambda: flow.server.consumer("MADE", "flow"), 20, "stream and consumer exist")
    flow.server.publish_all([("made.1", '{"n":0}')])
    flow.wait_out(1)
    weir.term()
    try:
        flow.server.consumer("IN", "flow")
        raise AssertionError("a consumer of another stream was made")
    except NatsError:
        pass


if __name__ == "__main__":
    main()
