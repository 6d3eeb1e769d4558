#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: what weir shows to the outside is true, in the form that others read, and stays available
whatever clients do.

Method: the program reads lines from a pipe that the test holds, so that it runs as long as the test
wants and the test knows every count; it is asked with curl, promtool, a real Prometheus and plain
sockets."""
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import ports
import wait
from harness import ROOT, Missing, case, main

STEPS = [{"filter": ".n % 2 == 0"}]


def program(name):
    path = shutil.which(name)
    if path is None:
        raise Missing(f"no {name}: scripts/deps --tests installs it")
    return path


class Piped:
    """weir run on lines from a pipe."""

    def __init__(self, context, listen="127.0.0.1:0", **more):
        text = {"name": "seen", "source": {"stdin": {}}, "steps": STEPS, "sink": {"drop": {}},
                "on_error": "skip", "log": {"format": "json", "level": "info"}} | more
        text = {key: value for key, value in text.items() if value is not None}
        if listen is not None and "http" not in more:
            text["http"] = {"listen": listen}
        file = context.dir / "seen.yaml"
        file.write_text(json.dumps(text))
        self.log_file = context.dir / "seen.log"
        with open(self.log_file, "wb") as log:
            self.process = subprocess.Popen(
                [str(harness.weir_binary()), "run", str(file)], stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL, stderr=log, preexec_fn=harness.die_with_parent)
        context.cleanup(self.end)
        self.port = wait.until(self._find_port, 20, "weir listens")

    def lines(self):
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    def _find_port(self):
        if self.process.poll() is not None:
            raise AssertionError(f"weir ended: {self.log_file.read_text()}")
        for line in self.lines():
            if line.get("component") == "http" and "address" in line:
                return int(line["address"].rpartition(":")[2])
        return None

    def feed(self, *lines):
        for line in lines:
            self.process.stdin.write(line if isinstance(line, bytes) else line.encode() + b"\n")
        self.process.stdin.flush()

    def get(self, path, **headers):
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def samples(self):
        found = {}
        for line in self.get("/metrics")[1].splitlines():
            if not line.startswith("#"):
                series, _, value = line.rpartition(" ")
                found[series] = float(value)
        return found

    def processed(self):
        counts = {}
        for series, value in self.samples().items():
            match = re.match(r'stream_messages_processed_total\{topic="[^"]*",status="(\w+)"', series)
            if match:
                counts[match[1]] = counts.get(match[1], 0) + int(value)
        return counts

    def wait_processed(self, **expected):
        wait.until(lambda: all(self.processed().get(k, 0) == v for k, v in expected.items()), 20,
                   f"{expected} were processed")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@case
def counts_are_true(context):
    weir = Piped(context)
    wait.until(lambda: weir.get("/readyz")[0] == 200, 20, "weir is ready")
    assert json.loads(weir.get("/readyz")[1]) == {"ready": True, "reasons": []}
    assert json.loads(weir.get("/livez")[1])["live"] is True
    weir.feed(*[json.dumps({"n": n}) for n in range(1000)])
    weir.wait_processed(ok=500, filtered=500)
    weir.feed("not json", '{"n": "text"}')
    weir.wait_processed(ok=500, filtered=500, skipped=2)
    samples = weir.samples()
    errors = {k: v for k, v in samples.items() if k.startswith("stream_errors_total")}
    assert sum(errors.values()) == 2, errors
    assert samples['stream_epochs_total{result="committed"}'] >= 1
    assert samples["stream_processing_seconds_count"] >= 1000
    assert samples["process_resident_memory_bytes"] > 1_000_000
    assert samples["process_cpu_seconds_total"] > 0
    assert 0 <= samples["stream_in_flight_bytes"] <= samples["stream_in_flight_limit_bytes"]
    status = json.loads(weir.get("/status")[1])
    assert isinstance(status, dict) and status, status


@case
def status_shows_the_graph_and_its_time(context):
    weir = Piped(context, steps=[
        {"filter": ".t"}, {"name": "counts", "window": {"tumbling": "1s", "time": ".t", "grace": "500ms",
                                                        "aggregate": {"n": "count"}}}],
        sink=None, branches=[{"name": "all", "sink": {"name": "out", "drop": {}}},
                             {"name": "big", "when": ".n > 1", "steps": [{"map": ".n"}], "sink": "drop"}])
    weir.feed(*[json.dumps({"t": t}) for t in (1000, 1500, 4200, 3900)])
    weir.wait_processed(ok=4)

    def status():
        return json.loads(weir.get("/status")[1])
    wait.until(lambda: status()["partitions"][0].get("watermarks"), 20, f"it has a watermark: {status()}")
    graph = status()["graph"]
    assert [one["component"] for one in graph["sources"]] == ["stdin"], graph
    assert [one["component"] for one in graph["steps"]] == ["filter", "window"], graph
    assert [(one["name"], one["to"]) for one in graph["branches"]] == [
        ("all", ["out"]), ("big", ["big.sink.drop"])], graph
    assert [one["component"] for one in graph["branches"][1]["steps"]] == ["map"], graph
    assert {one["component"] for one in graph["sinks"]} == {"drop"}, graph
    assert status()["partitions"][0]["watermarks"] == [{"step": "counts", "time_ms": 4200}], status()
    latency = status()["latency"]
    for what in ("processing", "end_to_end", "epoch", "pause"):
        found = [latency[what][f"{quantile}_seconds"] for quantile in ("p50", "p95", "p99", "max")]
        assert found == sorted(found), latency


WINDOWS = [{"name": "hours", "window": {"tumbling": "1h", "key": ".k", "time": ".t", "aggregate": {"n": "count"}}},
           {"name": "once", "dedupe": {"id": ".key | tostring", "ttl": "1d"}}]


def ask_state(weir, *arguments, **environment):
    return subprocess.run([harness.weir_binary(), "state", *arguments, "--url", f"http://127.0.0.1:{weir.port}"],
                          env=os.environ | environment, capture_output=True, text=True, timeout=30)


@case
def kept_state_can_be_asked_for(context):
    weir = Piped(context, steps=WINDOWS)
    weir.feed(*[json.dumps({"k": key, "t": t * 600_000}) for t in range(12) for key in ("a", "b c&", 7, None)])
    wait.until(lambda: weir.get("/state")[1].count('"keys":4') == 2, 20, "the windows are committed")
    tables = json.loads(weir.get("/state")[1])["tables"]
    assert [(t["pipeline"], t["step"], t["partition"], t["clock"]) for t in tables] == [
        ("seen", "hours", 0, 6600_000), ("seen", "once", 0, 6600_000)], tables
    for key in ("a", "b c&", "7", "null", '"a"'):
        found = [json.loads(line)["shows"] for line in ask_state(weir, "get", "--key", key).stdout.splitlines()]
        windows = [shows for shows in found if "records" in shows]
        assert [(w["start"], w["records"]) for w in windows] == [(3600_000, 6)], (key, found)
        assert all(str(shows["key"]) in (key, "None", key.strip('"')) for shows in found), found
    once = ask_state(weir, "get", "--key", "a", "--step", "once").stdout.splitlines()
    assert [json.loads(line)["shows"] for line in once] == [{"key": "a"}], once
    told = ask_state(weir, "list").stdout.splitlines()
    assert len(told) == 3 and told[0].split() == ["step", "topic", "partition", "keys", "bytes", "clock"], told
    assert ask_state(weir, "list", "--format", "json").stdout.strip() == weir.get("/state")[1].strip()
    assert f"keys    {sum(t['keys'] for t in tables)}\n" in ask_state(weir, "size").stdout


@case
def state_that_is_not_committed_is_not_shown(context):
    weir = Piped(context, steps=WINDOWS, commit_interval="10m")
    weir.feed(*[json.dumps({"k": "a", "t": t}) for t in range(100)])
    wait.until(lambda: json.loads(weir.get("/status")[1])["partitions"][0].get("watermarks"), 20,
               "they are processed")
    assert weir.get("/state/get?key=a")[0] == 404
    assert all(t["keys"] == 0 for t in json.loads(weir.get("/state")[1])["tables"])
    asked = ask_state(weir, "get", "--key", "a")
    assert asked.returncode == 1 and "nothing is kept for this key" in asked.stderr, asked


@case
def questions_that_make_no_sense_are_refused(context):
    weir = Piped(context, steps=WINDOWS)
    wait.until(lambda: weir.get("/readyz")[0] == 200, 20, "weir is ready")
    assert weir.get("/state/get")[0] == 400
    assert weir.get("/state/get?key=a&pipeline=other")[0] == 400
    assert weir.get("/state/get?key=a&pipeline=seen")[0] == 404
    assert weir.get("/state/get?key=a&step=nothing")[0] == 404
    for url, words in (("https://127.0.0.1:1", "is not http://HOST:PORT"), ("nothing", "is not http://HOST:PORT"),
                       ("127.0.0.1:1", "port 1: Connection refused")):
        done = subprocess.run([harness.weir_binary(), "state", "size", "--url", url], capture_output=True,
                              text=True, timeout=30)
        assert done.returncode == 1 and words in done.stderr, done
    token = "canary-0123456789abcdef"
    (context.dir / "token").write_text(token)
    (context.dir / "token").chmod(0o600)
    guarded = Piped(context, steps=WINDOWS, http={"listen": "0.0.0.0:0", "token": "${file:%s}" % (context.dir / "token")})
    assert guarded.get("/state")[0] == guarded.get("/state/get?key=a")[0] == 401
    assert ask_state(guarded, "size", WEIR_HTTP_TOKEN="wrong").returncode == 1
    assert ask_state(guarded, "size", WEIR_HTTP_TOKEN=token).stdout.startswith("keys    0\n")


@case
def state_is_searched_while_the_pipeline_works(context):
    """Fast changes, tables in memory and on disk: what is shown of a key only grows, nothing else waits, and a
    client that leaves harms nobody."""
    for table in ("memory", "rocksdb"):
        weir = Piped(context, steps=[{"name": "w", "window": {
            "tumbling": "1d", "key": ".key", "time": "0", "aggregate": {"n": "count"}}}],
            source={"generate": {"rate": 20000, "template": "{key: (.n % 5000)}"}}, commit_interval="20ms",
            state={"table": table, "memory": "1MiB"} | ({"dir": str(context.dir)} if table == "rocksdb" else {}))
        wait.until(lambda: weir.get("/state/get?key=77")[0] == 200, 30, "the key is committed")
        seen = []

        def grows():
            left = socket.create_connection(("127.0.0.1", weir.port), timeout=10)
            left.sendall(b"GET /state/get?key=none HTTP/1.1\r\nHost: localhost\r\n\r\n")
            status, text = weir.get("/state/get?key=77")
            assert status == 200, (status, text)
            seen.append([json.loads(line)["shows"]["records"] for line in text.splitlines()])
            assert weir.get("/livez")[0] == 200
            left.close()
            return seen[0] < seen[-1] and len(seen) > 20
        wait.until(grows, 60, "the key's number of records grows")
        assert all(len(one) == 1 for one in seen) and seen == sorted(seen), seen
        weir.process.send_signal(signal.SIGTERM)
        assert weir.process.wait(30) == 0, weir.log_file.read_text()


@case
def log_lines_are_json(context):
    secret = "d0-n0t-l0g"
    weir = Piped(context)
    weir.feed(json.dumps({"n": secret}), *["not json " + secret] * 50)
    weir.wait_processed(skipped=51)
    weir.process.stdin.close()
    assert weir.process.wait(30) == 0
    lines = weir.lines()
    assert lines
    for line in lines:
        assert list(line)[:2] == ["time", "level"], line
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"]), line
        assert line["level"] in ("debug", "info", "warn", "error"), line
        assert line["message"], line
    assert secret not in weir.log_file.read_text(), "a record's value was logged"
    failed = [line for line in lines if line["level"] in ("warn", "error") and "error" in line]
    assert failed and all("offset" in line for line in failed), failed
    assert len(failed) <= 25, "repeats are suppressed"


@case
def promtool_is_content(context):
    weir = Piped(context)
    weir.feed('{"n": 2}', '{"n": 1}', "x")
    weir.wait_processed(ok=1, filtered=1, skipped=1)
    result = subprocess.run([program("promtool"), "check", "metrics"], text=True,
                            input=weir.get("/metrics")[1], capture_output=True, timeout=60)
    assert result.returncode == 0 and not (result.stdout + result.stderr).strip(), result


@case
def prometheus_answers_the_documented_queries(context):
    weir = Piped(context)
    weir.feed(*[json.dumps({"n": n}) for n in range(100)])
    weir.wait_processed(ok=50, filtered=50)
    port = ports.free()
    config = context.dir / "prometheus.yml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "weir",
                            "static_configs": [{"targets": [f"127.0.0.1:{weir.port}"]}]}]}))
    with open(context.dir / "prometheus.log", "wb") as log:
        server = subprocess.Popen(
            [program("prometheus"), f"--config.file={config}",
             f"--storage.tsdb.path={context.dir / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=harness.die_with_parent)
    context.cleanup(server.wait)
    context.cleanup(server.kill)

    def query(text):
        address = f"http://127.0.0.1:{port}/api/v1/query"
        body = urllib.parse.urlencode({"query": text}).encode()
        try:
            with urllib.request.urlopen(address, body, timeout=10) as page:
                return json.loads(page.read())
        except urllib.error.HTTPError as error:
            return json.loads(error.read())
        except OSError:
            return {"status": "down"}

    def scraped():
        answer = query("sum(stream_messages_processed_total)")
        found = answer.get("data", {}).get("result")
        return found and found[0]["value"][1] == "100"

    wait.until(scraped, 60, "Prometheus has scraped weir")
    reference = (ROOT / "docs" / "reference" / "metrics.md").read_text()
    queries = re.findall(r"```promql\n(.*?)\n```", reference, re.DOTALL)
    assert len(queries) >= 15
    for text in queries:
        answer = query(text)
        assert answer["status"] == "success", (text, answer)
    for name in ["stream_in_flight_bytes / stream_in_flight_limit_bytes",
                 "process_resident_memory_bytes", "count by (version) (weir_build_info)"]:
        assert query(name)["data"]["result"], name


@case
def hostile_clients_change_nothing(context):
    weir = Piped(context)
    assert weir.get("/metrics", Host="evil.example")[0] == 421
    assert weir.get("/metrics", Host=f"localhost:{weir.port}")[0] == 200
    assert weir.get("/metrics", X="x" * 20000)[0] == 431
    assert weir.get("/%2e%2e/%2e%2e/etc/passwd")[0] == 404
    curl = subprocess.run(
        [program("curl"), "-s", "--path-as-is", "-o", os.devnull, "-w", "%{http_code}",
         f"http://127.0.0.1:{weir.port}/../../etc/passwd"], capture_output=True, text=True)
    assert curl.stdout == "404", curl
    # More than are served at once, all of them silent; the surplus waits for its turn.
    held = [socket.create_connection(("127.0.0.1", weir.port), timeout=10) for _ in range(60)]
    held[0].sendall(b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n")
    weir.feed(*[json.dumps({"n": n}) for n in range(200)])
    wait.until(lambda: weir.get("/livez")[0] == 200, 30, "weir answers again")
    weir.wait_processed(ok=100, filtered=100)
    for client in held:
        client.close()


@case
def signals_end_it(context):
    for number in (signal.SIGTERM, signal.SIGINT):
        weir = Piped(context)
        weir.feed('{"n": 2}')
        weir.wait_processed(ok=1)
        weir.process.send_signal(number)
        assert weir.process.wait(20) == 0, weir.log_file.read_text()


@case
def a_signal_that_comes_twice_is_one(context):
    """timeout(1) signals its child and then the group."""
    (context.dir / "twice.yaml").write_text(json.dumps({
        "name": "twice", "source": {"generate": {"rate": 100}}, "sink": {"file": {"path": "out.txt"}},
        "http": "off", "log": {"format": "json"}}))
    done = subprocess.run([program("timeout"), "--preserve-status", "1", str(harness.weir_binary()), "run",
                           "twice.yaml"], cwd=context.dir, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0 and "everything committed" in done.stderr, done


@case
def a_taken_default_port_is_replaced(context):
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind(("127.0.0.1", 9600))
            holder.listen()
        except OSError:
            pass  # somebody else holds it: as good
        weir = Piped(context, listen=None)
        assert weir.port != 9600
        assert weir.get("/livez")[0] == 200


@case
def a_taken_written_port_is_an_error(context):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        try:
            Piped(context, listen=f"127.0.0.1:{holder.getsockname()[1]}")
        except AssertionError as error:
            assert "cannot listen on 127.0.0.1" in str(error), error
        else:
            raise AssertionError("weir runs although its port is taken")


@case
def other_machines_need_the_token(context):
    """Without a token such an address is an error with its place; with it everything but health and
    metrics demands it, and the log does not show it."""
    token = "canary-0123456789abcdef"
    secret = context.dir / "token"
    secret.write_text(token + "\n")
    secret.chmod(0o600)
    file = context.dir / "open.yaml"
    file.write_text("name: x\nsource: {stdin: {}}\nsink: {drop: {}}\n"
                    "http: {listen: 0.0.0.0:9600}\n")
    done = subprocess.run([str(harness.weir_binary()), "check", str(file)], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 78, done
    assert "open.yaml:4:16" in done.stderr and "http.token" in done.stderr, done.stderr
    weir = Piped(context, http={"listen": "0.0.0.0:0", "token": "${file:%s}" % secret})
    for path in ("/livez", "/metrics"):
        assert weir.get(path)[0] == 200, path
    for path in ("/", "/status", "/nothing", "/livez/"):
        assert weir.get(path)[0] == 401, path
        for wrong in ("Bearer x", f"Bearer {token}x", f"Basic {token}", token):
            assert weir.get(path, Authorization=wrong)[0] == 401, (path, wrong)
    assert weir.get("/status", Authorization=f"Bearer {token}")[0] == 200
    assert weir.get("/nothing", Authorization=f"Bearer {token}")[0] == 404
    assert weir.get("/livez", Host="10.0.0.7:9600")[0] == 200
    assert weir.get("/livez", Host="evil.example")[0] == 421
    assert token not in weir.log_file.read_text()


def pki(context):
    directory = context.dir.parent / "pki"  # made once
    made = subprocess.run([ROOT / "tests" / "support" / "pki", directory], capture_output=True, text=True)
    if made.returncode != 0:
        raise Missing(f"no certificates: {made.stderr}")
    return directory


def ask(weir, files, path, client=None, authority="ca", old=False, **headers):
    """The status of a page over HTTPS; None when there is no connection."""
    tls = ssl.create_default_context(cafile=files / f"{authority}.crt")
    if old:
        tls.set_ciphers("ALL:@SECLEVEL=0")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that is what it is for
            tls.minimum_version = tls.maximum_version = ssl.TLSVersion.TLSv1_1
    if client is not None:
        tls.load_cert_chain(files / f"{client}.crt", files / f"{client}.key")
    request = urllib.request.Request(f"https://127.0.0.1:{weir.port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10, context=tls) as page:
            return page.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return None


@case
def other_machines_may_show_a_certificate(context):
    """Health and metrics are for everybody, the rest for a token or a certificate of the authority in
    `clients`; one of another authority or whose time is over is none. Nothing is spoken below TLS 1.2."""
    files = pki(context)
    tls = {"cert": str(files / "server.crt"), "key": str(files / "server.key"), "clients": str(files / "ca.crt")}
    weir = Piped(context, http={"listen": "0.0.0.0:0", "tls": tls})
    for path in ("/livez", "/metrics"):
        assert ask(weir, files, path) == 200, path
        assert ask(weir, files, path, Host="weir.example.com") == 200, path
    assert ask(weir, files, "/status") == 401
    assert ask(weir, files, "/status", client="client") == 200
    assert ask(weir, files, "/nothing", client="client") == 404
    assert ask(weir, files, "/status", client="expired-client") == 401
    assert ask(weir, files, "/status", client="other-ca") == 401
    assert ask(weir, files, "/status", client="server") in (200, 401)
    assert ask(weir, files, "/livez", authority="other-ca") is None
    assert ask(weir, files, "/livez", old=True) is None
    try:
        weir.get("/livez")
    except OSError:
        pass
    else:
        raise AssertionError("it answers without TLS")
    token = "canary-0123456789abcdef"
    secret = context.dir / "token"
    secret.write_text(token)
    secret.chmod(0o600)
    both = Piped(context, http={"listen": "0.0.0.0:0", "tls": tls, "token": "${file:%s}" % secret})
    assert ask(both, files, "/status", Authorization=f"Bearer {token}") == 200
    assert ask(both, files, "/status", client="client") == 200
    assert ask(both, files, "/status", Authorization="Bearer wrong") == 401


@case
def slow_handshakes_hold_nobody_up(context):
    files = pki(context)
    weir = Piped(context, http={"listen": "127.0.0.1:0", "tls": {
        "cert": str(files / "server.crt"), "key": str(files / "server.key")}})
    held = [socket.create_connection(("127.0.0.1", weir.port), timeout=10) for _ in range(60)]
    for client in held[:30]:
        client.sendall(b"\x16\x03\x01\x02")  # the beginning of a handshake
    wait.until(lambda: ask(weir, files, "/livez") == 200, 30, "weir answers again")
    for client in held:
        client.close()


@case
def certificates_are_read_again(context):
    """The same names of files, other certificates: SIGHUP serves the new one."""
    files = pki(context)
    for kind in ("crt", "key"):
        shutil.copy(files / f"expired.{kind}", context.dir / f"http.{kind}")
    text = {"name": "again", "source": {"generate": {"rate": 10}},
            "sink": {"file": {"path": "out.txt"}},
            "http": {"listen": f"127.0.0.1:{ports.free()}", "tls": {"cert": "http.crt", "key": "http.key"}},
            "log": {"format": "json"}}
    (context.dir / "again.yaml").write_text(json.dumps(text))
    log_file = context.dir / "again.log"
    with open(log_file, "wb") as log:
        process = subprocess.Popen([str(harness.weir_binary()), "run", "again.yaml"], cwd=context.dir,
                                   stderr=log, preexec_fn=harness.die_with_parent)
    context.cleanup(process.kill)

    class Here:
        port = int(text["http"]["listen"].rpartition(":")[2])
    wait.until(lambda: "http server listens" in log_file.read_text(), 20, "it listens")
    assert ask(Here, files, "/livez") is None
    for kind in ("crt", "key"):
        shutil.copy(files / f"server.{kind}", context.dir / f"http.{kind}")
    process.send_signal(signal.SIGHUP)
    wait.until(lambda: ask(Here, files, "/livez") == 200, 20, "the new certificate is served")
    for change, word in (({"key": "again.yaml"}, "http.tls.cert"), ({"cert": "none"}, "none: No such file"),
                         ({"clients": "again.yaml"}, "no certificate in it")):
        text["http"]["tls"] = {"cert": "http.crt", "key": "http.key"} | change
        (context.dir / "wrong.yaml").write_text(json.dumps(text))
        done = subprocess.run([str(harness.weir_binary()), "run", "wrong.yaml"], cwd=context.dir,
                              capture_output=True, text=True, timeout=20)
        assert done.returncode == 78 and word in done.stderr, done


@case
def a_partition_that_stands_still_is_not_ready(context):
    """Nobody reads the output: the body names the partition and the lag; when somebody does, the
    partition moves again and only the lag is left."""
    (context.dir / "in.jsonl").write_text("".join(f'{{"n":{n}}}\n' for n in range(2_000_000)))
    file = context.dir / "stand.yaml"
    file.write_text(json.dumps({
        "name": "stand", "source": {"file": {"path": "in.jsonl"}}, "sink": {"stdout": {}},
        "commit_interval": "50ms", "state": {"log": "file"}, "in_flight": "1MiB",
        "http": {"listen": "127.0.0.1:0", "ready_max_lag": 1000, "stalled_after": "1s"},
        "log": {"format": "json", "level": "info"}}))
    log_file = context.dir / "stand.log"
    with open(log_file, "wb") as log:
        process = subprocess.Popen([str(harness.weir_binary()), "run", file.name],
                                   cwd=context.dir, stdout=subprocess.PIPE, stderr=log,
                                   preexec_fn=harness.die_with_parent)
    context.cleanup(process.kill)
    wait.until(lambda: "http server listens" in log_file.read_text(), 20, "it listens")
    address = re.search(r'"address":"([^"]+)"', log_file.read_text())[1]

    def ready():
        try:
            with urllib.request.urlopen(f"http://{address}/readyz", timeout=10) as page:
                return json.load(page)
        except urllib.error.HTTPError as error:
            return json.load(error)
    wait.until(lambda: "stands at" in str(ready()), 20, f"it stands: {ready()}")
    reasons = ready()["reasons"]
    assert any("source.file" in reason and "partition 0 stands at" in reason for reason in reasons)
    assert any("over ready_max_lag (1000)" in reason for reason in reasons), reasons

    def moves():
        process.stdout.read(200_000)
        found = str(ready())
        return "stands at" not in found and "over ready_max_lag" in found
    wait.until(moves, 20, f"it moves: {ready()}")
    process.stdout.read()
    assert process.wait(20) == 0


if __name__ == "__main__":
    main()
