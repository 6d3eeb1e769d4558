#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: encrypted and authenticated connections work, wrong ones are refused with the reason, and no
secret is written anywhere (I12, I13). A right that is withdrawn ends the run, says which, and loses nothing (I1, I2).

Method: a real broker with TLS and SASL listeners and throw-away certificates and tokens. Each good way
passes 1,000 records; with another authority or host name, an expired certificate, a version too old, a
wrong password or token nothing passes, weir says why, and neither its log nor its pages contain a secret."""
import pathlib
import re
import subprocess
import sys
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
from harness import ROOT, Missing, case, main
from judge import Load
from kafka_cluster import Cluster
from tokens import Issuer
from weir_process import pipeline

SECRET = "weir-secret"


def make_secure(directory):
    """A cluster with all listeners; the certificates lie beside its data."""
    made = subprocess.run([ROOT / "tests" / "support" / "pki", directory / "pki"],
                          capture_output=True, text=True)
    if made.returncode != 0:
        raise Missing(f"no certificates: {made.stderr}")
    return Cluster(directory, tls_dir=directory / "pki", sasl=True, jwks=Issuer(directory / "pki").jwks, settings={
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS", "allow.everyone.if.no.acl.found": "true"})


def secure(context):
    kafka = context.shared("secure", make_secure)
    return kafka, kafka.dir / "pki"


def load_of(context, count):
    """A load with topics, and a group, of its own: a case may have several."""
    context.loads = getattr(context, "loads", 0) + 1
    kafka = secure(context)[0]
    load = Load(context, kafka, count, name=f"{context.name}-{context.loads}")
    load.start().finish()
    return kafka, load


def start(context, kafka, load, listener, tls=None, auth=None):
    source = {"topic": load.source}
    source |= {"tls": tls} if tls is not None else {}
    source |= {"auth": auth} if auth else {}
    weir = context.weir(pipeline(load.name, kafka, source, load.sink,
                                 brokers=kafka.plan["address"][listener]), name=load.name, start=False)
    weir.file.chmod(0o600)
    return weir.start()


def passes(context, listener, tls, auth):
    kafka, load = load_of(context, 1000)
    weir = start(context, kafka, load, listener, tls, auth)
    kafka.wait_drained(load.name, load.source, 60, [weir])
    pages = weir.get("/metrics")[1] + weir.get("/readyz")[1] + weir.get("/status")[1]
    weir.term()
    load.verdict()
    clean(weir, auth, pages)


def clean(weir, auth, pages=""):
    secrets = [value for key, value in (auth or {}).items() if key in ("password", "token")]
    for secret in [SECRET, "wrong-password", *secrets]:
        assert secret not in weir.text() + pages, "a secret was written"


def ends(context, listener, tls, auth, *lines, code=1):
    """Settings that can never work end the run by themselves, with lines that say why."""
    kafka, load = load_of(context, 10)
    weir = start(context, kafka, load, listener, tls, auth)
    assert weir.process.wait(60) == code, weir.tail()
    for line in lines:
        assert re.search(line, weir.text()), (line, weir.tail())
    assert load.progress() == 0
    clean(weir, auth)


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


def authority(context, name="ca"):
    return {"ca": str(secure(context)[1] / f"{name}.crt")}


@case
def other_authority(context):
    ends(context, "tls", authority(context, "other-ca"), None, "no secure connection to the brokers",
         "unable to get local issuer|self.signed")


@case
def unknown_authority(context):
    ends(context, "tls", {}, None, "no secure connection to the brokers", "unable to get local issuer|self.signed")


@case
def expired(context):
    ends(context, "tls-expired", authority(context), None, "no secure connection to the brokers",
         "expired")


@case
def wrong_host(context):
    ends(context, "tls-wrong-host", authority(context), None, "no secure connection to the brokers",
         "(?i)mismatch")


@case
def the_name_of_the_certificate(context):
    named = authority(context) | {"server_name": "elsewhere.invalid"}
    passes(context, "tls-wrong-host", named, None)


@case
def not_the_name_of_the_certificate(context):
    ends(context, "tls", authority(context) | {"server_name": "elsewhere.invalid"}, None,
         "no secure connection to the brokers", "does not carry tls.server_name")


@case
def the_name_beside_an_expired_certificate(context):
    ends(context, "tls-expired", authority(context) | {"server_name": "localhost"}, None,
         "no secure connection to the brokers", "expired")


@case
def a_client_certificate_is_asked_for(context):
    pki = secure(context)[1]
    ends(context, "tls-client", authority(context), None, "no secure connection to the brokers",
         "(?i)certificate")
    passes(context, "tls-client", authority(context) | {
        "cert": str(pki / "client.crt"), "key": str(pki / "locked.key"),
        "key_password": "open-sesame"}, None)


@case
def files_that_cannot_be_used(context):
    pki = secure(context)[1]
    mutual = authority(context) | {"cert": str(pki / "client.crt"), "key": str(pki / "locked.key"),
                                   "key_password": "wrong-password"}
    ends(context, "tls-client", mutual, None, "tls.key_password", code=78)
    ends(context, "tls", {"ca": "/nowhere/ca.pem"}, None, "/nowhere/ca.pem: No such file", code=78)


@case
def versions(context):
    newest = authority(context) | {"min_version": "tls1.3"}
    passes(context, "tls", newest, None)
    passes(context, "tls-old", authority(context), None)
    ends(context, "tls-old", newest, None, "no secure connection to the brokers")


@case
def wrong_password(context):
    ends(context, "sasl", None, scram(512, "wrong-password"), "the brokers refused the login")


@case
def unknown_user(context):
    auth = {"mechanism": "scram-sha-512", "user": "nobody", "password": SECRET}
    ends(context, "sasl", None, auth, "the brokers refused the login")


def bearer(**more):
    return {"mechanism": "oauthbearer"} | more


@case
def token(context):
    issuer = Issuer(secure(context)[1])
    passes(context, "sasl", None, bearer(token=issuer.token()))
    passes(context, "sasl-tls", authority(context), bearer(token=issuer.token()))


@case
def token_that_is_renewed(context):
    """Each is good for ten seconds, and there is a new one every second; the broker closes connections whose token
    has ended."""
    issuer = Issuer(secure(context)[1])
    file, new = context.dir / "token", context.dir / "token.new"
    ends = threading.Event()

    def renew():
        new.write_text(issuer.token(10) + "\n")
        new.rename(file)

    def renew_on():
        while not ends.wait(1):
            renew()
    renew()
    thread = threading.Thread(target=renew_on)
    context.cleanup(thread.join)
    context.cleanup(ends.set)
    thread.start()
    kafka, load = load_of(context, 1000)
    weir = start(context, kafka, load, "sasl", None, bearer(token_file=str(file)))
    kafka.wait_drained(load.name, load.source, 60, [weir])
    weir.run_for(15)
    assert "Failed to acquire" not in weir.text(), weir.tail()
    weir.term()
    load.verdict()


@case
def tokens_that_are_refused(context):
    pki = secure(context)[1]
    issuer = Issuer(pki)
    for made, reason in ((issuer.token(-60), "the token ended"),
                         (issuer.token(aud="others"), "(?i)authentication failed|refused"),
                         (Issuer(context.dir).token(), "(?i)authentication failed|refused"),
                         ("opaque-token-of-nobody", "(?i)authentication failed|refused")):
        ends(context, "sasl", None, bearer(token=made), "the brokers refused the login", reason)
    ends(context, "sasl", None, bearer(token_file="/nowhere/token"), "the brokers refused the login",
         "/nowhere/token: No such file")


@case
def plaintext_to_tls(context):
    """Neither side can tell that from a broker that is away: it is waited for, with the hint."""
    kafka, load = load_of(context, 10)
    weir = start(context, kafka, load, "tls")
    weir.wait_log("(?i)disconnect|ssl|tls", 30)
    status, body = weir.get("/readyz")
    assert status == 503, body
    weir.term(code=0)
    assert load.progress() == 0


class Right:
    """What the user `weir` may do with things whose names begin so; all of it, until it is withdrawn."""

    def __init__(self, kafka, kind, name, operation):
        self.admin, self.kind, self.name, self.operation = kafka.admin, kind, name, operation
        self._create("ALL", "ALLOW")

    def _create(self, operation, permission):
        from confluent_kafka.admin import AclBinding
        for made in self.admin.create_acls([self._acl(AclBinding, operation, permission)]).values():
            made.result(30)

    def _acl(self, form, operation, permission):
        from confluent_kafka.admin import AclOperation, AclPermissionType, ResourcePatternType, ResourceType
        return form(ResourceType[self.kind], self.name, ResourcePatternType.PREFIXED, "User:weir", "*",
                    AclOperation[operation], AclPermissionType[permission])

    def withdraw(self):
        self._create(self.operation, "DENY")

    def give_back(self):
        from confluent_kafka.admin import AclBindingFilter
        for gone in self.admin.delete_acls([self._acl(AclBindingFilter, self.operation, "DENY")]).values():
            assert len(gone.result(30)) == 1


def withdrawn(kind, operation, part, *said, guarantee="exactly-once"):
    def run(context):
        kafka = secure(context)[0]
        load = Load(context, kafka, 5_000, rate=2000)
        right = Right(kafka, kind, f"{load.name}{part}", operation)
        text = pipeline(load.name, kafka, {"topic": load.source, "auth": scram(256)}, load.sink,
                        guarantee=guarantee, brokers=kafka.plan["address"]["sasl"])
        weir = context.weir(text, start=False)
        weir.file.chmod(0o600)
        weir.start()
        load.start()
        load.wait_progress(1000, alive=[weir])
        right.withdraw()
        assert weir.wait_exit(60) == 1
        last = weir.log()[-1]
        assert last["message"] == "ended", last
        for text in ("needs the right to", f"{operation} on", *said):
            assert text.format(load=load) in str(last), last
        right.give_back()
        weir.start()
        load.drain(load.name, weir)
        weir.term()
        load.verdict() if guarantee == "exactly-once" else load.verdict(at_least_once=True)
    return run


def _withdrawn(name, *arguments, **options):
    function = withdrawn(*arguments, **options)
    function.__name__ = f"right_withdrawn_of_the_{name}"
    case(function)


_withdrawn("group", "GROUP", "READ", "", "Group authorization failed")
_withdrawn("group_at_least_once", "GROUP", "READ", "", "Group authorization failed", guarantee="at-least-once")
_withdrawn("source", "TOPIC", "READ", "-in", "{load.source}: ", "Topic authorization failed")
_withdrawn("sink", "TOPIC", "WRITE", "-out", "topic {load.sink}: ", "Topic authorization failed")
_withdrawn("transactional_id", "TRANSACTIONAL_ID", "WRITE", "-", "Transactional Id authorization failed")


if __name__ == "__main__":
    main()
