#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: an answer that is lost after the server has done its work costs a repeat at most, and the checker
that says so can turn red.

Method: a proxy between weir and a real server leaves out every n-th acknowledgement of a publish, every
answer to an acknowledgement, or acknowledgements themselves; what is stored is compared with what was
put in. Then a planted fault of weir commits positions early, and the same comparison must fail."""
import itertools
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import case, main, scale
from nats_flow import Flow, both
from nats_proxy import Proxy
from nats_server import time_of


def proxied(context, version, drop):
    flow = Flow(context, version)
    proxy = Proxy(flow.server.port, drop)
    context.cleanup(proxy.stop)
    return flow, proxy


@both
def publish_acknowledgements(context, version):
    """Without an answer nobody knows whether the message is stored: it is written again."""
    answers = itertools.count(1)
    lost = {2000 * (n + 1) for n in range(scale(3, 30))}
    flow, proxy = proxied(context, version, lambda from_server, subject, data: from_server
                          and data.startswith(b'{"stream":"OUT"') and next(answers) in lost)
    flow.add(3000)
    weir = flow.weir(address=proxy.address, sink={"ack_timeout": "300ms"})
    assert flow.wait_done(weir) > 0
    assert proxy.dropped > 0
    weir.term()


@both
def answers_to_acknowledgements(context, version):
    """The server knows; weir asks again, and nothing comes twice."""
    count = itertools.count(1)
    # By chance: heartbeats are empty too, and a fixed share could hit each answer that is asked again.
    flow, proxy = proxied(context, version, lambda from_server, subject, data: from_server
                          and data == b"" and subject.startswith("_INBOX")
                          and (next(count) == 1 or context.random.random() < 1 / 3))
    flow.add(3000)
    weir = flow.weir(address=proxy.address)
    assert flow.wait_done(weir) == 0
    flow.add(3000)
    assert flow.wait_done(weir) == 0
    assert proxy.dropped > 0
    weir.term()


@both
def acknowledgements(context, version):
    """Lost on their way: the messages come again at their deadline."""
    count = itertools.count(1)
    # By chance: a commit of 500 that is told again would lose its last one each time.
    flow, proxy = proxied(context, version, lambda from_server, subject, data: not from_server
                          and data == b"+ACK"
                          and (next(count) == 250 or context.random.random() < 1 / 500))
    flow.add(4000)
    weir = flow.weir(address=proxy.address)
    flow.wait_done(weir)
    assert proxy.dropped > 0
    weir.term()


@case
def the_checker_sees_a_planted_fault(context):
    """Positions are committed before the outputs are written: killed when that is so, it loses some."""
    flow = Flow(context, "new")
    flow.add(2000)
    slow = "(reduce range(20000) as $i (.n; . + $i)) as $sum | {n, $sum}"
    weir = flow.weir(steps=[{"map": slow}], commit_interval="10ms", batch_size=100,
                     env={"WEIR_UNSAFE_TESTING": "1", "WEIR_FAULT": "commit_early"})
    wait.until(lambda: flow.server.consumer("IN", "flow")["ack_floor"]["stream_seq"] > flow.server.count("OUT") + 20,
               30, "more is acknowledged than is out")
    weir.kill()
    second = flow.weir("second")
    wait.until(lambda: flow.pending() == 0, 60, "nothing is left to read")
    second.term()
    missing = flow.count - len(set(flow.found()))
    context.say(f"{missing} lost")
    assert missing > 0, "positions were committed early, and nothing is missing"


@both
def lag_and_positions(context, version):
    """What the two commands say of a consumer, and that positions move it."""
    flow = Flow(context, version)
    flow.add(100)
    weir = flow.weir()
    flow.wait_done(weir)

    def run(*arguments, code=0):
        done = subprocess.run([str(harness.weir_binary()), *arguments], capture_output=True, text=True, timeout=60)
        assert done.returncode == code, (done.stdout, done.stderr)
        return done.stdout + done.stderr
    assert "is read by" in run("positions", "set", str(weir.file), "--to", "earliest", code=1)
    weir.term()
    flow.add(30)
    rows = json.loads(run("lag", str(weir.file), "--format", "json"))
    row = rows["partitions"][0]
    assert (row["topic"], row["first"], row["end"], row["lag"]) == ("IN", 1, 131, 30), row
    later = next(time_of(message) for sequence, message in flow.server.messages("IN") if sequence == 101)
    for moment, committed in ((later, 101), ("2020-01-01T00:00:00Z", 1), ("2100-01-01T00:00:00Z", 131)):
        run("positions", "set", str(weir.file), "--to", moment)
        rows = json.loads(run("lag", str(weir.file), "--format", "json"))
        assert rows["partitions"][0]["committed"] == committed, (moment, rows)
    run("positions", "set", str(weir.file), "--to", "earliest")
    weir.start()
    wait.until(lambda: flow.server.count("OUT") == 230 and flow.pending() == 0, 30, "all was read again")
    weir.term()


if __name__ == "__main__":
    main()
