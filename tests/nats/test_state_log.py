#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: state that lies in a stream comes back whole, however large it is, whatever is lost on its way, and
whatever a message may weigh there.

Method: keys with large values are counted, on real servers of the oldest and the newest version; the process
is killed and reads its state back through a proxy that counts, and loses, what the server sends."""
import collections
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main
from nats_flow import both
from nats_partitions import COUNTS, PARTITIONS, AtomicFlow, Flow, counted
from nats_proxy import Proxy

LOG = "weir.flow.log."
PAGE_BYTES = 8 << 20


def add_keys(flow, keys, size):
    """A message of each key; its last value is the state."""
    for start in range(0, keys, 8):
        flow.server.publish_all((f"in.{k % PARTITIONS}", json.dumps({"k": k, "pad": f"{k % 10}" * size}))
                                for k in range(start, min(start + 8, keys)))


KEEPS = [{"aggregate": {"key": ".k", "aggregate": {"count": "count", "pad": "last(.pad)"}}},
         {"map": "{k: (.key | tonumber), count, size: (.pad | length)}"}]


@both
def frames_lost(context, version):
    """Neither state that is damaged nor one that is smaller: it is asked for again."""
    flow = Flow(context, version)
    seen = collections.Counter()

    def drop(from_server, subject, data):
        """Of each partition the third frame that is read: one may be read for the position alone."""
        if not from_server or not subject.startswith(LOG) or not data.startswith(b"f "):
            return False
        seen[subject] += 1
        return seen[subject] == 3
    proxy = Proxy(flow.server.port, drop)
    context.cleanup(proxy.stop)
    weir = flow.weir(address=proxy.address, steps=COUNTS)

    def kept():
        """How many messages the log of each partition has."""
        state = flow.server.api("STREAM.INFO.weir-flow", subjects_filter=LOG + ">")["state"]
        return [state.get("subjects", {}).get(f"{LOG}IN.{p}", 0) for p in range(PARTITIONS)]
    for _ in range(5):  # a frame each, of each partition
        weir.wait_log("partition assigned")  # the stream is there
        before = kept()
        flow.add(100)
        flow.wait_out(flow.total())
        wait.until(lambda: all(now > then for now, then in zip(kept(), before)), 30, "it is committed")
    weir.kill()
    flow.add(100)
    weir.start()
    flow.wait_out(flow.total())
    weir.term()
    assert proxy.dropped == PARTITIONS, proxy.dropped
    counted(flow)


@both
def large(context, version):
    """It comes in pages of a size that memory has room for."""
    flow = Flow(context, version)
    keys, size = 160, 150_000
    page, pages = [0], []

    def count(from_server, subject, data):
        if from_server and subject.startswith(LOG):
            page[0] += len(data)
        elif not from_server and ".MSG.NEXT.weir-flow." in subject:
            pages.append(page[0])
            page[0] = 0
        return False
    proxy = Proxy(flow.server.port, count)
    context.cleanup(proxy.stop)
    weir = flow.weir(address=proxy.address, steps=KEEPS)
    add_keys(flow, keys, size)
    flow.wait_out(keys)
    weir.kill()
    add_keys(flow, keys, size)
    weir.start()
    flow.wait_out(2 * keys)
    weir.term()
    last = {record["k"]: record for record in flow.found()}
    assert last == {k: {"k": k, "count": 2, "size": size} for k in range(keys)}, last
    assert sum(pages) > keys * size and max(pages) <= PAGE_BYTES, (sum(pages), max(pages))


def kept_in_small_messages(flow):
    """What one commit changes is larger than a message may be."""
    keys, size = 60, 40_000
    add_keys(flow, keys, size)
    weir = flow.weir(steps=KEEPS, commit_interval="1s")
    flow.wait_out(keys)
    weir.term()
    add_keys(flow, keys, size)
    weir.start()
    flow.wait_out(2 * keys)
    weir.term()
    assert "too_large" not in weir.text(), weir.tail()
    found = sorted((record["k"], record["count"], record["size"]) for record in flow.found())
    assert found == [(k, count, size) for k in range(keys) for count in (1, 2)], found


@both
def small_messages(context, version):
    kept_in_small_messages(Flow(context, version, extra="max_payload: 131072"))


@case
def small_messages_in_batches(context):
    kept_in_small_messages(AtomicFlow(context, extra="max_payload: 131072"))


@both
def too_small_messages(context, version):
    flow = Flow(context, version, extra="max_payload: 4096")
    weir = flow.weir(steps=COUNTS)
    assert weir.wait_exit() == 78 and "have room for 3840 bytes" in weir.text(), weir.text()
    weir = flow.weir("stateless")
    flow.add(10)
    flow.wait_out(flow.total())
    weir.term()


if __name__ == "__main__":
    main()
