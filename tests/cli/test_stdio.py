# SPDX-License-Identifier: Apache-2.0
"""Standard input and output: pipelines of a shell. Lines come through unchanged and at once, back-
pressure is bounded, and neither an open input nor a reader that stopped holds the program."""
import fcntl
import os
import signal
import subprocess
import time

import wait
from harness import case, main
from local_pipeline import expect_equal, expect_in, join, lines, log_of, run, start, text


def through(**more):
    return text("through", {"stdin": more.pop("stdin", {})}, {"stdout": {}}, **more)


def feed(context, data, config=None):
    """Through a pipe on both sides."""
    process = start(context, config or through(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    have, _ = process.communicate(data, timeout=120)
    assert process.returncode == 0, log_of(context)[-2000:]
    return have


@case
def pipes_carry_lines_unchanged(context):
    block = 256 * 1024
    kinds = [b"plain", b"\x00nul", b"\xff\xfe broken", b"q" * block, b"r" * (block - 1),
             b"s" * (block + 1), b"t" * (5 * block), b"u", b"v" * (block // 2)] + lines(100000)
    expect_equal(feed(context, join(kinds) + b"\n\nlast\r\nno end"),
                 join(kinds + [b"last", b"no end"]))


@case
def files_as_standard_input_and_output(context):
    data = join(lines(100000))
    (context.dir / "in.txt").write_bytes(data)
    (context.dir / "out.txt").write_bytes(b"before\n")
    with open(context.dir / "in.txt", "rb") as source, open(context.dir / "out.txt", "ab") as sink:
        run(context, through(), stdin=source, stdout=sink)
    expect_equal((context.dir / "out.txt").read_bytes(), b"before\n" + data)


@case
def empty_and_closed_input(context):
    expect_equal(feed(context, b""), b"")
    expect_equal(feed(context, b"\n\n"), b"")
    expect_equal(feed(context, b"\n\nx\n", through(stdin={"empty_lines": "keep"})), b"\n\nx\n")


@case
def a_line_comes_out_at_once(context):
    process = start(context, through(commit_interval="60s"), stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE)
    for i in range(20):
        process.stdin.write(b"line %d\n" % i)
        process.stdin.flush()
        began = time.monotonic()
        assert process.stdout.readline() == b"line %d\n" % i
        assert i == 0 or time.monotonic() - began < 2, "it waits for the commit"
    process.stdin.close()
    assert process.wait(20) == 0, log_of(context)[-2000:]


@case
def a_signal_ends_it_while_input_stays_open(context):
    process = start(context, through(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdin.write(b"a\nb\nhalf")
    process.stdin.flush()
    assert process.stdout.readline() + process.stdout.readline() == b"a\nb\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0, log_of(context)[-2000:]
    expect_equal(process.stdout.read(), b"")


@case
def a_reader_that_goes_away_ends_it(context):
    read, write = os.pipe()
    process = start(context, through(), stdin=subprocess.PIPE, stdout=write)
    os.close(write)
    os.close(read)
    process.stdin.write(b"a\n")
    process.stdin.flush()
    assert process.wait(10) == 1, log_of(context)[-2000:]
    expect_in(log_of(context), "standard output was closed by its reader")


def fill(process):
    """Writes until it is held up; returns how many bytes went in."""
    fcntl.fcntl(process.stdin, fcntl.F_SETFL, os.O_NONBLOCK)
    block = join([b"x" * 99] * 10000)
    taken, last = 0, time.monotonic()

    def stuck():
        nonlocal taken, last
        try:
            while True:
                # A piece may go in part: go on where it ended.
                taken += os.write(process.stdin.fileno(), block[taken % 100:])
                last = time.monotonic()
        except BlockingIOError:
            return time.monotonic() - last > 1
    wait.until(stuck, 60, "the writer is held up")
    return taken


@case
def a_reader_that_stops_holds_it_up_within_bounds(context):
    """Much more than the window goes in; the writer is held up, memory is not used up."""
    process = start(context, through(in_flight="8MiB", commit_interval="20ms"),
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    taken = fill(process)
    assert 100000 < taken < 16 << 20, f"{taken} bytes went in"
    process.stdin.close()
    have = process.stdout.read()
    assert process.wait(20) == 0, log_of(context)[-2000:]
    want = join([b"x" * 99] * (taken // 100))
    expect_equal(have, want + join([b"x" * (taken % 100)] if taken % 100 else []))


@case
def a_signal_ends_it_while_the_reader_stops(context):
    process = start(context, through(shutdown_timeout="500ms"), stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE)
    fill(process)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 1, log_of(context)[-2000:]
    expect_in(log_of(context), "shutdown_timeout")


@case
def the_mode_of_shared_descriptors_stays(context):
    first, second = os.pipe(), os.pipe()
    process = start(context, through(), stdin=first[0], stdout=second[1])
    os.write(first[1], b"a\n")
    assert os.read(second[0], 10) == b"a\n"
    for descriptor in (first[0], second[1]):
        assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_NONBLOCK == 0
    os.close(first[1])
    assert process.wait(10) == 0
    for descriptor in (first[0], *second):
        os.close(descriptor)


@case
def a_line_that_is_too_long_is_named(context):
    process = start(context, through(stdin={"max_line": 1024}), stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE)
    try:
        have, _ = process.communicate(b"short\n" + b"x" * 2000000 + b"\n", timeout=60)
    except BrokenPipeError:
        have = b"short\n"
    assert process.wait(20) == 1, log_of(context)[-2000:]
    expect_equal(have, b"short\n")
    expect_in(log_of(context), "the line at byte 6 is longer than 1024 bytes", "max_line")


main()
