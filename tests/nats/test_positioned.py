#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a stream that is read by position is read in order, each partition by one process at a time, and what
is kept of it (position, state) is what its outputs say, whoever dies, stalls, joins or leaves.

Method: numbered messages of four partitions go through weir, on real servers of the oldest and the newest
version, while processes are killed, stopped past their lease, added and ended, and the server is killed;
then each message must have exactly one output, in order, and running counts must be without a gap."""
import collections
import itertools
import json
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import main, scale
from nats_flow import both, long_both
from nats_partitions import (COUNTS, PARTITIONS, Flow, counted, keeps_state, survives_a_zombie, survives_kills,
                             survives_kills_of_the_server)
from nats_proxy import Proxy
from nats_server import time_of


@both
def in_order(context, version):
    flow = Flow(context, version)
    flow.add(5000)
    weir = flow.weir()
    flow.wait_out(flow.total())
    flow.check()
    flow.add(5)
    flow.wait_out(flow.total())
    weir.term()
    flow.add(5)
    weir.start()
    flow.wait_out(flow.total())
    weir.term()
    flow.check()


@long_both
def weir_killed(context, version):
    survives_kills(Flow(context, version), scale(4, 40))


@long_both
def server_killed(context, version):
    survives_kills_of_the_server(Flow(context, version))


@long_both
def zombie(context, version):
    survives_a_zombie(Flow(context, version), "(reduce range(500) as $i (.n; . + $i)) as $sum | {p, n, $sum}")


@long_both
def joins_and_leaves(context, version):
    flow = Flow(context, version)
    slow = "(reduce range(500) as $i (.n; . + $i)) as $sum | {p, n, $sum}"
    flow.add(4000)
    first = flow.weir("first", steps=[{"map": slow}])
    flow.wait_out(1)
    second = flow.weir("second", steps=[{"map": slow}])
    second.wait_log("partition assigned", 20)
    flow.wait_out(flow.total() // 3)
    first.term()
    flow.wait_out(flow.total())
    second.term()
    flow.check()


@both
def answers_lost(context, version):
    """Of publishes, of commits, of leases: whatever a proxy loses."""
    flow = Flow(context, version)
    count = itertools.count(1)
    lost = {400 * (n + 1) for n in range(scale(6, 60))}
    proxy = Proxy(flow.server.port, lambda from_server, subject, data: from_server
                  and data.startswith(b'{"stream":') and next(count) in lost)
    context.cleanup(proxy.stop)
    flow.add(1500)
    weir = flow.weir(address=proxy.address, source={"lease": "4s"})
    flow.wait_out(flow.total(), 120)
    weir.term()
    assert proxy.dropped > 0
    flow.check()


@long_both
def state(context, version):
    """Kept beside the positions."""
    keeps_state(Flow(context, version))


WINDOW_NS = 2_000_000_000  # longer than `ack_timeout`: within it what runs may write again


def forget_ids(flow):
    """Returns when the stream has forgotten an id that it got behind everything else."""
    def publish():
        message = flow.server.client.request("out.probe", b"{}", {"Nats-Msg-Id": f"probe {flow.total()}"})
        return not json.loads(message.data).get("duplicate", False)
    assert publish()
    wait.until(publish, 30, "the stream has forgotten an id")


@both
def down_for_longer_than_ids_are_kept(context, version):
    """What was stored and not committed is read back: the stream itself knows nothing of it any more."""
    flow = Flow(context, version)
    everything = flow.found
    flow.found = lambda: [record for record in everything() if record]
    flow.server.api("STREAM.UPDATE.OUT", name="OUT", subjects=["out.>"], duplicate_window=WINDOW_NS)
    flow.add(1000)
    weir = flow.weir(commit_interval="1m")
    for _ in range(2):
        wait.until(lambda: len(flow.found()) == flow.total(), 60, "all are out")
        weir.kill()
        forget_ids(flow)
        flow.add(5)
        weir.start()
    wait.until(lambda: len(flow.found()) == flow.total(), 60, "all are out")
    weir.term()
    assert "the server dropped messages that it had" in weir.text()
    flow.check()


@both
def removed_for_longer_than_ids_are_kept(context, version):
    """Of what is to be read back the stream has removed the first: what follows is written again behind that, so
    that the last output of each partition is its last one."""
    flow = Flow(context, version)
    everything = flow.found
    flow.found = lambda: [record for record in everything() if record]
    flow.server.api("STREAM.UPDATE.OUT", name="OUT", subjects=["out.>"], duplicate_window=WINDOW_NS)
    flow.add(500)
    weir = flow.weir(commit_interval="1m")
    wait.until(lambda: len(flow.found()) == flow.total(), 60, "all are out")
    weir.kill()
    forget_ids(flow)
    flow.server.api("STREAM.PURGE.OUT", seq=401)
    flow.add(5)
    weir.start()
    wait.until(lambda: {r["p"] for r in flow.found() if r["n"] == 504} == set(range(PARTITIONS)), 60, "all are out")
    weir.term()
    for p in range(PARTITIONS):
        found = [record["n"] for record in flow.found() if record["p"] == p]
        assert found[-flow.counts[p]:] == list(range(flow.counts[p])), (p, found)


def committed_frames(server, stream, subject):
    """Of each partition's log, what its commits took along: a frame counts if a commit ends what it is in."""
    committed, open_frames = {}, {}
    for _, message in server.messages(stream):
        if not message.subject.startswith(subject):
            continue
        if message.data.startswith(b"f "):
            open_frames.setdefault(message.subject, []).append(message.data)
            continue
        frames = open_frames.pop(message.subject, [])
        if message.data.startswith(b"c "):
            committed.setdefault(message.subject, []).extend(frames)
    return committed


@both
def frames_of_one_commit(context, version):
    """What a commit took along, or what one that failed would have, is in no later one."""
    flow = Flow(context, version)
    lost = {b'{"stream":"OUT"': {500, 2500}, b'{"stream":"weir-flow"': {12, 20}}
    counts = collections.Counter()

    def drop(from_server, subject, data):
        head = next((head for head in lost if from_server and data.startswith(head)), None)
        counts[head] += 1
        return head is not None and counts[head] in lost[head]
    proxy = Proxy(flow.server.port, drop)
    context.cleanup(proxy.stop)
    weir = flow.weir(address=proxy.address, source={"lease": "4s"}, steps=COUNTS)
    for _ in range(10):
        before = flow.server.count("weir-flow")
        flow.add(100)
        flow.wait_out(flow.total())
        wait.until(lambda: flow.server.count("weir-flow") > before, 60, "a commit")
    weir.term()
    assert proxy.dropped == 4, counts
    counted(flow)
    logs = committed_frames(flow.server, "weir-flow", "weir.flow.log.")
    assert len(logs) == PARTITIONS and any(len(frames) > 1 for frames in logs.values()), logs
    for subject, frames in logs.items():
        assert len(frames) == len(set(frames)), (subject, len(frames), len(set(frames)))


@both
def started_without_a_server(context, version):
    """It waits for the server, and asks what it would have asked at the start before it takes a partition."""
    flow = Flow(context, version)
    flow.add(500)
    flow.server.stop()
    weir = flow.weir()
    weir.wait_log("not connected")
    flow.server.start()
    flow.wait_out(flow.total())
    weir.term()
    flow.check()


@both
def from_a_time(context, version):
    """Where reading begins is asked over the connection on which the log was read before."""
    flow = Flow(context, version)
    flow.add(100)
    weir = flow.weir(source={"start": "2020-01-01T00:00:00Z"})
    flow.wait_out(flow.total())
    weir.term()
    flow.check()


@both
def looked_at_from_outside(context, version):
    flow = Flow(context, version)
    flow.add(100)
    weir = flow.weir()
    flow.wait_out(flow.total())
    weir.term()
    flow.add(5)

    def run(*arguments):
        done = subprocess.run([str(harness.weir_binary()), *arguments], capture_output=True, text=True,
                              timeout=60)
        return done.returncode, done.stdout + done.stderr
    code, text = run("lag", str(weir.file), "--format", "json")
    rows = json.loads(text)["partitions"]
    assert code == 0 and [row["partition"] for row in rows] == list(range(PARTITIONS)), text
    assert all(396 < row["committed"] <= 401 and row["end"] == 421 and row["lag"] == 5 for row in rows), text
    weir.start()
    flow.wait_out(flow.total())
    code, text = run("positions", "set", str(weir.file), "--to", "earliest")
    assert code == 1 and "the pipeline runs" in text and "whoever has its leases" in text, text
    weir.kill()
    code, text = run("positions", "set", str(weir.file), "--to", "earliest")
    assert code == 0, text
    rows = json.loads(run("lag", str(weir.file), "--format", "json")[1])["partitions"]
    assert all(row["committed"] == 1 for row in rows), rows
    later = next(time_of(message) for sequence, message in flow.server.messages("IN") if sequence == 401)
    for moment, committed in ((later, 401), ("2100-01-01T00:00:00Z", 421), ("2020-01-01T00:00:00Z", 1)):
        code, text = run("positions", "set", str(weir.file), "--to", moment)
        assert code == 0, text
        rows = json.loads(run("lag", str(weir.file), "--format", "json")[1])["partitions"]
        assert all(row["committed"] == committed for row in rows), (moment, rows)
    weir.start()
    flow.wait_out(flow.total())
    weir.wait_log("partition assigned")
    assert '"offset":1' in weir.text(), weir.tail()
    weir.term()


@both
def work_queue_refused(context, version):
    flow = Flow(context, version, retention="workqueue")
    weir = flow.weir()
    assert weir.wait_exit() == 78 and "cannot be read by position" in weir.text(), weir.text()


WHOLE = {"partition": None, "partitions": None, "mode": "positioned"}


def read_whole(flow):
    """400 messages are read as one partition, and the process has ended."""
    flow.add(100)
    weir = flow.weir(source=WHOLE)
    flow.wait_out(400)
    weir.term()
    return weir


@both
def deleted_before_they_were_read(context, version):
    """What the stream has cut off while nobody read it is loss: an end, or a warning."""
    flow = Flow(context, version)
    weir = read_whole(flow)
    flow.add(100)
    flow.server.api("STREAM.PURGE.IN", seq=501)
    weir.start()
    assert weir.wait_exit() == 1 and "100 messages were deleted before they were read" in weir.text(), weir.text()
    weir = flow.weir("second", source=WHOLE | {"on_data_loss": "skip"})
    flow.wait_out(700)
    weir.term()
    assert flow.server.count("OUT") == 700


@both
def made_again(context, version):
    """Another stream of that name has fewer messages than were read of the old one: none of them is passed over."""
    flow = Flow(context, version)
    weir = read_whole(flow)
    flow.server.api("STREAM.DELETE.IN")
    flow.server.make("IN", "in.>")
    flow.server.publish_all(("in.0", json.dumps({"p": 0, "n": n})) for n in range(5))
    weir.start()
    assert weir.wait_exit() == 1 and "ends at sequence 5, and 401 was to be read" in weir.text(), weir.text()


def consumers(flow):
    names = flow.server.api("CONSUMER.NAMES.IN")["consumers"] or []
    return [flow.server.consumer("IN", name) for name in names]


def last_delivered(consumer):
    """Of the partition, or of the whole stream; an old server says what it looked at, not what it delivered."""
    count, subject = consumer["delivered"]["consumer_seq"], consumer["config"].get("filter_subject")
    return PARTITIONS * (count - 1) + int(subject[-1]) + 1 if subject else count


def read_slowly(context, version, folder, **source):
    """A flow whose outputs have no room, so that what is read ahead is full and nothing is asked for; then the
    stream cuts off all that was not read, and there is room."""
    flow = Flow(context, version, folder)
    flow.server.api("STREAM.UPDATE.OUT", name="OUT", subjects=["out.>"], discard="new", max_msgs=40)
    flow.server.publish_all((f"in.{n % PARTITIONS}", json.dumps({"p": n % PARTITIONS, "n": n, "pad": "x" * 4000}))
                            for n in range(4000))
    weir = flow.weir(folder, source=source | {"count": 20}, in_flight="1MiB",
                     sink={"nats": {"url": flow.server.address, "subject": "out.x", "stream": "OUT"}})
    flow.wait_out(40)

    seen = [None]

    def is_still():
        now = [(one["delivered"], one["num_waiting"]) for one in consumers(flow)]
        if now != seen[0] or any(waiting > 0 for _, waiting in now):
            seen[:] = [now, weir.text().count("epoch aborted")]
        return weir.text().count("epoch aborted") > seen[1] + 2
    wait.until(is_still, 60, "what was read ahead is full")
    assert all(one["delivered"]["stream_seq"] < 3000 for one in consumers(flow))
    flow.server.api("STREAM.PURGE.IN", seq=3001)
    flow.server.api("STREAM.UPDATE.OUT", name="OUT", subjects=["out.>"], discard="new", max_msgs=-1)
    return flow, weir


@both
def cut_off_while_it_is_read(context, version):
    """Noticed before anything behind it is written: the whole stream, and partitions of it, of which the others'
    messages are no loss."""
    for name, source in (("whole", WHOLE), ("parts", {})):
        flow, weir = read_slowly(context, version, name, **source)
        assert weir.wait_exit() == 1, weir.tail()
        text = weir.text()
        about = "stream IN: " if name == "whole" else "stream IN: up to "
        lost = re.search(about + r"(\d+) messages were deleted before they were read", text)
        assert lost and 3000 - int(lost[1]) in [last_delivered(one) for one in consumers(flow)], text
        assert all(record["n"] < 3000 for record in flow.found())
        flow.server.stop()
        flow, weir = read_slowly(context, version, name + "-skip", **source, on_data_loss="skip")
        weir.wait_log("deleted before they were read", 30)
        wait.until(lambda: sum(record["n"] >= 3000 for record in flow.found()) == 1000, 60, "the rest is out")
        weir.term()
        flow.server.stop()


@both
def cut_off_while_it_waits(context, version):
    """A partition that has nothing to read lags behind what the stream keeps, and has lost nothing."""
    flow = Flow(context, version, max_msgs=50)
    flow.add(1)
    weir = flow.weir()
    flow.wait_out(4)
    flow.server.publish_all((f"in.{1 + n % 3}", json.dumps({"p": 1 + n % 3, "n": 1 + n // 3})) for n in range(30))
    for round in range(1, 6):
        flow.wait_out(4 + 30 * round)
        flow.server.publish_all((f"in.{1 + n % 3}", json.dumps({"p": 1 + n % 3, "n": 1 + 10 * round + n // 3}))
                                for n in range(30))
    flow.server.publish_all([("in.0", json.dumps({"p": 0, "n": 1}))])
    flow.wait_out(4 + 180 + 1)
    flow.counts = [2, 61, 61, 61]
    flow.check()
    weir.term()
    assert "deleted" not in weir.text()


if __name__ == "__main__":
    main()
