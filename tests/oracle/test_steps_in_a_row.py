#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a step that keeps state does behind another one what it does alone with the same input, whichever two
they are.

Method: each pair runs as one pipeline, and as two of which the second reads what the first wrote. Behind a step
that makes no watermark the results are the same while the input goes on; behind a window, which tells the next
step how far time is, they may come sooner, and are the same at the end. The results of the pair are then what
`weir test` expects of it: with a restart in the middle, other batches, other epochs, and a crash at every call.
Behind two windows stands a third, so that time goes through several."""
import collections
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile

READ = {"key": ".k // .key", "time": ".t // .window.end", "grace": "60s",
        "aggregate": {"n": "count", "t": "max(.t)"}}
STEPS = {
    "dedupe": {"dedupe": {"id": ".id // (.window.start | tostring)", "ttl": "1h"}},
    "aggregate": {"aggregate": {"key": ".k // .key", "aggregate": {"n": "count", "t": "max(.t)"}}},
    "tumbling": {"window": {"tumbling": "10s", **READ}},
    "calendar": {"window": {"tumbling": {"calendar": "day", "timezone": "Europe/Berlin"}, **READ, "grace": "0s"}},
    "sliding": {"window": {"sliding": {"size": "20s", "every": "10s"}, **READ}},
    "event": {"window": {"sliding": "7s", **READ}},
    "session": {"window": {"session": "4s", **READ}},
    "count": {"window": {"count": 3, **READ}},
}
WINDOWS = [name for name, step in STEPS.items() if "window" in step]
THIRD = {"window": {"tumbling": "50s", "key": ".key", "time": ".t // .window.end", "grace": "60s",
                    "aggregate": {"n": "count"}}}
DAY = 86400_000


def records(count):
    """Two days, of which the second is far behind the first; every tenth record is there twice."""
    source, now = random.Random(7), 0
    for i in range(count):
        now += source.choice((500, 1500, 4000)) if i != count // 2 else 2 * DAY
        made = {"id": f"r{i}", "k": source.choice("ab"), "t": now - source.choice((0, 0, 2000))}
        yield from [made] * (2 if i % 10 == 9 else 1)


def pipeline(steps, on_end):
    return {"name": "row", "http": "off", "on_end": on_end, "state": {"log": "file"},
            "source": {"file": {"path": "in.jsonl"}}, "steps": steps, "sink": {"file": {"path": "out.jsonl"}}}


def run(weir, folder, steps, on_end, lines, starts=1):
    for path in pathlib.Path(folder).glob("**/*"):
        if path.is_file():
            path.unlink()
    pathlib.Path(folder, "weir.yaml").write_text(json.dumps(pipeline(steps, on_end)))
    pathlib.Path(folder, "out.jsonl").touch()
    for start in range(1, starts + 1):
        part = lines[: len(lines) * start // starts]
        pathlib.Path(folder, "in.jsonl").write_text("".join(line + "\n" for line in part))
        done = subprocess.run([weir, "run", "weir.yaml"], cwd=folder, timeout=60, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise SystemExit(f"{steps}: exit code {done.returncode}: {done.stderr.decode()[-600:]}")
    return pathlib.Path(folder, "out.jsonl").read_text().splitlines()


def tested(weir, folder, name, steps, lines, wanted):
    """The same as a case of `weir test`; what it says when it fails."""
    input_ = [{"json": json.loads(line)} for line in lines]
    input_.insert(len(input_) // 2 + 1, {"restart": True})
    case = {"name": name, "input": input_, "expect": {"sink": [{"json": json.loads(line)} for line in wanted]}}
    made = pipeline(steps, "close")
    made["source"], made["sink"] = {"kafka": {"brokers": "b:9092", "topic": "in"}}, {"kafka": {"topic": "out"}}
    del made["state"]
    pathlib.Path(folder, "row.test.yaml").write_text(json.dumps({"pipeline": made, "cases": [case]}))
    done = subprocess.run([weir, "test", "--shuffle-batches", "--crash", "row.test.yaml"], cwd=folder, timeout=120,
                          check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return [] if done.returncode == 0 else [f"weir test: {done.stdout.decode()[:1500]}"]


def check(weir, folder, first, second, long):
    """What is wrong with the pair."""
    one, two, wrong = STEPS[first], STEPS[second], []
    for on_end in ("hold", "close"):
        alone = run(weir, folder, [two], on_end, run(weir, folder, [one], on_end, long))
        together = run(weir, folder, [one, two], on_end, long)
        if first not in WINDOWS and together != alone:
            wrong.append(f"on_end {on_end}: {len(together)} results, not {len(alone)}: {together[:2]}, {alone[:2]}")
        missing = collections.Counter(alone) - collections.Counter(together)
        if missing or (on_end == "close" and len(alone) != len(together)):
            wrong.append(f"on_end {on_end}: {len(together)} results, {len(alone)} wanted, "
                         f"not there: {list(missing)[:2]}")
        if not together and first != "calendar":  # which has too few results
            wrong.append(f"on_end {on_end}: no result at all")
        again = run(weir, folder, [one, two], on_end, long, starts=2)
        if on_end == "hold" and again != together:
            wrong.append(f"with a restart {len(again)} results, not {len(together)}: {again[:2]}, {together[:2]}")
    return wrong


def main():
    weir = os.path.abspath(os.environ["WEIR_BIN"])
    long, short = ([json.dumps(record) for record in records(count)] for count in (60, 14))
    failed = 0
    with tempfile.TemporaryDirectory(prefix="weir-row-") as folder:
        for first in STEPS:
            for second in STEPS:
                wrong = check(weir, folder, first, second, long)
                steps = [STEPS[first], STEPS[second]] + [THIRD] * (first in WINDOWS and second in WINDOWS)
                wanted = run(weir, folder, steps, "hold", short)
                wrong += tested(weir, folder, f"{first}, {second}", steps, short, wanted)
                failed += bool(wrong)
                for line in wrong:
                    print(f"{first}, then {second}: {line}")
    print(f"{len(STEPS) ** 2 - failed} pairs right, {failed} wrong")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
