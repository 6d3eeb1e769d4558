#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a port that a test was given is nobody else's until the test has ended, also while nothing listens there.

Method: there is but one block of ports; another process has it, and then ends."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import ports
from harness import case, main

OTHER = "import sys, ports; ports.FIRST, ports.END = {0}, {1}; print(ports.free(), flush=True); sys.stdin.read()"


@case
def a_port_stays_with_its_test(context):
    first = ports.block()  # ours: what is beside it may be anybody's
    ports._held.pop().close()
    ports.FIRST, ports.END = first, first + ports.BLOCK + 1
    other = subprocess.Popen([sys.executable, "-c", OTHER.format(ports.FIRST, ports.END)], text=True,
                             cwd=pathlib.Path(__file__).parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert int(other.stdout.readline()) == first
    try:
        taken = ports.free()
    except AssertionError:
        taken = None
    assert taken is None, f"port {taken} is given to two"
    other.communicate()
    assert ports.free() == first


if __name__ == "__main__":
    main()
