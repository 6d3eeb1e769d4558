#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: encrypted and authenticated connections work, wrong ones are refused with the reason, and no
secret is written anywhere (I12, I13).

Method: a real broker with TLS and SASL listeners and throw-away certificates. Each good way passes 1,000
records; with another authority, another host name, or a wrong password nothing passes, weir says why
and neither its log nor its pages contain the password."""
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import ROOT, Missing, case, main
from judge import Load
from kafka_cluster import Cluster
from weir_process import pipeline

SECRET = "weir-secret"


def make_secure(directory):
    """A cluster with all listeners; the certificates lie beside its data."""
    made = subprocess.run([ROOT / "tests" / "support" / "pki", directory / "pki"],
                          capture_output=True, text=True)
    if made.returncode != 0:
        raise Missing(f"no certificates: {made.stderr}")
    return Cluster(directory, tls_dir=directory / "pki", sasl=True)


def secure(context):
    kafka = context.shared("secure", make_secure)
    return kafka, kafka.dir / "pki"


def text(context, kafka, load, listener, tls=None, auth=None):
    source = {"topic": load.source}
    source |= {"tls": tls} if tls else {}
    source |= {"auth": auth} if auth else {}
    return pipeline(context.name, kafka, source, load.sink,
                    brokers=kafka.plan["address"][listener])


def passes(context, listener, tls, auth):
    kafka, _ = secure(context)
    load = Load(context, kafka, 1000)
    load.start().finish()
    weir = context.weir(text(context, kafka, load, listener, tls, auth))
    kafka.wait_drained(context.name, load.source, 60, [weir])
    pages = weir.get("/metrics")[1] + weir.get("/readyz")[1]
    weir.term()
    load.verdict()
    assert SECRET not in weir.text() + pages, "the password was written"


def ends(context, listener, tls, auth, line):
    """Settings that can never work end the run by themselves, with one line that says which."""
    kafka, _ = secure(context)
    load = Load(context, kafka, 10)
    load.start().finish()
    weir = context.weir(text(context, kafka, load, listener, tls, auth))
    weir.wait_log(line, 60)
    assert weir.process.wait(60) == 1, weir.tail()
    assert load.progress() == 0
    assert SECRET not in weir.text() and "wrong-password" not in weir.text(), "written"


def refused(context, listener, tls, auth, *reasons):
    kafka, _ = secure(context)
    load = Load(context, kafka, 10)
    load.start().finish()
    weir = context.weir(text(context, kafka, load, listener, tls, auth))
    pattern = "(?i)" + "|".join(reasons)
    weir.wait_log(pattern, 30)
    if weir.running:
        status, body = weir.get("/readyz")
        assert status == 503, body
        weir.term(code=0)
    else:
        assert weir.process.returncode == 1, weir.tail()
    assert load.progress() == 0
    assert SECRET not in weir.text() and "wrong-password" not in weir.text(), "written"


def scram(bits, password=SECRET):
    return {"mechanism": f"scram-sha-{bits}", "user": "weir", "password": password}


@case
def tls(context):
    passes(context, "tls", {"ca": str(secure(context)[1] / "ca.crt")}, None)


@case
def tls_with_client_certificate(context):
    pki = secure(context)[1]
    passes(context, "tls", {"ca": str(pki / "ca.crt"), "cert": str(pki / "client.crt"),
                            "key": str(pki / "client.key")}, None)


@case
def plain(context):
    passes(context, "sasl", None, {"mechanism": "plain", "user": "weir", "password": SECRET})


@case
def scram_256(context):
    passes(context, "sasl", None, scram(256))


@case
def scram_512_over_tls(context):
    passes(context, "sasl-tls", {"ca": str(secure(context)[1] / "ca.crt")}, scram(512))


@case
def other_authority(context):
    ends(context, "tls", {"ca": str(secure(context)[1] / "other-ca.crt")}, None,
         "no secure connection to the brokers")


@case
def wrong_password(context):
    ends(context, "sasl", None, scram(512, "wrong-password"), "the brokers refused the login")


@case
def unknown_user(context):
    auth = {"mechanism": "scram-sha-512", "user": "nobody", "password": SECRET}
    ends(context, "sasl", None, auth, "the brokers refused the login")


@case
def plaintext_to_tls(context):
    refused(context, "tls", None, None, "disconnect", "broker", "ssl", "tls")


if __name__ == "__main__":
    main()
