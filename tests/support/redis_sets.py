# SPDX-License-Identifier: Apache-2.0
"""Several real Redis servers of a test on 127.0.0.1: a primary, its replica and the sentinels that watch
them; a cluster of three primaries with a replica each."""
import pathlib
import subprocess

import harness
import ports
import wait
from redis_server import Client, RedisError, Server, binary


class Sentinels:
    """`count` sentinels that know a primary as `main`, and `replicas` of it."""

    def __init__(self, directory, replicas=1, count=3, sentinel_settings=(), **settings):
        self.dir = pathlib.Path(directory)
        self.servers = [Server(self.dir / "server0", **settings)]
        for number in range(1, replicas + 1):
            self.servers.append(Server(self.dir / f"server{number}", **settings, replicaof=f"127.0.0.1 {self.servers[0].port}"))
        self.wait_synced(replicas)
        self.processes, self.ports = [], []
        self.password = next((line.split()[1] for line in sentinel_settings if line.startswith("requirepass ")), None)
        for number in range(count):
            self._start(number, sentinel_settings)
        self.addresses = [f"127.0.0.1:{port}" for port in self.ports]

        def known():
            fields = self.fields(0)
            return int(fields["num-other-sentinels"]) == count - 1 and int(fields["num-slaves"]) == replicas
        wait.until(known, 30, "the sentinels know each other and the replicas")

    def _start(self, number, settings):
        where = self.dir / f"sentinel{number}"
        where.mkdir(parents=True, exist_ok=True)
        port = ports.free()
        lines = [f"port {port}", "bind 127.0.0.1", f"dir {where}", f"logfile {where}/sentinel.log",
                 f"sentinel monitor main 127.0.0.1 {self.servers[0].port} 2",
                 "sentinel down-after-milliseconds main 500", "sentinel failover-timeout main 3000", *settings]
        (where / "sentinel.conf").write_text("\n".join(lines) + "\n")
        self.processes.append(subprocess.Popen(
            [binary(), str(where / "sentinel.conf"), "--sentinel"], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=harness.die_with_parent))
        self.ports.append(port)
        wait.until(lambda: self.ask(number, "PING"), 20, "the sentinel answers")

    def ask(self, number, *command):
        client = Client(self.ports[number])
        try:
            if self.password is not None:
                client.call("AUTH", self.password)
            return client.call(*command)
        finally:
            client.close()

    def fields(self, number):
        found = self.ask(number, "SENTINEL", "MASTER", "main")
        return {key.decode(): value.decode() for key, value in zip(found[::2], found[1::2])}

    @property
    def primary(self):
        port = int(self.ask(0, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1])
        return next(server for server in self.servers if server.port == port)

    def wait_synced(self, replicas):
        def synced():
            text = self.servers[0].call("INFO", "replication").decode()
            return text.count("state=online") == replicas
        wait.until(synced, 30, "the replicas are in step")

    def wait_failed_over(self, old, seconds=30):
        """The new primary takes writes and every sentinel names it."""
        def done():
            ports = {int(self.ask(n, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "main")[1]) for n in range(len(self.ports))}
            return len(ports) == 1 and old.port not in ports and self.primary.call("ROLE")[0] == b"master"
        wait.until(done, seconds, "the sentinels agree on a new primary")
        return self.primary

    def stop(self):
        for process in self.processes:
            process.kill()
            process.wait(10)
        for server in self.servers:
            server.stop()


class Cluster:
    """Three primaries with a replica each. Slots are spread evenly over the primaries."""

    def __init__(self, directory, primaries=3, replicas=True, **settings):
        self.dir = pathlib.Path(directory)
        settings = {"cluster_enabled": "yes", "cluster_node_timeout": 1000, "cluster_config_file": "nodes.conf",
                    "cluster_replica_validity_factor": 0} | settings
        self.nodes = [Server(self.dir / f"node{n}", cluster_port=ports.free(), **settings)
                      for n in range(primaries * (2 if replicas else 1))]
        first = self.nodes[0]
        for node in self.nodes[1:]:
            node.call("CLUSTER", "MEET", "127.0.0.1", first.port, first.settings["cluster_port"])
        for n in range(primaries):
            self.nodes[n].call("CLUSTER", "ADDSLOTSRANGE", 16384 * n // primaries, 16384 * (n + 1) // primaries - 1)
        for n, node in enumerate(self.nodes[primaries:]):
            wait.until(lambda: self.replicate(node, self.nodes[n]), 30, "the replica knows its primary")
        wait.until(self.is_whole, 30, "the cluster is whole")
        self.address = ",".join(node.address for node in self.nodes)

    @staticmethod
    def replicate(node, primary):
        try:
            return node.call("CLUSTER", "REPLICATE", primary.call("CLUSTER", "MYID")) == "OK"
        except RedisError:
            return False

    def alive(self):
        return [node for node in self.nodes if node.process.poll() is None]

    def is_whole(self):
        """Every node that lives says so, and every primary's replica is in step."""
        for node in self.alive():
            if b"cluster_state:ok" not in node.call("CLUSTER", "INFO"):
                return False
            if b"master_link_status:down" in node.call("INFO", "replication"):
                return False
        return len(self.owners()) == 16384

    def owners(self):
        """slot → node, as the first that lives sees it."""
        found = {}
        for first, last, (_, port, *_), *_ in self.alive()[0].call("CLUSTER", "SLOTS"):
            node = next(n for n in self.nodes if n.port == port)
            found.update({slot: node for slot in range(first, last + 1)})
        return found

    def slot(self, key):
        return self.alive()[0].call("CLUSTER", "KEYSLOT", key)

    def call(self, command, key, *arguments, seconds=30):
        """One command, at whoever has its key; again while the cluster is not of one mind."""
        def ask():
            node = self.owners()[self.slot(key)]
            return [node.call(command, key, *arguments)]
        return wait.until(ask, seconds, f"the cluster answers {command} {key}")[0]

    def pipeline(self, key, commands):
        return self.owners()[self.slot(key)].pipeline(commands)

    def entries(self, stream):
        return [(key, dict(zip(pairs[::2], pairs[1::2]))) for key, pairs in self.call("XRANGE", stream, "-", "+")]

    def migrate(self, key, to):
        """Moves the slot of the key to that node, key by key, as redis-cli does."""
        slot = self.slot(key)
        source = self.owners()[slot]
        source_id, to_id = source.call("CLUSTER", "MYID"), to.call("CLUSTER", "MYID")
        to.call("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
        source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", to_id)
        moved = 0
        while keys := source.call("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.call("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
            moved += len(keys)
        for node in (to, source, *(n for n in self.alive() if n.call("ROLE")[0] == b"master")):
            node.call("CLUSTER", "SETSLOT", slot, "NODE", to_id)
        return moved

    def stop(self):
        for node in self.nodes:
            node.stop()
