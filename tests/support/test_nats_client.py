#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: the tests' own NATS client is there when a test asks nothing for longer than the server waits for a PONG.

Method: a server that waits for a fraction of a second, and says in its log when it has closed the connection."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import wait
from harness import case, main
from nats_server import Server


@case
def a_long_silence(context):
    server = Server(context.dir / "nats", extra='debug: true\nping_interval: "100ms"\nping_max: 1')
    context.cleanup(server.stop)
    server.make("S", "s")
    log = server.dir / "nats.log"
    for round in range(2):
        wait.until(lambda: log.read_text().count("Stale Client Connection") > round, 30, "the server closes the connection")
        server.publish_all([("s", "1")])
        assert server.count("S") == round + 1


if __name__ == "__main__":
    main()
