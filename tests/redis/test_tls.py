#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: TLS and logins towards Redis work, and each way in which they can be wrong ends the run with a
line that says which, instead of a wait.

Method: real servers with throw-away certificates (good, of another host, expired, TLS 1.2 only, asking for
the client's); a pipeline writes one record, or must end by itself with 1 and the reason."""
import json
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import ROOT, Missing, case, main
from redis_server import Server

SECRET = "canary-of-redis"


def pki(context):
    directory = context.dir.parent / "pki"
    made = subprocess.run([ROOT / "tests" / "support" / "pki", directory], capture_output=True, text=True)
    if made.returncode != 0:
        raise Missing(f"no certificates: {made.stderr}")
    return directory


def server(context, certificate="server", clients="no", **settings):
    files = pki(context)
    redis = Server(context.dir / "redis", tls_port=0, tls_auth_clients=clients,
                   tls_cert_file=files / f"{certificate}.crt", tls_key_file=files / f"{certificate}.key",
                   tls_ca_cert_file=files / "ca.crt", **settings)
    context.cleanup(redis.stop)
    return redis, files


def run(context, redis, tls, name="weir", url=None, **sink):
    (context.dir / "in.jsonl").write_text('{"n": 1}\n')
    sink = {"url": url or f"127.0.0.1:{redis.tls_port}", "stream": "out", "tls": tls} | sink
    text = {"name": name, "source": {"file": {"path": str(context.dir / "in.jsonl")}},
            "sink": {"redis": {key: value for key, value in sink.items() if value is not None}},
            "http": "off", "state": {"log": "none"}, "log": {"format": "json", "level": "info"}}
    return context.weir(json.dumps(text), name=name)


def passes(context, redis, tls, **more):
    weir = run(context, redis, tls, **more)
    assert weir.wait_exit(20) == 0, weir.tail()
    assert redis.call("XLEN", "out") == 1
    redis.call("DEL", "out")
    assert SECRET not in weir.text()


def refused(context, redis, tls, *words, code=1, **more):
    weir = run(context, redis, tls, name="refused", **more)
    assert weir.wait_exit(20) == code, weir.tail()
    for word in words:
        assert word in weir.text(), (word, weir.tail())
    assert redis.call("XLEN", "out") == 0
    assert SECRET not in weir.text() and "wrong-password" not in weir.text(), weir.text()


def told(context, redis, tls, *words, **more):
    """What may pass by itself is waited for, and said once."""
    weir = run(context, redis, tls, name="told", **more)
    for word in words:
        weir.wait_log(word, 20)
    weir.expect_running()
    weir.end()
    assert redis.call("XLEN", "out") == 0


@case
def certificates(context):
    redis, files = server(context)
    ca = {"ca": str(files / "ca.crt")}
    passes(context, redis, ca)
    passes(context, redis, ca, name="by_url", url=f"rediss://127.0.0.1:{redis.tls_port}")
    passes(context, redis, {"verify": False}, name="blind")
    passes(context, redis, ca | {"min_version": "tls1.3"}, name="newest")
    refused(context, redis, {"ca": str(files / "other-ca.crt")}, "not accepted", "tls.ca")
    refused(context, redis, {}, "not accepted", "tls.ca")
    refused(context, redis, ca | {"server_name": "elsewhere.invalid"}, "not accepted", "mismatch")
    told(context, redis, ca, "does this port speak TLS", url=redis.address)


@case
def wrong_host(context):
    redis, files = server(context, "wrong-host")
    ca = {"ca": str(files / "ca.crt")}
    refused(context, redis, ca, "not accepted", "mismatch", "tls.server_name")
    passes(context, redis, ca | {"server_name": "elsewhere.invalid"})


@case
def expired(context):
    redis, files = server(context, "expired")
    refused(context, redis, {"ca": str(files / "ca.crt")}, "not accepted", "has expired")


@case
def versions(context):
    redis, files = server(context, tls_protocols="TLSv1.2")
    ca = {"ca": str(files / "ca.crt")}
    passes(context, redis, ca)
    refused(context, redis, ca | {"min_version": "tls1.3"}, "no TLS with", "min_version")


@case
def client_certificates(context):
    redis, files = server(context, clients="yes")
    ca = {"ca": str(files / "ca.crt")}
    mutual = ca | {"cert": str(files / "client.crt"), "key": str(files / "client.key")}
    passes(context, redis, mutual)
    passes(context, redis, mutual | {"key": str(files / "locked.key"), "key_password": "open-sesame"},
           name="locked")
    told(context, redis, ca, "tls.cert")
    for change, word in (({"key": str(files / "server.key")}, "does not belong"),
                         ({"key": str(files / "nothing")}, "No such file"),
                         ({"ca": str(files / "client.key")}, "no certificate in it"),
                         ({"cert": str(files / "client.key")}, "no certificate in it"),
                         ({"key": str(files / "locked.key"), "key_password": SECRET}, "tls.key_password")):
        refused(context, redis, mutual | change, word, code=78)


@case
def logins(context):
    redis, files = server(context)
    ca = {"ca": str(files / "ca.crt")}
    redis.call("ACL", "SETUSER", "writer", "on", f">{SECRET}", "+xadd", "+ping", "~out")
    passes(context, redis, ca, auth={"user": "writer", "password": SECRET})
    refused(context, redis, ca, "WRONGPASS", auth={"user": "writer", "password": "wrong-password"})
    refused(context, redis, ca, "WRONGPASS", auth={"user": "nobody", "password": SECRET})


if __name__ == "__main__":
    main()
