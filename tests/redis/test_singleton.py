#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: of several processes with `singleton: true` one works at any time, another takes over within the
stated time, and what was stopped beyond its lease does nothing when it wakes up.

Method: processes that read the same file and write into Redis, so that every one that works leaves a
trace, are killed, stopped and ended in turn on a real server."""
import functools
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import singleton
from harness import main
from redis_flow import Flow


class Place:
    def __init__(self, context):
        flow = Flow(context, partitions=1)
        self.server, self.address = flow.redis, flow.address

    def sink(self, name):
        return {"redis": {"url": self.address, "command": f'["INCR", "by:{name}"]'}}

    def count(self, name):
        return int(self.server.call("GET", f"by:{name}") or 0)


for check in singleton.CASES:
    harness.case(functools.wraps(check)(lambda context, check=check: check(context, Place(context))))

if __name__ == "__main__":
    main()
