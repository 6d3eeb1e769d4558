#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: `weir check --connect` says what a Kafka cluster would refuse (no such topic, no right to read,
write or use the group, a wrong login, nobody there), where it is written, and changes nothing.

Method: a real broker with ACLs; a file is checked as a user with few rights, before and after it gets
more, and the answer compared; then the broker's topics and groups."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import ports
from harness import case, main


def check(context, name, source, sink):
    file = context.dir / "pipe.yaml"
    file.write_text(json.dumps({"name": name, "source": {"kafka": source}, "sink": {"kafka": sink}}))
    file.chmod(0o600)
    done = subprocess.run([str(harness.weir_binary()), "check", "--connect", "--format", "json", file.name],
                          cwd=context.dir, capture_output=True, text=True, timeout=120)
    assert "weir-secret" not in done.stdout + done.stderr
    return done.returncode, {one["path"]: one["message"] for one in json.loads(done.stdout)["diagnostics"]}


def allow(kafka, kind, name, *operations):
    from confluent_kafka.admin import (AclBinding, AclOperation, AclPermissionType, ResourcePatternType,
                                       ResourceType)
    bindings = [AclBinding(ResourceType[kind], name, ResourcePatternType.LITERAL, "User:weir", "*",
                           AclOperation[operation], AclPermissionType.ALLOW) for operation in operations]
    for future in kafka.admin.create_acls(bindings).values():
        future.result(30)


@case
def what_the_cluster_says(context):
    kafka = context.kafka(sasl=True, settings={
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS"})
    kafka.create("orders", "paid", partitions=1)

    def topics():
        return {name for name in kafka.admin.list_topics(timeout=10).topics if not name.startswith("__")}
    source = {"brokers": kafka.plan["address"]["sasl"], "topic": "orders",
              "auth": {"user": "weir", "password": "weir-secret"}}
    code, found = check(context, "pipe", source, {"topic": "paid"})
    assert code == 78 and set(found) == {"source.kafka.topic", "sink.kafka.topic"}, found
    assert all("may not be seen" in message for message in found.values()), found
    allow(kafka, "TOPIC", "orders", "DESCRIBE")
    allow(kafka, "TOPIC", "paid", "READ")
    code, found = check(context, "pipe", source, {"topic": "paid"})
    assert code == 78 and found["source.kafka.topic"] == "the topic orders may not be read", found
    assert found["sink.kafka.topic"] == "the topic paid may not be written", found
    allow(kafka, "TOPIC", "orders", "READ")
    allow(kafka, "TOPIC", "paid", "WRITE")
    code, found = check(context, "pipe", source, {"topic": "paid"})
    assert code == 78 and list(found.values()) == ["the consumer group pipe may not be used"], found
    allow(kafka, "GROUP", "pipe", "READ")
    assert check(context, "pipe", source, {"topic": "paid"}) == (0, {})
    plain = {"brokers": kafka.address, "topics": ["orders", "ordres"]}
    code, found = check(context, "pipe", plain, {"topic": "piad"})
    assert code == 78 and found == {"source.kafka.topics": "the topic ordres does not exist",
                                    "sink.kafka.topic": "the topic piad does not exist"}, found
    wrong = source | {"auth": {"user": "weir", "password": "other"}}
    code, found = check(context, "pipe", wrong, {"topic": "paid"})
    assert code == 78 and all("refused the login" in message for message in found.values()), found
    code, found = check(context, "pipe", plain | {"brokers": f"127.0.0.1:{ports.free()}"}, {"topic": "paid"})
    assert code == 78 and "no broker answers" in str(found), found
    assert topics() == {"orders", "paid"}, topics()
    groups = kafka.admin.list_consumer_groups().result(30)
    assert not groups.valid, groups.valid


if __name__ == "__main__":
    main()
