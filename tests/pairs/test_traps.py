#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the traps that one system sets are known: deadlines that pass while work is done, entries claimed from
a slow owner, streams that forget ids, that are queues, or that are trimmed under their reader.

Method: a pair each, as in test_pairs, with the trap set on purpose; the account says what it may cost."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from pair_flow import Pair, Promise


@case
def written_again_in_order(context):
    """The sink's connection breaks while nobody can abort, as the commit before waits for its server: nothing
    may be written in front of what is to be written again."""
    pair = Pair(context, "nats-positioned", "redis")

    def trap():
        commits, before = pair.source.proxy, pair.source.proxy.dropped
        pair.source.commits_unanswered = True
        pair.source.feed(10)
        wait.until(lambda: commits.dropped > before, 20, "a commit waits for its answer")
        proxy, broken = pair.sink.proxy, pair.sink.proxy.dropped
        proxy.refuses = lambda link, command: command == b"XADD" and proxy.dropped == broken
        pair.source.feed(300)
        wait.until(lambda: proxy.dropped > broken, 20, "the connection broke")
        pair.pause()
        pair.pause()
        pair.source.commits_unanswered = False
        pair.sink.heal()
    pair.run(1, [trap] * scale(2, 30))
    pair.judge()


SLOWER = {"steps": [{"map": "(reduce range(30000) as $i (0; . + $i)) as $sum "
                           "| {p: (.p | tonumber), n: (.n | tonumber), $sum}"}], "batch_size": 20}


def two_at_work(context, source, sink, seconds=60, **options):
    """Two processes that work longer than the deadline on what they were given."""
    pair = Pair(context, source, sink, **SLOWER, **options)
    pair.source.feed(scale(100, 1000))
    pair.begin("a")
    pair.promise = Promise(pair.processes[0].file)
    pair.begin("b")
    pair.wait_out(scale(seconds, 10 * seconds))
    pair.end()
    pair.judge()
    return pair.account().repeated


@case
def deadline_passes_during_work(context):
    """`ack_wait` is half a second; who works says so, and nothing is given to anybody else."""
    repeated = two_at_work(context, "nats-shared", "file", source_more={"ack_wait": "500ms"})
    assert repeated == 0, repeated


@case
def claims_race_a_slow_owner(context):
    """Entries are claimed from a process that is still at work on them: twice, never lost."""
    two_at_work(context, "redis-shared", "redis", source_more={"claim_idle": "100ms", "count": 50})


WINDOW_NS = 2_000_000_000  # longer than `ack_timeout`: within it what runs may write again


def forgotten(server):
    """A message with an id of the test's own is taken twice."""
    def twice():
        before = server.count("TRY")
        server.publish_all([("try", b"", {"Nats-Msg-Id": "one"})])
        return server.count("TRY") > before
    server.make("TRY", "try", duplicate_window=WINDOW_NS)
    twice()
    wait.until(twice, 10, "the server has forgotten an id")
    server.api("STREAM.DELETE.TRY")


@case
def ids_are_forgotten(context):
    """The pipeline stays down for longer than the stream remembers ids: they are read back, as `weir explain`
    says, and nothing comes twice."""
    pair = Pair(context, "file", "nats")
    pair.sink.server.api("STREAM.UPDATE.OUT", name="OUT", subjects=["out.>"], duplicate_window=WINDOW_NS)
    pair.source.feed(1)
    pair.begin("a")
    pair.promise = Promise(pair.processes[0].file)
    assert "or read back from it" in pair.promise.text
    for _ in range(scale(3, 30)):
        pair.feed()
        weir = pair.processes[0]
        weir.kill()
        forgotten(pair.sink.server)
        weir.start()
    pair.wait_out()
    pair.end()
    pair.judge()


@case
def a_queue_has_no_positions(context):
    """Read by position it is refused; shared it is read, and what is done is gone from it."""
    queue = {"retention": "workqueue"}
    pair = Pair(context, "nats-positioned", "file", source_system={"source_config": queue})
    pair.source.feed(10)
    weir = context.weir(pair.text("a"), "a")
    assert weir.wait_exit() == 78 and "cannot be read by position" in weir.text(), weir.tail()
    (context.dir / "nats").rename(context.dir / "nats1")
    # A server that is killed soon after may have back what was acknowledged, for ever: so it lives.
    pair = Pair(context, "nats-shared", "file", source_system={"source_config": queue, "version": "new"})
    pair.run(2, [pair.kill_weir])
    pair.processes[0].start()  # what a killed one wrote and did not acknowledge comes again, in a while
    wait.until(lambda: pair.source.server.count("IN") == 0, 60, "what is acknowledged is gone from the queue")
    pair.end()
    pair.judge()


@case
def trimmed_under_a_slow_reader(context):
    """MAXLEN cuts what was not read: counted, skipped, and nothing else is missing."""
    pair = Pair(context, "redis-positioned", "redis", source_more={"on_data_loss": "skip", "count": 50},
                in_flight="1MiB", **SLOWER)
    pair.source.feed(scale(2000, 10_000))
    pair.begin("a")
    pair.promise = Promise(pair.processes[0].file)
    wait.until(lambda: pair.sink.count() > 50, 30, "it has begun")
    pair.source.server.call("XTRIM", "in:{1}", "MAXLEN", "=", 100)
    pair.source.server.call("XTRIM", "in:{0}", "MAXLEN", "=", 100)
    pair.source.server.call("XTRIM", "in:{2}", "MAXLEN", "=", 100)
    wait.until(lambda: {0, 1, 2} == {p for p, n in pair.sink.found()[0] if n == pair.source.fed[p] - 1}, 60,
               "the ends are out")
    pair.end()
    counted = sum(line["entries"] for line in pair.processes[0].log()
                  if line["message"] == "entries were deleted before they were read")
    account = pair.account()
    context.say(f"{counted} counted as gone; {account}")
    assert account.lost == counted > 0 and account.wrong(pair.promise) == ["lost"], (counted, str(account))


if __name__ == "__main__":
    main()
