# SPDX-License-Identifier: Apache-2.0
"""Keys and tokens of a NATS server that trusts an operator: an operator signs an account, the account signs
a user, and the user's token and seed lie in a .creds file (NATS decentralised authentication)."""
import base64
import binascii
import hashlib
import json
import os
import subprocess
import tempfile

PREFIX = {"operator": 14 << 3, "account": 0, "user": 20 << 3}
SEED = 18 << 3


def base32(data):
    data += binascii.crc_hqx(data, 0).to_bytes(2, "little")
    return base64.b32encode(data).decode().rstrip("=")


def base64url(data):
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


class Key:
    """An Ed25519 key pair in the letters of NATS."""

    def __init__(self, kind):
        self.kind, self._raw = kind, os.urandom(32)
        public = self._openssl("pkey", "-pubout", "-outform", "DER")[-32:]
        self.public = base32(bytes([PREFIX[kind]]) + public)
        first = SEED | PREFIX[kind] >> 5
        self.seed = base32(bytes([first, PREFIX[kind] << 3 & 0xff]) + self._raw)

    def _openssl(self, *arguments):
        with tempfile.NamedTemporaryFile() as file:
            file.write(bytes.fromhex("302e020100300506032b657004220420") + self._raw)
            file.flush()
            key = "-inkey" if arguments[0] == "pkeyutl" else "-in"
            form = "-keyform" if arguments[0] == "pkeyutl" else "-inform"
            return subprocess.run(["openssl", *arguments, form, "DER", key, file.name], check=True,
                                  capture_output=True).stdout

    def sign(self, data):
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            return self._openssl("pkeyutl", "-sign", "-rawin", "-in", file.name)

    def token(self, subject, **nats):
        """Says of the key `subject` what stands in `nats`."""
        claims = {"iat": 1700000000, "iss": self.public, "name": subject.kind, "sub": subject.public,
                  "nats": {"type": subject.kind, "version": 2} | nats}
        digest = hashlib.sha512(json.dumps(claims).encode()).digest()[:32]
        claims["jti"] = base64.b32encode(digest).decode().rstrip("=")
        text = ".".join(base64url(json.dumps(part).encode())
                        for part in ({"typ": "JWT", "alg": "ed25519-nkey"}, claims))
        return f"{text}.{base64url(self.sign(text.encode()))}"


class Account:
    """An account with JetStream, on a server with `config`."""

    def __init__(self):
        self._operator, self._account = Key("operator"), Key("account")
        all_of = {name: -1 for name in ("subs", "data", "payload", "imports", "exports", "conn", "leaf",
                                        "mem_storage", "disk_storage", "streams", "consumer")}
        account = self._operator.token(self._account, limits=all_of | {"wildcards": True})
        system = Key("account")
        self.config = (f"operator: {self._operator.token(self._operator)}\nresolver: MEMORY\n"
                       f"system_account: {system.public}\nresolver_preload: {{\n"
                       f"{system.public}: {self._operator.token(system)}\n"
                       f"{self._account.public}: {account}\n}}")

    def user(self, **permissions):
        """(token, key)"""
        key = Key("user")
        return self._account.token(key, subs=-1, data=-1, payload=-1, **permissions), key

    def credentials(self, path, **permissions):
        token, key = self.user(**permissions)
        path.write_text(f"-----BEGIN NATS USER JWT-----\n{token}\n------END NATS USER JWT------\n\n"
                        f"-----BEGIN USER NKEY SEED-----\n{key.seed}\n------END USER NKEY SEED------\n")
        path.chmod(0o600)
        return path

    def login(self):
        """What the test's own client says to a server's nonce."""
        token, key = self.user()
        return lambda nonce: {"jwt": token, "sig": base64url(key.sign(nonce.encode()))}
