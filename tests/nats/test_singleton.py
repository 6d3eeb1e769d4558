#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: of several processes with `singleton: true` one works at any time, another takes over within the
stated time, and what was stopped beyond its lease does nothing when it wakes up.

Method: processes that write into a stream, each to a subject of its own, so that every one that works
leaves a trace, are killed, stopped and ended in turn on real servers of the oldest and the newest version."""
import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import singleton
from harness import main
from nats_flow import both
from nats_server import Server


class Place:
    def __init__(self, context, version):
        self.server = Server(context.dir / "nats", version)
        context.cleanup(self.server.stop)
        self.server.make("OUT", "by.*")

    def sink(self, name):
        return {"nats": {"url": self.server.address, "subject": f"by.{name}"}}

    def count(self, name):
        info = self.server.api("STREAM.INFO.OUT", subjects_filter=f"by.{name}")["state"]
        return (info.get("subjects") or {}).get(f"by.{name}", 0)


for check in singleton.CASES:
    def run(context, version, check=check):
        check(context, Place(context, version))
    both(functools.wraps(check)(run))

if __name__ == "__main__":
    main()
