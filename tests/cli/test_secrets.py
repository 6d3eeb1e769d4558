#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a secret is in no place where somebody looks (I13).

Method: distinct canaries are planted in every place that takes a secret, and in every way to write
one; then everything that weir says is searched for them: check, explain, error messages, the log at
level debug, a reload, the pages of the admin server, the command line in /proc."""
import json
import pathlib
import re
import resource
import signal
import subprocess
import sys
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import harness
import wait
from harness import case, main
from local_pipeline import environment, start, text

CANARY = "canary-"


def plant(context):
    """The environment, and a pipeline whose secrets all begin with the canary."""
    folder = context.dir / "credentials"
    folder.mkdir(exist_ok=True)
    for name in ("password", "token"):
        path = folder / name
        path.write_text(f"{CANARY}credential-{name}-0123456789\n")
        path.chmod(0o600)
    secret = context.dir / "secret"
    secret.write_text(f"{CANARY}file-0123456789\n")
    secret.chmod(0o600)
    env = {"CREDENTIALS_DIRECTORY": str(folder), "PASSWORD": f"{CANARY}environment"}
    connection = {"brokers": "127.0.0.1:1", "topic": "t",
                  "tls": {"verify": False},
                  "auth": {"user": "u", "password": "${credential:password}"}}
    sink = {"brokers": "127.0.0.1:1", "topic": "o",
            "auth": {"user": "u", "password": "${PASSWORD}"},
            "properties": {"sasl.oauthbearer.config": f"{CANARY}property",
                           "ssl.keystore.password": "${file:%s}" % secret}}
    config = text("secrets", {"kafka": connection}, {"kafka": sink},
                  http={"listen": "127.0.0.1:0", "token": "${credential:token}"},
                  log={"format": "json", "level": "debug"}, shutdown_timeout="1s")
    return env, config


def weir(context, env, *words):
    done = subprocess.run([str(harness.weir_binary()), *words], cwd=context.dir, timeout=30,
                          capture_output=True, text=True, env=environment() | env)
    return done.returncode, done.stdout + done.stderr


def clean(what, shown):
    assert CANARY not in shown, f"{what} shows a secret: {shown[-2000:]}"


def write(context, config):
    path = context.dir / "weir.yaml"
    path.write_text(config)
    path.chmod(0o600)


@case
def commands(context):
    env, config = plant(context)
    write(context, config)
    for words in (["check", "weir.yaml"], ["explain", "weir.yaml"],
                  ["check", "--format", "json", "weir.yaml"]):
        code, shown = weir(context, env, *words)
        assert code == 0, shown
        clean(words, shown)
    assert "***" in weir(context, env, "explain", "weir.yaml")[1]


@case
def error_messages(context):
    """Values that are wrong where they stand, or beside others that are wrong."""
    env, config = plant(context)
    good = json.loads(config)
    for change in ({"lames": 1}, {"http": {"listen": "x:y", "token": "${credential:token}"}},
                   {"lanes": "${credential:token}"}, {"commit_interval": "${file:secret}"},
                   {"http": {"token": "${credential:nothing}"}}):
        write(context, json.dumps(good | change))
        for words in (["check", "weir.yaml"], ["check", "--format", "json", "weir.yaml"],
                      ["run", "weir.yaml"]):
            code, shown = weir(context, env, *words)
            assert code == 78, shown
            clean((change, words), shown)


@case
def a_running_pipeline(context):
    env, config = plant(context)
    process = start(context, config, env=env)
    log = context.dir / "weir.log"
    wait.until(lambda: "http server listens" in log.read_text(), 20, "it listens")
    address = re.search(r'"address":"([^"]+)"', log.read_text())[1]
    token = f"{CANARY}credential-token-0123456789"
    for path in ("/", "/livez", "/readyz", "/status", "/metrics", "/nothing"):
        request = urllib.request.Request(f"http://{address}{path}",
                                         headers={"Authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=10) as page:
                clean(path, page.read().decode())
        except urllib.error.HTTPError as error:
            assert error.code in (404, 503), (path, error.code)
            clean(path, error.read().decode())
    clean("cmdline", pathlib.Path(f"/proc/{process.pid}/cmdline").read_text())
    (context.dir / "secret").write_text(f"{CANARY}other-file-0123456789")
    process.send_signal(signal.SIGHUP)
    wait.until(lambda: "a setting changes" in log.read_text(), 20, "it reloads")
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    clean("the log", log.read_text())


@case
def the_last_words_of_a_crash(context):
    """What is printed when the process ends by a signal that dumps core."""
    env, config = plant(context)
    env |= {"ASAN_OPTIONS": "handle_segv=0:handle_abort=0"}  # a sanitizer would speak instead
    for number in (signal.SIGABRT, signal.SIGSEGV):
        process = start(context, config, env=env, name=f"crash{number}",
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
        log = context.dir / f"crash{number}.log"
        wait.until(lambda log=log: "http server listens" in log.read_text(), 20, "it listens")
        process.send_signal(number)
        assert process.wait(30) == -number
        clean(number, log.read_text())


@case
def credentials_that_cannot_be(context):
    env, config = plant(context)
    for written, said in (("${credential:../secret}", "not a credential's name"),
                          ("${credential:}", "not a credential's name"),
                          ("${credential:nothing}", "the file cannot be used")):
        write(context, config.replace("${credential:token}", written))
        code, shown = weir(context, env, "check", "weir.yaml")
        assert code == 78 and said in shown, shown
    write(context, config)
    code, shown = weir(context, {"PASSWORD": "x"}, "check", "weir.yaml")
    assert code == 78 and "there are no credentials" in shown and "LoadCredential" in shown, shown


if __name__ == "__main__":
    main()
