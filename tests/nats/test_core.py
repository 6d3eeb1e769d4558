#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: without JetStream, what is published while weir listens is processed by one member of a queue
group, and an epoch of the sink counts only when the server has taken all of it.

Method: real servers of the oldest and the newest version; publishers and listeners are the tests' own.
The server is stopped in the middle of an epoch and killed, and a publisher is faster than the pipeline."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import main
from nats_flow import both
from nats_server import Client, Server


def server(context, version):
    nats = Server(context.dir / "nats", version)
    context.cleanup(nats.stop)
    return nats


def listener(context, nats, subject):
    client = Client(nats.port, timeout=60)
    context.cleanup(client.close)
    client.subscribe(subject)
    client.request("$JS.API.INFO")  # the server has taken the subscription
    return client


def text(source, sink, **more):
    return json.dumps({"name": "flow", "source": source, "sink": sink, "commit_interval": "50ms",
                       "http": {"listen": "127.0.0.1:0"}, "state": {"log": "none"}, "lanes": 2,
                       "log": {"format": "json", "level": "info"}} | more)


def publish(nats, numbers, subject="in.x"):
    client = Client(nats.port)
    for n in numbers:
        client.publish(subject, json.dumps({"n": n}), headers={"Trace": f"t{n}"})
    client.request("$JS.API.INFO")  # the server has taken them
    client.close()


@both
def queue_group(context, version):
    """Each message goes to one of two processes, with headers and key."""
    nats = server(context, version)
    nats.make("OUT", "out.>")
    pipeline = text({"nats_core": {"url": nats.address, "subject": "in.*", "queue": "group"}},
                    {"nats": {"subject": "out.x", "key_header": "Key"}})
    processes = [context.weir(pipeline, f"weir{i}") for i in range(2)]
    for weir in processes:
        weir.wait_log("listening")
    publish(nats, range(3000))
    wait.until(lambda: nats.count("OUT") >= 3000, 30, "all are out")
    for weir in processes:
        weir.term()
    messages = [message for _, message in nats.messages("OUT")]
    assert sorted(json.loads(m.data)["n"] for m in messages) == list(range(3000))
    assert all(m.headers["Key"] == "in.x" and m.headers["Trace"] == f"t{json.loads(m.data)['n']}"
               for m in messages)
    reads = [weir.text().count("listening") for weir in processes]
    assert reads == [1, 1], reads


@both
def listens_again(context, version):
    """After the server's death; what is published then is read."""
    nats = server(context, version)
    weir = context.weir(text({"nats_core": {"url": nats.address, "subject": "in.*"}}, {"stdout": {}}))
    weir.wait_log("listening")
    publish(nats, range(10))
    wait.until(lambda: weir.out_file.read_text().count("\n") >= 10, 20, "ten are out")
    nats.kill()
    weir.wait_log("what is published meanwhile is lost")
    nats.start()
    wait.until(lambda: weir.text().count('"listening"') == 2, 30, "it listens again")
    publish(nats, range(10, 20))
    wait.until(lambda: weir.out_file.read_text().count("\n") >= 20, 20, "twenty are out")
    weir.term()
    assert [json.loads(line)["n"] for line in weir.out_file.read_text().splitlines()] == list(range(20))


@both
def losses_are_said(context, version):
    """A pipeline without room: what it got is processed, what it did not get is counted."""
    nats = server(context, version)
    weir = context.weir(text({"nats_core": {"url": nats.address, "subject": "in.*"}}, {"stdout": {}},
                             steps=[{"map": "reduce range(3000) as $i (.; .) | {n}"}], in_flight="1MiB"))
    weir.wait_log("listening")
    total = 20_000
    publish(nats, range(total))
    publish(nats, [total], "in.last")

    def lost():
        return sum(line.get("messages", 0) for line in weir.log()
                   if line["message"].startswith("messages are lost"))
    wait.until(lambda: weir.out_file.read_text().count("\n") + lost() >= total, 120,
               "each is out or counted as lost")
    weir.term()
    found = [json.loads(line)["n"] for line in weir.out_file.read_text().splitlines()]
    assert lost() > 0 and found == sorted(set(found)) and len(found) + lost() in (total, total + 1), \
        (len(found), lost())


def committed(weir):
    try:
        return weir.metric("stream_messages_processed_total")
    except LookupError:
        return 0


@both
def confirmed_when_taken(context, version):
    """While the server stands still nothing more is committed; when it goes on it gets everything."""
    nats = server(context, version)
    client = listener(context, nats, "out.>")
    weir = context.weir(text({"generate": {"count": 2000, "rate": 2000, "template": "{n}"}},
                             {"nats_core": {"url": nats.address, "subject": "out.x"}}))
    first = client.next()
    nats.pause()
    taken = weir.metric("stream_processing_seconds_count")  # at most so many before it stood
    wait.until(lambda: weir.metric("stream_processing_seconds_count") >= 2000, 30, "all are read")
    assert committed(weir) <= taken, (committed(weir), taken)
    nats.resume()
    assert weir.wait_exit(60) == 0
    found = [json.loads(m.data)["n"] for m in [first, *(client.next() for _ in range(1999))]]
    assert found == sorted(found) and len(set(found)) == 2000, found[:5]


@both
def server_killed(context, version):
    """What the server had not taken is published again: a listener that comes back gets the end."""
    nats = server(context, version)
    client = listener(context, nats, "out.>")
    weir = context.weir(text({"generate": {"count": 3000, "rate": 3000, "template": "{n}"}},
                             {"nats_core": {"url": nats.address, "subject": "out.x"}}))
    client.next()
    nats.kill()
    weir.wait_log("connection lost")
    nats.start()
    client = listener(context, nats, "out.>")
    assert weir.wait_exit(60) == 0
    numbers = []
    while 2999 not in numbers:
        numbers.append(json.loads(client.next().data)["n"])


if __name__ == "__main__":
    main()
