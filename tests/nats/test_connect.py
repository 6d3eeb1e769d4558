#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir check --connect` says what a NATS server would refuse, where it is written, and changes
nothing there.

Method: a real server with a user and a stream; files are checked and the answers compared, then the
server's streams."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import ports
from harness import case, main
from nats_server import Server


def check(context, source, sink, **more):
    file = context.dir / "pipe.yaml"
    file.write_text(json.dumps({"name": "pipe", "source": {"nats": source}, "sink": {"nats": sink}} | more))
    file.chmod(0o600)
    done = subprocess.run([str(harness.weir_binary()), "check", "--connect", "--format", "json", file.name],
                          cwd=context.dir, capture_output=True, text=True, timeout=60)
    assert "geheim" not in done.stdout + done.stderr
    return done.returncode, {one["path"]: one["message"] for one in json.loads(done.stdout)["diagnostics"]}


@case
def what_the_server_says(context):
    nats = Server(context.dir / "nats", "new")
    context.cleanup(nats.stop)
    nats.make("IN", "orders.>")
    source = {"url": nats.address, "stream": "IN"}
    assert check(context, source, {"subject": "orders.out"}) == (0, {})
    made = {"subject": "new.out", "stream": "NEW", "subjects": ["new.>"]}
    assert check(context, source, made) == (0, {})
    code, found = check(context, source | {"stream": "NONE"}, {"subject": "nobody.keeps"})
    assert code == 78 and found == {
        "source.nats.stream": "the stream NONE does not exist",
        "sink.nats.subject": "no stream keeps the subject nobody.keeps"}, found
    code, found = check(context, source | {"url": f"127.0.0.1:{ports.free()}"}, {"subject": "orders.out"})
    assert code == 78 and len(found) == 2, found
    look = {"nats_kv": {"url": nats.address, "bucket": "none", "key": ".id", "result": "$answer"}}
    code, found = check(context, source, {"subject": "orders.out"}, steps=[look])
    assert code == 78 and list(found) == ["steps[0].nats_kv.bucket"], found
    assert nats.api("STREAM.NAMES")["streams"] == ["IN"]


if __name__ == "__main__":
    main()
