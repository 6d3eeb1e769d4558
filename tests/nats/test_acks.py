#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: acknowledging holds nobody up, whatever the server does with acknowledgements, and none is
given up in silence. What failed is not acknowledged, but terminated.

Method: a stream is read from a server that stands still in the middle, or that has forgotten what it
delivered while the window is full of it; what is written goes to a second server."""
import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import main
from nats_flow import Flow, both
from nats_server import Client, Server


class Pair(Flow):
    """IN on one server, OUT on another."""

    def __init__(self, context, version):
        super().__init__(context, version)
        self.other = Server(context.dir / "other", version)
        context.cleanup(self.other.stop)
        self.other.make("OUT", "out.>")

    def out(self):
        return {(row["n"], row.get("pad")) for row in
                (json.loads(message.data) for _, message in self.other.messages("OUT"))}


def turns(weir):
    """How often the first thread, which is control, has gone to rest."""
    with open(f"/proc/{weir.process.pid}/task/{weir.process.pid}/status") as file:
        return int(next(row for row in file if row.startswith("voluntary")).split()[1])


@both
def server_stands_still(context, version):
    """With acknowledgements under way: control goes on, and so does what is read elsewhere."""
    flow = Pair(context, version)
    flow.other.make("MORE", "more.>")
    flow.add(20_000)
    weir = context.weir(json.dumps({
        "name": "flow", "sources": [{"nats": {"url": flow.server.address, "stream": "IN"}},
                                    {"nats": {"url": flow.other.address, "stream": "MORE"}}],
        "steps": [{"map": "(reduce range(1000) as $i (.n; . + $i)) as $sum | {n, pad}"}],
        "sink": {"nats": {"url": flow.other.address, "subject": "out.x"}}, "commit_interval": "20ms",
        "http": {"listen": "127.0.0.1:0"}, "log": {"format": "json", "level": "info"}}))
    wait.until(lambda: flow.other.count("OUT") > 2000, 30, "messages are under way")
    flow.server.pause()
    before = turns(weir)
    wait.until(lambda: turns(weir) > before + 300, 30, "control goes on")
    assert "connection" not in weir.text(), "it went on only when the connection was given up"
    flow.other.publish_all(("more.a", json.dumps({"n": n, "pad": "more"})) for n in range(1000))
    wait.until(lambda: len({n for n, pad in flow.out() if pad == "more"}) == 1000, 30, "the others go on")
    assert weir.get("/readyz")[0] == 200 and weir.get("/livez")[0] == 200
    flow.server.resume()
    wait.until(lambda: len(flow.out()) == 21_000 and flow.pending() == 0, 60, "all is out, and acknowledged")
    weir.term()


def full_window(context, version):
    """Nothing can be written, so as much as there is room for is read, and not acknowledged."""
    flow = Pair(context, version)
    flow.add(5000, pad="x" * 1000)
    weir = flow.weir(sink={"url": flow.other.address}, in_flight="1MiB")
    wait.until(lambda: flow.other.count("OUT") > 0, 30, "the first is out")
    flow.other.pause()
    last = [-1]

    def is_full():
        before, last[0] = last[0], flow.server.consumer("IN", "flow")["num_pending"]
        return before == last[0] > 0

    wait.until(is_full, 30, "the window is full")
    return flow, weir


def finish(flow, weir):
    flow.other.resume()
    wait.until(lambda: len(flow.out()) == 5000 and flow.pending() == 0, 60, "all is out, and acknowledged")
    weir.term()


@both
def consumer_deleted(context, version):
    """With the window full nothing is asked for, so it is the acknowledgements that find nobody."""
    flow, weir = full_window(context, version)
    flow.server.api("CONSUMER.DELETE.IN.flow")
    finish(flow, weir)


@both
def deliveries_forgotten(context, version):
    """The server has lost what it knew of the consumer: it does not answer acknowledgements before it
    has delivered again, and cannot deliver before something is acknowledged."""
    flow, weir = full_window(context, version)
    flow.server.kill()
    shutil.rmtree(next(flow.server.dir.glob("**/streams/IN/obs/flow")))
    flow.server.start()
    wait.until(lambda: flow.server.consumer("IN", "flow"), 30, "the consumer is made again")
    finish(flow, weir)


def failing(context, version, more):
    """Two of a thousand fail; what the server says of them, when all are done with."""
    flow = Flow(context, version)
    flow.server.make("DEAD", "dead.>")
    events = Client(flow.server.port)
    events.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.IN.flow")
    events.api("INFO")  # it is subscribed
    flow.add(1000)
    steps = [{"map": 'if .n == 3 or .n == 999 then error("no") else . end'}]
    weir = flow.weir(steps=steps, **more(flow))
    wait.until(lambda: flow.server.count("OUT") == 998 and flow.pending() == 0, 60, "all are done with")
    told = {json.loads(events.next().data)["stream_seq"] for _ in range(2)}
    assert told == {4, 1000}, told
    weir.term()
    return flow


@both
def dead_letters_are_terminated(context, version):
    flow = failing(context, version, lambda flow: {
        "on_error": "dead_letter", "dead_letter": {"nats": {"url": flow.server.address, "subject": "dead.x"}}})
    letters = [json.loads(letter.data)["n"] for _, letter in flow.server.messages("DEAD")]
    assert sorted(letters) == [3, 999], letters


@both
def what_is_skipped_is_terminated(context, version):
    failing(context, version, lambda flow: {"on_error": "skip"})


if __name__ == "__main__":
    main()
