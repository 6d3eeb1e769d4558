#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the first command of the README does what it says, twice in a row, and leaves nothing running.

Method: scripts/quickstart is run without a terminal, alone and with --kafka, each twice. Every run must
print results and the same numbers; afterwards no process carries the mark that the run had in its
environment."""
import os
import pathlib
import re
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
from harness import case, main

FLIGHTS, LATE = 336_776, 27_059


def alive(mark):
    """Command lines of the processes that have the mark in their environment."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            pass  # it has ended, or is somebody else's
    return found


def twice(context, *arguments):
    for number in range(2):
        mark = f"QUICKSTART_TEST={context.random.getrandbits(64)}"
        name, _, value = mark.partition("=")
        done = subprocess.run([harness.ROOT / "scripts" / "quickstart", *arguments],
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900,
                              env=os.environ | {name: value}, check=False)
        assert done.returncode == 0, f"run {number}: {done.returncode}\n{done.stdout}{done.stderr}"
        lines = done.stdout.splitlines()
        assert lines[0].startswith('{"flight":'), done.stdout
        summary = re.fullmatch(r"(\d+) records in, (\d+) out, [\d.]+ s, \d+ records/s", lines[-1])
        assert summary, done.stdout
        assert [int(part) for part in summary.groups()] == [FLIGHTS, LATE], done.stdout
        assert not alive(mark.encode()), alive(mark.encode())


@case
def from_a_file(context):
    twice(context)


@case
def through_kafka(context):
    twice(context, "--kafka")


@case
def a_wrong_option_is_refused(context):
    done = subprocess.run([harness.ROOT / "scripts" / "quickstart", "--kafak"], capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == 2 and "usage:" in done.stderr, done


if __name__ == "__main__":
    main()
