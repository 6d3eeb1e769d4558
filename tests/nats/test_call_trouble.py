#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Goal: a pipeline that asks commits each output exactly once, with the answer to its own question, whoever
dies or stalls while questions are under way.

Method: the flow of test_atomic, whose messages ask a service; processes are killed and stopped past their
lease, the server of the pipeline and the service's own server, the oldest and the newest, are killed."""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "support"))
import wait
from harness import case, main, scale
from nats_flow import both
from nats_partitions import AtomicFlow, again_and_again, survives_kills, survives_kills_of_the_server
from nats_server import Server
from nats_service import Service


def asks(nats):
    return [{"nats_request": {"url": nats.address, "subject": "double", "timeout": "500ms", "request": "{n}",
                              "result": ". + $answer"}}]


def counts_and_asks(nats):
    """What asks lies behind what keeps state: an epoch is complete only with the answers."""
    return [{"aggregate": {"key": ".p", "aggregate": {"count": "count"}}},
            {"map": "{p: (.key | tonumber), n: (.count - 1)}"}] + asks(nats)


def check(flow):
    flow.check()
    assert all(record["double"] == 2 * record["n"] for record in flow.found())


@case
def weir_killed(context):
    flow = AtomicFlow(context)
    Service(context, flow.server)
    survives_kills(flow, scale(3, 30), steps=counts_and_asks(flow.server))
    check(flow)


@both
def service_killed(context, version):
    """Its server dies with requests under way; another service comes with the next one."""
    flow, nats = AtomicFlow(context), Server(context.dir / "asked", version)
    context.cleanup(nats.stop)
    services = [Service(context, nats)]
    flow.add(scale(3000, 30_000))
    weir = flow.weir(steps=counts_and_asks(nats))

    def act():
        nats.kill()
        services[-1].thread.join(30)
        nats.start()
        services.append(Service(context, nats))

    again_and_again(flow, scale(2, 20), act)
    flow.wait_out(flow.total())
    weir.term()
    check(flow)


@case
def server_killed(context):
    flow, nats = AtomicFlow(context), Server(context.dir / "asked", "new")
    context.cleanup(nats.stop)
    Service(context, nats)
    survives_kills_of_the_server(flow, steps=asks(nats))
    check(flow)


@case
def zombie(context):
    """A process sleeps past its lease while it waits for answers; another one asks the same, and is answered."""
    flow = AtomicFlow(context)
    service = Service(context, flow.server, late={150})  # in each partition
    flow.add(1000)
    first = flow.weir("first", steps=asks(flow.server))
    wait.until(lambda: len(service.kept) >= 2, 30, "it waits")
    first.stop()
    asked = len(service.kept)
    second = flow.weir("second", steps=asks(flow.server))
    wait.until(lambda: len(service.kept) > asked, 30, "the other one asks")
    service.release()
    flow.wait_out(flow.total() // 2)
    first.cont()
    flow.add(200)
    flow.wait_out(flow.total())
    first.term()
    second.term()
    check(flow)
    repeated = {i for i in service.ids if service.ids.count(i) > 1}
    assert repeated, "nobody asked twice"


@case
def transaction_without_answers(context):
    """It is given up, says whose answers it lacks, and begins again until they come; nothing is committed before."""
    flow = AtomicFlow(context)
    flow.add(500)
    steps = counts_and_asks(flow.server)
    steps[-1]["nats_request"]["timeout"] = "300ms"
    weir = flow.weir(steps=steps, transaction_timeout="1s")
    said = "steps[2].nats_request gets no answer, and the epoch needs it"
    wait.until(lambda: weir.text().count(said) >= 2, 60, "it is given up twice")
    assert weir.metric("stream_requests_total", status="nobody") > 0 and flow.found() == []
    Service(context, flow.server)
    flow.wait_out(flow.total())
    weir.term()
    check(flow)


if __name__ == "__main__":
    main()
