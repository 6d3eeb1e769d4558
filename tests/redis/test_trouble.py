#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what a server can refuse, delete or forget is noticed by a pipeline that reads by position: lost
entries are counted, refusals wait or end it with the reason, and nothing is half done in silence.

Method: a real server is trimmed in front of the reader, filled to its limit, robbed of groups, streams
and positions, or given keys of wrong types; the log, the exit code and every output are compared."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main
from redis_flow import Flow

SLOW = {"steps": [{"map": "(reduce range(2000) as $i (0; . + $i)) as $sum | {p, n, $sum}"}],
        "batch_size": 50, "in_flight": "1MiB"}


def trimmed_under(context, on_data_loss):
    """A slow reader, and a stream that is cut to a few entries in front of it."""
    flow = Flow(context, partitions=2)
    flow.add(8000)
    weir = flow.weir(source={"on_data_loss": on_data_loss, "count": 100}, **SLOW)
    flow.wait_out(200, alive=[weir])
    flow.redis.call("XTRIM", flow.stream(1), "MAXLEN", "=", 500)
    return flow, weir


@case
def trimmed_stop(context):
    flow, weir = trimmed_under(context, "stop")
    assert weir.wait_exit(60) == 1
    flow.account()
    line = weir.wait_log("entries were deleted before they were read")
    lost = int(line.split(" entries were deleted")[0].rsplit(" ", 1)[1])
    read = max(n for p, n in flow.found() if p == 1) + 1
    # Nothing behind the gap is committed; what was read ahead and not processed is gone as well, and
    # the next start counts that too.
    position = flow.position(1)
    assert 0 < read == position <= 7_500 - lost, (lost, read, position)
    weir.start()
    assert weir.wait_exit(60) == 1
    weir.wait_log(f"{7_500 - position} entries were deleted before they were read")


@case
def trimmed_skip(context):
    """The number that is logged is the number that is missing."""
    flow, weir = trimmed_under(context, "skip")
    flow.wait_done(weir)
    weir.term()
    account = flow.account()
    counted = sum(line["entries"] for line in weir.log()
                  if line["message"] == "entries were deleted before they were read")
    context.say(f"{counted} counted; {account}")
    assert account.lost == counted > 0 and account.repeated == 0, (counted, str(account))


@case
def trimmed_behind(context):
    """Cutting what was read, and deleting single entries, is no loss."""
    flow = Flow(context, partitions=1)
    flow.add(1000)
    ids = [key for key, _ in flow.redis.entries(flow.stream(0))]
    flow.redis.call("XDEL", flow.stream(0), *ids[500:510])
    weir = flow.weir()
    wait.until(lambda: flow.redis.call("XLEN", "out") == 990, 30, "all that is there is out")
    flow.wait_done(weir)  # the numbers of the deleted ones are made up for
    flow.redis.call("XTRIM", flow.stream(0), "MAXLEN", 0)
    flow.add(100)
    flow.wait_done(weir)
    flow.redis.call("XTRIM", flow.stream(0), "MAXLEN", "=", 10)
    weir.kill()
    weir.start()
    flow.add(10)
    flow.wait_done(weir)
    weir.term()
    assert flow.account().lost == 10 and flow.account().repeated == 0, str(flow.account())


@case
def trimmed_while_away(context):
    flow = Flow(context, partitions=1)
    flow.add(1000)
    weir = flow.weir()
    flow.wait_done(weir)
    weir.term()
    flow.add(1000)
    flow.redis.call("XTRIM", flow.stream(0), "MAXLEN", "=", 300)
    weir.start()
    assert weir.wait_exit(30) == 1
    weir.wait_log("700 entries were deleted before they were read")


@case
def out_of_memory(context):
    """Nothing of a commit is done when the server has no room; it goes on when there is some."""
    flow = Flow(context, partitions=2)
    flow.add(2000)
    limit = int(flow.redis.call("INFO", "memory").split(b"used_memory:")[1].split(b"\r")[0])
    flow.redis.call("CONFIG", "SET", "maxmemory", limit - 1000)
    weir = flow.weir()
    weir.wait_log("used memory > 'maxmemory'", 30)
    assert flow.redis.call("XLEN", "out") == 0 and weir.running
    flow.redis.call("CONFIG", "SET", "maxmemory", 0)
    flow.wait_done(weir)
    weir.term()
    flow.account().expect()


@case
def wrong_types(context):
    flow = Flow(context, partitions=1)
    flow.redis.call("SET", "out", "text")
    weir = flow.weir()
    assert weir.wait_exit() == 78
    weir.wait_log("out is no stream but a string")
    flow.redis.call("DEL", "out")
    flow.redis.call("SET", flow.stream(0), "text")
    weir.start()
    assert weir.wait_exit() == 78
    weir.wait_log(r"in:\{0\} is no stream but a string")
    assert flow.redis.call("KEYS", "*position") == []


@case
def torn(context):
    """A command that fails within EXEC leaves the others done: it ends the pipeline, which says so."""
    flow = Flow(context, partitions=1)
    flow.redis.call("SET", "count:7", "no number")
    flow.add(10)
    weir = flow.weir(sink={"stream": None, "command": '["INCRBY", "count:\\(.n)", 1]'})
    assert weir.wait_exit() == 1
    weir.wait_log("1 of 12 commands of a commit failed.*not an integer")
    assert flow.redis.call("GET", "count:6") == b"1" == flow.redis.call("GET", "count:8")
    assert flow.position(0) == 10


@case
def refused(context):
    """A command that the server does not take is found, and costs its record alone."""
    flow = Flow(context, partitions=1)
    flow.add(300)
    weir = flow.weir(sink={"stream": None, "command":
                           'if .n == "77" then ["HSET", "h"] else ["HINCRBY", "h", .n, 1] end'},
                     on_error="skip")
    wait.until(lambda: flow.redis.call("HLEN", "h") == 299, 60, "all others are counted")
    flow.wait_done(weir)
    weir.term()
    assert set(flow.redis.call("HVALS", "h")) == {b"1"}


@case
def robbed(context):
    """The group is only for show; a position that somebody else wrote ends the tenure."""
    flow = Flow(context, partitions=2)
    flow.add(500)
    weir = flow.weir()
    flow.wait_done(weir)
    flow.redis.call("XGROUP", "DESTROY", flow.stream(0), "flow")
    flow.add(500)
    flow.wait_done(weir)
    wait.until(lambda: flow.redis.call("XINFO", "GROUPS", flow.stream(0)), 20, "the group is back")
    key = "weir:flow:in:{1}:position"
    was = flow.redis.call("GET", key).split(b":")
    flow.redis.call("SET", key, b":".join([was[0], b"0123456789abcdef", *was[2:]]))
    flow.add(500)
    flow.wait_done(weir)
    weir.wait_log("lease lost")
    weir.term()
    flow.account().expect()


@case
def stream_deleted(context):
    """What is added afterwards is read."""
    flow = Flow(context, partitions=1)
    flow.add(500)
    weir = flow.weir()
    flow.wait_done(weir)
    flow.redis.call("DEL", flow.stream(0))
    flow.add(500)
    flow.wait_done(weir)
    weir.kill()
    weir.start()
    flow.add(100)
    flow.wait_done(weir)
    weir.term()
    flow.account().expect()


if __name__ == "__main__":
    main()
