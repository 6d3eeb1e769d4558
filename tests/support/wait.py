# SPDX-License-Identifier: Apache-2.0
"""Waiting for conditions. Nothing in the tests sleeps for a fixed time: it waits until something is
true, and fails with what it waited for when a deadline passes first."""
import select
import time


class Timeout(AssertionError):
    pass


def until(condition, seconds, what):
    """Calls `condition` until it returns something true, and returns that. An exception of the
    condition counts as false; the last one is named when the deadline passes."""
    deadline = time.monotonic() + seconds
    last = None
    while True:
        try:
            result = condition()
            if result:
                return result
            last = None
        except AssertionError:
            raise
        except Exception as error:  # noqa: BLE001 (a server that is starting answers anything)
            last = error
        if time.monotonic() >= deadline:
            reason = f" (last: {last!r})" if last is not None else ""
            raise Timeout(f"after {seconds} s still not: {what}{reason}")
        select.select([], [], [], 0.05)


def holds(condition, seconds, what):
    """Fails as soon as `condition` is false within that many seconds: for what must never happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if not condition():
            raise AssertionError(f"no longer true: {what}")
        select.select([], [], [], 0.05)
