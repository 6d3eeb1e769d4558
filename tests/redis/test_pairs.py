#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: between Redis and each other system nothing is lost and nothing comes first out of order, whatever
is killed, and repeats come only where the guarantee allows them.

Method: numbered records go from one real system to the other while the program and the Redis server
are killed at random moments of a seed; then every output is counted. A planted fault must turn the
count red."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from redis_flow import Account, Flow

def slow(turns):
    """So that the pipeline is in the middle of it when something dies."""
    work = f"(reduce range({turns}) as $i (0; . + $i)) as $sum | {{p, n, $sum}}"
    return {"steps": [{"map": work}], "batch_size": 50, "commit_interval": "50ms"}


SLOW = slow(2000)


def first_in_order(found):
    """First appearances, in the order of their partition's numbers."""
    seen, last = set(), {}
    for p, n in found:
        if (p, n) not in seen:
            seen.add((p, n))
            if n < last.get(p, -1):
                return False
            last[p] = n
    return True


def wait_end(weir, seconds):
    """Whether it came to the end of its input within that time."""
    try:
        assert weir.process.wait(seconds) == 0, weir.tail()
        return True
    except subprocess.TimeoutExpired:
        return False


def end(weir):
    if weir.running:
        weir.term()


def trouble(context, flow, weir, is_done, kills):
    """Kills, at moments of the seed, until it is done."""
    for number in range(kills):
        moment = context.random.uniform(0.1, 0.7)
        if wait_end(weir, moment) or is_done():
            break
        if context.random.random() < 0.7:
            weir.kill()
            weir.start()
        else:
            flow.redis.kill()
            flow.redis.start()
    wait.until(is_done, 90, f"all is out; {weir.name} logged\n{weir.tail()}")
    if weir.running:
        weir.wait_log("starting")


def judge(context, counts, found, ordered=True):
    account = Account(counts, found)
    context.say(str(account))
    account.expect(repeats=True)
    assert not ordered or first_in_order(found), "out of order"
    return account


def has_all(counts, found):
    return len(set(found)) == sum(counts)


@case
def redis_to_kafka(context):
    flow, kafka = Flow(context), context.kafka()
    kafka.create("from-redis", partitions=1)
    flow.add(scale(1500, 10_000))
    weir = flow.weir(source={"lease": "500ms"}, guarantee=None, **SLOW,
                     replace={"sink": {"kafka": {"brokers": kafka.address, "topic": "from-redis"}}})
    trouble(context, flow, weir, flow.is_done, scale(5, 100))
    end(weir)
    values = [json.loads(m.value()) for m in kafka.read("from-redis")]
    judge(context, flow.counts, [(int(v["p"]), int(v["n"])) for v in values])


@case
def kafka_to_redis(context):
    flow, kafka = Flow(context, partitions=2), context.kafka()
    kafka.create("to-redis", partitions=2)
    count = scale(4000, 20_000)
    flow.counts = [count, count]
    kafka.produce("to-redis", [{"value": b'{"p":%d,"n":%d}' % (p, n), "partition": p}
                               for n in range(count) for p in range(2)])
    weir = flow.weir(guarantee=None, instance="a", **SLOW, replace={
        "source": {"kafka": {"brokers": kafka.address, "topic": "to-redis", "start": "earliest",
                             "session_timeout": "6s"}}})
    trouble(context, flow, weir, lambda: has_all(flow.counts, flow.found()), scale(5, 60))
    end(weir)
    judge(context, flow.counts, flow.found())


def redis_to_file_flow(context, count, work=SLOW, env=None):
    flow, out = Flow(context, partitions=2), context.dir / "out.jsonl"
    flow.add(count)
    weir = flow.weir(source={"lease": "500ms"}, guarantee=None, env=env, **work,
                     replace={"sink": {"file": {"path": str(out)}}})
    return flow, weir, out


def lines_of(out):
    found = []
    for line in out.read_text().splitlines():
        try:
            value = json.loads(line)
            found.append((int(value["p"]), int(value["n"])))
        except (ValueError, KeyError):
            pass  # cut by a kill in the middle of it; it was written again
    return found


@case
def redis_to_file(context):
    flow, weir, out = redis_to_file_flow(context, scale(4000, 20_000))
    trouble(context, flow, weir, flow.is_done, scale(6, 100))
    end(weir)
    judge(context, flow.counts, lines_of(out))


@case
def file_to_redis(context):
    flow, into = Flow(context, partitions=1), context.dir / "in.jsonl"
    count = scale(8000, 40_000)
    flow.counts = [count]
    into.write_text("".join(f'{{"p":0,"n":{n}}}\n' for n in range(count)))
    weir = flow.weir(guarantee=None, **SLOW, replace={
        "source": {"file": {"path": str(into)}}, "state": {"dir": str(context.dir / "state")}})
    trouble(context, flow, weir, lambda: has_all(flow.counts, flow.found()), scale(6, 100))
    end(weir)
    judge(context, flow.counts, flow.found())


@case
def shared_redis_to_redis(context):
    """Competing consumers: nothing is lost, nothing is in order."""
    flow = Flow(context, partitions=1)
    count = scale(6000, 40_000)
    flow.counts = [count]
    flow.redis.pipeline([("XADD", "in", "*", "p", 0, "n", n) for n in range(count)])
    source = {"partitions": None, "lease": None, "claim_idle": "500ms"}
    weir = flow.weir(source=source, guarantee=None, **SLOW)
    other = flow.weir("other", source=source, guarantee=None, **SLOW)
    trouble(context, flow, weir, lambda: has_all(flow.counts, flow.found()), scale(6, 100))
    end(weir)
    other.term()
    judge(context, flow.counts, flow.found(), ordered=False)


@case
def a_fault_is_seen(context):
    """Positions committed before the outputs are safe lose records, and the count says so."""
    flow, weir, out = redis_to_file_flow(context, 1500, slow(8000), {"WEIR_FAULT": "commit_early",
                                                                     "WEIR_UNSAFE_TESTING": "1"})
    wait.until(lambda: len(lines_of(out)) > 100, 30, "it has begun")
    weir.kill()
    for _ in range(3):
        weir.start(env={"WEIR_FAILPOINT": "after_commit:3"})
        weir.wait_exit(30)
    weir.start()
    wait.until(flow.is_done, 60, "it came to the end")
    weir.kill()  # it waits for what it believes to be written
    account = Account(flow.counts, lines_of(out))
    context.say(str(account))
    assert 0 < account.lost < 1500, "the planted fault was not seen"


if __name__ == "__main__":
    main()
