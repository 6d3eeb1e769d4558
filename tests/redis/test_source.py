#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what is in a stream reaches the output at least once, whoever dies meanwhile, and is
acknowledged only then.

Method: numbered entries go through weir from stream to stream of a real server, while processes and
the server are killed, stopped, robbed of their group and of entries; then both streams and the
group's pending list are compared."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, long_case, main, scale
from redis_server import Server


class Flow:
    """Streams `in` and `out` of one server, and a pipeline between them."""

    def __init__(self, context, **settings):
        self.context = context
        self.redis = Server(context.dir / "redis", **settings)
        context.cleanup(self.redis.stop)
        self.count = 0

    def add(self, count):
        self.redis.pipeline([("XADD", "in", "*", "n", n)
                             for n in range(self.count, self.count + count)])
        self.count += count

    def weir(self, name="weir", instance=None, source=(), env=None, **more):
        text = {"name": "flow", "source": {"redis": {"url": self.redis.address, "stream": "in",
                                                     "claim_idle": "500ms"} | dict(source)},
                "sink": {"redis": {"url": self.redis.address, "stream": "out"}},
                "commit_interval": "50ms", "lanes": 2, "http": {"listen": "127.0.0.1:0"},
                "log": {"format": "json", "level": "info"}} | more
        if "sources" in text:
            del text["source"]
        return self.context.weir(json.dumps(text), name, instance=instance, env=env)

    def found(self):
        return [int(fields[b"n"]) for _, fields in self.redis.entries("out")]

    def pending(self):
        return self.redis.call("XPENDING", "in", "flow")[0]

    def wait_done(self, *processes, seconds=90):
        def done():
            for process in processes:
                process.expect_running()
            return self.redis.call("XLEN", "out") >= self.count and self.pending() == 0 \
                and len(set(self.found())) == self.count
        wait.until(done, seconds, f"all {self.count} are out and acknowledged; "
                                  f"out are {len(set(self.found()))}")
        self.context.say(f"{self.count} in, {len(self.found()) - self.count} repeated")

    def wait_out(self, count, seconds=60):
        wait.until(lambda: self.redis.call("XLEN", "out") >= count, seconds, f"{count} are out")


@case
def once_when_nothing_happens(context):
    flow = Flow(context)
    flow.add(20_000)
    weir = flow.weir()
    flow.wait_done(weir)
    flow.add(5)
    flow.wait_done(weir)
    assert flow.found() == list(range(flow.count))
    weir.term()
    assert flow.redis.call("XINFO", "CONSUMERS", "in", "flow") == [], "an empty consumer is left"


@case
def starts_at_the_end(context):
    flow = Flow(context)
    flow.add(10)
    weir = flow.weir(source={"start": "latest"})
    wait.until(lambda: flow.redis.call("XINFO", "GROUPS", "in"), 20, "the group exists")
    flow.add(5)
    flow.wait_out(5)
    weir.term()
    assert flow.found() == list(range(10, 15))


@case
def bytes_are_kept(context):
    flow = Flow(context)
    value = bytes(range(256)) * 20
    flow.redis.call("XADD", "in", "*", "k", b"\xff\x00", "v", value)
    weir = flow.weir(source={"field": "v", "key_field": "k"},
                     sink={"redis": {"url": flow.redis.address, "stream": "out", "field": "v",
                                     "key_field": "k"}})
    flow.wait_out(1)
    weir.term()
    assert flow.redis.entries("out")[0][1] == {b"k": b"\xff\x00", b"v": value}


@case
def escaped(context):
    """The object made of an entry is JSON whatever the text is."""
    flow = Flow(context)
    text = 'quote " backslash \\ line\n tab\t ü \x01'
    flow.redis.call("XADD", "in", "*", 'a"b', text)
    weir = flow.weir(steps=[{"map": "."}])
    flow.wait_out(1)
    weir.term()
    assert flow.redis.entries("out")[0][1] == {b'a"b': text.encode()}


def killed(context, instance):
    flow = Flow(context)
    flow.add(scale(20_000, 200_000))
    # Slow work, so that the reader is far ahead: what it has read must not be acknowledged.
    slow = "(reduce range(200) as $i (.n | tonumber; . + $i)) as $sum | {n, $sum}"
    weir = flow.weir(instance=instance, steps=[{"map": slow}])
    for number in range(scale(6, 60)):
        flow.wait_out(flow.count * number // scale(12, 120) + 1)
        weir.run_for(context.random.uniform(0, 0.1))
        weir.kill()
        weir.start()
    flow.add(100)
    flow.wait_done(weir)
    weir.term()


@long_case
def weir_killed(context):
    """With a name it comes back to its own pending entries."""
    killed(context, "a")


@long_case
def weir_killed_nameless(context):
    """Each start is a new consumer, which claims what the dead one left."""
    killed(context, None)


@long_case
def server_killed(context):
    flow = Flow(context)
    flow.add(scale(40_000, 400_000))
    weir = flow.weir()
    for number in range(scale(3, 30)):
        flow.wait_out(flow.count * number // scale(6, 60) + 1)
        flow.redis.kill()
        flow.redis.start()
    flow.wait_done(weir)
    weir.term()


@long_case
def zombie(context):
    """A stopped process's entries are taken over; when it wakes up, nothing is lost."""
    flow = Flow(context)
    flow.add(scale(40_000, 400_000))
    first = flow.weir("first", instance="first")
    flow.wait_out(1)
    first.stop()
    second = flow.weir("second", instance="second")
    flow.wait_done(second)
    first.cont()
    flow.add(1000)
    flow.wait_done(first, second)
    first.term()
    second.term()


@case
def group_destroyed(context):
    flow = Flow(context)
    flow.add(1000)
    weir = flow.weir()
    flow.wait_done(weir)
    flow.redis.call("XGROUP", "DESTROY", "in", "flow")
    weir.wait_log("made again")
    flow.add(1000)
    flow.wait_done(weir)
    flow.redis.call("DEL", "in")
    wait.until(lambda: flow.redis.call("EXISTS", "in") == 1, 20, "the stream is made again")
    flow.add(1000)
    flow.wait_done(weir)
    weir.term()


@case
def group_destroyed_while_away(context):
    """`start` is for a new group: one that was there and is gone at a new connection begins before what came
    meanwhile."""
    flow = Flow(context)
    weir = flow.weir(source={"start": "latest"})
    wait.until(lambda: flow.redis.call("EXISTS", "in") and flow.redis.call("XINFO", "GROUPS", "in"), 20, "the group exists")
    flow.add(10)
    flow.wait_done(weir)
    flow.redis.pipeline([("MULTI",), ("XGROUP", "DESTROY", "in", "flow"), ("XADD", "in", "*", "n", 10),
                         ("CLIENT", "KILL", "TYPE", "normal"), ("EXEC",)])
    flow.count = 11
    flow.wait_done(weir)
    weir.wait_log("made again")
    weir.term()


def deleted(context, policy):
    """Entries that a consumer was given and that are gone before it came back for them."""
    flow = Flow(context)
    flow.add(100)
    flow.redis.call("XGROUP", "CREATE", "in", "flow", "0")
    taken = flow.redis.call("XREADGROUP", "GROUP", "flow", "a", "COUNT", 50, "STREAMS", "in", ">")
    for key, _ in taken[0][1][:20]:
        flow.redis.call("XDEL", "in", key)
    return flow, flow.weir(instance="a", source={"on_data_loss": policy})


@case
def deleted_entries_stop(context):
    _, weir = deleted(context, "stop")
    assert weir.wait_exit() == 1
    assert "20 entries were deleted" in weir.text(), weir.text()


@case
def deleted_entries_skipped(context):
    flow, weir = deleted(context, "skip")
    flow.wait_out(80)
    wait.until(lambda: flow.pending() == 0, 20, "nothing is pending")
    weir.term()
    assert sorted(flow.found()) == list(range(20, 100))


@case
def deleted_entries_of_others(context):
    """The same where the entries are another consumer's, and claimed."""
    flow = Flow(context)
    flow.add(100)
    flow.redis.call("XGROUP", "CREATE", "in", "flow", "0")
    taken = flow.redis.call("XREADGROUP", "GROUP", "flow", "dead", "COUNT", 50, "STREAMS", "in", ">")
    for key, _ in taken[0][1][:20]:
        flow.redis.call("XDEL", "in", key)
    weir = flow.weir(source={"on_data_loss": "skip"})
    flow.wait_out(80)
    wait.until(lambda: flow.pending() == 0, 20, "nothing is pending")
    weir.term()
    assert sorted(flow.found()) == list(range(20, 100))


DEADLY = {"WEIR_FAULT": "die_of_record", "WEIR_UNSAFE_TESTING": "1"}


def deadly(context, instance, limit):
    """An entry of which the process dies, among many that it was given together with it."""
    flow = Flow(context)
    flow.add(700)
    flow.redis.call("XADD", "in", "*", "n", "deadly")
    flow.redis.pipeline([("XADD", "in", "*", "n", n) for n in range(700, 1000)])
    flow.count = 1000
    weir = flow.weir(instance=instance, source={"max_deliveries": limit, "claim_idle": "300ms"}, env=DEADLY,
                     on_error="skip")
    deaths = 0
    while deaths < limit:
        assert weir.wait_exit(40) == -9, weir.tail()
        deaths += 1
        weir.start()
    flow.wait_done(weir)
    flow.add(10)
    flow.wait_done(weir)
    skipped = [line for line in weir.log() if line["message"] == "record skipped"]
    assert len(skipped) == 1 and f"delivered {limit} times" in skipped[0]["error"], skipped
    weir.term()
    assert set(flow.found()) == set(range(flow.count))


@case
def deadly_entry(context):
    """After so many deliveries it is a failed record; nothing that was given with it is."""
    deadly(context, "a", 3)


@case
def deadly_entry_nameless(context):
    """The same where each start is another consumer; and what the dead ones leave is removed."""
    deadly(context, None, 3)


@case
def deadly_entry_stops(context):
    flow = Flow(context)
    flow.redis.call("XADD", "in", "*", "n", "deadly")
    weir = flow.weir(instance="a", source={"max_deliveries": 3}, env=DEADLY)
    for _ in range(3):
        assert weir.wait_exit(20) == -9
        weir.start()
    assert weir.wait_exit(20) == 1
    weir.wait_log("delivered 3 times, and never done with")
    assert flow.pending() == 1 and flow.redis.call("XLEN", "out") == 0


@case
def held_for_long(context):
    """A sink that stands still for longer than `claim_idle`: what a living process holds stays its own, and is no
    failed try."""
    flow = Flow(context)
    sink = Server(context.dir / "sink")
    context.cleanup(sink.stop)
    out = {"redis": {"url": sink.address, "stream": "out"}}
    source = {"claim_idle": "8s", "max_deliveries": 3, "count": 10}
    processes = [flow.weir(name, instance=name, source=source, sink=out, on_error="skip") for name in "abc"]
    flow.add(100)
    wait.until(lambda: sink.call("XLEN", "out") == 100 and flow.pending() == 0, 60, "they are out")
    sink.pause()
    flow.add(50)
    wait.until(lambda: flow.pending() == 50, 30, "all are held")
    wait.holds(lambda: all(row[3] == 1 for row in flow.redis.call("XPENDING", "in", "flow", "-", "+", 50)),
               18, "each was delivered once")
    sink.resume()
    wait.until(lambda: flow.pending() == 0, 60, "all are done with")
    for process in processes:
        process.term()
        assert "record skipped" not in process.text(), process.tail()
    found = {int(fields[b"n"]) for _, fields in sink.entries("out")}
    assert found == set(range(flow.count)), sorted(set(range(flow.count)) - found)


@case
def last_try_alone(context):
    """An entry is on its last try, and a new one kills the process: what was read before the try is done with
    first, and what is new waits until the try is over, so that no other entry is to blame for it."""
    flow = Flow(context)
    slow = "if .n == \"1\" then (reduce range(10000000) as $i (0; . + $i)) as $sum | {n, $sum} else . end"
    flow.add(2)
    flow.redis.call("XADD", "in", "*", "n", "deadly")
    flow.redis.call("XGROUP", "CREATE", "in", "flow", "0")
    taken = flow.redis.call("XREADGROUP", "GROUP", "flow", "dead", "COUNT", 1, "STREAMS", "in", ">")
    flow.redis.call("XCLAIM", "in", "flow", "dead", 0, taken[0][1][0][0], "IDLE", 9999, "RETRYCOUNT", 2)
    weir = flow.weir(instance="a", source={"max_deliveries": 3, "claim_idle": "300ms", "count": 1}, env=DEADLY,
                     steps=[{"map": slow}], on_error="skip")
    for _ in range(3):
        assert weir.wait_exit(40) == -9, weir.tail()
        weir.start()
    flow.wait_done(weir)
    skipped = [line for line in weir.log() if line["message"] == "record skipped"]
    assert len(skipped) == 1 and "delivered 3 times" in skipped[0]["error"], skipped
    weir.term()


def leave_pending(redis, n, consumer):
    """An entry that a consumer was given and is silent about."""
    _, _, _, (key, _) = redis.pipeline([
        ("MULTI",), ("XADD", "in", "*", "n", n),
        ("XREADGROUP", "GROUP", "flow", consumer, "COUNT", 1, "STREAMS", "in", ">"), ("EXEC",)])
    redis.call("XCLAIM", "in", "flow", consumer, 0, key, "IDLE", 9999, "JUSTID")


@case
def other_source_fails_to_commit(context):
    """What one source has acknowledged stays so when the other's commit fails: nothing waits for it any more."""
    flow = Flow(context)
    other = Server(context.dir / "other")
    context.cleanup(other.stop)
    flow.redis.call("XGROUP", "CREATE", "in", "flow", "0", "MKSTREAM")
    leave_pending(flow.redis, 0, "dead")
    other.kill()
    options = {"stream": "in", "claim_idle": "500ms", "max_deliveries": 3}
    weir = flow.weir(sources=[{"redis": options | {"url": server.address}} for server in (flow.redis, other)])
    flow.wait_out(1)
    wait.until(lambda: flow.pending() == 0, 20, "the first source has acknowledged")
    other.start()
    other.call("XADD", "in", "*", "n", 1)
    flow.wait_out(2)
    wait.until(lambda: other.call("XPENDING", "in", "flow")[0] == 0, 20, "the second one has")
    leave_pending(flow.redis, 2, "dead too")
    flow.count = 3
    flow.wait_done(weir)
    weir.term()


@case
def empty_consumers_are_removed(context):
    """Those of weir that are silent and have nothing; not a user's, nor one with something pending."""
    flow = Flow(context)
    flow.add(100)
    flow.redis.call("XGROUP", "CREATE", "in", "flow", "0")
    for name in ("weir-0123456789abcdef", "weir-of-a-user", "weir-00000000000000ab"):
        flow.redis.call("XGROUP", "CREATECONSUMER", "in", "flow", name)
    flow.redis.call("XREADGROUP", "GROUP", "flow", "weir-00000000000000ab", "COUNT", 50, "STREAMS", "in", ">")
    weir = flow.weir()
    flow.wait_done(weir)

    def names():
        return {dict(zip(row[::2], row[1::2]))[b"name"] for row in flow.redis.call("XINFO", "CONSUMERS", "in", "flow")}
    wait.until(lambda: not names() & {b"weir-0123456789abcdef", b"weir-00000000000000ab"}, 20, "they are gone")
    assert b"weir-of-a-user" in names() and len(names()) == 2
    weir.term()
    assert sorted(flow.found()) == list(range(100)), "what the dead one had was lost"


def trimmed(context, policy):
    """Trimmed while nobody reads, and in the middle of reading."""
    flow = Flow(context)
    flow.add(100)
    weir = flow.weir(source={"on_data_loss": policy, "count": 10})
    flow.wait_done(weir)
    weir.stop()
    flow.add(1000)
    flow.redis.call("XTRIM", "in", "MAXLEN", "=", 300)
    weir.cont()
    return flow, weir


@case
def trimmed_skip(context):
    flow, weir = trimmed(context, "skip")
    wait.until(lambda: 1099 in flow.found(), 30, "the last is out")
    weir.term()
    gone = flow.count - len(set(flow.found()))
    counted = sum(line["entries"] for line in weir.log() if line["message"] == "entries were deleted before they were read")
    assert gone == counted > 0, (gone, counted)
    flow.redis.call("XTRIM", "in", "MAXLEN", "=", 0)  # of what was read: no loss
    flow.add(50)
    weir.start()
    wait.until(lambda: flow.count - 1 in flow.found(), 30, "the last is out")
    weir.term()
    assert "entries were deleted" not in weir.text()


@case
def trimmed_stop(context):
    flow, weir = trimmed(context, "stop")
    assert weir.wait_exit(30) == 1
    weir.wait_log("stream in: [67]?[0-9]* entries were deleted before they were read")


if __name__ == "__main__":
    main()
