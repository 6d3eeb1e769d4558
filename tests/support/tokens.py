# SPDX-License-Identifier: Apache-2.0
"""An issuer of JSON Web Tokens for tests: a key of its own, a file of its public part, signed tokens."""
import base64
import json
import pathlib
import subprocess
import time


def _encode(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Issuer:
    def __init__(self, directory):
        """One that is already there is taken again."""
        self.key = pathlib.Path(directory) / "issuer.key"
        self.jwks = pathlib.Path(directory) / "jwks.json"
        if self.jwks.exists():
            return
        self._openssl("genrsa", "-out", str(self.key), "2048")
        modulus = self._openssl("rsa", "-in", str(self.key), "-noout", "-modulus").decode()
        number = bytes.fromhex(modulus.strip().partition("=")[2])
        self.jwks.write_text(json.dumps({"keys": [{
            "kty": "RSA", "alg": "RS256", "use": "sig", "kid": "test", "e": "AQAB", "n": _encode(number)}]}))

    @staticmethod
    def _openssl(*words, data=None):
        return subprocess.run(["openssl", *words], input=data, check=True, capture_output=True).stdout

    def token(self, seconds=3600, **claims):
        """One that is good for so many seconds; negative: it was."""
        now = int(time.time())
        claims = {"sub": "weir", "aud": "kafka", "iat": now - 7200, "exp": now + seconds} | claims
        head = {"alg": "RS256", "typ": "JWT", "kid": "test"}
        signed = f"{_encode(json.dumps(head).encode())}.{_encode(json.dumps(claims).encode())}"
        signature = self._openssl("dgst", "-sha256", "-sign", str(self.key), data=signed.encode())
        return f"{signed}.{_encode(signature)}"
