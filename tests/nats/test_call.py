#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: each record gets the answer to its own question, in order, whatever becomes of the service, the
server and weir meanwhile, and nobody waits who need not.

Method: a service of the test's own answers at once, late, with an error or not at all, and is started,
stopped and killed with its server, the oldest and the newest version. A file tells what was read."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import main
from nats_flow import both
from nats_partitions import PARTITIONS, Flow
from nats_service import Service
from nats_server import Server


def server(context, version):
    nats = Server(context.dir / "nats", version)
    context.cleanup(nats.stop)
    return nats


def text(context, nats, parts, step=None, **more):
    """A file per part; what comes out in out.jsonl."""
    for name, numbers in parts.items():
        (context.dir / f"{name}.jsonl").write_text(
            "".join(json.dumps({"part": name, "n": n}) + "\n" for n in numbers))
    return json.dumps({
        "name": "flow", "sources": [{"file": {"path": str(context.dir / f"{name}.jsonl")}} for name in parts],
        "steps": [{"nats_request": step or {"url": nats.address, "subject": "double", "timeout": "500ms",
                                            "request": "{n}", "result": ". + $answer"}}],
        "sink": {"file": {"path": str(context.dir / "out.jsonl")}}, "commit_interval": "50ms",
        "http": {"listen": "127.0.0.1:0"}, "lanes": 1, "batch_size": 10,
        "state": {"log": "file", "dir": str(context.dir / "state")},
        "log": {"format": "json", "level": "info"}} | more)


def out(context, part=None):
    path = context.dir / "out.jsonl"
    rows = [json.loads(row) for row in path.read_text().splitlines()] if path.exists() else []
    return [row for row in rows if part in (None, row["part"])]


def check(context, parts):
    for name, numbers in parts.items():
        assert out(context, name) == [{"part": name, "n": n, "double": 2 * n} for n in numbers], out(context)


@both
def answers_in_order(context, version):
    nats = server(context, version)
    service = Service(context, nats)
    parts = {"a": range(500), "b": range(300)}
    weir = context.weir(text(context, nats, parts))
    assert weir.wait_exit() == 0, weir.text()
    check(context, parts)
    assert len(service.ids) == len(set(service.ids)) == 800 and None not in service.ids


@both
def others_go_on(context, version):
    """One record has no answer: its part stands still, the other comes to its end; then both do."""
    nats = server(context, version)
    service = Service(context, nats, late={7})
    parts = {"a": range(100), "b": range(1000, 1100)}
    weir = context.weir(text(context, nats, parts))
    wait.until(lambda: len(out(context, "b")) == 100, 30, "the other part is through")
    wait.until(lambda: len(service.kept) > 1, 30, "it is asked for again")
    assert out(context, "a") == []

    def told():
        status, text = weir.get("/readyz")
        return status == 503 and "nats_request gets no answer" in text
    wait.until(told, 30, "/readyz tells that it gets no answer")
    step = {"step": "steps[0].nats_request"}  # ten of a batch, one of them without an answer
    assert weir.metric("stream_requests_total", status="ok", **step) == 109
    assert weir.metric("stream_request_seconds_count", **step) == 109
    assert weir.metric("stream_requests_total", status="timeout", **step) >= 1
    assert weir.metric("stream_errors_total", component="steps[0].nats_request", type="timeout") >= 1
    assert weir.metric("stream_requests_in_flight", **step) <= 1
    service.release()
    assert weir.wait_exit() == 0, weir.text()
    check(context, parts)
    repeated = [i for i in service.ids if service.ids.count(i) > 1]
    assert len(set(repeated)) == 1, repeated  # always with the same id


@both
def service_comes_and_goes(context, version):
    """Nobody listens at the start; then the server is killed while the service has the questions."""
    nats = server(context, version)
    parts = {"a": range(300)}
    weir = context.weir(text(context, nats, parts))
    weir.wait_log("nobody listens to the subject")
    first = Service(context, nats, late=range(150, 300))
    wait.until(lambda: len(first.kept) >= 10, 30, "it has questions that it does not answer")
    nats.kill()
    first.thread.join(30)
    nats.start()
    Service(context, nats)
    assert weir.wait_exit() == 0, weir.text()
    check(context, parts)


@both
def nobody_listens(context, version):
    """It is known at once, long before the time is over; and whoever comes is asked."""
    nats = server(context, version)
    parts = {"a": range(30)}
    weir = context.weir(text(context, nats, parts, {
        "url": nats.address, "subject": "double", "timeout": "10m", "request": "{n}", "result": ". + $answer"}))
    weir.wait_log("nobody listens to the subject")
    wait.until(lambda: weir.metric("stream_requests_total", status="nobody") >= 20, 30, "a batch is asked again")
    assert "nats_request gets no answer" in weir.get("/readyz")[1]
    Service(context, nats)
    assert weir.wait_exit() == 0, weir.text()
    check(context, parts)


@both
def server_takes_nothing(context, version):
    """A server stands still, with more requests than its connection holds: what need not ask goes on."""
    nats = server(context, version)
    flow = Flow(context, version, "other")
    Service(context, nats)
    pad = '"x" * 700000'
    rows = lambda name: [json.loads(row) for row in (context.dir / name).read_text().splitlines()]
    sink = lambda name: {"file": {"path": str(context.dir / name)}}
    weir = context.weir(json.dumps({
        "name": "flow", "source": {"nats": {"url": flow.server.address, "stream": "IN", "partition": "in.{}",
                                            "key_token": 2, "partitions": PARTITIONS, "lease": "1s"}},
        "branches": [
            {"name": "asks", "when": ".p == 0", "sink": sink("asked.jsonl"), "steps": [{"nats_request": {
                "url": nats.address, "subject": "double", "timeout": "1m", "request": "{n, pad: (%s)}" % pad,
                "result": ". + $answer"}}]},
            {"name": "else", "when": ".p != 0", "sink": sink("else.jsonl")}],
        "commit_interval": "20ms", "http": "off", "lanes": 1, "log": {"format": "json", "level": "info"}}))
    flow.add(1)
    wait.until(lambda: rows("asked.jsonl"), 30, "the service is asked")
    nats.pause()
    flow.add(60)
    wait.until(lambda: len(rows("else.jsonl")) == 61 * (PARTITIONS - 1), 30, "the others are through")
    assert len(rows("asked.jsonl")) == 1
    nats.resume()
    wait.until(lambda: len(rows("asked.jsonl")) == 61, 60, "the service is asked again")
    weir.term()
    assert rows("asked.jsonl") == [{"p": 0, "n": n, "double": 2 * n} for n in range(61)]


@both
def stop_while_waiting(context, version):
    """SIGTERM does not wait for a service that does not answer, and kill -9 loses nothing either."""
    nats = server(context, version)
    parts = {"a": range(200)}
    service = Service(context, nats, late={95})
    pipeline = text(context, nats, parts)
    weir = context.weir(pipeline)
    wait.until(lambda: len(service.kept) > 1 and len(out(context)) == 90, 30, "it waits for one")
    weir.term()
    assert "will be read again" in weir.text(), weir.text()
    asked = len(service.kept)
    weir = context.weir(pipeline, "second")
    wait.until(lambda: len(service.kept) > asked, 30, "the next one asks again")
    weir.kill()
    service.release()
    weir = context.weir(pipeline, "third")
    assert weir.wait_exit() == 0, weir.text()
    check(context, parts)


@both
def verdicts(context, version):
    """What a service answers with an error is the record's failure; so is what is no JSON."""
    nats = server(context, version)
    Service(context, nats)
    weir = context.weir(text(context, nats, {"a": [1, -2, 3]}, on_error="skip"))
    assert weir.wait_exit() == 0, weir.text()
    assert [row["n"] for row in out(context)] == [1, 3]
    assert "the service says 400: no number" in weir.text(), weir.text()


@both
def window_results(context, version):
    """A step in front of the one that asks keeps state: an epoch waits for the answers."""
    nats = server(context, version)
    Service(context, nats)
    nats.make("IN", "in.x")
    nats.make("OUT", "out.x", **({"allow_atomic": True} if version == "new" else {}))
    nats.publish_all([("in.x", json.dumps({"k": f"k{i % 7}"})) for i in range(2100)])
    weir = context.weir(json.dumps({
        "name": "flow", "source": {"nats": {"url": nats.address, "stream": "IN", "mode": "positioned"}},
        "steps": [{"key": ".k"}, {"dedupe": {"id": "($record.offset - 1) / 3 | floor", "ttl": "1h"}},
                  {"map": "{k, n: $record.offset}"},
                  {"nats_request": {"subject": "double", "request": "{n}", "result": ". + $answer"}}],
        "sink": {"nats": {"subject": "out.x", "stream": "OUT"}}, "commit_interval": "20ms",
        "http": "off", "lanes": 2, "batch_size": 50, "log": {"format": "json", "level": "info"}}))
    wait.until(lambda: nats.count("OUT") >= 700, 60, "all are out")
    weir.term()
    rows = [json.loads(message.data) for _, message in nats.messages("OUT")]
    assert len(rows) == 700 and all(row["double"] == 2 * row["n"] for row in rows), rows


def lookup(nats, **more):
    return {"url": nats.address, "bucket": "b", "key": "\"k\\(.n)\"", "result": ". + {found: $answer}"} | more


def fill(nats, values):
    nats.publish_all([(f"$KV.b.{key}", value, headers) for key, value, headers in values])


def look_up(context, version, **bucket):
    """The last value of each key; null where there is none or it was deleted; equal keys are asked once."""
    nats = server(context, version)
    nats.make("KV_b", "$KV.b.>", max_msgs_per_subject=3, allow_rollup_hdrs=True, **bucket)
    fill(nats, [("k0", "1", None), ("k0", "[2]", None), ("k1", "3", None), ("k2", "", {"KV-Operation": "DEL"})])
    config = json.loads(text(context, nats, {"a": [n % 4 for n in range(400)]}, batch_size=100))
    config["steps"] = [{"nats_kv": lookup(nats)}]
    weir = context.weir(json.dumps(config))
    assert weir.wait_exit() == 0, weir.text()
    found = {0: [2], 1: 3, 2: None, 3: None}
    assert out(context) == [{"part": "a", "n": n % 4, "found": found[n % 4]} for n in range(400)], out(context)


@both
def lookups(context, version):
    look_up(context, version, allow_direct=True)


@both
def lookups_of_the_leader(context, version):
    """A bucket whose stream cannot be asked directly."""
    look_up(context, version, allow_direct=False)


def look_up_texts(context, version, **bucket):
    """Values of several lengths, an empty one, and headers that only look like those of a deletion."""
    nats = server(context, version)
    nats.make("KV_b", "$KV.b.>", max_msgs_per_subject=1, **bucket)
    values = ["gold", "", "a", "ab", "abc", "".join(map(chr, range(1, 127))) + "ä€😀", "x" * 100_000]
    headers = [None, {"KV-Operationally": "no"}, {"Note": "KV-Operation: DEL"}] + [None] * 4
    fill(nats, [(f"k{n}", value, headers[n]) for n, value in enumerate(values)])
    config = json.loads(text(context, nats, {"a": list(range(len(values)))}))
    config["steps"] = [{"nats_kv": lookup(nats, answer="text")}]
    weir = context.weir(json.dumps(config))
    assert weir.wait_exit() == 0, weir.text()
    assert [row["found"] for row in out(context)] == values


@both
def lookup_of_text(context, version):
    look_up_texts(context, version, allow_direct=True)


@both
def lookup_of_text_of_the_leader(context, version):
    look_up_texts(context, version, allow_direct=False)


@both
def bucket_missing(context, version):
    """Said at once."""
    nats = server(context, version)
    config = json.loads(text(context, nats, {"a": [0]}))
    config["steps"] = [{"nats_kv": lookup(nats)}]
    weir = context.weir(json.dumps(config))
    assert weir.wait_exit() != 0 and "KV_b" in weir.text(), weir.text()


if __name__ == "__main__":
    main()
