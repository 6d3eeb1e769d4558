#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir lag` and `weir positions` tell and move where a Redis source stands, in both modes, and
refuse to move it while somebody reads.

Method: a pipeline processes streams and stops; the commands run against its file; then it goes on, and
what it writes shows where it began."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, weir_binary
from redis_flow import Flow


def command(weir, *arguments, code=0):
    done = subprocess.run([str(weir_binary()), *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60, check=False, env=weir.env)
    if done.returncode != code:
        raise AssertionError(f"{arguments} ended with {done.returncode}, not {code}:\n"
                             f"{done.stdout}{done.stderr}")
    return done


def lag(weir):
    table = json.loads(command(weir, "lag", "--format", "json", str(weir.file)).stdout)
    return [(row["first"], row["committed"], row["end"]) for row in table["partitions"]]


@case
def positioned(context):
    flow = Flow(context, partitions=2)
    flow.redis.pipeline([("XADD", flow.stream(p), f"{1000 * (n + 1)}-0", "p", p, "n", n)
                         for p in range(2) for n in range(100)])
    flow.counts = [100, 100]
    weir = flow.weir()
    flow.wait_done(weir)
    assert lag(weir) == [(0, 100, 100)] * 2, lag(weir)
    refused = command(weir, "positions", "set", "--to", "earliest", str(weir.file), code=1)
    assert "lease" in refused.stderr, refused.stderr
    weir.term()
    flow.redis.call("XTRIM", flow.stream(1), "MAXLEN", "=", 60)
    command(weir, "positions", "set", "--to", "earliest", str(weir.file))
    assert lag(weir) == [(0, 0, 100), (40, 40, 100)], lag(weir)
    command(weir, "positions", "set", "--to", "1970-01-01T00:01:31Z", str(weir.file))
    assert lag(weir) == [(0, 90, 100), (40, 90, 100)], lag(weir)
    weir.start()
    flow.wait_done(weir)
    weir.term()
    found = flow.found()
    assert len(found) == 220 and found.count((0, 89)) == 1 and found.count((1, 90)) == 2, found[200:]


@case
def shared(context):
    flow = Flow(context, partitions=1)
    flow.redis.pipeline([("XADD", "in", "*", "p", 0, "n", n) for n in range(100)])
    weir = flow.weir(source={"partitions": None, "lease": None}, guarantee=None)
    wait.until(lambda: lag(weir) == [(0, 100, 100)], 30, "all is acknowledged")
    refused = command(weir, "positions", "set", "--to", "earliest", str(weir.file), code=1)
    assert "consumer" in refused.stderr, refused.stderr
    weir.term()
    command(weir, "positions", "set", "--to", "earliest", str(weir.file))
    assert lag(weir) == [(0, 0, 100)]
    weir.start()
    flow.wait_out(200)
    weir.term()


if __name__ == "__main__":
    main()
