# SPDX-License-Identifier: Apache-2.0
"""Streams IN and OUT of one NATS server, a pipeline between them, and what is compared afterwards."""
import functools
import json

import harness
import wait
from nats_server import Server


def both(function, register=harness.case):
    """The case, once for each version of the server."""
    for version in ("old", "new"):
        run = functools.partial(function, version=version)
        run.__name__ = f"{function.__name__}_{version}"
        register(run)
    return function


def long_both(function):
    return both(function, harness.long_case)


class Flow:
    def __init__(self, context, version, **settings):
        self.context = context
        self.server = Server(context.dir / "nats", version, **settings)
        context.cleanup(self.server.stop)
        self.server.make("IN", "in.>")
        self.server.make("OUT", "out.>")
        self.count = 0

    def add(self, count, pad=""):
        self.server.publish_all((f"in.{n % 7}", json.dumps({"n": n} | ({"pad": pad} if pad else {})))
                                for n in range(self.count, self.count + count))
        self.count += count

    def weir(self, name="weir", instance=None, source=(), sink=(), address=None, env=None, **more):
        url = address or self.server.address
        text = {"name": "flow", "source": {"nats": {"url": url, "stream": "IN", "ack_wait": "1s"}
                                           | dict(source)},
                "sink": {"nats": {"url": url, "subject": "out.x"} | dict(sink)},
                "commit_interval": "50ms", "lanes": 2, "http": {"listen": "127.0.0.1:0"},
                "log": {"format": "json", "level": "info"}} | more
        return self.context.weir(json.dumps(text), name, instance=instance, env=env)

    def found(self):
        return [json.loads(message.data)["n"] for _, message in self.server.messages("OUT")]

    def pending(self):
        info = self.server.consumer("IN", "flow")
        return info["num_pending"] + info["num_ack_pending"]

    def wait_out(self, count, seconds=60):
        wait.until(lambda: self.server.count("OUT") >= count, seconds, f"{count} are out")

    def wait_done(self, *processes, seconds=90):
        def done():
            for process in processes:
                process.expect_running()
            return self.server.count("OUT") >= self.count and self.pending() == 0 \
                and len(set(self.found())) == self.count
        wait.until(done, seconds, f"all {self.count} are out and acknowledged")
        found = self.found()
        assert set(found) == set(range(self.count)), "there is what was never put in"
        self.context.say(f"{self.count} in, {len(found) - self.count} repeated")
        return len(found) - self.count
