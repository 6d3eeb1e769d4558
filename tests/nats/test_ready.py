#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a pipeline without its server is not ready, also when there is nothing to do, and says why; and is
again when it has what it had.

Method: idle pipelines that share a stream, read by position, listen, or only write; the server is killed and
started again, and /readyz is asked meanwhile."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import main
from nats_flow import both
from nats_server import Server
from ready import follows


def server(context, version, name="nats"):
    nats = Server(context.dir / name, version)
    context.cleanup(nats.stop)
    nats.make("IN", "in.>")
    nats.make("OUT", "out.>")
    return nats


@both
def shared(context, version):
    nats = server(context, version)
    follows(context, nats, "source.nats", 1, {"nats": {"url": nats.address, "stream": "IN"}}, {"drop": {}})


@both
def positioned(context, version):
    nats = server(context, version)
    source = {"nats": {"url": nats.address, "stream": "IN", "partition": "in.{}", "partitions": 2, "lease": "1s"}}
    follows(context, nats, "source.nats", 2, source, {"drop": {}})


@both
def listening(context, version):
    nats = server(context, version)
    follows(context, nats, "source.nats_core", 1, {"nats_core": {"url": nats.address, "subject": "x"}}, {"drop": {}})


@both
def sink(context, version):
    nats, other = server(context, version), server(context, version, "other")
    follows(context, nats, "sink.nats", 1, {"nats": {"url": other.address, "stream": "IN"}},
            {"nats": {"url": nats.address, "subject": "out.x"}})


if __name__ == "__main__":
    main()
