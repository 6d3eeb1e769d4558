#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the contenders that bench/jq/run has built; prints a table per document as Markdown.

    compare.py FOLDER PROGRAMS      FOLDER has weir, libjq, jaq, gojq and the documents

Contenders take turns on one core, three times; the least time counts, because others can only add.
"""
import json
import math
import os
import pathlib
import subprocess
import sys

CONTENDERS = ["weir", "libjq", "jaq", "gojq"]
DOCUMENTS = ["300 B", "2 KB", "20 KB"]
TURNS, SECONDS = 3, 0.03  # per contender and program


def call(program, arguments, document):
    return subprocess.run([str(program), *arguments], input=document, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)


def results(folder, name, program, document):
    """The values it prints, or None when it fails."""
    done = call(folder / name, [program, "0"], document)
    if done.returncode != 0:
        return None
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


def time_ns(folder, name, program, document, rounds):
    return float(call(folder / name, [program, str(rounds)], document).stdout)


def measure(folder, program, document):
    wanted = results(folder, "libjq", program, document)
    times, differ = {}, []
    rounds = {}
    for name in CONTENDERS:
        if results(folder, name, program, document) != wanted:
            differ.append(name)
        else:
            once = time_ns(folder, name, program, document, 20)
            rounds[name] = max(20, int(SECONDS * 1e9 / once))
    for _ in range(TURNS):
        for name, count in rounds.items():
            spent = time_ns(folder, name, program, document, count)
            times[name] = min(spent, times.get(name, spent))
    return times, differ


def main():
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    folder, programs = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    programs = programs.read_text().splitlines()
    wrong = slower = 0
    for size in DOCUMENTS:
        document = (folder / size).read_bytes()
        ratios = {name: [] for name in CONTENDERS[1:]}
        print(f"\n### {size} ({len(document)} bytes), ns per document\n")
        print("| program | weir | libjq | jaq | gojq |\n|---|---:|---:|---:|---:|")
        for program in programs:
            times, differ = measure(folder, program, document)
            cells = [f"{times[name]:,.0f}" if name in times else "differs" for name in CONTENDERS]
            print(f"| `{program.replace('|', chr(92) + '|')}` | " + " | ".join(cells) + " |", flush=True)
            wrong += "weir" in differ
            for name in ratios:
                if name in times and "weir" in times:
                    ratios[name].append(times[name] / times["weir"])
                    slower += times[name] < times["weir"]
        print("| **geometric mean, times weir** | 1 | " + " | ".join(
            f"{math.exp(sum(map(math.log, all_)) / len(all_)):.1f}" for all_ in ratios.values()) + " |")
        print("| **least** | | " + " | ".join(f"{min(all_):.2f}" for all_ in ratios.values()) + " |")
    print(f"\nweir slower than a peer: {slower}; wrong: {wrong}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
