# SPDX-License-Identifier: Apache-2.0
"""A real Kafka of a test (scripts/kafka), and what tests ask of it: topics, offsets, records."""
import json
import pathlib
import subprocess

import harness
import ports
import wait

SCRIPT = harness.ROOT / "scripts" / "kafka"


class Cluster:
    def __init__(self, directory, brokers=1, proxy=False, tls_dir=None, sasl=False, jwks=None,
                 heap="512m", settings=None, prefix=(), steady=False):
        """`settings`: of the brokers, a dict. `prefix`: a command to run the script under. `steady`: fast
        in the long run instead of started soon."""
        self.dir = pathlib.Path(directory)
        self.brokers = brokers
        line = [*prefix, str(SCRIPT), "start", "--dir", str(self.dir), "--brokers", str(brokers),
                "--heap", heap, "--ports", str(ports.block())]
        line += ["--steady"] if steady else []
        line += ["--proxy"] if proxy else []
        line += ["--tls-dir", str(tls_dir)] if tls_dir else []
        line += ["--sasl"] if sasl else []
        line += ["--jwks", str(jwks)] if jwks else []
        for key, value in (settings or {}).items():
            line += ["--set", f"{key}={value}"]
        result = subprocess.run(line, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                timeout=240)
        if result.returncode != 0:
            raise harness.Missing(f"no Kafka: {result.stderr.strip()}")
        self.address = result.stdout.strip()
        self.plan = json.loads((self.dir / "cluster.json").read_text())
        self._admin = None
        self._askers = {}

    def _script(self, command, *arguments):
        subprocess.run([str(SCRIPT), command, "--dir", str(self.dir), *arguments], check=True,
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=180)

    def stop(self):
        self._admin = None
        for asker in self._askers.values():
            asker.close()
        self._askers = {}
        self._script("stop")

    def kill(self, broker=0):
        self._script("kill", "--broker", str(broker))

    def pause(self, broker=0):
        self._script("pause", "--broker", str(broker))

    def resume(self, broker=0):
        self._script("resume", "--broker", str(broker))

    def restart(self, broker=0):
        self._script("restart", "--broker", str(broker))

    @property
    def admin(self):
        from confluent_kafka.admin import AdminClient
        if self._admin is None:
            self._admin = AdminClient({"bootstrap.servers": self.address,
                                       "socket.timeout.ms": 10000, "log_level": 2})
        return self._admin

    def create(self, *topics, partitions=4, config=None):
        from confluent_kafka.admin import NewTopic
        self._admin = None  # one whose cluster named no broker for a moment never finds any again
        replicas = 3 if self.brokers >= 3 else 1
        # Test records are old by their timestamps: without this the broker deletes them.
        config = {"retention.ms": "-1"} | (config or {})
        new = [NewTopic(topic, partitions, replicas, config=config) for topic in topics]
        for future in self.admin.create_topics(new, operation_timeout=20).values():
            future.result(30)
        for topic in topics:
            wait.until(lambda t=topic: len(self.partitions(t)) == partitions, 20,
                       f"topic {topic} has {partitions} partitions with leaders")

    def delete(self, *topics):
        for future in self.admin.delete_topics(list(topics), operation_timeout=20).values():
            future.result(30)
        for topic in topics:
            wait.until(lambda t=topic: t not in self.admin.list_topics(timeout=10).topics, 20,
                       f"topic {topic} is gone")

    def grow(self, topic, partitions):
        from confluent_kafka.admin import NewPartitions
        for future in self.admin.create_partitions([NewPartitions(topic, partitions)]).values():
            future.result(30)
        wait.until(lambda: len(self.partitions(topic)) == partitions, 20,
                   f"topic {topic} has {partitions} partitions")

    def partitions(self, topic):
        """Partition -> id of its leader; only those that have one."""
        found = self.admin.list_topics(topic, timeout=10).topics[topic].partitions
        return {p: meta.leader for p, meta in found.items() if meta.leader >= 0}

    def delete_records(self, topic, before):
        """`before`: partition -> first offset to keep."""
        from confluent_kafka import TopicPartition
        futures = self.admin.delete_records(
            [TopicPartition(topic, p, offset) for p, offset in before.items()])
        for future in futures.values():
            future.result(30)

    def ends(self, topic, isolation="read_uncommitted"):
        """Partition -> end offset: the high watermark, or where committed readers stop."""
        from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
        from confluent_kafka.admin import OffsetSpec
        level = {"read_uncommitted": IsolationLevel.READ_UNCOMMITTED,
                 "read_committed": IsolationLevel.READ_COMMITTED}[isolation]

        def ask():
            try:
                asked = {TopicPartition(topic, p): OffsetSpec.latest()
                         for p in self.partitions(topic)}
                futures = self.admin.list_offsets(asked, isolation_level=level, request_timeout=10)
                return {tp.partition: future.result(15).offset for tp, future in futures.items()}
            except KafkaException:
                self._admin = None
                raise
        return wait.until(ask, 30, f"the ends of {topic} are known")

    def end_sum(self, topic, isolation="read_uncommitted"):
        return sum(self.ends(topic, isolation).values())

    def committed(self, group, topic):
        """Partition -> committed offset, of those that have one. Asked by a consumer that never joins:
        the admin's own request crashes its client when the coordinator is just moving."""
        from confluent_kafka import Consumer, TopicPartition
        if group not in self._askers:
            self._askers[group] = Consumer({
                "bootstrap.servers": self.address, "group.id": group, "log_level": 2,
                "enable.auto.commit": False, "isolation.level": "read_committed"})
        asked = [TopicPartition(topic, p) for p in self.partitions(topic)]
        found = self._askers[group].committed(asked, timeout=10)
        for tp in found:
            if tp.error is not None:
                raise RuntimeError(f"committed offsets of {group}: {tp.error}")
        return {tp.partition: tp.offset for tp in found if tp.offset >= 0}

    def members(self, group):
        """Members that own something: client id -> their partitions."""
        description = self.admin.describe_consumer_groups([group], request_timeout=10)
        members = description[group].result(15).members
        return {m.member_id: [(tp.topic, tp.partition) for tp in m.assignment.topic_partitions]
                for m in members}

    def drained(self, group, topic):
        """True when the group has committed up to the end of each partition that holds records."""
        committed = self.committed(group, topic)
        ends = self.ends(topic, "read_committed")
        return all(end == 0 or committed.get(p, 0) >= end for p, end in ends.items())

    def wait_drained(self, group, topic, seconds=120, alive=()):
        def check():
            for process in alive:
                process.expect_running()
            return self.drained(group, topic)
        wait.until(check, seconds, f"group {group} has committed all of {topic}")

    def producer(self, **config):
        from confluent_kafka import Producer
        settings = {"bootstrap.servers": self.address, "enable.idempotence": True, "linger.ms": 5,
                    "log_level": 2}
        return Producer(settings | {key.replace("_", "."): v for key, v in config.items()})

    def produce(self, topic, records, **config):
        """`records`: dicts as confluent_kafka's produce() takes them. Waits for all answers."""
        producer, failures = self.producer(**config), []
        for record in records:
            producer.produce(topic, on_delivery=lambda error, _: failures.append(error) if error
                             else None, **record)
            producer.poll(0)
        if producer.flush(60) != 0 or failures:
            raise AssertionError(f"the test's own records were not accepted: {failures[:3]}")

    def read(self, *topics, isolation="read_committed", seconds=30, count=None):
        """All records up to the high watermark (or `count` of them), as confluent_kafka messages."""
        from confluent_kafka import Consumer, KafkaError, TopicPartition
        consumer = Consumer({
            "bootstrap.servers": self.address, "group.id": "reader", "enable.auto.commit": False,
            "isolation.level": isolation, "enable.partition.eof": True, "fetch.wait.max.ms": 50,
            "fetch.message.max.bytes": 64 << 20, "fetch.max.bytes": 128 << 20,
            "receive.message.max.bytes": 140 << 20, "auto.offset.reset": "earliest",
            "log_level": 2})
        left = {(topic, p): end for topic in topics for p, end in self.ends(topic).items()}
        consumer.assign([TopicPartition(topic, p, 0) for topic, p in left])
        left = {at: end for at, end in left.items() if end > 0}
        messages = []

        def step():
            for message in consumer.consume(1000, 0.05):
                at = (message.topic(), message.partition())
                if message.error() is None:
                    messages.append(message)
                elif message.error().code() != KafkaError._PARTITION_EOF:
                    raise AssertionError(f"cannot read {at}: {message.error()}")
                elif message.offset() >= left.get(at, 0):
                    left.pop(at, None)
            return len(messages) >= count if count is not None else not left

        try:
            wait.until(step, seconds, f"{count or 'all'} records of {topics} can be read")
        finally:
            consumer.close()
        return messages
