#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: every record that weir reads reaches the subject that it is meant for, and an epoch counts only
when the server has acknowledged all of it.

Method: numbered lines of a file go to streams of a real server, the oldest and the newest version,
while it is killed, full, or refuses them; then the stream is compared with the file. Logins and
certificates are tried with the right and with wrong ones."""
import json
import pathlib
import shutil
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
import nkeys
from harness import ROOT, case, main, scale
from nats_flow import both
from nats_server import Server


def pipeline(context, records, sink, **more):
    path = context.dir / "in.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    text = {"name": "flow", "source": {"file": {"path": str(path)}}, "sink": {"nats": sink},
            "commit_interval": "50ms", "http": "off", "lanes": 2,
            "state": {"log": "file", "dir": str(context.dir / "state")},
            "log": {"format": "json", "level": "info"}} | more
    return json.dumps(text)


def server(context, version="new", **settings):
    nats = Server(context.dir / "nats", version, **settings)
    context.cleanup(nats.stop)
    return nats


def numbers(nats, stream="OUT"):
    return [json.loads(message.data)["n"] for _, message in nats.messages(stream)]


def expect_all(found, count):
    """Each at least once, and first occurrences in order."""
    first = list(dict.fromkeys(found))
    assert first == list(range(count)), f"{len(set(found))} of {count}, first {first[:5]}"
    return len(found) - count


@both
def subjects_and_keys(context, version):
    nats = server(context, version)
    records = [{"n": i, "c": f"c{i % 3}"} for i in range(3000)]
    sink = {"url": nats.address, "subject": {"jq": '"out." + .c'}, "key": ".c", "key_header": "Key",
            "stream": "OUT", "subjects": ["out.*"]}
    assert context.weir(pipeline(context, records, sink)).wait_exit() == 0
    messages = [message for _, message in nats.messages("OUT")]
    found = [(m.subject, m.headers["Key"], json.loads(m.data)) for m in messages]
    assert found == [(f"out.{r['c']}", r["c"], r) for r in records]
    assert len({m.headers["Nats-Msg-Id"] for m in messages}) == len(records)
    assert {m.headers["Nats-Expected-Stream"] for m in messages} == {"OUT"}


@both
def no_stream(context, version):
    """A subject that nobody keeps, and one that another stream keeps, end the run at its start."""
    nats = server(context, version)
    nats.make("OTHER", "out.>")
    for sink, words in [({"subject": "nowhere"}, "no stream keeps the subject nowhere"),
                        ({"subject": "x", "stream": "GONE"}, "the stream GONE does not exist"),
                        ({"subject": "out.x", "stream": "OUT", "subjects": "o.>"},
                         "the stream OTHER keeps the subject, not OUT")]:
        weir = context.weir(pipeline(context, [{"n": 0}], {"url": nats.address} | sink))
        assert weir.wait_exit() == 78 and words in weir.text(), weir.text()


@both
def computed_subject_without_a_stream(context, version):
    """Held back, and written when there is one."""
    nats = server(context, version)
    weir = context.weir(pipeline(context, [{"n": i} for i in range(100)],
                                 {"url": nats.address, "subject": {"jq": '"out.\\(.n % 2)"'}}))
    weir.wait_log("no stream keeps")
    weir.expect_running()
    nats.make("OUT", "out.>")
    assert weir.wait_exit() == 0
    expect_all(numbers(nats), 100)


@both
def refused_records(context, version):
    """Each is one record's failure; the others go on."""
    nats = server(context, version)
    nats.make("OUT", "out.>", max_msg_size=1000)
    records = [{"n": 0}, {"n": 1, "pad": "x" * 2000}, {"n": 2, "pad": "x" * 2_000_000}, {"n": 3},
               {"n": 4, "to": "a b"}, {"n": 5}]
    weir = context.weir(pipeline(context, records, {
        "url": nats.address, "subject": {"jq": '"out." + (.to // "x")'}}, on_error="skip"))
    assert weir.wait_exit() == 0
    assert sorted(set(numbers(nats))) == [0, 3, 5]


@both
def stopped_without_a_server(context, version):
    """What cannot be committed is left to the next start, without waiting for shutdown_timeout."""
    nats = server(context, version)
    nats.make("OUT", "out.>")
    weir = context.weir(pipeline(context, [{"n": i} for i in range(30_000)],
                                 {"url": nats.address, "subject": "out.x"}, shutdown_timeout="1h"))
    wait.until(lambda: nats.count("OUT") > 1000, 60, "messages arrive")
    nats.kill()
    weir.wait_log("not connected")
    weir.term(60)
    assert "what was not committed will be read again" in weir.text(), weir.text()
    nats.start()
    assert weir.start().wait_exit(120) == 0
    expect_all(numbers(nats), 30_000)


@both
def full_stream(context, version):
    """`discard: new` is back-pressure: nothing is lost, and it goes on when there is room."""
    nats = server(context, version)
    nats.make("OUT", "out.>", discard="new", max_msgs=500)
    weir = context.weir(pipeline(context, [{"n": i} for i in range(2000)],
                                 {"url": nats.address, "subject": "out.x"},
                                 guarantee="at-least-once"))
    weir.wait_log("maximum messages exceeded")
    weir.expect_running()
    info = nats.api("STREAM.INFO.OUT")["config"]
    nats.api("STREAM.UPDATE.OUT", **(info | {"max_msgs": -1}))
    assert weir.wait_exit() == 0
    last = list(dict.fromkeys(reversed(numbers(nats))))[::-1]
    assert last == list(range(2000)), f"{len(set(last))} of 2000"


@both
def server_killed(context, version):
    nats = server(context, version)
    nats.make("OUT", "out.>")
    count = scale(40_000, 400_000)
    weir = context.weir(pipeline(context, [{"n": i} for i in range(count)],
                                 {"url": nats.address, "subject": "out.x"}))
    for number in range(scale(3, 20)):
        goal = count * number // scale(6, 40)
        wait.until(lambda: not weir.running or nats.count("OUT") > goal, 60, "messages arrive")
        nats.kill()
        nats.start()
    assert weir.wait_exit(120) == 0
    context.say(f"{expect_all(numbers(nats), count)} repeated")


@both
def weir_killed(context, version):
    nats = server(context, version)
    nats.make("OUT", "out.>")
    count = scale(40_000, 400_000)
    weir = context.weir(pipeline(context, [{"n": i} for i in range(count)],
                                 {"url": nats.address, "subject": "out.x"}))
    for number in range(scale(4, 40)):
        goal = count * number // scale(8, 80)
        wait.until(lambda: not weir.running or nats.count("OUT") > goal, 60, "messages arrive")
        if weir.running:
            weir.kill()
        weir.start()
    assert weir.wait_exit(120) == 0
    context.say(f"{expect_all(numbers(nats), count)} repeated")


USER = 'authorization {users: [{user: w, password: geheim, permissions: {publish: ["out.>", "$JS.API.>"]}}, {user: t, password: t}]}'
SEED = "SUACSSL3UAHUDXKFSNVUZRF5UHPMWZ6BFDTJ7M6USDXIEDNPPQYYYCU3VY"
NKEY = "UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4"


@case
def login(context):
    nats = server(context, extra=USER, login={"user": "t", "pass": "t"})
    nats.make("OUT", "out.>")
    nats.make("OTHER", "other.>")
    for sink, user, word in [({"subject": "out.x"}, {"user": "w", "password": "falsch"}, "Authorization Violation"),
                             ({"subject": "other.x"}, {"user": "w", "password": "geheim"}, "does not permit"),
                             ({"subject": "out.x"}, None, "Authorization Violation")]:
        weir = context.weir(pipeline(context, [{"n": 0}], {"url": nats.address, "auth": user} | sink
                                     if user else {"url": nats.address} | sink))
        assert weir.wait_exit() == 1, weir.text()
        assert word.lower() in weir.text().lower() and "geheim" not in weir.text(), weir.text()
    sink = {"url": nats.address, "subject": "out.x", "auth": {"user": "w", "password": "geheim"}}
    assert context.weir(pipeline(context, [{"n": 0}], sink)).wait_exit() == 0
    assert numbers(nats) == [0]


@case
def login_by_token_and_nkey(context):
    for extra, good, bad, own in [
            ('authorization {token: geheim}', {"token": "geheim"}, {"token": "x"},
             {"auth_token": "geheim"}),
            (f'authorization {{users: [{{nkey: {NKEY}}}, {{user: t, password: t}}]}}',
             {"nkey": NKEY, "nkey_seed": SEED},
             {"nkey": NKEY, "nkey_seed": "SUAMLK2ZNL35WSMW37E7UD4VZ7ELPKW7DHC3BWBSD2GCZ7IUQQXZIORRBU"},
             {"user": "t", "pass": "t"})]:
        nats = server(context, extra=extra, login=own)
        nats.make("OUT", "out.>")
        sink = {"url": nats.address, "subject": "out.x"}
        assert context.weir(pipeline(context, [{"n": 0}], sink | {"auth": bad})).wait_exit() == 1
        (context.dir / "state").rename(context.dir / f"state-{nats.port}")
        assert context.weir(pipeline(context, [{"n": 0}], sink | {"auth": good})).wait_exit() == 0
        (context.dir / "state").rename(context.dir / f"state-{nats.port}-2")
        assert numbers(nats) == [0]
        nats.api("STREAM.DELETE.OUT")
        nats.stop()


@case
def login_by_credentials(context):
    """A .creds file: the token that the account signed, and the user's seed."""
    account = nkeys.Account()
    nats = server(context, extra=account.config, login={"answer": account.login()})
    nats.make("OUT", "out.>")
    good = account.credentials(context.dir / "good.creds")
    narrow = account.credentials(context.dir / "narrow.creds", pub={"deny": ["out.>"]})
    stranger = nkeys.Account().credentials(context.dir / "stranger.creds")
    for path, word in ((stranger, "authorization violation"), (narrow, "does not permit"),
                       (context.dir / "none.creds", "none.creds")):
        weir = context.weir(pipeline(context, [{"n": 0}], {"url": nats.address, "subject": "out.x",
                                                           "auth": {"credentials": str(path)}}))
        assert weir.wait_exit() != 0, weir.text()
        assert word in weir.text().lower() and "SEED" not in weir.text(), weir.text()
        for secret in path.read_text().split() if path.exists() else ():
            assert len(secret) < 40 or secret not in weir.text()
    sink = {"url": nats.address, "subject": "out.x", "auth": {"credentials": str(good)}}
    assert context.weir(pipeline(context, [{"n": 0}], sink)).wait_exit() == 0
    assert numbers(nats) == [0]


@case
def tls(context):
    """The certificate must be of a known authority and carry the host's name."""
    pki = context.dir / "pki"
    subprocess.run([ROOT / "tests" / "support" / "pki", pki], check=True)
    for name, tls, word in [("server", {"ca": f"{pki}/ca.crt"}, None),
                            ("server", {"ca": f"{pki}/other-ca.crt"}, "certificate"),
                            ("server", {"ca": f"{pki}/ca.crt", "server_name": "other"}, "hostname mismatch"),
                            ("server", {"ca": f"{pki}/ca.crt", "min_version": "tls1.3"}, None),
                            ("wrong-host", {"ca": f"{pki}/ca.crt"}, "hostname mismatch"),
                            ("wrong-host", {"ca": f"{pki}/ca.crt", "server_name": "elsewhere.invalid"}, None),
                            ("wrong-host", {"verify": False}, None)]:
        shutil.rmtree(context.dir / "state", ignore_errors=True)
        nats = server(context, tls=pki / name)
        nats.api("STREAM.DELETE.OUT") if nats.count("OUT") else None
        sink = {"url": f"tls://localhost:{nats.port}", "subject": "out.x", "stream": "OUT",
                "subjects": "out.>", "tls": tls}
        weir = context.weir(pipeline(context, [{"n": 0}], sink))
        assert weir.wait_exit() == (0 if word is None else 1), (name, tls, weir.text())
        assert word is None or word in weir.text(), weir.text()
        assert nats.count("OUT") == (word is None)
        nats.stop()
    # With a client's certificate, and without.
    for cert in [{"cert": f"{pki}/client.crt", "key": f"{pki}/client.key"}, {}]:
        shutil.rmtree(context.dir / "state", ignore_errors=True)
        nats = server(context, tls=pki / "server", tls_client=pki / "client")
        sink["url"] = f"tls://localhost:{nats.port}"
        weir = context.weir(pipeline(context, [{"n": 0}], sink | {"tls": {"ca": f"{pki}/ca.crt"} | cert}))
        if cert:
            assert weir.wait_exit() == 0, weir.text()
        else:
            weir.wait_log("tls.cert")
        nats.stop()


@case
def several_servers(context):
    """The first that answers is taken."""
    nats = server(context)
    nats.make("OUT", "out.>")
    sink = {"url": ["127.0.0.1:1", nats.address], "subject": "out.x"}
    assert context.weir(pipeline(context, [{"n": 0}], sink)).wait_exit() == 0
    assert numbers(nats) == [0]


if __name__ == "__main__":
    main()
