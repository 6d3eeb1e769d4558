# SPDX-License-Identifier: Apache-2.0
"""A pair of systems, a pipeline between them, trouble of every kind, and the account at the end: nothing
lost, the order of each key kept where the source has one, and repeats only where the guarantee that
`weir explain` states allows them."""
import collections
import json
import re
import subprocess

import harness
import wait
from systems import SOURCES, SYSTEMS

# Work that takes a while, so that something is always under way.
WORK = {"map": "(reduce range(2000) as $i (0; . + $i)) as $sum "
               "| {p: (.p | tonumber), n: (.n | tonumber), $sum}"}
PORTION = 100  # records for each partition, before each event


class Promise:
    """What `weir explain` says of a pipeline."""

    def __init__(self, file):
        done = subprocess.run([str(harness.weir_binary()), "explain", str(file)], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        self.text = done.stdout
        self.guarantee = re.search(r"^guarantee: (\S+)$", done.stdout, re.M)[1]
        source = next(line for line in done.stdout.splitlines() if line.startswith("  source "))
        self.is_ordered = "shared among consumers" not in source
        self.repeats = {"exactly-once": False, "effectively-once": False, "at-least-once": True}[self.guarantee]


class Account:
    """`fed`: key -> how many; `places`: what came out, in order, in each place where it lies."""

    def __init__(self, fed, places):
        seen = collections.Counter(record for place in places for record in place)
        self.lost = sum((p, n) not in seen for p, count in fed.items() for n in range(count))
        self.unknown = sum(n >= fed.get(p, 0) for p, n in seen)
        self.repeated = sum(seen.values()) - len(seen)
        self.disordered = sum(self._disordered(place) for place in places)

    @staticmethod
    def _disordered(place):
        """First appearances behind a later one of the same key."""
        count, known, last = 0, set(), {}
        for p, n in place:
            if (p, n) not in known:
                known.add((p, n))
                count += n < last.get(p, -1)
                last[p] = max(n, last.get(p, -1))
        return count

    def __str__(self):
        return (f"{self.lost} lost, {self.repeated} repeated, {self.disordered} out of order, "
                f"{self.unknown} unknown")

    def wrong(self, promise):
        """What breaks the promise, as words; empty: nothing."""
        return [word for word, is_wrong in [
            ("lost", self.lost > 0), ("unknown", self.unknown > 0),
            ("repeated", self.repeated > 0 and not promise.repeats),
            ("out of order", self.disordered > 0 and promise.is_ordered)] if is_wrong]


class Pair:
    def __init__(self, context, source, sink, env=None, source_system=(), source_more=(), sink_more=(), **more):
        """`source_system`: settings of its server; `source_more`, `sink_more`: options of the components;
        `more`: keys of the pipeline."""
        self.context, self.random = context, context.random
        if sink == "nats-atomic":
            sink, source_system = "nats", {"is_atomic": True} | dict(source_system)
        self.source_name, self.sink_name = source, sink
        system, self.mode = SOURCES[source]
        self.name = context.name
        self.source = SYSTEMS[system](context, self.name, self.mode, **dict(source_system))
        self.sink = self.source if sink == system else SYSTEMS[sink](context, self.name)
        self.systems = [self.source] + [self.sink] * (self.sink is not self.source)
        self.source_more, self.sink_more, self.more = dict(source_more), dict(sink_more), more
        self.env = env
        self.slow_too = harness.LONG  # servers whose restart takes seconds are killed too
        # Without a name Kafka waits for the end of a dead process's session and of its transaction.
        self.has_names = "kafka" in (system, sink) and not harness.LONG or self.random.random() < 0.5
        self.processes = []
        self.is_bounded = system == "file"

    # ---- the pipeline ----------------------------------------------------------------------------

    def text(self, process):
        source, sink = self.source.source(process), self.sink.sink(process)
        next(iter(source.values())).update(self.source_more)
        next(iter(sink.values())).update(self.sink_more)
        text = {"name": self.name, "source": source, "steps": [WORK], "sink": sink, "batch_size": 50,
                "commit_interval": "50ms", "lanes": 2, "transaction_timeout": "3s",
                "http": {"listen": "127.0.0.1:0"}, "log": {"format": "json", "level": "info"}} | self.more
        if self.is_bounded:
            text["state"] = {"dir": str(self.context.dir / "state")}
        return json.dumps(text)

    def begin(self, process):
        weir = self.context.weir(self.text(process), process, instance=process if self.has_names else None,
                                 env=self.env)
        self.processes.append(weir)
        return weir

    def tend(self):
        """None has failed; one that came to the end of its files starts again for the next."""
        for weir in self.processes:
            if not weir.running:
                assert self.is_bounded and weir.process.returncode == 0, \
                    f"{weir.name} ended with {weir.process.returncode}:\n{weir.tail()}"
                weir.start()

    def total(self):
        return sum(self.source.fed.values())

    def account(self):
        return Account(self.source.fed, self.sink.found())

    def is_out(self):
        self.tend()
        return self.sink_name == "file" and self.account().lost == 0 \
            or self.sink_name != "file" and self.sink.count() >= self.total() and self.account().lost == 0

    def wait_out(self, seconds=60):
        try:
            wait.until(self.is_out, seconds, "everything is out")
        except wait.Timeout as late:
            tails = "\n".join(f"--- {weir.name}\n{weir.tail(8)}" for weir in self.processes)
            raise AssertionError(f"{late}; {self.account()}\n{tails}") from None

    def feed(self):
        """A portion, and the moment at which some of it is out and the rest under way."""
        before = self.sink.count()
        self.source.feed(PORTION)

        def moved():
            self.tend()
            return self.sink.count() > before
        wait.until(moved, 60, f"something comes out; {self.processes[-1].tail()}")

    def pause(self):
        """A moment of the seed."""
        if self.processes:
            try:
                self.processes[0].process.wait(self.random.uniform(0, 0.15))
            except subprocess.TimeoutExpired:
                pass

    # ---- trouble ---------------------------------------------------------------------------------

    def kill_weir(self):
        weir = self.random.choice(self.processes)
        weir.kill()
        weir.start()

    def wait_ready(self):
        """Who finds no server when it starts ends, and says so."""
        for weir in self.processes:
            if not self.is_bounded:
                weir.wait_ready(60)

    def kill_servers(self):
        self.wait_ready()
        for system in self.systems:
            if system.restarts is not None and (system.restarts < 1 or self.slow_too):
                system.kill()
                self.pause()
                system.start()

    def restart_servers(self):
        self.wait_ready()
        for system in self.systems:
            if system.restarts is not None and system.restarts < 1:
                system.server.stop()
                system.server.start()

    def lose_answers(self):
        for system in self.systems:
            if system.restarts is not None:
                is_done = system.lose(2)

                def fed_on():
                    self.source.feed(10)
                    self.tend()
                    return is_done()
                wait.until(fed_on, 30, f"answers of {system.name} are lost")
                system.heal()

    def zombie(self):
        """Stopped beyond its lease; another does all the work; it comes back."""
        first = self.processes[0]
        if len(self.processes) == 1:
            self.begin("b" if first.name == "a" else "a")
        first.stop()
        if self.promise.is_ordered:
            self.source.feed(PORTION)
            self.wait_out()
        else:  # what it was given comes back late: part of it only when it has been given up twice
            self.feed()
        first.cont()
        self.feed()
        self.leave()

    def join(self):
        """Another comes, and one of the two goes."""
        first = self.processes[0]
        second = self.begin("b" if first.name == "a" else "a")
        second.wait_log("partition assigned|partitions? assigned", 30)
        self.feed()
        self.leave()

    def leave(self):
        leaves = self.processes.pop(self.random.randrange(2))
        leaves.wait_log('"starting"')
        leaves.term()

    def second_is_refused(self):
        """What is one process's own is refused to another, or that one comes to the end of it."""
        other = self.context.weir(self.text("a"), "second")
        assert other.wait_exit() in (0, 78), other.tail()

    def events(self):
        alone = [self.second_is_refused] if self.is_bounded else [self.zombie, self.join]
        return [self.kill_weir, self.kill_weir, self.kill_servers, self.restart_servers, self.lose_answers, *alone]

    # ---- the whole -------------------------------------------------------------------------------

    def run(self, rounds, events=None):
        self.source.feed(PORTION)
        self.begin("a")
        self.promise = Promise(self.processes[0].file)
        self.wait_out()
        calm = self.account()
        assert self.env or calm.repeated == 0, f"without any trouble: {calm}"
        for _ in range(rounds):
            chosen = events or self.events()
            self.random.shuffle(chosen)
            for event in chosen:
                self.feed()
                self.pause()
                event()
        self.wait_out()
        self.end()

    def end(self):
        for weir in self.processes:
            if self.is_bounded:
                assert weir.wait_exit() == 0, weir.tail()
            elif weir.running:
                weir.wait_log('"starting"')  # before it, a signal ends it as it ends any program
                weir.term()

    def judge(self):
        account = self.account()
        self.context.say(f"{self.promise.guarantee}: {self.total()} in, {account}")
        wrong = account.wrong(self.promise)
        assert not wrong, f"{self.promise.guarantee}, but {' and '.join(wrong)}: {account}"
