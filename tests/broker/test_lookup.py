#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a broker that does not tell where newly assigned partitions begin holds up these partitions only
(I1, I2, I8), and neither a revocation nor the end meanwhile.

Method: a proxy swallows every answer about committed positions while partitions move; what the process
owns already must be committed meanwhile, and in the end each input is in the output exactly once."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import kafka_proxy
import wait
from harness import case, main
from judge import Load
from weir_process import pipeline


class Silence:
    """A load over four partitions, and a coordinator that answers no question for positions."""

    def __init__(self, context):
        self.kafka, self.proxy = kafka_proxy.proxied(context)
        self.context = context
        self.load = Load(context, self.kafka, 10_000, rate=3000).start()
        self.text = pipeline(context.name, self.kafka, self.load.source, self.load.sink,
                             brokers=self.proxy.address)
        self.first = context.weir(self.text, "first")
        self.rule = None

    def begin(self):
        self.rule = self.proxy.add(kafka_proxy.OFFSET_FETCH, "drop", times=1_000_000)
        return self

    def ask_at_start(self):
        """The first has worked, and starts again: it asks where its partitions stand, and hears nothing."""
        self.load.wait_progress(2000, alive=[self.first])
        self.first.term()
        self.begin()
        self.first.start()
        self.await_question()

    def await_question(self, count=1):
        wait.until(lambda: self.first.expect_running() or self.rule.hits >= count, 60,
                   "positions are asked for")

    def shared(self):
        return sum(1 for owned in self.kafka.members(self.context.name).values() if owned) >= 2

    def commits(self):
        self.first.expect_running()
        return self.first.metric("stream_epochs_total", result="committed")

    def end(self):
        self.proxy.heal()
        self.load.drain(self.context.name, self.first)
        self.first.term()
        self.load.verdict()


@case
def others_go_on(context):
    """Less than the half minute for which a position was once waited for."""
    silence = Silence(context)
    second = context.weir(silence.text, "second")
    wait.until(silence.shared, 60, "both own partitions")
    silence.load.wait_progress(2000, alive=[silence.first, second])
    silence.begin()
    second.term()
    silence.await_question()
    before = silence.commits()
    wait.until(lambda: silence.commits() >= before + 20, 20, "the others' records are committed")
    silence.first.wait_ready()
    silence.end()


@case
def given_away_meanwhile(context):
    """What was asked for before it left and came back is not what counts then."""
    silence = Silence(context)
    silence.ask_at_start()
    second = context.weir(silence.text, "second")
    wait.until(silence.shared, 60, "both own partitions")
    silence.await_question(silence.rule.hits + 1)
    second.kill()
    silence.end()


@case
def ended_meanwhile(context):
    silence = Silence(context)
    silence.ask_at_start()
    silence.first.term()
    silence.proxy.heal()
    silence.first.start()
    silence.end()


if __name__ == "__main__":
    main()
