# SPDX-License-Identifier: Apache-2.0
"""Whether a pipeline says that it is without its server, and for how long."""
import json

import wait


def follows(context, server, path, partitions, source, sink):
    """An idle pipeline, of which the source or sink at `path` needs `server`: not ready from its death on, with
    the reason, until it is back and everything is as before."""
    weir = context.weir(json.dumps({"name": "flow", "source": source, "sink": sink, "lanes": 1,
                                    "http": {"listen": "127.0.0.1:0"}, "log": {"format": "json", "level": "info"}}))
    weir.wait_ready()
    server.kill()

    def says_why():
        code, text = weir.get("/readyz")
        return code == 503 and any(reason.startswith(f"{path}: ") for reason in json.loads(text)["reasons"])
    wait.until(says_why, 60, f"{path} is not ready")
    assert weir.get("/livez")[0] == 200
    server.start()
    weir.wait_ready(60)
    wait.until(lambda: len(json.loads(weir.get("/status")[1])["partitions"]) == partitions, 60, "it has what it had")
    weir.term()
