#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what the Redis sink is given is in the server at least once, in order per key, with its bytes
kept; an error of the server never loses a record.

Method: generated records and lines of files go to a real server that is killed, paused, out of memory
or refuses by ACL meanwhile; then the streams are read back by a client of the tests' own."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from redis_server import Server


def pipeline(context, lines, sink, **more):
    """A file of lines into the sink. `lines`: JSON values, or bytes as they are."""
    path = context.dir / "in.jsonl"
    with open(path, "wb") as out:
        for line in lines:
            out.write(line if isinstance(line, bytes) else json.dumps(line).encode())
            out.write(b"\n")
    text = {"name": context.name, "source": {"file": {"path": str(path)}}, "sink": {"redis": sink},
            "commit_interval": "50ms", "http": "off", "lanes": 2,
            "state": {"log": "file", "dir": str(context.dir / "state")},
            "log": {"format": "json", "level": "info"}} | more
    return json.dumps(text)


def server(context, **settings):
    redis = Server(context.dir / "redis", **settings)
    context.cleanup(redis.stop)
    return redis


def numbers(redis, stream):
    return [int(fields[b"n"]) for _, fields in redis.entries(stream)]


def expect_all(found, count):
    """Each at least once, and first occurrences in order."""
    first = list(dict.fromkeys(found))
    assert first == list(range(count)), f"{len(set(found))} of {count}, first {first[:5]}"
    return len(found) - count


@case
def fields_and_values(context):
    redis = server(context)
    context.weir(pipeline(context, [{"a": "x", "n": 1.50, "o": {"k": [None]}, "t": True}],
                          {"url": redis.address, "stream": "out", "key": ".a", "key_field": "key"})
                 ).wait_exit()
    assert [f for _, f in redis.entries("out")] == [
        {b"key": b"x", b"a": b"x", b"n": b"1.5", b"o": b'{"k":[null]}', b"t": b"true"}]


@case
def bytes_are_kept(context):
    redis = server(context)
    lines = [b"\xff\xfe not UTF-8 \x00\x01", b"plain", b"\x80" * 5000]
    code = context.weir(pipeline(context, lines, {"url": redis.address, "stream": "out",
                                                  "field": "value"})).wait_exit()
    assert code == 0
    assert [f[b"value"] for _, f in redis.entries("out")] == lines


@case
def partitions_keep_keys_together(context):
    redis = server(context)
    records = [{"k": f"key-{i % 50}", "n": i} for i in range(2000)]
    context.weir(pipeline(context, records, {"url": redis.address, "stream": "out", "key": ".k",
                                             "partitions": 3})).wait_exit()
    seen, total = {}, 0
    for p in range(3):
        for _, fields in redis.entries(f"out:{{{p}}}"):
            at, last = seen.get(fields[b"k"], (p, -1))
            assert at == p and int(fields[b"n"]) > last
            seen[fields[b"k"]] = (p, int(fields[b"n"]))
            total += 1
    assert total == 2000 and len({p for p, _ in seen.values()}) == 3


@case
def commands(context):
    redis = server(context)
    records = [{"c": "de" if i % 3 else "fr", "n": i} for i in range(3000)]
    context.weir(pipeline(context, records, {"url": redis.address,
                                             "command": '["HINCRBY", .c, "sum", .n]'})).wait_exit()
    assert int(redis.call("HGET", "fr", "sum")) == sum(range(0, 3000, 3))
    assert int(redis.call("HGET", "de", "sum")) == sum(n for n in range(3000) if n % 3)


@case
def refused_commands(context):
    """A command that would break the connection's order never reaches the server."""
    redis = server(context)
    weir = context.weir(pipeline(context, [{"n": 0}, {"n": 1}], {
        "url": redis.address,
        "command": 'if .n == 0 then ["SUBSCRIBE", "x"] else ["SET", "k", .n] end'}, on_error="skip"))
    assert weir.wait_exit() == 0
    assert redis.call("GET", "k") == b"1"


@case
def trimmed(context):
    redis = server(context)
    context.weir(pipeline(context, [{"n": i} for i in range(5000)],
                          {"url": redis.address, "stream": "out", "maxlen": 100})).wait_exit()
    assert 100 <= redis.call("XLEN", "out") <= 300


@case
def server_killed(context):
    redis = server(context)
    count = scale(30_000, 300_000)
    weir = context.weir(pipeline(context, [{"n": i} for i in range(count)],
                                 {"url": redis.address, "stream": "out"}))
    for number in range(scale(3, 20)):
        goal = count * number // 30
        wait.until(lambda: not weir.running or redis.call("XLEN", "out") > goal, 60, "entries arrive")
        redis.kill()
        redis.start()
    assert weir.wait_exit(120) == 0
    context.say(f"{expect_all(numbers(redis, 'out'), count)} repeated")


@case
def weir_killed(context):
    redis = server(context)
    count = scale(60_000, 600_000)
    weir = context.weir(pipeline(context, [{"n": i} for i in range(count)],
                                 {"url": redis.address, "stream": "out"}))
    for number in range(scale(5, 50)):
        goal = count * number // 60
        wait.until(lambda: not weir.running or redis.call("XLEN", "out") > goal, 60, "entries arrive")
        if weir.running:
            weir.kill()
        weir.start()
    assert weir.wait_exit(120) == 0
    context.say(f"{expect_all(numbers(redis, 'out'), count)} repeated")


@case
def stopped_without_a_server(context):
    """What cannot be committed is left to the next start, without waiting for shutdown_timeout."""
    redis = server(context)
    weir = context.weir(pipeline(context, [{"n": i} for i in range(100_000)],
                                 {"url": redis.address, "stream": "out"}, shutdown_timeout="1h"))
    wait.until(lambda: redis.call("XLEN", "out") > 1000, 60, "entries arrive")
    redis.kill()
    weir.wait_log("not connected")
    weir.term(60)
    assert "what was not committed will be read again" in weir.text(), weir.text()
    redis.start()
    assert weir.start().wait_exit(120) == 0
    expect_all(numbers(redis, "out"), 100_000)


@case
def out_of_memory(context):
    """OOM is back-pressure: nothing is lost, and it goes on when there is room. Of a pipeline the
    server may refuse some and take later ones; all are written again, in order."""
    redis = server(context, maxmemory="3mb", maxmemory_policy="noeviction")
    count = 20_000
    weir = context.weir(pipeline(context, [{"n": i, "pad": "x" * 400} for i in range(count)],
                                 {"url": redis.address, "stream": "out"}))
    weir.wait_log("OOM", 60)
    weir.expect_running()
    redis.call("CONFIG", "SET", "maxmemory", "0")
    assert weir.wait_exit(120) == 0
    last = list(dict.fromkeys(reversed(numbers(redis, "out"))))[::-1]
    assert last == list(range(count)), f"{len(set(last))} of {count}"


@case
def wrong_type(context):
    redis = server(context)
    redis.call("SET", "out", "a string")
    weir = context.weir(pipeline(context, [{"n": 0}], {"url": redis.address, "stream": "out"}))
    assert weir.wait_exit() == 1
    assert "WRONGTYPE" in weir.text()


@case
def login(context):
    redis = server(context)
    redis.call("ACL", "SETUSER", "writer", "on", ">geheim", "+xadd", "+ping", "~out")
    redis.call("ACL", "SETUSER", "default", "resetpass", ">other")
    good = {"url": redis.address, "stream": "out", "auth": {"user": "writer", "password": "geheim"}}
    wrong = {"user": "writer", "password": "falsch"}
    for change, word in [({"auth": wrong}, "WRONGPASS"), ({"stream": "in"}, "NOPERM")]:
        weir = context.weir(pipeline(context, [{"n": 0}], good | change), name=word)
        assert weir.wait_exit() == 1
        assert word in weir.text() and "geheim" not in weir.text(), weir.text()
    assert context.weir(pipeline(context, [{"n": 0}], good)).wait_exit() == 0
    assert redis.call("AUTH", "other") == "OK" and redis.call("XLEN", "out") == 1


if __name__ == "__main__":
    main()
