#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Windows by a key that the files are not partitioned by, through an exchange in memory: equal to a
recomputation over all files, exactly once, whatever lanes there are and whatever kills the program.
With one file they are what they are without the exchange, late records included."""
import collections
import json
import random
import subprocess

import harness
import wait
from harness import case, main, scale
from local_pipeline import expect_in, join, kill_until_done, run, start, text

SHARDS = 7
KINDS = {
    "tumbling": {"tumbling": "50ms"},
    "sliding": {"sliding": {"size": "60ms", "every": "20ms"}},
    "session": {"session": "5ms"},
}


def pipeline(window, exchange=True, paths="in*.jsonl", **more):
    step = {"name": "sums", "window": {"key": ".k", "time": ".t",
                                       "aggregate": {"n": "count", "total": "sum(.v)"}} | window}
    if exchange:
        step["exchange"] = {"via": "memory", "shards": SHARDS}
    return text("sums", {"file": {"path": paths}}, {"file": {"path": "out.jsonl"}},
                **({"steps": [step], "commit_interval": "5ms", "lanes": 3} | more))


def records(count, seed, begin=0, jitter=30, keys=50, late=0.0):
    source = random.Random(seed)
    made = []
    for i in range(count):
        back = 500 if source.random() < late else source.randrange(jitter + 1)
        made.append({"k": f"k{source.randrange(keys)}", "t": begin + i // 4 - back,
                     "v": source.randrange(1000)})
    return made


def write(context, name, made):
    (context.dir / name).write_bytes(join([json.dumps(r).encode() for r in made]))


def output(context):
    rows = [json.loads(line) for line in (context.dir / "out.jsonl").read_text().splitlines()]
    return collections.Counter((row["key"], row["window"]["start"], row["window"]["end"], row["n"],
                                row["total"]) for row in rows)


def starts_of(kind, t):
    if kind == "tumbling":
        return [t // 50 * 50]
    return [start for start in range((t - 60) // 20 * 20, t + 1, 20) if start <= t < start + 60]


def sessions(made, gap=5):
    """Chains of events of a key, each at most `gap` behind the one before."""
    for key in {r["k"] for r in made}:
        chain = []
        for t, v in sorted((r["t"], r["v"]) for r in made if r["k"] == key):
            if chain and t > chain[-1][0] + gap:
                yield key, chain
                chain = []
            chain.append((t, v))
        yield key, chain


def recompute(kind, made):
    wanted = collections.Counter()
    if kind == "session":
        for key, chain in sessions(made):
            wanted[(key, chain[0][0], chain[-1][0] + 5, len(chain), sum(v for _, v in chain))] += 1
        return wanted
    sums = collections.defaultdict(lambda: [0, 0])
    for r in made:
        for start in starts_of(kind, r["t"]):
            entry = sums[(r["k"], start)]
            entry[0] += 1
            entry[1] += r["v"]
    size = 50 if kind == "tumbling" else 60
    for (key, start), (n, total) in sums.items():
        wanted[(key, start, start + size, n, total)] += 1
    return wanted


def forget(context):
    (context.dir / "out.jsonl").unlink(missing_ok=True)
    folder = context.dir / "sums.state"
    for path in folder.iterdir() if folder.exists() else ():
        path.unlink()


def fill(context, count):
    """Four files: one that ends early, one that begins late, one empty."""
    seed = context.random.randrange(1 << 30)
    files = {"in0.jsonl": records(count, seed), "in1.jsonl": records(count, seed + 1),
             "in2.jsonl": records(count // 8, seed + 2),
             "in3.jsonl": records(count // 2, seed + 3, begin=count // 8), "in4.jsonl": []}
    for name, made in files.items():
        write(context, name, made)
    return [r for made in files.values() for r in made]


def equal_to_recomputation(context, kind):
    made = fill(context, scale(6_000, 60_000))
    wanted = recompute(kind, made)
    for lanes in (1, 2, 5):
        forget(context)
        run(context, pipeline(KINDS[kind] | {"grace": "30ms"}, lanes=lanes))
        assert output(context) == wanted, f"on {lanes} lanes the windows are others"
    context.say(f"{len(made)} records, {sum(wanted.values())} windows")


def killed(context, kind):
    made = fill(context, scale(24_000, 60_000))
    delays = [context.random.uniform(0, 0.15) for _ in range(scale(10, 150))]
    kills = kill_until_done(context, pipeline(KINDS[kind] | {"grace": "30ms"}), delays)
    context.say(f"{kills} kills, {len(made)} records")
    assert kills > 0, "not even the commit that should have killed it did"
    assert output(context) == recompute(kind, made), "killed and restarted, the windows are others"


def as_without(context, kind):
    """One file: lateness is a matter of the record and what came before it, not of shards."""
    write(context, "in.jsonl", records(scale(8_000, 60_000), context.random.randrange(1 << 30), late=0.02))
    run(context, pipeline(KINDS[kind] | {"grace": "10ms"}, exchange=False, paths="in.jsonl"))
    wanted = output(context)
    for batch_size in (1, 500):
        forget(context)
        run(context, pipeline(KINDS[kind] | {"grace": "10ms"}, paths="in.jsonl",
                              batch_size=batch_size))
        assert output(context) == wanted, f"with batches of {batch_size} the windows are others"


for _what in (equal_to_recomputation, killed, as_without):
    for _kind in KINDS:
        def _case(context, what=_what, kind=_kind):
            what(context, kind)
        _case.__name__ = f"{_what.__name__}_{_kind}"
        case(_case)


@case
def a_file_that_has_ended_holds_nothing_back(context):
    """on_end: hold keeps the windows that are open when everything has ended: those of the file
    that goes furthest, not of the one that ended first."""
    write(context, "in0.jsonl", records(400, 1, jitter=0))
    write(context, "in1.jsonl", records(4000, 2, jitter=0))
    run(context, pipeline(KINDS["tumbling"], on_end="hold"))
    ends = {end for _, _, end, _, _ in output(context)}
    assert max(ends) == 950, f"the last window ends at {max(ends)}"
    run(context, pipeline(KINDS["tumbling"]))
    assert max(end for _, _, end, _, _ in output(context)) == 1000


@case
def a_shard_without_records_goes_on(context):
    """Time comes to every shard with each commit, also where no record does, while the input is open."""
    step = {"name": "sums", "exchange": "memory",
            "window": {"tumbling": "50ms", "key": ".k", "time": ".t", "aggregate": {"n": "count"}}}
    weir = start(context, text("sums", {"stdin": {}}, {"file": {"path": "out.jsonl"}}, steps=[step],
                               commit_interval="20ms", lanes=2), stdin=subprocess.PIPE)
    for key, t in (("only", 1), ("other", 500)):
        weir.stdin.write(json.dumps({"k": key, "t": t}).encode() + b"\n")
        weir.stdin.flush()
    out = context.dir / "out.jsonl"
    wait.until(lambda: out.exists() and "only" in out.read_text(), 30,
               "the window of the shard that gets no more is closed")
    weir.stdin.close()
    assert weir.wait(30) == 0
    assert "other" in out.read_text()


@case
def dedupe_over_all_files(context):
    source = context.random
    made = [{"id": f"i{source.randrange(900)}", "n": i} for i in range(3000)]
    for i in range(3):
        write(context, f"in{i}.jsonl", made[i::3])
    step = {"exchange": "memory", "dedupe": {"id": ".id", "ttl": "1h"}}
    run(context, text("once", {"file": {"path": "in*.jsonl"}}, {"file": {"path": "out.jsonl"}},
                      steps=[step], lanes=3))
    seen = [json.loads(line)["id"] for line in (context.dir / "out.jsonl").read_text().splitlines()]
    assert sorted(seen) == sorted({r["id"] for r in made})


@case
def a_record_that_fails_behind_it(context):
    """Fails in the step behind the exchange: the error and the dead letter name the place where the
    record was read; what comes before it is committed."""
    made = records(2000, 5, jitter=0)
    made[1234]["v"] = "no number"
    write(context, "in0.jsonl", made)
    write(context, "in1.jsonl", records(2000, 6, jitter=0))
    offset = len(join([json.dumps(r).encode() for r in made[:1234]]))
    window = KINDS["tumbling"]
    log = run(context, pipeline(window, on_error="stop"), expect=1)
    expect_in(log, f"in0.jsonl, partition 0, offset {offset}:")
    made[1234]["v"] = "9999999999"  # as long: the next start goes on in front of it
    forget(context)
    log = run(context, pipeline(window, dead_letter={"file": {"path": "dead.jsonl"}}))
    expect_in(log, f'"topic":"in0.jsonl","partition":0,"offset":{offset}')
    dead = (context.dir / "dead.jsonl").read_text().splitlines()
    assert [json.loads(line)["v"] for line in dead] == ["no number"]


@case
def state_moves_to_another_name(context):
    """What a run that holds its windows has kept goes on under another name, shard by shard."""
    write(context, "in0.jsonl", records(2000, 1))
    write(context, "in1.jsonl", records(2000, 2))
    config = pipeline(KINDS["tumbling"] | {"grace": "40ms"}, on_end="hold")
    run(context, config)
    moved = json.loads(config) | {"name": "moved", "on_end": "close", "state": {"dir": "moved.state"},
                                  "sink": {"file": {"path": "moved.jsonl"}}}
    (context.dir / "moved.yaml").write_text(json.dumps(moved))
    weir, where = str(harness.weir_binary()), {"cwd": context.dir, "check": True, "timeout": 60}
    kept = subprocess.run([weir, "state", "export", "weir.yaml"], stdout=subprocess.PIPE, **where)
    subprocess.run([weir, "state", "import", "moved.yaml"], input=kept.stdout, **where)
    before = output(context)
    run(context, json.dumps(moved), name="moved")
    (context.dir / "out.jsonl").write_bytes((context.dir / "moved.jsonl").read_bytes())
    both = before + output(context)
    forget(context)
    run(context, json.dumps(json.loads(config) | {"on_end": "close"}))
    assert both == output(context), "moved, the windows are others"


@case
def other_shards_are_refused(context):
    write(context, "in0.jsonl", records(500, 1))
    run(context, pipeline(KINDS["tumbling"], on_end="hold"))
    config = json.loads(pipeline(KINDS["tumbling"]))
    config["steps"][0]["exchange"]["shards"] = 8
    log = run(context, json.dumps(config), expect=78)
    expect_in(log, "the state is that of sums.exchange with 7 shards")
    log = run(context, pipeline(KINDS["tumbling"], exchange=False), expect=78)
    expect_in(log, "the state is that of sums.exchange with 7 shards")
    forget(context)
    run(context, pipeline(KINDS["tumbling"], exchange=False, on_end="hold"))
    log = run(context, pipeline(KINDS["tumbling"]), expect=78)
    expect_in(log, "there is state of in0.jsonl from before the exchange")


if __name__ == "__main__":
    main()
