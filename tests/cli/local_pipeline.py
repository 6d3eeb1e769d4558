# SPDX-License-Identifier: Apache-2.0
"""Pipelines without a server: their text, running them to the end, and the input they read."""
import json
import os
import signal
import subprocess

import harness


def text(name, source, sink, **more):
    """A pipeline as JSON, which is YAML. A value of None leaves its key out."""
    config = {"name": name, "source": source, "sink": sink, "http": "off", "lanes": 1,
              "state": {"dir": f"{name}.state"}, "log": {"format": "json", "level": "info"}} | more
    return json.dumps({key: value for key, value in config.items() if value is not None}, indent=1)


def write(context, config, name="weir"):
    path = context.dir / f"{name}.yaml"
    path.write_text(config)
    return path


def environment():
    return {key: value for key, value in os.environ.items()
            if key in ("PATH", "HOME", "LANG", "TMPDIR") or "SAN_OPTIONS" in key}


def start(context, config, env=None, name="weir", stdin=subprocess.DEVNULL, **options):
    """weir in the case's directory, its log in <name>.log."""
    path = write(context, config, name)
    log = open(context.dir / f"{name}.log", "ab")
    process = subprocess.Popen([str(harness.weir_binary()), "run", path.name], cwd=context.dir,
                               stdin=stdin, stderr=log, env=environment() | (env or {}), **options)
    log.close()

    def end():
        if process.poll() is None:
            process.kill()
            process.wait(10)
    context.cleanup(end)
    return process


def run(context, config, expect=0, seconds=120, stdout=subprocess.DEVNULL, **options):
    """Runs it to its end; returns the log of this run."""
    before = len(log_of(context, options.get("name", "weir")))
    process = start(context, config, stdout=stdout, **options)
    code = process.wait(seconds)
    log = log_of(context, options.get("name", "weir"))[before:]
    if code != expect:
        raise AssertionError(f"weir ended with {code}, not {expect}:\n{log[-2000:]}")
    return log


def log_of(context, name="weir"):
    path = context.dir / f"{name}.log"
    return path.read_text("utf-8", "replace") if path.exists() else ""


def lines(count, seed=0):
    """Distinct lines of different lengths, as bytes."""
    return [json.dumps({"i": i, "s": "x" * ((i * 7 + seed) % 90)}).encode() for i in range(count)]


def join(items):
    return b"".join(item + b"\n" for item in items)


def expect_equal(have, want, what="the output"):
    """Compares bytes; says where they part instead of printing them."""
    if have == want:
        return
    have_lines, want_lines = have.split(b"\n"), want.split(b"\n")
    at = next((i for i, (a, b) in enumerate(zip(have_lines, want_lines)) if a != b),
              min(len(have_lines), len(want_lines)))
    raise AssertionError(f"{what} has {len(have_lines) - 1} lines, not {len(want_lines) - 1}; line "
                         f"{at} is {have_lines[at:at + 1]!r:.120}, not "
                         f"{want_lines[at:at + 1]!r:.120}")


def expect_in(log, *words):
    for word in words:
        if word not in log:
            raise AssertionError(f"the log does not say {word!r}:\n{log[-2000:]}")


def kill_until_done(context, config, delays):
    """Starts it again and again, kill -9 so many seconds after it began to read; the last time it
    runs to its end. The first kill comes at one of the first commits, so that there is one however
    fast the program is. Returns how often it was killed."""
    kills = 0
    early = {"WEIR_FAILPOINT": f"before_log_sync:{context.random.randint(1, 3)}"}
    for delay in [60] + delays:
        began = log_of(context).count("partition assigned")
        process = start(context, config, stdout=subprocess.DEVNULL, env=None if kills else early)
        while process.poll() is None and log_of(context).count("partition assigned") == began:
            pass  # without a pause: it reads on while this waits
        try:
            code = process.wait(delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            code = process.wait(10)
        if code == 0:
            return kills
        if code != -signal.SIGKILL:
            raise AssertionError(f"weir ended with {code}:\n{log_of(context)[-2000:]}")
        kills += 1
    run(context, config)
    return kills
