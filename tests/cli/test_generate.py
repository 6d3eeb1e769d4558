# SPDX-License-Identifier: Apache-2.0
"""The source `generate`: how many, how fast, from which template; the same seed gives the same
records, in one run or over many that were killed."""
import collections
import json
import signal
import subprocess
import time

from harness import case, main, scale
from local_pipeline import (expect_equal, expect_in, join, kill_until_done, log_of, run, start,
                            text)


def made(context, source, expect=0, **more):
    """What it writes to standard output, and its log."""
    with open(context.dir / "out", "w+b") as out:
        log = run(context, text("made", {"generate": source}, {"stdout": {}}, **more),
                  stdout=out, expect=expect)
        out.seek(0)
        return out.read(), log


def to_file(source, **more):
    return text("made", {"generate": source}, {"file": {"path": "out.txt"}},
                **({"commit_interval": "5ms"} | more))


@case
def count_without_template(context):
    have, _ = made(context, {"count": 100000})
    expect_equal(have, join(b'{"n":%d}' % i for i in range(100000)))


@case
def template_sees_number_partition_random_and_time(context):
    before = int(time.time() * 1000)
    have, _ = made(context, {"count": 1000, "partitions": 4, "template": "."}, lanes=2)
    rows = [json.loads(line) for line in have.splitlines()]
    assert sorted(row["n"] for row in rows) == list(range(1000))
    assert all(row["partition"] == row["n"] % 4 for row in rows)
    assert all(0 <= row["random"] < 1 for row in rows)
    assert len({row["random"] for row in rows}) > 990
    assert 0.4 < sum(row["random"] for row in rows) / 1000 < 0.6
    assert all(before <= row["time"] <= time.time() * 1000 for row in rows)
    for partition in range(4):
        numbers = [row["n"] for row in rows if row["partition"] == partition]
        assert numbers == sorted(numbers), "order within a partition"


@case
def the_seed_decides(context):
    source = {"count": 20000, "template": "{n, random}", "seed": 7}
    first, _ = made(context, source)
    second, _ = made(context, source)
    expect_equal(first, second, "the second run")
    other, _ = made(context, source | {"seed": 8})
    assert first != other
    # And it depends on the number alone, not on how the work is shared out.
    shared, _ = made(context, source | {"partitions": 7}, lanes=3)
    expect_equal(join(sorted(shared.splitlines())), join(sorted(first.splitlines())))


@case
def numbers_of_any_length_are_those_of_splitmix64(context):
    """Digits are exchanged where they stand, in a document that is parsed when their number changes."""
    def random_of(n, seed, mask=(1 << 64) - 1):
        bits = (seed * 0xd1342543de82ef95 + n * 0x9e3779b97f4a7c15) & mask
        bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9 & mask
        bits = (bits ^ bits >> 27) * 0x94d049bb133111eb & mask
        return ((bits ^ bits >> 31) >> 32) * 1000000000 >> 32

    have, _ = made(context, {"count": 11000, "partitions": 12, "seed": 3, "key": ".n | tostring",
                             "template": "[.n, .partition, .random]"},
                   steps=[{"map": ". + [$record.key]"}], lanes=1)
    rows = [json.loads(line) for line in have.splitlines()]
    expect_equal(sorted(rows), [[n, n % 12, random_of(n, 3) / 1e9, str(n)] for n in range(11000)])


@case
def constant_and_distinct_templates(context):
    have, _ = made(context, {"count": 5000, "template": '{"a": [1, "x"]}'})
    expect_equal(have, b'{"a":[1,"x"]}\n' * 5000)
    have, _ = made(context, {"count": 5000, "template": ".n", "distinct": 7})
    expect_equal(have, join(b"%d" % (i % 7) for i in range(5000)))
    have, _ = made(context, {"count": 12, "distinct": 5})
    expect_equal(have, join(b'{"n":%d}' % (i % 5) for i in range(12)))


@case
def keys_are_text(context):
    steps = [{"map": "$record.key"}]
    have, _ = made(context, {"count": 4, "key": ".n % 2 | tostring"}, steps=steps)
    expect_equal(have, b'"0"\n"1"\n"0"\n"1"\n')
    have, _ = made(context, {"count": 2, "key": "{k: .n}"}, steps=steps)
    expect_equal(have, b'"{\\"k\\":0}"\n"{\\"k\\":1}"\n')
    have, _ = made(context, {"count": 2, "key": "null"}, steps=steps)
    expect_equal(have, b"null\nnull\n")
    have, _ = made(context, {"count": 3, "key": '"k\\(.n)"', "distinct": 2}, steps=steps)
    expect_equal(have, b'"k0"\n"k1"\n"k0"\n')


@case
def large_values_and_keys(context):
    have, _ = made(context, {"count": 300, "template": '[.n, "x" * 100000]', "key": '"k" * 200000'})
    expect_equal(have, join(b'[%d,"%s"]' % (i, b"x" * 100000) for i in range(300)))


@case
def the_rate_is_kept(context):
    began = time.monotonic()
    have, _ = made(context, {"count": 201, "rate": 200, "partitions": 2}, lanes=2)
    took = time.monotonic() - began
    assert len(have.splitlines()) == 201
    assert 0.95 < took < 8, f"{took} s for one second's worth"


@case
def endless_until_a_signal(context):
    process = start(context, text("made", {"generate": {}}, {"stdout": {}}), stdout=subprocess.PIPE)
    assert process.stdout.readline() == b'{"n":0}\n'
    process.send_signal(signal.SIGTERM)
    rest = process.stdout.read()
    assert process.wait(20) == 0, log_of(context)[-2000:]
    count = 1 + rest.count(b"\n")
    expect_equal(b'{"n":0}\n' + rest, join(b'{"n":%d}' % i for i in range(count)))


@case
def template_that_fails_stops_there(context):
    have, log = made(context, {"count": 100, "template": 'if .n == 50 then error("no") else .n end'},
                     expect=1)
    expect_equal(have, join(b"%d" % i for i in range(50)))
    expect_in(log, "template", "no")
    have, log = made(context, {"count": 100, "template": "range(.n + 1)"}, expect=1)
    expect_equal(have, b"0\n")
    expect_in(log, "template")
    have, log = made(context, {"count": 100, "template": ".n, .n"}, expect=78)
    expect_equal(have, b"")
    expect_in(log, "template", "several")


@case
def killed_at_random_it_makes_each_once(context):
    count = scale(300000, 2000000)
    delays = [context.random.uniform(0, 0.015) for _ in range(scale(30, 300))]
    kills = kill_until_done(context, to_file({"count": count}), delays)
    context.say(f"{kills} kills")
    assert kills > 0, "not even the commit that should have killed it did"
    expect_equal((context.dir / "out.txt").read_bytes(),
                 join(b'{"n":%d}' % i for i in range(count)))


@case
def killed_at_random_with_steps_and_lanes(context):
    count = scale(100000, 1000000)
    config = to_file({"count": count, "partitions": 5, "template": "{n, r: (.random * 100 | floor)}"},
                     lanes=3, steps=[{"filter": ".n % 3 != 0"}, {"map": "{n}, {n, twice: true}"}])
    delays = [context.random.uniform(0, 0.05) for _ in range(scale(20, 200))]
    kills = kill_until_done(context, config, delays)
    context.say(f"{kills} kills")
    assert kills > 0, "not even the commit that should have killed it did"
    rows = [json.loads(line) for line in (context.dir / "out.txt").read_bytes().splitlines()]
    seen = collections.Counter((row["n"], row.get("twice", False)) for row in rows)
    assert set(seen.values()) == {1}, "doubled"
    assert len(seen) == 2 * sum(1 for n in range(count) if n % 3 != 0), "lost"
    for partition in range(5):
        numbers = [row["n"] for row in rows if row["n"] % 5 == partition]
        assert numbers == sorted(numbers), "order within a partition"


main()
