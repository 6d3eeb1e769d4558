#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: where the plan says effectively-once, each output is in the stream once, whoever dies; and it says
so only where a replay makes the same outputs.

Method: numbered records go from a file, or from Kafka, to a stream of a real server, the oldest and the
newest version, while weir and the server are killed and acknowledgements are lost; then the stream must
hold exactly what a run without trouble would have written."""
import itertools
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import case, long_case, main, scale
from nats_flow import both
from nats_proxy import Proxy
from nats_server import Server

STEPS = [{"map": "range(.n % 3) as $k | {n, $k}"}]  # none, one or two outputs


def expected(count):
    return [(n, k) for n in range(count) for k in range(n % 3)]


def stored(nats):
    return [(record["n"], record["k"]) for record in
            (json.loads(message.data) for _, message in nats.messages("OUT"))]


def from_file(context, nats, count, address=None, **more):
    path = context.dir / "in.jsonl"
    path.write_text("".join(json.dumps({"n": n}) + "\n" for n in range(count)))
    text = {"name": "flow", "source": {"file": {"path": str(path)}}, "steps": STEPS,
            "sink": {"nats": {"url": address or nats.address, "subject": "out.x", "ack_timeout": "500ms"}},
            "commit_interval": "20ms", "http": "off", "lanes": 2, "guarantee": "effectively-once",
            "state": {"log": "file", "dir": str(context.dir / "state")},
            "log": {"format": "json", "level": "info"}} | more
    return json.dumps(text)


def server(context, version):
    nats = Server(context.dir / "nats", version)
    context.cleanup(nats.stop)
    nats.make("OUT", "out.>")
    return nats


@both
def file_to_nats(context, version):
    """weir is killed, and the server."""
    nats = server(context, version)
    count = scale(30_000, 300_000)
    weir = context.weir(from_file(context, nats, count))
    kills = scale(6, 60)
    for number in range(kills):
        wait.until(lambda: not weir.running or nats.count("OUT") > count * number // (kills + 2), 60,
                   "messages arrive")
        if number % 3 == 2:
            nats.kill()
            nats.start()
        elif weir.running:
            weir.kill()
            weir.start()
    assert weir.wait_exit(120) == 0
    assert stored(nats) == expected(count)


@both
def answers_lost(context, version):
    nats = server(context, version)
    answers = itertools.count(1)
    lost = {1500 * (n + 1) for n in range(scale(3, 30))}
    proxy = Proxy(nats.port, lambda from_server, subject, data: from_server
                  and data.startswith(b'{"stream":"OUT"') and next(answers) in lost)
    context.cleanup(proxy.stop)
    weir = context.weir(from_file(context, nats, 6000, address=proxy.address))
    assert weir.wait_exit(60) == 0
    assert proxy.dropped == len(lost)
    assert stored(nats) == expected(6000)
    weir_log = weir.text()
    assert "dropped messages that it had" in weir_log, weir_log


@long_case
def kafka_to_nats(context):
    nats = server(context, "new")
    kafka = context.kafka()
    count = scale(20_000, 200_000)
    kafka.create("in", partitions=1)
    kafka.produce("in", [{"value": json.dumps({"n": n}), "partition": 0} for n in range(count)])
    text = {"name": "flow", "source": {"kafka": {"brokers": kafka.address, "topic": "in", "start": "earliest",
                                                 "session_timeout": "6s"}},
            "steps": STEPS, "sink": {"nats": {"url": nats.address, "subject": "out.x"}},
            "guarantee": "effectively-once", "commit_interval": "20ms", "lanes": 2, "http": "off",
            "log": {"format": "json", "level": "info"}}
    weir = context.weir(json.dumps(text), instance="one")
    total = len(expected(count))
    for number in range(scale(4, 40)):
        wait.until(lambda: nats.count("OUT") > total * number // scale(6, 60), 60, "messages arrive")
        if number % 2:
            nats.kill()
            nats.start()
        else:
            weir.kill()
            weir.start()
    wait.until(lambda: nats.count("OUT") >= total, 120, "all is there")
    weir.term()
    assert stored(nats) == expected(count)


@case
def said_only_where_it_is_true(context):
    """A clock in an expression, a shared source: at-least-once, with the reason."""
    def explain(text):
        path = context.dir / "explained.yaml"
        path.write_text(json.dumps(text))
        done = subprocess.run([str(harness.weir_binary()), "explain", str(path)], capture_output=True,
                              text=True, timeout=60)
        return done.stdout + done.stderr
    file = {"file": {"path": "in.jsonl"}}
    sink = {"nats": {"url": "localhost:4222", "subject": "out"}}
    good = {"name": "p", "source": file, "sink": sink}
    for text, words in [
            (good, ["guarantee: effectively-once", "repeats are dropped by their Nats-Msg-Id"]),
            (good | {"steps": [{"map": ". + {at: now}"}]}, ["guarantee: at-least-once", "something else each time"]),
            (good | {"sink": {"nats": sink["nats"] | {"subject": {"jq": '"a.\\(now)"'}}}},
             ["guarantee: at-least-once", "something else each time"]),
            (good | {"source": {"nats": {"url": "localhost:4222", "stream": "IN"}}},
             ["guarantee: at-least-once", "no positions to know its records by"]),
            (good | {"guarantee": "at-least-once"}, ["guarantee: at-least-once"])]:
        said = explain(text)
        for word in words:
            assert word in said, (text, said)


if __name__ == "__main__":
    main()
