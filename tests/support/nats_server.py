# SPDX-License-Identifier: Apache-2.0
"""Real NATS servers of a test on free ports of 127.0.0.1, the oldest and the newest version that weir is
tested with, and a client that speaks their protocol: the checkers share no code with the program."""
import collections
import json
import pathlib
import select
import shutil
import signal
import socket
import ssl
import subprocess
import time

import harness
import ports
import wait


class NatsError(Exception):
    def __init__(self, error):
        super().__init__(f"{error.get('description')} ({error.get('err_code')})")
        self.code = error.get("err_code")


class Message:
    def __init__(self, subject, reply, headers, data):
        self.subject, self.reply, self.headers, self.data = subject, reply, headers, data
        self.status = headers.pop("", "").partition(" ")[2].strip()


def time_of(message):
    """When the server stored what a consumer delivered, to the millisecond below."""
    whole, part = divmod(int(message.reply.split(".")[7]) // 1_000_000, 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{part:03d}Z"


class Client:
    def __init__(self, port, timeout=20, tls=None, **login):
        self._early = collections.deque()
        self._pongs = 0
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        if tls is None:
            self._file = self._socket.makefile("rb")
            info = json.loads(self._file.readline().split(b" ", 1)[1])
            if "answer" in login:  # to the server's nonce
                login = login["answer"](info["nonce"])
        else:
            while not self._socket.recv(1) == b"\n":
                pass
            self._socket = tls.wrap_socket(self._socket)
            self._file = self._socket.makefile("rb")
        self._send({"verbose": False, "headers": True, "no_responders": True, "lang": "test",
                    "version": "1", "protocol": 1} | login)
        self._inbox = f"_INBOX.{id(self):x}{time.monotonic_ns():x}"
        self._number = 0
        self._write(f"SUB {self._inbox}.* 1\r\n".encode())
        self._write(b"PING\r\n")
        while True:
            line = self._file.readline()
            if line.startswith(b"-ERR") or not line:
                raise ConnectionError(line.decode())
            if line == b"PONG\r\n":
                break

    def _send(self, options):
        self._write(b"CONNECT " + json.dumps(options).encode() + b"\r\n")

    def _write(self, data):
        self._socket.sendall(data)

    def close(self):
        self._file.close()
        self._socket.close()

    @staticmethod
    def _frame(subject, data, reply="", headers=None):
        data = data if isinstance(data, bytes) else data.encode()
        if not headers:
            return f"PUB {subject} {reply} {len(data)}\r\n".encode() + data + b"\r\n"
        block = "NATS/1.0\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items()) + "\r\n"
        block = block.encode()
        return (f"HPUB {subject} {reply} {len(block)} {len(block) + len(data)}\r\n".encode() + block
                + data + b"\r\n")

    def publish(self, subject, data, reply="", headers=None):
        self._write(self._frame(subject, data, reply, headers))

    def subscribe(self, subject):
        self._number += 1
        self._write(f"SUB {subject} {self._number + 1}\r\n".encode())

    def _read(self):
        """What the server says next; None: something that is no message."""
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the server closed the connection")
        words = line[:-2].decode().split(" ")
        if words[0] == "PING":
            self._write(b"PONG\r\n")
        elif words[0] == "PONG":
            self._pongs += 1
        elif words[0] == "-ERR":
            raise ConnectionError(line.decode())
        elif words[0] in ("MSG", "HMSG"):
            total = int(words[-1])
            body = self._file.read(total + 2)[:-2]
            size = int(words[-2]) if words[0] == "HMSG" else 0
            names = words[3:-2] if words[0] == "HMSG" else words[3:-1]
            headers = {}
            for number, row in enumerate(body[:size].decode().split("\r\n")):
                name, _, value = row.partition(":")
                if number == 0:
                    headers[""] = row
                elif row:
                    headers[name] = value.strip()
            return Message(words[1], names[0] if names else "", headers, body[size:])
        return None

    def next(self):
        while True:
            message = self._early.popleft() if self._early else self._read()
            if message is not None:
                return message

    def is_there(self):
        """Answers what came since it was last asked for something; False: the server has closed it, as
        it does with clients whose PINGs nobody answers for some minutes."""
        try:
            while select.select([self._socket], [], [], 0)[0]:
                self._early.append(self._read())
            return True
        except OSError:
            return False

    def pending(self):
        """How many messages the server has sent until now that next() has not given."""
        pongs = self._pongs
        self._write(b"PING\r\n")
        while self._pongs == pongs:
            self._early.append(self._read())
        return sum(message is not None for message in self._early)

    def request(self, subject, data=b"", headers=None):
        self._number += 1
        reply = f"{self._inbox}.{self._number}"
        self.publish(subject, data, reply, headers)
        while True:
            message = self.next()
            if message.subject == reply:
                return message

    def api(self, call, **body):
        message = self.request("$JS.API." + call, json.dumps(body) if body else b"")
        if message.status.startswith("503"):
            raise ConnectionError("JetStream does not answer")
        answer = json.loads(message.data)
        if "error" in answer:
            raise NatsError(answer["error"])
        return answer

    def publish_all(self, items):
        """Publishes (subject, data[, headers]) and waits for each acknowledgement, in parts."""
        items = list(items)
        for at in range(0, len(items), 500):
            part = items[at:at + 500]
            first = self._number + 1
            self._number += len(part)
            self._write(b"".join(self._frame(item[0], item[1], f"{self._inbox}.{first + i}",
                                             item[2] if len(item) > 2 else None)
                                 for i, item in enumerate(part)))
            waiting = len(part)
            while waiting > 0:
                message = self.next()
                if message.subject.startswith(self._inbox):
                    answer = json.loads(message.data or b'{"error": {"description": "no stream"}}')
                    if "error" in answer:
                        raise NatsError(answer["error"])
                    waiting -= 1


def binary(version):
    """`old`: the system's; `new`: the one that scripts/deps fetched."""
    path = shutil.which("nats-server")
    if version == "new":
        found = sorted((harness.ROOT / "build" / "deps").glob("nats-server-*/nats-server"))
        path = str(found[-1]) if found else None
    if path is None:
        raise harness.Missing(f"no nats-server ({version}): run scripts/deps --tests")
    return path


class Server:
    def __init__(self, directory, version="new", extra="", login=None, tls=None, tls_client=None):
        """`extra`: lines of its configuration; `login`: what the test's own client logs in with; `tls`:
        path of certificate and key without suffix; `tls_client`: the same of a client, which then
        must show one."""
        self.dir = pathlib.Path(directory)
        self.dir.mkdir(parents=True, exist_ok=True)
        self.binary = binary(version)
        self.port = ports.free()
        self.address = f"127.0.0.1:{self.port}"
        self.login = login or {}
        if tls is not None:
            checks = f'verify: true, ca_file: "{tls.parent}/ca.crt", ' if tls_client else ""
            extra += f'\ntls {{{checks}cert_file: "{tls}.crt", key_file: "{tls}.key"}}'
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            if tls_client:
                context.load_cert_chain(f"{tls_client}.crt", f"{tls_client}.key")
            self.login = self.login | {"tls": context}
        self.config = self.dir / "nats.conf"
        self.config.write_text(f'listen: "{self.address}"\nlog_file: "{self.dir}/nats.log"\n'
                               f'jetstream {{store_dir: "{self.dir}/store"}}\n{extra}\n')
        self.process = None
        self._client = None
        self.start()

    def start(self):
        with open(self.dir / "nats.err", "ab") as err:  # where it would say why it crashed
            self.process = subprocess.Popen([self.binary, "-c", str(self.config)],
                                            stdin=subprocess.DEVNULL, stdout=err, stderr=err,
                                            preexec_fn=harness.die_with_parent)

        def answers():
            try:
                self.api("INFO")
                return True
            except NatsError:
                return True
            except OSError:
                return False
        wait.until(answers, 30, "the NATS server answers")

    @property
    def client(self):
        if self._client is None or not self._client.is_there():
            self._client = Client(self.port, **self.login)
        return self._client

    def again(self, function):
        """On a new connection when the old one is gone."""
        try:
            return function(self.client)
        except NatsError:
            raise
        except OSError:
            self._client = None
            raise

    def api(self, call, **body):
        return self.again(lambda client: client.api(call, **body))

    def publish_all(self, items):
        self.api("INFO")
        self.again(lambda client: client.publish_all(items))

    def make(self, name, *subjects, **config):
        return self.api(f"STREAM.CREATE.{name}", name=name, subjects=list(subjects), **config)

    def info(self, stream):
        return self.api(f"STREAM.INFO.{stream}")["state"]

    def count(self, stream):
        try:
            return self.info(stream)["messages"]
        except NatsError:
            return 0

    def consumer(self, stream, name):
        return self.api(f"CONSUMER.INFO.{stream}.{name}")

    def messages(self, stream):
        """All that is in the stream, as (sequence, message)."""
        total = self.count(stream)
        client = Client(self.port, **self.login)
        try:
            answer = client.api(f"CONSUMER.CREATE.{stream}", stream_name=stream, config={
                "ack_policy": "none", "deliver_policy": "all", "inactive_threshold": 60 * 10**9})
            name = answer["name"]
            found, asked = [], 0
            while len(found) < total:
                if asked == len(found):
                    batch = min(5000, total - len(found))
                    asked += batch
                    client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}",
                                   json.dumps({"batch": batch}), client._inbox + ".0")
                message = client.next()
                if message.reply.startswith("$JS.ACK."):
                    found.append((int(message.reply.split(".")[5]), message))
            client.api(f"CONSUMER.DELETE.{stream}.{name}")
            return found
        finally:
            client.close()

    def kill(self):
        self.process.kill()
        self.process.wait(10)
        self._client = None

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        if self.process.poll() is None:
            self.resume()
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()
        self._client = None
