#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A changed configuration takes the place of the old one between two commits: nothing is lost or
written twice, what is wrong or cannot follow leaves the pipeline as it is, and the log says which."""
import json
import pathlib
import signal
import subprocess
import sys
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import case, main
from local_pipeline import environment, expect_in, log_of, start, text, write

FOREVER = {"generate": {"rate": 2000}}


def counting(sink="out.txt", called="count", **more):
    """A pipeline that writes 0, 1, 2 … to a file, until it is stopped."""
    return text(called, more.pop("source", FOREVER), {"file": {"path": sink}},
                **({"commit_interval": "20ms", "steps": [{"map": ".n"}]} | more))


def begin(context, config, *options, **more):
    path = write(context, config)
    log = open(context.dir / "weir.log", "ab")
    process = subprocess.Popen([str(harness.weir_binary()), "run", *options, path.name],
                               cwd=context.dir, stdin=subprocess.DEVNULL, stderr=log,
                               env=environment() | more.get("env", {}))
    log.close()

    def end():
        if process.poll() is None:
            process.kill()
            process.wait(10)
    context.cleanup(end)
    wait_lines(context, 1)
    return process


def have(context, name="out.txt"):
    path = context.dir / name
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_lines(context, count, name="out.txt"):
    wait.until(lambda: have(context, name) >= count, 30,
               f"{count} lines in {name}; {log_of(context)[-1500:]}")


def wait_log(context, words, times=1):
    wait.until(lambda: log_of(context).count(words) >= times, 30,
               f"the log says {words!r}; {log_of(context)[-1500:]}")


def hup(context, process, config, words, times=1):
    write(context, config)
    process.send_signal(signal.SIGHUP)
    wait_log(context, words, times)


def stop(process):
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


def numbers(context, name="out.txt"):
    return [json.loads(line) for line in (context.dir / name).read_text().splitlines()]


def settings(context):
    found = {}
    for line in log_of(context).splitlines():
        entry = json.loads(line)
        if entry["message"] == "a setting changes":
            found[entry["setting"]] = (entry["from"], entry["to"])
    return found


@case
def goes_on_where_it_stood(context):
    """Twelve reloads with other steps: each input once, in order, by one of the two programs."""
    process = begin(context, counting())
    for k in range(12):
        before = have(context)
        sign = ".n" if k % 2 else "-.n"
        hup(context, process, counting(steps=[{"map": sign}]), '"reloading"', k + 1)
        wait_log(context, '"partition assigned"', k + 2)
        wait_lines(context, before + 50)
    stop(process)
    seen = numbers(context)
    assert [abs(value) for value in seen] == list(range(len(seen))), "lost or doubled"
    assert min(seen) < 0, "the new program never ran"
    assert settings(context) == {"steps[0].map.program": ('"-.n"', ".n")}, settings(context)


@case
def errors_leave_it_running(context):
    process = begin(context, counting())
    write(context, "name: count\nsource: {generate: {rat: 5}}\nsink: {file: {}}\n")
    process.send_signal(signal.SIGHUP)
    wait_log(context, "not reloaded")
    log = log_of(context)
    expect_in(log, "the file has an error", '"line":2', '"line":3', '"file":"weir.yaml"')
    before = have(context)
    wait_lines(context, before + 100)
    stop(process)
    seen = numbers(context)
    assert seen == list(range(len(seen)))
    assert log_of(context).count('"starting"') == 1


@case
def what_cannot_follow_is_refused(context):
    process = begin(context, counting())
    wrong = [
        (counting(called="other"), "another name"),
        (counting(instance="b"), "another instance"),
        (counting(state={"dir": "elsewhere"}), "another state.dir"),
        (counting(state={"dir": "count.state", "log": "none"}), "would be left behind"),
        (counting(source=FOREVER | {"name": "renamed"}), "under another name"),
        (text("count", FOREVER, {"name": "renamed", "file": {"path": "out.txt"}}),
         "under another name"),
        (text("count", {"stdin": {}}, {"file": {"path": "out.txt"}}), "would be left behind"),
    ]
    for k, (config, words) in enumerate(wrong):
        hup(context, process, config, "not reloaded", k + 1)
        expect_in(log_of(context).splitlines()[-1], words)
    stop(process)
    assert not (context.dir / "elsewhere").exists()
    assert log_of(context).count('"starting"') == 1
    seen = numbers(context)
    assert seen == list(range(len(seen)))


@case
def state_that_cannot_follow_is_refused(context):
    """A step that keeps state moves, goes, becomes another or counts something else: all that is said
    before anything stops. With a name it may move."""
    def counts(before=(), name=None, step=None):
        step = step or {"aggregate": {"key": "0", "aggregate": {"n": "count"}}}
        return counting(steps=[*before, step | ({"name": name} if name else {}), {"map": ".n - 1"}])
    other = {"window": {"tumbling": "1s", "aggregate": {"n": "count"}}}
    summed = {"aggregate": {"key": "0", "aggregate": {"n": "sum(.n)"}}}
    process = begin(context, counts())
    wait_lines(context, 10)
    refused = "not reloaded"
    hup(context, process, counts(before=[{"filter": ".n >= 0"}]), refused, 1)
    hup(context, process, counting(steps=[{"map": ".n"}]), refused, 2)
    hup(context, process, counts(step=other), refused, 3)
    hup(context, process, counts(step=summed), refused, 4)
    expect_in(log_of(context), "name steps before their first start", "--reset-state")
    wait_lines(context, have(context) + 10)
    stop(process)
    assert numbers(context) == list(range(have(context)))
    for path in [context.dir / "out.txt", *(context.dir / "count.state").iterdir()]:
        path.unlink()
    process = begin(context, counts(name="counted"))
    hup(context, process, counts(before=[{"filter": ".n >= 0"}], name="counted"), "reloading:")
    wait_lines(context, have(context) + 10)
    stop(process)
    assert numbers(context) == list(range(have(context)))


@case
def one_that_cannot_start_gives_way_to_the_old(context):
    """The folder of the new sink does not exist: that shows only when the sink is opened."""
    process = begin(context, counting())
    (context.dir / "occupied").mkdir()
    hup(context, process, counting(sink="occupied"), "going back to the old one")
    before = have(context)
    wait_lines(context, before + 100)
    stop(process)
    seen = numbers(context)
    assert seen == list(range(len(seen)))


@case
def watched_file(context):
    """A write, a rename into place and a ConfigMap's link are changes; a comment changes nothing."""
    process = begin(context, counting(), "--watch")
    write(context, counting(steps=[{"map": "-.n"}]))
    wait_log(context, '"partition assigned"', 2)
    write(context, counting(steps=[{"map": "-.n"}]) + "\n# a remark\n")
    wait_log(context, "no setting changes")
    (context.dir / "new.yaml").write_text(counting())
    (context.dir / "new.yaml").rename(context.dir / "weir.yaml")
    wait_log(context, '"partition assigned"', 3)
    (context.dir / "weir.yaml").write_text("{")
    wait_log(context, "not reloaded")
    stop(process)
    seen = numbers(context)
    assert [abs(value) for value in seen] == list(range(len(seen)))


@case
def linked_file(context):
    """As a ConfigMap is mounted: weir.yaml → ..data/weir.yaml, ..data → a folder with a date."""
    for name, program in (("..1", ".n"), ("..2", "-.n")):
        (context.dir / name).mkdir()
        (context.dir / name / "weir.yaml").write_text(counting(steps=[{"map": program}]))
    (context.dir / "..data").symlink_to("..1")
    (context.dir / "link.yaml").symlink_to("..data/weir.yaml")
    log = open(context.dir / "weir.log", "ab")
    process = subprocess.Popen([str(harness.weir_binary()), "run", "--watch", "link.yaml"],
                               cwd=context.dir, stdin=subprocess.DEVNULL, stderr=log,
                               env=environment())
    log.close()
    context.cleanup(lambda: process.poll() is None and process.kill())
    wait_lines(context, 1)
    (context.dir / "..tmp").symlink_to("..2")
    (context.dir / "..tmp").rename(context.dir / "..data")
    wait_log(context, '"partition assigned"', 2)
    stop(process)


@case
def variables_and_secrets_are_read_again_and_never_shown(context):
    """What a ${file:} holds is a secret: the log says that it changed, not what it is."""
    (context.dir / "value").write_text("canary-one\n")
    (context.dir / "value").chmod(0o600)
    source = {"generate": {"rate": 2000, "template": "\"${file:%s}\"" % (context.dir / "value")}}
    process = begin(context, counting(source=source, steps=[{"map": "."}]))
    (context.dir / "value").write_text("canary-two\n")
    process.send_signal(signal.SIGHUP)
    wait_log(context, '"partition assigned"', 2)
    before = have(context)
    wait_lines(context, before + 10)
    stop(process)
    seen = numbers(context)
    assert seen[0] == "canary-one" and seen[-1] == "canary-two", (seen[0], seen[-1])
    assert settings(context)["source.generate.template"] == ("***", "***"), settings(context)
    assert "canary" not in log_of(context)


@case
def the_admin_server_stays(context):
    """The same address before and after; with another http.listen it moves there."""
    config = counting(http={"listen": "127.0.0.1:0"})
    process = begin(context, config)
    wait_log(context, "http server listens")
    address = json.loads(next(line for line in log_of(context).splitlines()
                              if "http server listens" in line))["address"]

    def get(path):
        return urllib.request.urlopen(f"http://{address}{path}", timeout=5).read().decode()
    assert "stream_messages_processed_total" in get("/metrics")
    hup(context, process, counting(http={"listen": "127.0.0.1:0"}, steps=[{"map": "-.n"}]),
        '"partition assigned"', 2)
    assert json.loads(get("/status"))["pipeline"] == "count"
    hup(context, process, counting(http={"listen": "localhost:0"}), "http server listens", 2)
    hup(context, process, counting(), '"partition assigned"', 4)
    stop(process)


@case
def the_log_level_follows(context):
    process = begin(context, counting())
    hup(context, process, counting(log={"format": "json", "level": "warn"}), '"reloading"')
    wait.until(lambda: log_of(context).count('"partition assigned"') == 1 and have(context) > 200, 20,
               "it runs on")
    stop(process)
    assert log_of(context).count('"stopping') == 0


@case
def hang_up_without_a_file_drains(context):
    process = start(context, text("x", {"generate": {"count": 1}}, {"file": {"path": "o"}}))
    assert process.wait(20) == 0
    log = open(context.dir / "weir.log", "ab")
    process = subprocess.Popen([str(harness.weir_binary()), "pipe", "generate:?rate=100", "o2"],
                               cwd=context.dir, stdin=subprocess.DEVNULL, stderr=log,
                               env=environment())
    log.close()
    context.cleanup(lambda: process.poll() is None and process.kill())
    wait_lines(context, 1, "o2")
    process.send_signal(signal.SIGHUP)
    assert process.wait(20) == 0


@case
def watch_needs_a_file(context):
    done = subprocess.run([str(harness.weir_binary()), "run", "--watch"], capture_output=True,
                          env=environment(), cwd=context.dir, timeout=20)
    assert done.returncode == 2 and b"--watch needs a file" in done.stderr, done.stderr


@case
def another_exchange_is_refused(context):
    """State lies per shard: a reload that divides the keys differently would leave it behind."""
    def counts(**step):
        return counting(steps=[{"name": "sums", "aggregate": {"key": ".n % 7",
                                                              "aggregate": {"n": "count"}}} | step])
    process = begin(context, counts(exchange={"via": "memory", "shards": 3}))
    refused = "another exchange, or other shards, would be without the state"
    hup(context, process, counts(exchange={"via": "memory", "shards": 4}), refused)
    hup(context, process, counts(), refused, times=2)
    stop(process)


if __name__ == "__main__":
    main()
