#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a message of which processes die is a failed record in the end, and no other one is; whatever else
ends a process counts for nothing, as long as it does not hit the same try again and again.

Method: messages among which is one that kills the process, or that takes long, go through weir on a real
server, the oldest and the newest version; then the output, what was skipped, what the server says of the
message, and the book of tries are looked at."""
import base64
import json
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import main
from nats_flow import Flow, both
from nats_server import Client, NatsError

DEADLY = {"WEIR_FAULT": "die_of_record", "WEIR_UNSAFE_TESTING": "1"}
LIMIT = 3
DEATHS = LIMIT - 1 + LIMIT  # at most: among others, and alone
LONG = "if .n == 0 then (reduce range(40000000) as $i (0; . + $i)) as $sum | {n, $sum} else . end"


def limited(flow, name="weir", source=(), **more):
    if not hasattr(flow, "events"):
        flow.events = Client(flow.server.port)
        flow.events.subscribe("$JS.EVENT.ADVISORY.STREAM.CREATED.KV_weir-tries")
        flow.events.api("INFO")  # it is subscribed
        flow.has_book = False
    return flow.weir(name, source={"max_deliveries": LIMIT} | dict(source), **more)


def book(flow):
    """Empty until the server says that the bucket is made: 2.9 dereferences nil (jsMsgGetRequest) and is gone when
    it is asked for a message of a stream that it is making."""
    flow.has_book = flow.has_book or flow.events.pending() > 0
    if not flow.has_book:
        return []
    try:
        message = flow.server.api("STREAM.MSG.GET.KV_weir-tries", last_by_subj="$KV.weir-tries.IN.flow")["message"]
    except NatsError:
        return []
    return [line.split()[:2] for line in base64.b64decode(message.get("data", "")).decode().splitlines()]


def wait_forgotten(flow):
    wait.until(lambda: not book(flow), 20, "nothing is left in the book")


def deliver(flow, times):
    """What is in the stream is delivered so often, and given back each time."""
    config = {"durable_name": "flow", "ack_policy": "explicit", "deliver_policy": "all", "ack_wait": 10**9,
              "max_ack_pending": 100_000, "max_deliver": -1}
    flow.server.api("CONSUMER.DURABLE.CREATE.IN.flow", stream_name="IN", config=config)
    client = Client(flow.server.port)
    total = flow.server.count("IN")
    for _ in range(times):
        client.publish("$JS.API.CONSUMER.MSG.NEXT.IN.flow", json.dumps({"batch": total}), client._inbox + ".0")
        for reply in [client.next().reply for _ in range(total)]:
            client.publish(reply, "-NAK")
    client.close()


def die(weir, is_over=lambda: False):
    """Started again each time that it dies, until something else happens; how often it died. The server may
    deliver to a process that has just died, so that what is tried alone has cost fewer deaths before."""
    deaths = 0
    while True:
        wait.until(lambda: is_over() or not weir.running, 60, f"death {deaths + 1}, or the end of them")
        if weir.running or weir.process.returncode != -9:
            break
        deaths += 1
        assert deaths <= DEATHS, f"{deaths} deaths"
        weir.start()
    assert deaths >= LIMIT, f"condemned after {deaths} deaths"
    return deaths


@both
def deadly_message(context, version):
    """It becomes a dead letter, then the server is told, and all that was delivered with it is processed."""
    flow = Flow(context, version)
    flow.server.make("DEAD", "dead.>")
    flow.add(700)
    flow.server.publish_all([("in.x", '{"n": "deadly"}')])
    flow.count, first = 1000, flow.count
    flow.server.publish_all((f"in.{n % 7}", json.dumps({"n": n})) for n in range(first, flow.count))
    events = Client(flow.server.port)
    events.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.IN.flow")
    events.api("INFO")  # it is subscribed
    weir = limited(flow, env=DEADLY, dead_letter={"nats": {"url": flow.server.address, "subject": "dead.x"}})
    deaths = die(weir, lambda: flow.server.count("DEAD") > 0)
    told = json.loads(events.next().data)
    assert told["stream_seq"] == 701, told
    [(_, letter)] = flow.server.messages("DEAD")
    assert json.loads(letter.data) == {"n": "deadly"}, letter.data
    delivered = int(re.search(r"delivered (\d+) times", letter.headers["weir.error"])[1])
    assert delivered >= deaths, (delivered, deaths)
    flow.wait_done(weir)
    flow.add(10)
    flow.wait_done(weir)
    assert flow.server.count("DEAD") == 1
    wait_forgotten(flow)
    weir.term()


@both
def deadly_message_stops(context, version):
    """Where a failed record ends the pipeline it does so at each start, and the message stays."""
    flow = Flow(context, version)
    flow.server.publish_all([("in.x", '{"n": "deadly"}')])
    weir = limited(flow, env=DEADLY)
    die(weir)
    for start in range(2):
        assert weir.wait_exit(60) == 1, weir.tail()
        weir.wait_log("and never done with")
        assert flow.server.consumer("IN", "flow")["ack_floor"]["stream_seq"] == 0 and flow.server.count("OUT") == 0
        assert book(flow) == [["1", str(LIMIT)]], book(flow)
        if start == 0:
            weir.start()


@both
def killed_from_outside(context, version):
    """Again and again while something is tried alone, but never the same: nothing is condemned or lost."""
    flow = Flow(context, version)
    flow.add(2000)
    deliver(flow, LIMIT)
    weir = limited(flow)
    for _ in range(8):
        before = flow.server.count("OUT")
        wait.until(lambda: flow.server.count("OUT") > before and book(flow), 60, "something is tried alone")
        weir.kill()
        weir.start()
    flow.wait_done(weir)  # a failed record would end it
    weir.term()
    weir.start()  # it strikes out what was acknowledged and killed before that was written down
    wait.until(lambda: weir.get("/readyz")[0] == 200 and not book(flow), 20, "nothing is left in the book")
    weir.term()


@both
def killed_in_the_same_try(context, version):
    """Less often than the limit: the message is processed, and then forgotten."""
    flow = Flow(context, version)
    flow.add(20)
    deliver(flow, LIMIT)
    for death in range(1, LIMIT):
        weir = limited(flow, f"weir{death}", steps=[{"map": LONG}])
        wait.until(lambda: ["1", str(death)] in book(flow), 30, f"try {death} of the first")
        weir.kill()
    weir = limited(flow)
    flow.wait_done(weir)
    wait_forgotten(flow)
    weir.term()


@both
def zombie(context, version):
    """One that is stopped during its try: another makes the next one, and both strike out what they wrote."""
    flow = Flow(context, version)
    flow.add(5)
    deliver(flow, LIMIT)
    first = limited(flow, "first", steps=[{"map": LONG}])
    wait.until(lambda: book(flow) == [["1", "1"]], 30, "the first try")
    first.stop()
    second = limited(flow, "second", steps=[{"map": LONG}])
    wait.until(lambda: ["1", "2"] in book(flow), 30, "the second try")
    first.cont()
    flow.wait_done(first, second)
    wait_forgotten(flow)
    first.term()
    second.term()
    assert not book(flow)


@both
def given_back(context, version):
    """A process that ends by itself in the middle of a try gives the message back: that try does not count."""
    flow = Flow(context, version)
    flow.add(1)
    deliver(flow, LIMIT)
    for start in range(LIMIT + 1):
        weir = limited(flow, f"weir{start}", steps=[{"map": "error(\"no\")"}])
        assert weir.wait_exit(30) == 1, weir.tail()
        assert "never done with" not in weir.text() and not book(flow), book(flow)
    weir = limited(flow)
    flow.wait_done(weir)
    weir.term()


@both
def limit_of_the_server(context, version):
    """A bound consumer's own limit would leave out what weir is to condemn."""
    flow = Flow(context, version)
    config = {"durable_name": "flow", "ack_policy": "explicit", "max_deliver": 5}
    flow.server.api("CONSUMER.DURABLE.CREATE.IN.flow", stream_name="IN", config=config)
    weir = limited(flow, source={"manage": "bind"})
    assert weir.wait_exit() == 78 and "max_deliver 5" in weir.text() and "to -1" in weir.text(), weir.text()


if __name__ == "__main__":
    main()
