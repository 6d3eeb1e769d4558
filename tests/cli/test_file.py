# SPDX-License-Identifier: Apache-2.0
"""File to file is exactly-once: whatever kills the program and whenever, the output is the input's
lines, each once and in order. And what cannot be read or written is refused with the reason."""
import resource
import signal
import subprocess

import wait
from harness import case, main, scale
from local_pipeline import (expect_equal, expect_in, join, kill_until_done, lines, log_of, run,
                            start, text)


def copy(source=None, sink=None, **more):
    return text("copy", {"file": source or {"path": "in.txt"}},
                {"file": {"path": "out.txt"} | (sink or {})},
                **({"commit_interval": "10ms"} | more))


def output(context, name="out.txt"):
    return (context.dir / name).read_bytes()


# ---- framing -----------------------------------------------------------------------------------


@case
def lines_of_every_kind_are_copied(context):
    block = 256 * 1024
    kinds = [b"plain", b"", b"\x00nul", b"\xff\xfe broken", b" " * 10, b"\r inside \r.", b"q" * block,
             b"r" * (block - 1), b"s" * (block + 1), b"t" * (5 * block), b"u", b"v" * (block // 2)]
    kinds += [b"%07d" % i * (i % 50) for i in range(30000)]
    (context.dir / "in.txt").write_bytes(join(kinds) + b"\n\nlast without an end")
    run(context, copy())
    expect_equal(output(context),
                 join([kind for kind in kinds if kind] + [b"last without an end"]))


@case
def line_ends_of_windows_and_empty_lines(context):
    (context.dir / "in.txt").write_bytes(b"a\r\n\r\n\nb\r\n\rc\r")
    run(context, copy({"path": "in.txt", "empty_lines": "keep"}))
    expect_equal(output(context), b"a\n\n\nb\n\rc\r\n")


@case
def empty_input_ends(context):
    (context.dir / "in.txt").write_bytes(b"")
    run(context, copy())
    expect_equal(output(context), b"")


@case
def several_files_in_order_of_their_names(context):
    want = []
    for i in range(25):
        (context.dir / f"part-{i:02}.txt").write_bytes(join([b"%d:%d" % (i, k) for k in range(i)]))
        want += [b"%d:%d" % (i, k) for k in range(i)]
    run(context, copy({"path": "part-*.txt"}))
    expect_equal(output(context), join(want))
    run(context, copy({"paths": ["part-0?.txt", "part-1*.txt", "part-2*", "part-03.txt"]}))
    expect_equal(output(context), join(want))


@case
def lanes_share_the_output(context):
    files = {i: [b"%d:%d" % (i, k) for k in range(20000)] for i in range(6)}
    for i, content in files.items():
        (context.dir / f"part-{i}.txt").write_bytes(join(content))
    run(context, copy({"path": "part-*.txt"}, lanes=3))
    have = output(context).split(b"\n")[:-1]
    assert len(have) == 6 * 20000, len(have)
    for i, content in files.items():
        assert [line for line in have if line.startswith(b"%d:" % i)] == content, f"file {i}"


# ---- positions ---------------------------------------------------------------------------------


@case
def second_run_adds_nothing_and_new_lines_once(context):
    data = lines(50000)
    (context.dir / "in.txt").write_bytes(join(data))
    run(context, copy())
    expect_equal(output(context), join(data))
    run(context, copy())
    expect_equal(output(context), join(data))
    with open(context.dir / "in.txt", "ab") as file:
        file.write(b"one more\nand another")
    run(context, copy())
    expect_equal(output(context), join(data + [b"one more", b"and another"]))
    with open(context.dir / "in.txt", "ab") as file:
        file.write(b"\nthe end\n")
    run(context, copy())
    expect_equal(output(context), join(data + [b"one more", b"and another", b"the end"]))


@case
def line_that_grew_after_it_was_read_is_refused(context):
    (context.dir / "in.txt").write_bytes(b"a\nhalf")
    run(context, copy())
    with open(context.dir / "in.txt", "ab") as file:
        file.write(b" a line\n")
    expect_in(run(context, copy(), expect=1), "in.txt", "data_loss", "byte 6", "complete")
    expect_equal(output(context), b"a\nhalf\n")


@case
def input_that_shrank_is_refused(context):
    (context.dir / "in.txt").write_bytes(b"a\nb\nc\n")
    run(context, copy())
    (context.dir / "in.txt").write_bytes(b"a\n")
    expect_in(run(context, copy(), expect=1), "in.txt", "has 2 bytes", "byte 6", "data_loss")


@case
def stopping_in_the_middle_commits(context):
    data = lines(600000)
    (context.dir / "in.txt").write_bytes(join(data))
    stops = 0
    for round in range(1, 100):
        process = start(context, copy(), stdout=subprocess.DEVNULL)
        while log_of(context).count("partition assigned") < round and process.poll() is None:
            pass  # without a pause: it reads on while this waits
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            stops += 1
        assert process.wait(40) == 0, log_of(context)[-2000:]
        if (context.dir / "out.txt").stat().st_size == (context.dir / "in.txt").stat().st_size:
            break
    context.say(f"{stops} stops")
    assert stops > 0
    run(context, copy())  # the rest, undisturbed: a slow build does not get through between stops
    expect_equal(output(context), join(data))


# ---- crashes -----------------------------------------------------------------------------------


@case
def killed_at_random(context):
    data = lines(scale(400000, 2000000))
    (context.dir / "in.txt").write_bytes(join(data))
    delays = [context.random.uniform(0, 0.012) for _ in range(scale(40, 400))]
    kills = kill_until_done(context, copy(commit_interval="5ms"), delays)
    context.say(f"{kills} kills")
    assert kills > 0, "not even the commit that should have killed it did"
    expect_equal(output(context), join(data))
    run(context, copy())
    expect_equal(output(context), join(data))


@case
def killed_at_random_with_lanes(context):
    files = {i: [b"%d:%07d" % (i, k) for k in range(60000)] for i in range(8)}
    for i, content in files.items():
        (context.dir / f"part-{i}.txt").write_bytes(join(content))
    delays = [context.random.uniform(0, 0.012) for _ in range(scale(20, 200))]
    kills = kill_until_done(context, copy({"path": "part-*.txt"}, lanes=4, commit_interval="5ms"),
                            delays)
    context.say(f"{kills} kills")
    assert kills > 0, "not even the commit that should have killed it did"
    have = output(context).split(b"\n")[:-1]
    assert len(have) == 8 * 60000, len(have)
    for i, content in files.items():
        assert [line for line in have if line.startswith(b"%d:" % i)] == content, f"file {i}"


@case
def killed_at_each_failpoint(context):
    data = lines(20000)
    for point in ["after_poll", "after_produce", "before_log_sync", "after_log_sync"]:
        for times in [1, 2, 3]:
            for path in context.dir.glob("out.txt"):
                path.unlink()
            for path in context.dir.glob("copy.state/*"):
                path.unlink()
            (context.dir / "in.txt").write_bytes(join(data))
            process = start(context, copy(), env={"WEIR_FAILPOINT": f"{point}:{times}"},
                            stdout=subprocess.DEVNULL)
            code = process.wait(60)
            assert code in (-signal.SIGKILL, 0), f"{point}:{times} ended with {code}"
            assert code != 0 or times > 1, f"{point}:{times} was not passed"
            run(context, copy())
            expect_equal(output(context), join(data), f"the output after {point}:{times}")


# ---- the output file ---------------------------------------------------------------------------


@case
def content_of_others_is_not_touched(context):
    (context.dir / "in.txt").write_bytes(b"a\nb\n")
    (context.dir / "out.txt").write_bytes(b"precious")
    expect_in(run(context, copy(), expect=78), "not empty and not of this pipeline", "existing")
    expect_equal(output(context), b"precious")
    run(context, copy(sink={"existing": "append"}))
    expect_equal(output(context), b"precious\na\nb\n")
    run(context, copy(sink={"existing": "append"}))
    expect_equal(output(context), b"precious\na\nb\n")
    (context.dir / "out2.txt").write_bytes(b"worthless")
    run(context, copy(sink={"path": "out2.txt", "existing": "overwrite"},
                      state={"dir": "other.state"}))
    expect_equal(output(context, "out2.txt"), b"a\nb\n")


@case
def output_that_shrank_is_refused(context):
    (context.dir / "in.txt").write_bytes(b"a\nb\n")
    run(context, copy())
    (context.dir / "out.txt").write_bytes(b"a")
    expect_in(run(context, copy(), expect=1), "out.txt has 1 bytes, but 4 were committed")
    expect_equal(output(context), b"a")


@case
def uncommitted_output_is_cut(context):
    (context.dir / "in.txt").write_bytes(b"a\nb\n")
    run(context, copy())
    with open(context.dir / "out.txt", "ab") as file:
        file.write(b"left behind by a crash\nand ha")
    expect_in(run(context, copy()), "cut what was not committed")
    expect_equal(output(context), b"a\nb\n")


@case
def without_a_log_each_run_appends(context):
    (context.dir / "in.txt").write_bytes(b"a\nb\n")
    (context.dir / "out.txt").write_bytes(b"torn")
    config = copy(state={"log": "none"})
    expect_in(run(context, config), "torn")
    run(context, config)
    expect_equal(output(context), b"torn\na\nb\na\nb\n")


@case
def one_writer_per_file(context):
    (context.dir / "in.txt").write_bytes(b"a\n")
    first = start(context, text("endless", {"generate": {"rate": 10}},
                                {"file": {"path": "out.txt"}}), name="first",
                  stdout=subprocess.DEVNULL)
    wait.until(lambda: (context.dir / "out.txt").exists() and output(context), 20, "it writes")
    expect_in(run(context, copy(sink={"existing": "append"}), expect=78), "being written by another")
    first.send_signal(signal.SIGTERM)
    assert first.wait(20) == 0


@case
def full_disk_is_waited_for(context):
    """The limit of a file's size answers a write as a full disk does, and can be raised."""
    data = lines(200000)
    (context.dir / "in.txt").write_bytes(join(data))
    limit = 2000000

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    process = start(context, copy(), stdout=subprocess.DEVNULL, preexec_fn=limited)
    wait.until(lambda: "no room for the file" in log_of(context), 30, "it says so")
    have = output(context)
    assert len(have) <= limit and join(data).startswith(have), "not a prefix"
    assert have.endswith(b"\n"), "a torn line"
    assert process.poll() is None, log_of(context)[-2000:]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE,
                     (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert process.wait(60) == 0, log_of(context)[-2000:]
    expect_in(log_of(context), "there is room again")
    expect_equal(output(context), join(data))


@case
def stopped_while_the_disk_is_full(context):
    data = lines(100000)
    (context.dir / "in.txt").write_bytes(join(data))

    def limited():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, resource.RLIM_INFINITY))
    process = start(context, copy(shutdown_timeout="500ms"), stdout=subprocess.DEVNULL,
                    preexec_fn=limited)
    wait.until(lambda: "no room for the file" in log_of(context), 30, "it says so")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 1, log_of(context)[-2000:]
    run(context, copy())
    expect_equal(output(context), join(data))


# ---- what is refused ---------------------------------------------------------------------------


@case
def what_cannot_be_read_or_written(context):
    (context.dir / "in.txt").write_bytes(b"a\n")
    (context.dir / "folder").mkdir()
    for source, words in [({"path": "missing.txt"}, ["missing.txt", "No such file"]),
                          ({"path": "missing-*.txt"}, ["no file matches missing-*.txt"]),
                          ({"path": "folder"}, ["folder is not a regular file", "stdin"])]:
        expect_in(run(context, copy(source), expect=78), *words)
    for path, words in [("missing/out.txt", ["missing/out.txt", "No such file"]),
                        ("folder", ["folder", "Is a directory"]),
                        ("/dev/null", ["not a regular file"])]:
        expect_in(run(context, copy(sink={"path": path}), expect=78), *words)


@case
def line_that_is_too_long(context):
    data = [b"short"] * 1000
    (context.dir / "in.txt").write_bytes(join(data) + b"x" * 5000 + b"\nmore\n")
    log = run(context, copy({"path": "in.txt", "max_line": 4096}), expect=1)
    expect_in(log, "in.txt: the line at byte 6000 is longer than 4096 bytes", "max_line")
    expect_equal(output(context), join(data))
    run(context, copy({"path": "in.txt", "max_line": 5000}))
    expect_equal(output(context), join(data) + b"x" * 5000 + b"\nmore\n")


main()
