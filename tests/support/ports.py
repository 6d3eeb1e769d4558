# SPDX-License-Identifier: Apache-2.0
"""Ports of 127.0.0.1 for the servers of a test. They are reserved for this process until it ends, so nobody
else gets one while its server is down: no outgoing connection, as they lie below the range of those, and
no other test, as each block of them is held by a lock on a file that all tests of this user see."""
import fcntl
import os
import pathlib
import random
import socket
import tempfile

BLOCK = 64
FIRST, END = 15000, 32000

_held = []  # open files: their locks end with the process
_own = iter(())


def block():
    """The first of BLOCK ports in a row."""
    directory = pathlib.Path(tempfile.gettempdir()) / f"weir-test-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    firsts = list(range(FIRST, END - BLOCK, BLOCK))
    random.SystemRandom().shuffle(firsts)
    for first in firsts:
        holder = open(directory / str(first), "ab")
        try:
            fcntl.flock(holder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder.close()
            continue
        if all(_is_free(port) for port in range(first, first + BLOCK)):
            _held.append(holder)
            return first
        holder.close()
    raise AssertionError(f"no {BLOCK} free ports in a row from {FIRST} to {END}")


def free():
    """One port."""
    global _own
    port = next(_own, None)
    if port is None:
        first = block()
        _own = iter(range(first, first + BLOCK))
        port = next(_own)
    return port


def _is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
