# SPDX-License-Identifier: Apache-2.0
"""A service on a NATS server, for steps that ask."""
import json
import socket
import threading

from nats_server import Client


class Service:
    """Answers requests with n doubled; `late`: numbers that are kept until they are released."""

    def __init__(self, context, nats, subject="double", late=()):
        self.client, self.late, self.kept, self.ids = Client(nats.port, timeout=60), set(late), [], []
        self.client.subscribe(subject)
        self.client.request("$JS.API.INFO")  # the server has taken the subscription
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        context.cleanup(self.leave)

    def run(self):
        try:
            while True:
                message = self.client.next()
                self.ids.append(message.headers.get("Nats-Msg-Id"))
                n = json.loads(message.data)["n"]
                if n in self.late:
                    self.kept.append((message.reply, n))
                else:
                    self.answer(message.reply, n)
        except (OSError, ValueError):
            return

    def answer(self, reply, n):
        headers = {"Nats-Service-Error-Code": "400", "Nats-Service-Error": "no number"} if n < 0 else None
        self.client.publish(reply, json.dumps({"double": 2 * n}), headers=headers)

    def release(self):
        for reply, n in self.kept:
            self.answer(reply, n)
        self.late, self.kept = set(), []

    def leave(self):
        try:
            self.client._socket.shutdown(socket.SHUT_RDWR)
        except OSError:  # its server was killed
            pass
        self.thread.join(30)
        self.client.close()
