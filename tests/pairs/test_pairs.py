#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: between each two of Kafka, Redis, JetStream and files nothing is lost, no key comes out of order where
the source has an order, and repeats come only where the guarantee that `weir explain` states allows them.

Method: numbered records go through a pipeline while, in an order of the seed, it is killed, stopped beyond
its lease, joined and left by another, while the servers are killed and restarted and answers are lost
after what they answer was done. Then every output is counted."""
import pathlib
import random
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import LONG, SEED, case, main, scale
from pair_flow import Pair
from systems import ATOMIC, SINKS, SOURCES


# The one whose Kafka is killed, too, in a short run.
slow = random.Random(SEED).choice([(source, sink) for source in SOURCES for sink in SINKS
                                   if "kafka" in (source, sink)])


def composite(source, sink):
    def run(context):
        pair = Pair(context, source, sink)
        pair.slow_too = LONG or slow == (source, sink)
        pair.run(scale(1, 20))
        pair.judge()
    run.__name__ = f"{source}-to-{sink}"
    return case(run)


for source in SOURCES:
    for sink in SINKS:
        composite(source, sink)
composite(*ATOMIC)

if __name__ == "__main__":
    main()
