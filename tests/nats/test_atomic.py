#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: with `atomic`, what a JetStream stream gets from a stream that is read by position is there exactly
once and in order, with the state that belongs to it, whoever dies, stalls or is not answered; and where the
server cannot do it, nothing is written.

Method: the flow of test_positioned, on the newest server, into one stream in batches; processes are killed,
stopped past their lease, and lose answers, the server is killed. The outputs carry no ids, so the server
drops no repeats, and what is random in them differs in each replay."""
import itertools
import json
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from nats_partitions import AtomicFlow as Flow
from nats_partitions import Flow as Positioned
from nats_partitions import (PARTITIONS, keeps_state, survives_a_zombie, survives_kills,
                             survives_kills_of_the_server)
from nats_proxy import Proxy


# Each replay would make another output, under the same position.
RANDOM = [{"map": ". + {t: now}"}]


@case
def in_order(context):
    flow = Flow(context)
    flow.add(5000)
    weir = flow.weir(steps=RANDOM)
    flow.wait_out(flow.total())
    flow.check()
    flow.add(5)
    flow.wait_out(flow.total())
    weir.term()
    flow.add(5)
    weir.start()
    flow.wait_out(flow.total())
    weir.term()
    flow.check()
    assert "exactly-once" in weir.text()
    assert not any("Nats-Msg-Id" in message.headers for message in flow.outputs())


@case
def weir_killed(context):
    survives_kills(Flow(context), scale(6, 60), steps=RANDOM)


@case
def server_killed(context):
    survives_kills_of_the_server(Flow(context), steps=RANDOM)


@case
def ended_while_a_batch_is_not_answered(context):
    """The server stands still with a batch of which nobody knows, and the process has to end."""
    flow = Flow(context)
    flow.add(4000)
    weir = flow.weir(steps=[{"map": "(reduce range(500) as $i (.n; . + $i)) as $sum | {p, n, $sum, t: now}"}],
                     shutdown_timeout="1s")
    for number in range(scale(3, 20)):
        flow.wait_out(flow.total() * number // scale(4, 21) + 1)
        flow.server.pause()
        weir.signal(signal.SIGTERM)
        assert weir.wait_exit(30) in (0, 1), weir.tail()
        flow.server.resume()
        weir.start()
    flow.wait_out(flow.total())
    weir.term()
    flow.check()


@case
def zombie(context):
    survives_a_zombie(Flow(context), "(reduce range(500) as $i (.n; . + $i)) as $sum | {p, n, $sum, t: now}")


@case
def answers_lost(context):
    """Of commits: each is asked about, and neither repeated nor given up."""
    flow = Flow(context)
    count = itertools.count(1)
    lost = {20 * (n + 1) for n in range(scale(4, 40))}
    proxy = Proxy(flow.server.port, lambda from_server, subject, data: from_server
                  and data.startswith(b'{"stream":') and b'"batch"' in data and next(count) in lost)
    context.cleanup(proxy.stop)
    flow.add(5000)
    weir = flow.weir(address=proxy.address, source={"lease": "4s"}, steps=RANDOM)
    flow.wait_out(flow.total(), 120)
    weir.term()
    assert proxy.dropped > 0
    flow.check()


@case
def state(context):
    keeps_state(Flow(context))


@case
def windows_that_close_at_once(context):
    """More than a batch has, because of one record: they are committed in pieces, and it is no failure of the
    record."""
    flow = Flow(context)
    flow.add(1500)
    window = {"window": {"tumbling": "10s", "key": '"\\(.p)-\\(.n)"', "aggregate": {"count": "count"},
                         "time": "if .n == 1499 then 60000 else 1000 end"}}
    weir = flow.weir(steps=[window], on_error="skip")
    flow.wait_out(1499 * PARTITIONS)
    weir.term()
    found = [record["key"] for record in flow.found()]
    assert sorted(found) == sorted(f"{p}-{n}" for p in range(PARTITIONS) for n in range(1499)), len(found)


@case
def shown_at_once(context):
    """More keys than a batch has messages, shown by time: an end that says what to do, and no record is blamed."""
    flow = Flow(context)
    flow.server.publish_all((f"in.{n % 2}", json.dumps({"p": n % 2, "n": n})) for n in range(3000))
    window = {"window": {"tumbling": "1h", "key": '"\\(.p)-\\(.n)"', "aggregate": {"count": "count"}, "time": "1000",
                         "emit": {"every": "2s"}}}
    weir = flow.weir(steps=[window], on_error="skip")
    weir.wait_log("partition assigned", 20)

    def ended():
        flow.server.publish_all((f"in.{p}", json.dumps({"p": p, "n": 0})) for p in range(2))
        return weir.process.poll() is not None
    wait.until(ended, 60, "it has ended")
    assert weir.wait_exit() == 1, weir.tail()
    assert "messages are to be committed together, 1000 can" in weir.text() and "time passing" in weir.text(), weir.tail()
    assert "record skipped" not in weir.text() and not flow.outputs()


@case
def more_than_a_batch(context):
    """A record with more outputs than one batch has is that record's failure; many with a few are not."""
    flow = Flow(context)
    flow.add(1000)
    many = {"map": "if .n == 500 and .p == 1 then range(1200) else . end"}
    few = {"map": "range(7) as $k | . + {$k}"}
    weir = flow.weir(steps=[few], on_error="skip")
    flow.wait_out(7 * flow.total())
    weir.term()
    found = [(record["p"], record["n"], record["k"]) for record in flow.found()]
    assert len(found) == len(set(found)) == 7 * flow.total()
    flow = Flow(context, folder="other")
    flow.add(1000)
    weir = flow.weir("other", steps=[many], on_error="skip")
    flow.wait_out(flow.total() - 1)
    weir.term()
    assert len(flow.found()) == flow.total() - 1 and "can" in weir.text()


@case
def where_it_cannot_be(context):
    """An old server, a stream with a limit, one that takes no batches: an error, and nothing is stored."""
    flow = Flow(context, "old")
    flow.add(10)
    weir = flow.weir()
    assert weir.wait_exit() == 78 and "takes no atomic batches" in weir.text(), weir.text()
    assert flow.server.count("OUT") == 0
    flow = Flow(context, folder="other")
    flow.add(10)
    for name, more, word in (("A", {"allow_atomic": False}, "takes no atomic batches"),
                             ("B", {"max_age": 3600 * 10**9}, "has a limit"),
                             ("C", {"subjects": ["C.x"]}, "does not keep weir.flow.task.>")):
        flow.server.make(name, *more.pop("subjects", [f"{name}.x", "weir.flow.task.>"]),
                         **({"allow_atomic": True, "allow_direct": True} | more))
        weir = flow.weir(sink={"stream": name, "subject": f"{name}.x", "subjects": [f"{name}.x"]})
        assert weir.wait_exit() == 78 and word in weir.text(), weir.text()
        assert flow.server.count(name) == 0
        flow.server.api(f"STREAM.DELETE.{name}")


@case
def to_and_fro(context):
    """Positions come along when `atomic` is added, and the way back is refused."""
    flow = Flow(context)
    flow.server.make("OLD", "old.>")
    flow.add(100)
    sink = {"url": flow.server.address, "subject": "old.x"}
    weir = Positioned.weir(flow, "plain", sink={"nats": sink})
    wait.until(lambda: flow.server.count("OLD") == flow.total(), 30, "all are out")
    weir.term()
    flow.add(5)
    weir = flow.weir()
    flow.wait_out(20)
    weir.term()
    assert sorted(record["n"] for record in flow.found()) == sorted(4 * list(range(100, 105)))
    weir = Positioned.weir(flow, "plain", sink={"nats": sink})
    assert weir.wait_exit() == 78 and "lie together in OUT" in weir.text(), weir.text()


if __name__ == "__main__":
    main()
