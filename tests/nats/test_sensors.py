#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: examples/sensors-nats.yaml does on a real server what its first lines say.

Method: readings are published by the tests' own client, which also listens to the alerts; the bucket is
read as a client would."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import ROOT, main
from nats_flow import both
from nats_server import Client, NatsError, Server


@both
def readings_and_alerts(context, version):
    nats = Server(context.dir / "nats", version)
    context.cleanup(nats.stop)
    weir = context.weir((ROOT / "examples" / "sensors-nats.yaml").read_text(),
                        env={"NATS": nats.address, "HTTP": "127.0.0.1:0"})

    def is_there(stream):
        try:
            return nats.info(stream) is not None
        except NatsError:
            return False
    wait.until(lambda: is_there("SENSORS") and is_there("KV_latest"), 30, "weir has made stream and bucket")
    client = Client(nats.port, timeout=60)
    context.cleanup(client.close)
    client.subscribe("alerts.>")
    readings = [(f"s{n % 5}", n) for n in range(200)]
    nats.publish_all((f"sensors.{sensor}", json.dumps({"celsius": celsius})) for sensor, celsius in readings)
    alerts = [client.next() for _ in range(200 - 81)]
    assert [(m.subject, json.loads(m.data)["celsius"]) for m in alerts] == \
        [(f"alerts.{sensor}", celsius) for sensor, celsius in readings if celsius > 80]
    weir.term()
    latest = {}
    for _, message in nats.messages("KV_latest"):
        latest[message.subject] = json.loads(message.data)
    assert latest == {f"$KV.latest.s{n}": {"sensor": f"s{n}", "celsius": 195 + n} for n in range(5)}, latest


if __name__ == "__main__":
    main()
