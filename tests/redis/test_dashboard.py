#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: examples/dashboard-redis.yaml does on a real server what its first lines say.

Method: orders go to the stream, weir is killed in between; the hashes that a dashboard reads are compared with
what is added up here. Minutes are counted once each, or their sums would be too large."""
import collections
import datetime
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import ROOT, case, main
from redis_server import Server


@case
def last_full_minutes(context):
    redis = Server(context.dir / "redis")
    context.cleanup(redis.stop)
    text = (ROOT / "examples" / "dashboard-redis.yaml").read_text()
    env = {"REDIS": redis.address, "HTTP": "127.0.0.1:0"}
    weir = context.weir(text, env=env)
    begin = datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc)
    sums = collections.defaultdict(lambda: [0, 0])
    for part in range(4):
        commands = []
        for n in range(part * 1500, part * 1500 + 1500):  # an order a second, so 25 minutes each
            at, country = begin + datetime.timedelta(seconds=n), ("DE", "FR", "NL")[n % 3]
            status = "open" if n % 7 == 0 else "paid"
            commands.append(("XADD", "orders", "*", "country", country, "status", status, "amount", n % 100,
                             "at", at.isoformat()))
            if status == "paid":
                row = sums[country, n // 60]
                row[0], row[1] = row[0] + 1, row[1] + n % 100
        redis.pipeline(commands)
        # The last order closes the minutes that are over for longer than the grace.
        minute = (part * 1500 + 1499 - 10) // 60 - 1
        for country in ("DE", "FR", "NL"):
            orders, revenue = sums[country, minute]
            at = (begin + datetime.timedelta(minutes=minute)).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
            expected = {b"from": at, b"orders": b"%d" % orders, b"revenue": b"%d" % revenue}

            def shown():
                row = redis.call("HGETALL", f"minute:{country}") or []
                return dict(zip(row[::2], row[1::2]))
            wait.until(lambda: shown() == expected, 60, f"{country} shows {expected}, not {shown()}")
        if part == 1:
            weir.kill()
            weir.start(env=env)
    weir.term()


if __name__ == "__main__":
    main()
