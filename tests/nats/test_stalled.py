#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a server that stands still holds up nobody but its own messages: what is read elsewhere goes on, and the
process ends when it is told to.

Method: two real servers, a source of one pipeline on each, outputs on the second. The first one is stopped (SIGSTOP)
with messages read of it and not acknowledged or committed. Then messages are put into the second, each after
the one before was acknowledged, which takes an epoch each; or the process is told to end."""
import json
import pathlib
import signal
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import main
from nats_flow import Flow, both
from nats_server import Server

MODES = {"shared": {}, "positioned": {"mode": "positioned", "lease": "2s"}}


class Two:
    """IN on a server that will stand still; MORE and OUT on another."""

    def __init__(self, context, version, mode, **more):
        self.still = Flow(context, version)
        self.other = Server(context.dir / "other", version)
        context.cleanup(self.other.stop)
        self.other.make("MORE", "more.>")
        self.other.make("OUT", "out.>")
        self.count = 0
        self.weir = context.weir(json.dumps({
            "name": "flow", "sources": [{"nats": {"url": self.still.server.address, "stream": "IN"} | MODES[mode]},
                                        {"nats": {"url": self.other.address, "stream": "MORE"}}],
            "steps": [{"map": "(reduce range(5000) as $i (.n; . + $i)) as $sum | {n}"}],
            "sink": {"nats": {"url": self.other.address, "subject": "out.x"}}, "guarantee": "at-least-once",
            "commit_interval": "20ms", "lanes": 2, "http": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "info"}} | more))
        self.acknowledged()

    def acknowledged(self):
        """One more of the second server is through."""
        self.other.publish_all([("more.a", json.dumps({"n": -1}))])

        def done():
            info = self.other.consumer("MORE", "flow")
            return info["num_pending"] + info["num_ack_pending"] == 0
        wait.until(done, 30, "it is acknowledged")
        return True

    def stall(self):
        """While messages of it are read, written and committed."""
        before = self.other.count("OUT")
        self.weir.stop()
        self.still.add(8000)
        self.weir.cont()
        wait.until(lambda: self.other.count("OUT") > before + 500, 30, "messages are under way")
        self.still.server.pause()

    def found(self):
        return {json.loads(message.data)["n"] for _, message in self.other.messages("OUT")} - {-1}


@both
def others_go_on(context, version):
    """Read by position: its lease is lost, which control must see, and what cannot be committed is given up."""
    two = Two(context, version, "positioned")
    two.stall()
    two.weir.wait_log("lease lost", 30)
    two.weir.wait_log("partitions were lost to another member", 30)  # not: the commit was answered at last
    for _ in range(30):
        two.acknowledged()
    assert two.weir.get("/livez")[0] == 200
    assert two.weir.get("/readyz")[0] in (200, 503)
    two.still.server.resume()
    wait.until(lambda: two.found() == set(range(8000)), 60, "all of it is out")
    two.weir.term()


def ends(context, version, mode, seconds):
    """At the end of shutdown_timeout, whatever waits for the server; not after the time-outs of its answers, which
    are so many seconds together."""
    two = Two(context, version, mode, shutdown_timeout="3s")
    two.stall()
    two.weir.signal(signal.SIGTERM)
    assert two.weir.wait_exit(seconds) in (0, 1), two.weir.tail()
    assert "will be read again" in two.weir.text(), two.weir.tail()


@both
def ends_shared(context, version):
    ends(context, version, "shared", 10)


@both
def ends_positioned(context, version):
    ends(context, version, "positioned", 15)


if __name__ == "__main__":
    main()
