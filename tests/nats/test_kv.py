#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a key-value bucket holds the last value of each key that was written to it, and no key that was
deleted, whoever died meanwhile.

Method: puts and deletes go to buckets of real servers, the oldest and the newest version, while weir and
the server are killed; then the bucket is read as a client would, from its stream and by direct requests."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import main, scale
from nats_flow import both
from nats_server import NatsError, Server


def server(context, version="new"):
    nats = Server(context.dir / "nats", version)
    context.cleanup(nats.stop)
    return nats


def pipeline(context, records, sink, **more):
    path = context.dir / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    text = {"name": "flow", "source": {"file": {"path": str(path)}}, "sink": {"nats_kv": sink},
            "commit_interval": "50ms", "http": "off", "lanes": 2,
            "state": {"log": "file", "dir": str(context.dir / "state")},
            "log": {"format": "json", "level": "info"}} | more
    return json.dumps(text)


def operations(nats, bucket="b"):
    """Key, operation and value of all that the bucket keeps, oldest first."""
    prefix = f"$KV.{bucket}."
    return [(m.subject.removeprefix(prefix), m.headers.get("KV-Operation", "PUT"), m.data)
            for _, m in nats.messages(f"KV_{bucket}")]


def values(nats, bucket="b"):
    """What a client finds in it."""
    found = {}
    for key, operation, data in operations(nats, bucket):
        found[key] = data
        if operation != "PUT":
            del found[key]
    return found


@both
def puts_and_deletes(context, version):
    nats = server(context, version)
    records = [{"k": f"user.{i % 100}", "n": i} for i in range(1000)]
    records += [{"k": f"user.{i}", "gone": True} for i in range(0, 100, 2)]
    weir = context.weir(pipeline(context, records, {"url": nats.address, "bucket": "b", "key": ".k",
                                                    "delete": ".gone", "history": 5}))
    assert weir.wait_exit() == 0
    found = values(nats)
    assert {key: json.loads(value)["n"] for key, value in found.items()} == \
        {f"user.{i}": 900 + i for i in range(1, 100, 2)}
    last = [o for o in operations(nats) if o[0] == "user.0"]
    assert len(last) == 5 and last[-1] == ("user.0", "DEL", b""), last
    config = nats.api("STREAM.INFO.KV_b")["config"]
    expected = {"subjects": ["$KV.b.>"], "max_msgs_per_subject": 5, "discard": "new",
                "allow_rollup_hdrs": True, "deny_delete": True, "allow_direct": True}
    assert {key: config[key] for key in expected} == expected, config


@both
def refused_keys(context, version):
    """Each is one record's failure; the others go on."""
    nats = server(context, version)
    records = [{"k": "a"}, {"k": "a b"}, {"k": ".a"}, {"k": "a..b"}, {"k": "*"}, {"k": None}, {"k": "z/=-_.9"}]
    weir = context.weir(pipeline(context, records, {"url": nats.address, "bucket": "b", "key": ".k"},
                                 on_error="skip"))
    assert weir.wait_exit() == 0
    assert sorted(values(nats)) == ["a", "z/=-_.9"]
    assert '\\"a b\\" is no key of a bucket' in weir.text(), weir.text()


@both
def bucket_must_be_there(context, version):
    nats = server(context, version)
    weir = context.weir(pipeline(context, [{"k": "a"}], {"url": nats.address, "bucket": "b", "key": ".k",
                                                         "manage": "bind"}))
    assert weir.wait_exit() == 78 and "the stream KV_b does not exist" in weir.text(), weir.text()
    try:
        nats.info("KV_b")
    except NatsError:
        return
    raise AssertionError("it was made")


def survives(context, version, harm):
    """Keys are written many times over; the last value of each is the file's last."""
    nats = server(context, version)
    count, keys = scale(30_000, 300_000), 97
    weir = context.weir(pipeline(context, [{"k": f"k{i % keys}", "n": i} for i in range(count)],
                                 {"url": nats.address, "bucket": "b", "key": ".k"}))

    def last():
        try:
            return nats.info("KV_b")["last_seq"]
        except (NatsError, OSError):
            return 0
    for number in range(1, scale(4, 20)):
        wait.until(lambda: not weir.running or last() > count * number // 30, 60, "values arrive")
        harm(nats, weir)
    assert weir.wait_exit(120) == 0
    found = {key: json.loads(value)["n"] for key, value in values(nats).items()}
    assert found == {f"k{i % keys}": i for i in range(count - keys, count)}


@both
def server_killed(context, version):
    def harm(nats, weir):
        nats.kill()
        nats.start()
    survives(context, version, harm)


@both
def weir_killed(context, version):
    def harm(nats, weir):
        if weir.running:
            weir.kill()
        weir.start()
    survives(context, version, harm)


@both
def effectively_once(context, version):
    """From a stream by position: a put that is made again after a kill is one that the server has."""
    nats = server(context, version)
    nats.make("IN", "in.>")
    nats.publish_all((f"in.{n % 7}", json.dumps({"n": n})) for n in range(20_000))
    text = {"name": "flow", "source": {"nats": {"url": nats.address, "stream": "IN", "lease": "2s"}},
            "sink": {"nats_kv": {"bucket": "b", "key": ".n | tostring"}}, "guarantee": "effectively-once",
            "commit_interval": "50ms", "http": "off", "log": {"format": "json", "level": "info"}}
    weir = context.weir(json.dumps(text))
    for goal in (2000, 9000):
        wait.until(lambda: nats.count("KV_b") > goal, 60, "values arrive")
        weir.kill()
        weir.start()
    wait.until(lambda: nats.count("KV_b") == 20_000, 60, "all are there")
    weir.term()
    state = nats.info("KV_b")
    assert state["messages"] == state["last_seq"] == 20_000, state


if __name__ == "__main__":
    main()
