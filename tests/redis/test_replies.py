#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a server that cannot answer now is waited for, whatever word it says so with, and one that will
never let us in ends the run; nothing is lost meanwhile.

Method: a real server is made to say each word under a pipeline that works, by what makes servers say it
(a primary that is gone, loading, memory, replicas, slots that nobody has, permissions), and is set right
again; the log and the output are compared. MOVED and ASK: test_cluster.py."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import ports
import wait
from harness import case, main
from redis_server import Client, RedisError, Server


class Flow:
    def __init__(self, context, **settings):
        self.context = context
        self.redis = Server(context.dir / "redis", **settings)
        context.cleanup(self.redis.stop)
        self.count = 0

    def add(self, count=500):
        self.redis.pipeline([("XADD", "in", "*", "n", n) for n in range(self.count, self.count + count)])
        self.count += count

    def weir(self, **source):
        text = {"name": "flow", "source": {"redis": {"url": self.redis.address, "stream": "in",
                                                     "claim_idle": "500ms"} | source},
                "sink": {"redis": {"stream": "out"}}, "commit_interval": "50ms", "http": {"listen": "127.0.0.1:0"},
                "log": {"format": "json", "level": "info"}}
        return self.context.weir(json.dumps(text), instance="a")

    def wait_done(self, weir):
        def done():
            weir.expect_running()
            return {int(fields[b"n"]) for _, fields in self.redis.entries("out")} == set(range(self.count)) \
                and self.redis.call("XPENDING", "in", "flow")[0] == 0
        wait.until(done, 60, f"all {self.count} are out")

    def waits(self, weir, word):
        weir.wait_log(word, 30)
        weir.expect_running()


@case
def readonly(context):
    flow = Flow(context)
    flow.add()
    weir = flow.weir()
    flow.wait_done(weir)
    flow.redis.call("REPLICAOF", "127.0.0.1", ports.free())
    flow.waits(weir, "READONLY")
    flow.redis.call("REPLICAOF", "NO", "ONE")
    flow.add()
    flow.wait_done(weir)
    weir.term()


@case
def masterdown(context):
    flow = Flow(context, replica_serve_stale_data="no")
    flow.add()
    weir = flow.weir()
    flow.wait_done(weir)
    weir.kill()
    flow.redis.call("REPLICAOF", "127.0.0.1", ports.free())
    weir.start()
    flow.waits(weir, "MASTERDOWN")
    flow.redis.call("REPLICAOF", "NO", "ONE")
    flow.add()
    flow.wait_done(weir)
    weir.term()


def refused_by_setting(context, setting, word):
    """While the setting is 1 the server takes no write."""
    flow = Flow(context)
    flow.add()
    weir = flow.weir()
    flow.wait_done(weir)
    weir.stop()
    flow.add()
    flow.redis.call("CONFIG", "SET", setting, 1)
    weir.cont()
    flow.waits(weir, word)
    flow.redis.call("CONFIG", "SET", setting, 0)
    flow.wait_done(weir)
    weir.term()


@case
def noreplicas(context):
    refused_by_setting(context, "min-replicas-to-write", "NOREPLICAS")


@case
def oom(context):
    refused_by_setting(context, "maxmemory", "OOM")


@case
def loading(context):
    flow = Flow(context)
    flow.add()
    flow.redis.pipeline([("SET", f"key:{n}", n) for n in range(5000)])
    weir = flow.weir()
    flow.wait_done(weir)
    flow.add()
    weir.kill()
    flow.redis.kill()
    flow.redis.settings["key-load-delay"] = 1000
    flow.redis.launch()

    def is_loading():
        try:
            Client(flow.redis.port).call("PING")
        except RedisError as error:
            return "LOADING" in str(error)
        return False
    wait.until(is_loading, 20, "it loads")
    weir.start()
    flow.waits(weir, "LOADING")
    flow.wait_done(weir)
    weir.term()


@case
def noperm(context):
    flow = Flow(context)
    flow.add(1)
    flow.redis.call("ACL", "SETUSER", "reader", "on", ">geheim", "~*", "+@all", "-xadd")
    weir = flow.weir(auth={"user": "reader", "password": "geheim"})
    assert weir.wait_exit(20) == 1, weir.tail()
    weir.wait_log("NOPERM")
    assert "geheim" not in weir.text()


@case
def clusterdown(context):
    """A node of a cluster of which nobody has the other slots."""
    flow = Flow(context, cluster_enabled="yes", cluster_port=ports.free(),
                cluster_config_file="nodes.conf")
    flow.redis.call("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    wait.until(lambda: b"cluster_state:ok" in flow.redis.call("CLUSTER", "INFO"), 20, "the cluster is whole")
    flow.add()
    weir = flow.weir(cluster=True)
    flow.wait_done(weir)
    slot = flow.redis.call("CLUSTER", "KEYSLOT", "elsewhere")
    flow.redis.call("CLUSTER", "DELSLOTS", slot)

    def is_down():
        try:
            flow.redis.call("XLEN", "in")
        except RedisError as error:
            return "CLUSTERDOWN" in str(error)
        return False
    wait.until(is_down, 20, "the cluster is down")
    flow.waits(weir, "CLUSTERDOWN")
    flow.redis.call("CLUSTER", "ADDSLOTS", slot)
    wait.until(lambda: b"cluster_state:ok" in flow.redis.call("CLUSTER", "INFO"), 20, "the cluster is whole")
    flow.add()
    flow.wait_done(weir)
    weir.term()


if __name__ == "__main__":
    main()
