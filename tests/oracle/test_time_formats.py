#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: an event time means what `time_format` says, numbers of every unit and texts of every pattern, in
whatever zone the process runs; what is no time fails the record and nothing else.

Method: time_formats.jsonl has formats, values and the milliseconds since 1970 that they are (null: no time).
A window of one record shows the time of each; what fails goes to the dead letters."""
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def run(weir, folder, form, rows, zone):
    for name in ("out", "dead"):
        pathlib.Path(folder, name).unlink(missing_ok=True)
    pathlib.Path(folder, "in").write_text("".join(json.dumps({"i": i, "t": row["time"]}) + "\n"
                                                  for i, row in enumerate(rows)))
    pipeline = {"name": "t", "http": "off", "source": {"file": {"path": "in"}}, "state": {"log": "none"},
                "steps": [{"window": {"count": 1, "key": ".i", "time": ".t", "time_format": form,
                                      "aggregate": {"n": "count"}}}],
                "sink": {"file": {"path": "out"}}, "dead_letter": {"file": {"path": "dead"}}}
    pathlib.Path(folder, "t.yaml").write_text(json.dumps(pipeline))
    done = subprocess.run([weir, "run", "t.yaml"], cwd=folder, env=os.environ | {"TZ": zone}, timeout=60,
                          check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    read = [[json.loads(line) for line in pathlib.Path(folder, name).read_text().splitlines()]
            if pathlib.Path(folder, name).exists() else [] for name in ("out", "dead")]
    return {r["key"]: r["window"] for r in read[0]}, {r["i"] for r in read[1]}


def main():
    weir, wrong = os.path.abspath(os.environ["WEIR_BIN"]), 0
    groups = collections.defaultdict(list)
    for line in (HERE / "time_formats.jsonl").read_text().splitlines():
        row = json.loads(line)
        groups[row["format"]].append(row)
    assert {"ms", "s", "us", "ns", "rfc3339"} < set(groups)
    with tempfile.TemporaryDirectory() as folder:
        for form, rows in groups.items():
            for zone in ("UTC", "America/New_York"):
                shown, dead = run(weir, folder, form, rows, zone)
                for i, row in enumerate(rows):
                    found = None if i in dead else shown.get(i, {}).get("start")
                    if found != row["ms"] or (i in dead) == (i in shown):
                        wrong += 1
                        print(f"{form} {row['time']!r} in {zone}: {found}, not {row['ms']} {shown.get(i)}")
    print(f"{sum(map(len, groups.values()))} times, {wrong} wrong")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
