#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""State in a file: windows over a local file are exactly-once, whatever kills the program; a changed
pipeline over old state is refused; a damaged log is never used."""
import collections
import ctypes
import json
import random
import signal
import struct

from harness import case, main, scale
from local_pipeline import expect_in, join, kill_until_done, log_of, run, start, text


def pipeline(window, aggregate=None, **more):
    step = {"name": "sums", "window": window | {
        "key": ".k", "time": ".t",
        "aggregate": aggregate or {"n": "count", "total": "sum(.v)", "least": "min(.v)",
                                   "all": "collect(.v; 20)", "kinds": "count_distinct(.v)"}}}
    return text("sums", {"file": {"path": "in.jsonl"}}, {"file": {"path": "out.jsonl"}},
                **({"steps": [step], "commit_interval": "5ms"} | more))


def records(count, seed, keys=50):
    """Out of order by up to 30 ms; some far too late."""
    source = random.Random(seed)
    made = []
    for i in range(count):
        late = 500 if source.random() < 0.01 else source.randrange(30)
        made.append({"k": f"k{source.randrange(keys)}", "t": i // 4 - late,
                     "v": source.randrange(1000)})
    return made


def write(context, made):
    (context.dir / "in.jsonl").write_bytes(join([json.dumps(r).encode() for r in made]))


def output(context):
    return collections.Counter((context.dir / "out.jsonl").read_text().splitlines())


KINDS = {
    "tumbling": {"tumbling": "50ms", "grace": "20ms"},
    "sliding": {"sliding": {"size": "60ms", "every": "20ms"}, "grace": "20ms"},
    "session": {"session": "40ms", "grace": "10ms"},
    "count": {"count": {"size": 20, "every": 5}},
}


def killed(context, kind, keys=50, state=None):
    """state: settings of the table; the windows wanted are those of a table in memory."""
    write(context, records(60_000, context.random.randrange(1 << 30), keys))
    run(context, pipeline(KINDS[kind]))
    wanted = output(context)
    assert sum(wanted.values()) > 1000, "too few windows to show anything"
    (context.dir / "out.jsonl").unlink()
    for path in (context.dir / "sums.state").iterdir():
        path.unlink()
    delays = [context.random.uniform(0, 0.06) for _ in range(scale(12, 200))]
    kills = kill_until_done(context, pipeline(KINDS[kind], **({"state": state} if state else {})), delays)
    context.say(f"{kills} kills, {sum(wanted.values())} windows")
    assert kills > 0, "not even the commit that should have killed it did"
    assert output(context) == wanted, "killed and restarted, the windows are others"


for _kind in KINDS:
    def _killed(context, kind=_kind):
        killed(context, kind)
    _killed.__name__ = f"killed_{_kind}"
    case(_killed)


@case
def killed_larger_than_memory(context):
    """Some 4000 open windows with three entries each, of which a fifth fits into memory."""
    KINDS["wide"] = {"tumbling": "1s", "grace": "20ms"}
    killed(context, "wide", keys=20_000, state={"table": "rocksdb", "memory": "1MiB"})
    left = [path.name for path in (context.dir / "sums.state").glob("table.*")]
    assert left == ["table.0.lock"], f"the table on disk was left behind: {left}"


@case
def hold_and_go_on(context):
    """With on_end: hold windows stay open for the next run, which sees more of the file."""
    made = records(4000, 7)
    write(context, made)
    run(context, pipeline(KINDS["tumbling"]))
    wanted = output(context)
    (context.dir / "out.jsonl").unlink()
    for path in (context.dir / "sums.state").iterdir():
        path.unlink()
    write(context, made[:1500])
    run(context, pipeline(KINDS["tumbling"], on_end="hold"))
    write(context, made)
    run(context, pipeline(KINDS["tumbling"]))
    assert output(context) == wanted, "in two runs the windows are others"


@case
def another_step_is_refused(context):
    write(context, records(2000, 1))
    run(context, pipeline(KINDS["tumbling"], on_end="hold"))
    changed = json.loads(pipeline(KINDS["tumbling"]))
    changed["steps"][0]["name"] = "other"
    log = run(context, json.dumps(changed), expect=78)
    expect_in(log, 'there is state of a step \\"sums\\"', "Give the step its old name")


@case
def other_aggregates_and_windows_are_refused(context):
    """What is kept would mean something else. Grace and expressions may change."""
    write(context, records(2000, 1))
    run(context, pipeline(KINDS["tumbling"], on_end="hold"))
    for change in ({"aggregate": {"n": "count"}}, {"aggregate": {"n": "sum(.v)", "total": "count"}},
                   {"tumbling": "77ms"}, {"tumbling": None, "session": "1s"}):
        changed = json.loads(pipeline(KINDS["tumbling"], on_end="hold"))
        window = changed["steps"][0]["window"]
        window.update(change)
        changed["steps"][0]["window"] = {key: value for key, value in window.items() if value is not None}
        log = run(context, json.dumps(changed), expect=78)
        expect_in(log, 'the state of \\"sums\\" is of other aggregates', "--reset-state")
    changed = json.loads(pipeline(KINDS["tumbling"], on_end="hold"))
    changed["steps"][0]["window"]["grace"] = "1s"
    run(context, json.dumps(changed))


@case
def much_in_one_epoch(context):
    """An epoch that changes more than an entry of the log can hold ends before that."""
    count = 300_000
    pad = {"generate": {"count": count, "template": '{k: .n, pad: ("x" * 1000)}'}}
    config = text("sums", pad, {"drop": {}}, commit_interval="60s", on_end="hold",
                  state={"log": "file", "dir": "sums.state"}, steps=[
        {"name": "sums", "aggregate": {"key": ".k", "aggregate": {"pad": "last(.pad)"}}}])
    run(context, config)
    assert (context.dir / "sums.state" / "state.log").stat().st_size > count * 1000
    expect_in(run(context, config), "state restored", f'"keys":{2 * count}')


@case
def killed_when_the_log_changes_its_file(context):
    """A second file begins with the snapshots, and takes the place of the first when they are complete. Killed at
    both moments, again and again: nothing is lost or counted twice, and the log stays small."""
    count, keys = scale(400_000, 2_000_000), 1000
    source = {"generate": {"count": count, "template": f'{{k: (.n % {keys}), pad: ("x" * 1000)}}'}}
    aggregate = {"key": ".k", "aggregate": {"n": "count", "pad": "last(.pad)"}}
    config = text("sums", source, {"file": {"path": "out.jsonl"}}, commit_interval="20ms", on_end="hold",
                  state={"log": "file", "dir": "sums.state"},
                  steps=[{"name": "sums", "aggregate": aggregate}, {"map": ".n"}])
    first, second = (context.dir / "sums.state" / name for name in ("state.log", "state.log.next"))
    for is_there in [True, False] * scale(2, 10):
        process = start(context, config)
        while second.exists() != is_there:  # without a pause: it is there for some commits only
            assert process.poll() is None, f"it ended without that:\n{log_of(context)[-2000:]}"
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    run(context, config)
    wanted = [str(n // keys + 1) for n in range(count)]
    assert (context.dir / "out.jsonl").read_text().splitlines() == wanted, "killed, it counts otherwise"
    state, epoch = keys * 2200, 48 << 20  # with its piece of the snapshot
    have = first.stat().st_size + (second.stat().st_size if second.exists() else 0)
    assert have < (32 << 20) + 6 * state + epoch, f"the log has {have} bytes"


@case
def shards_are_restored_side_by_side(context):
    """More shards than lanes, of different sizes; then each of them in turn has a frame that is damaged, in an
    entry of the file that is sound."""
    count, parts = 40_000, 5
    source = {"generate": {"count": count, "partitions": parts, "template": "{k: (.n % 7777)}"}}
    config = text("sums", source, {"drop": {}}, lanes=3, on_end="hold", log={"format": "json"},
                  state={"log": "file", "dir": "sums.state"}, steps=[
        {"name": "sums", "aggregate": {"key": ".k", "aggregate": {"n": "count"}}}])
    run(context, config)
    said = run(context, config)
    lines = [json.loads(line) for line in said.splitlines()]
    keys = {line["partition"]: line["keys"] for line in lines if line["message"] == "state restored"}
    wanted = {part: len({n % 7777 for n in range(part, count, parts)}) for part in range(parts)}
    assert keys == wanted, f"{keys}, not {wanted}"
    log = context.dir / "sums.state" / "state.log"
    sound = log.read_bytes()
    for part in range(parts):
        log.write_bytes(with_damaged_frame(sound, part))
        (context.dir / "weir.log").unlink()
        expect_in(run(context, config, expect=1), "the state log is damaged at frame",
                  f"generate, partition {part}")
    log.write_bytes(sound)
    run(context, config)


def first_frame(log):
    """Its number, which grows when the log is cut."""
    made = log.read_bytes()
    return struct.unpack_from("<Q", made, made.index(b"WSF1") + 16)[0]


@case
def state_of_a_file_that_is_away_outlives_a_cut(context):
    """Two files; then one is away while the log grows until it is cut, twice; then it is back, and has grown."""
    steps = [{"map": '{k, pad: (if .k | startswith("a") then "x" * 10000 else "y" end)}'},
             {"name": "sums", "aggregate": {"key": ".k", "aggregate": {"n": "count", "pad": "last(.pad)"}}},
             {"filter": '.key | startswith("b")'}]
    config = text("sums", {"file": {"path": "in-*.jsonl"}}, {"file": {"path": "out.jsonl"}}, steps=steps,
                  commit_interval="5ms", on_end="hold")
    first, second = context.dir / "in-a.jsonl", context.dir / "in-b.jsonl"
    away, log = context.dir / "away.jsonl", context.dir / "sums.state" / "state.log"

    def append(path, name, count, keys):
        with path.open("a") as file:
            file.writelines(f'{{"k": "{name}{i % keys}"}}\n' for i in range(count))

    append(first, "a", 2000, 1000)
    append(second, "b", 3000, 300)
    run(context, config)
    second.rename(away)
    for _ in range(2):
        before, runs = first_frame(log), 0
        while first_frame(log) == before:
            append(first, "a", 30_000, 1000)
            run(context, config)
            runs += 1
            assert runs < 40, "the log is never cut"
    away.rename(second)
    append(second, "b", 300, 300)
    said = run(context, config)
    assert "begins empty" not in said, said
    counts = {}
    for line in (context.dir / "out.jsonl").read_text().splitlines():
        made = json.loads(line)
        counts[made["key"]] = made["n"]
    assert len(counts) == 300 and set(counts.values()) == {11}, counts


def with_damaged_frame(log, part):
    """The first frame of that shard has another byte; the checksum of its entry is right."""
    checksum = ctypes.CDLL("libxxhash.so.0").XXH3_64bits
    checksum.restype, checksum.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_size_t)
    name = b"source.generate\0generate\0" + struct.pack("<i", part) + b"WSF1"
    place = log.index(name) + len(name) + 50
    begin = log.rindex(b"WEPO", 0, place)
    size = struct.unpack_from("<I", log, begin + 4)[0]
    entry = bytearray(log[begin:begin + size - 8])
    entry[place - begin] ^= 1
    return log[:begin] + bytes(entry) + struct.pack("<Q", checksum(bytes(entry), len(entry))) + log[begin + size:]


@case
def damage_is_never_used(context):
    """A small log with a byte flipped, or cut: refused, or as good as an earlier commit."""
    write(context, records(400, 3, keys=3))
    config = pipeline(KINDS["tumbling"], on_end="hold")
    run(context, config)
    wanted = output(context)
    log = context.dir / "sums.state" / "state.log"
    sound = log.read_bytes()
    refused = 0
    places = sorted(context.random.sample(range(len(sound)), scale(60, 1500)))
    for at in places:
        for damaged in (sound[:at] + bytes([sound[at] ^ 0x40]) + sound[at + 1:], sound[:at]):
            log.write_bytes(damaged)
            (context.dir / "weir.log").unlink(missing_ok=True)
            try:
                run(context, config)
            except AssertionError:
                text = (context.dir / "weir.log").read_text()
                # Cut before the first commit: nothing says that the output is this pipeline's.
                words = ("damaged", "shorter", "state", "not of this pipeline")
                assert any(word in text for word in words), text[-500:]
                refused += 1
                continue
            finally:
                log.write_bytes(sound)
            assert output(context) == wanted, f"damage at byte {at} was used"
            (context.dir / "out.jsonl").write_text("".join(f"{line}\n" for line in wanted.elements()))
    context.say(f"{2 * len(places)} damaged logs, {refused} refused")


if __name__ == "__main__":
    main()
