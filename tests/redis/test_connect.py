#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir check --connect` says what a Redis server would refuse, where it is written, and changes
nothing there.

Method: a real server with a user who may do little; a file is checked and the answer compared, then the
server's keys."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import ports
from harness import case, main
from redis_server import Server


def check(context, source, sink):
    file = context.dir / "pipe.yaml"
    file.write_text(json.dumps({"name": "pipe", "source": {"redis": source}, "sink": {"redis": sink}}))
    file.chmod(0o600)
    done = subprocess.run([str(harness.weir_binary()), "check", "--connect", "--format", "json", file.name],
                          cwd=context.dir, capture_output=True, text=True, timeout=60)
    assert "geheim" not in done.stdout + done.stderr
    return done.returncode, {one["path"]: one["message"] for one in json.loads(done.stdout)["diagnostics"]}


@case
def what_the_server_says(context):
    redis = Server(context.dir / "redis")
    context.cleanup(redis.stop)
    redis.call("XADD", "in", "1-1", "a", "b")
    redis.call("SET", "text", "x")
    redis.call("ACL", "SETUSER", "both", "on", ">geheim", "~*", "+ping", "+xadd", "+xreadgroup", "+type")
    redis.call("ACL", "SETUSER", "reader", "on", ">geheim", "~in", "+ping", "+xreadgroup")
    source = {"url": redis.address, "stream": "in", "auth": {"user": "both", "password": "geheim"}}
    reader = source | {"auth": {"user": "reader", "password": "geheim"}}
    keys = sorted(redis.call("KEYS", "*"))
    assert check(context, source, {"stream": "new"}) == (0, {})
    code, found = check(context, reader, {"stream": "new"})
    assert code == 78 and list(found) == ["sink.redis.stream"] and "NOPERM" in found["sink.redis.stream"], found
    code, found = check(context, source | {"stream": "text"}, {"stream": "text"})
    assert code == 78 and len(found) == 2, found
    assert all("text is no stream but a string" in message for message in found.values()), found
    code, found = check(context, source | {"auth": {"user": "both", "password": "other"}}, {"stream": "new"})
    assert code == 78 and "WRONGPASS" in str(found), found
    code, found = check(context, source | {"url": f"127.0.0.1:{ports.free()}"}, {"stream": "new"})
    assert code == 78 and "cannot connect" in str(found), found
    assert sorted(redis.call("KEYS", "*")) == keys and redis.call("XLEN", "in") == 1


@case
def each_file_is_tried(context):
    """What is wrong with one says nothing about the next."""
    nobody, files = f"127.0.0.1:{ports.free()}", []
    for name in ("one", "two"):
        files.append(f"{name}.yaml")
        source = {"redis": {"url": nobody, "stream": "in"}}
        (context.dir / files[-1]).write_text(json.dumps({"name": name, "source": source, "sink": "drop"}))
    done = subprocess.run([str(harness.weir_binary()), "check", "--connect", *files], cwd=context.dir,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 78 and done.stdout == "", done
    assert all(f"{name}:1:" in done.stderr for name in files) and done.stderr.count("cannot connect") == 2, done.stderr


if __name__ == "__main__":
    main()
