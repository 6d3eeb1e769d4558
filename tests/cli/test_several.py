#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: several pipelines of one process do not disturb each other, are seen through one admin server,
and live and die together.

Method: endless and bounded pipelines that write numbers to files run in one process; it is asked over
HTTP, hung up, told to stop, and one of them is made to fail. Each output must be its numbers in order."""
import json
import pathlib
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import case, main
from local_pipeline import environment, log_of, text, write

FOREVER = {"generate": {"rate": 2000}}


def counting(name, source=FOREVER, **more):
    return text(name, source, {"file": {"path": f"{name}.txt"}},
                **({"commit_interval": "20ms", "steps": [{"map": ".n"}],
                    "http": {"listen": "127.0.0.1:0"}} | more))


def begin(context, *names):
    with open(context.dir / "weir.log", "ab") as log:
        process = subprocess.Popen(
            [str(harness.weir_binary()), "run", *[f"{name}.yaml" for name in names]], cwd=context.dir,
            stdin=subprocess.DEVNULL, stderr=log, env=environment(), preexec_fn=harness.die_with_parent)

    def end():
        if process.poll() is None:
            process.kill()
            process.wait(10)
    context.cleanup(end)
    return process


def lines(context, name):
    path = context.dir / f"{name}.txt"
    return path.read_text().splitlines() if path.exists() else []


def wait_lines(context, name, more=1):
    goal = len(lines(context, name)) + more
    wait.until(lambda: len(lines(context, name)) >= goal, 30,
               f"{goal} lines of {name}; {log_of(context)[-1500:]}")


def in_order(context, name):
    found = [json.loads(line) for line in lines(context, name)]
    assert found and found == list(range(len(found))), (name, len(found))


def get(context, path):
    wait.until(lambda: "http server listens" in log_of(context), 20, "it listens")
    address = re.search(r'"address":"([^"]+)"', log_of(context))[1]
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as page:
            return page.status, page.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@case
def one_admin_server_for_all(context):
    for name in ("a", "b"):
        write(context, counting(name), name)
    process = begin(context, "a", "b")
    wait_lines(context, "a")
    wait_lines(context, "b")
    wait.until(lambda: get(context, "/readyz")[0] == 200, 20, "both are ready")
    status = json.loads(get(context, "/status")[1])
    assert [one["pipeline"] for one in status["pipelines"]] == ["a", "b"], status
    pages = get(context, "/metrics")[1]
    for name in ("a", "b"):
        assert re.search(r'stream_messages_processed_total\{[^}]*pipeline="%s"' % name, pages), pages
    assert pages.count("\nprocess_resident_memory_bytes ") == 1
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, log_of(context)
    for name in ("a", "b"):
        in_order(context, name)


@case
def bounded_ones_end_by_themselves(context):
    write(context, counting("short", {"generate": {"count": 10}}), "short")
    write(context, counting("long", {"generate": {"count": 3000, "rate": 3000}}), "long")
    process = begin(context, "short", "long")
    assert process.wait(30) == 0, log_of(context)
    assert (len(lines(context, "short")), len(lines(context, "long"))) == (10, 3000)


@case
def when_one_fails_the_others_finish(context):
    write(context, counting("good"), "good")
    write(context, counting("bad", steps=[{"map": "if .n < 1000 then .n else error(\"no\") end"}]), "bad")
    process = begin(context, "good", "bad")
    assert process.wait(30) == 1, log_of(context)
    in_order(context, "good")
    assert len(lines(context, "bad")) == 1000
    assert '"pipeline":"bad"' in log_of(context) and "no" in log_of(context)


@case
def each_file_is_read_again(context):
    for name in ("a", "b"):
        write(context, counting(name), name)
    process = begin(context, "a", "b")
    wait_lines(context, "a")
    wait_lines(context, "b")
    write(context, counting("a", commit_interval="30ms"), "a")
    write(context, counting("b", http="off"), "b")
    process.send_signal(signal.SIGHUP)
    wait.until(lambda: '"setting":"commit_interval"' in log_of(context), 20, "a reloads")
    wait.until(lambda: "share the http server" in log_of(context), 20, "b does not")
    wait_lines(context, "a", 100)
    wait_lines(context, "b", 100)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0, log_of(context)
    in_order(context, "a")
    in_order(context, "b")


@case
def what_does_not_fit_together(context):
    write(context, counting("a"), "a")
    write(context, counting("a"), "same")
    write(context, counting("c", http={"listen": "127.0.0.1:9999"}), "other")
    write(context, "name: x\nsauce: stdin\n", "wrong")
    process = begin(context, "a", "same", "other")
    assert process.wait(30) == 78
    for words in ("same.yaml:2:10: error: a.yaml has the same name", "another one than that of a.yaml"):
        assert words in log_of(context), log_of(context)
    process = begin(context, "wrong", "a", "missing")
    assert process.wait(30) == 78
    for words in ("wrong.yaml:2:1", 'did you mean "source"', "missing.yaml: error: cannot be opened"):
        assert words in log_of(context), log_of(context)


if __name__ == "__main__":
    main()
