#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a pipeline without its server is not ready, also when there is nothing to do, and says why; and is
again when it has what it had.

Method: idle pipelines that share a stream, read by position, or only write; the server is killed and
started again, and /readyz is asked meanwhile."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import case, main
from ready import follows
from redis_server import Server


def server(context, name="redis"):
    redis = Server(context.dir / name)
    context.cleanup(redis.stop)
    return redis


@case
def shared(context):
    redis = server(context)
    follows(context, redis, "source.redis", 1, {"redis": {"url": redis.address, "stream": "in"}}, {"drop": {}})


@case
def positioned(context):
    redis = server(context)
    source = {"redis": {"url": redis.address, "stream": "in", "partitions": 2, "lease": "2s"}}
    follows(context, redis, "source.redis", 2, source, {"drop": {}})


@case
def sink(context):
    redis, other = server(context), server(context, "other")
    follows(context, redis, "sink.redis", 1, {"redis": {"url": other.address, "stream": "in"}},
            {"redis": {"url": redis.address, "stream": "out"}})


if __name__ == "__main__":
    main()
