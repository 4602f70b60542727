"""Explanations of instances of small clouds, with names that attack whoever shows them."""

import random
from typing import NamedTuple

import msgspec
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.explanation.build import explain
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.explanation.values import Explanation
from fping_exporter.model import (
    FleetExporter,
    Hypervisor,
    IcmpError,
    Inventory,
    Layer2Doubt,
    Layer2Sweep,
    Outcome,
    Reason,
    Snapshot,
    Witness,
)
from fping_exporter.timeline import Since
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.layer2 import plan_layer2
from fping_exporter.verdict.plan import plan
from tests.build import NOW, sweep
from tests.fleet.worlds import inventories

__all__ = ["SECRET", "Explained", "explained"]

SECRET = "hunter2-of-the-tenant"
_HOSTILE = (
    "\x1b[2J",
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "a\nb",
    "\u202e",
    "{id}",
    "'",
)
_PROBES = (
    config.Probe(),
    config.Probe(vantages=("local", "qdhcp")),
    config.Probe(vantages=("qdhcp",), addresses="floating"),
    config.Probe(families=(6,), local_networks=("net-1",)),
)


class Explained(NamedTuple):
    """An explanation, and the snapshot that it is of."""

    explanation: Explanation
    snapshot: Snapshot


def explained() -> st.SearchStrategy[list[Explained]]:
    """Draw the explanations of all instances of a cloud."""
    names = st.text(max_size=20) | st.sampled_from(_HOSTILE)
    return st.builds(_explain_all, inventories(), st.integers(0, 2**64), names)


def _explain_all(inventory: Inventory, seed: int, name: str) -> list[Explained]:
    chance = random.Random(seed)  # noqa: S311, no secret
    inventory = _renamed(inventory, name)
    probe = chance.choice(_PROBES)
    targets = plan(inventory.instances, inventory.topology, probe)
    outcomes = {each.target: _outcome(chance) for found in targets.values() for each in found if each.target}
    chosen = plan_layer2(inventory, targets, outcomes, InstanceErrors())
    asked = sorted(chosen.distinct())
    heard = Layer2Sweep(
        alive={each: chance.random() < 0.5 for each in asked if chance.random() < 0.5},
        doubtful={each: chance.choice(list(Layer2Doubt)) for each in asked if chance.random() < 0.5},
    )
    swept = msgspec.structs.replace(
        sweep(outcomes),
        layer2=chance.choice([None, heard]),
        unsent={target: name for target in outcomes if chance.random() < 0.5},
    )
    sources = {target: "fd00::2" if ":" in target.ip else "10.0.0.2" for target in outcomes}
    snapshot = judge(
        inventory,
        targets=targets,
        sweep=swept,
        layer2=chosen,
        last_replies={each.id: NOW for each in inventory.instances if chance.random() < 0.5},
        sources=lambda some: {each: sources[each] for each in some},
    )
    found = []
    for verdict in snapshot.verdicts:
        if chance.random() < 0.2:
            exporter = FleetExporter(name, age=1, swept_at=NOW, blind=False)
            words = (Witness(exporter, alive=False, reason=chance.choice(list(Reason))),)
            verdict = msgspec.structs.replace(verdict, witnesses=words)  # noqa: PLW2901, the same one
        evidence = Evidence(
            inventory,
            swept,
            probe,
            sources=chance.choice([{}, sources]),
            since=chance.choice([None, Since(NOW, at_least=True)]),
            remembered=chance.random() < 0.5,
            anew=chance.random() < 0.5,
            blind=chance.random() < 0.5,
            selected=chance.random() < 0.5,
        )
        found.append(Explained(explain(verdict, evidence, runbook="https://wiki.example/"), snapshot))
    return found


def _renamed(inventory: Inventory, name: str) -> Inventory:
    """Return the inventory with all that tenants may name called `name`, and a secret in the metadata."""
    instances = tuple(
        msgspec.structs.replace(
            each,
            name=name,
            status=random.Random(each.id).choice(["ACTIVE", "SHUTOFF", "ERROR", name]),  # noqa: S311
            metadata={"password": SECRET},
            addresses=tuple(msgspec.structs.replace(a, network=name) for a in each.addresses),
        )
        for each in inventory.instances
    )
    topology = msgspec.structs.replace(
        inventory.topology, group_names=dict.fromkeys(inventory.topology.rules, name)
    )
    return msgspec.structs.replace(
        inventory,
        instances=instances,
        topology=topology,
        contacts={"p-a": f"{SECRET}@example.org"},
        hypervisors=(*inventory.hypervisors, Hypervisor(name, up=False)),
    )


def _outcome(chance: random.Random) -> Outcome:
    sent = chance.randint(0, 3)
    received = chance.randint(0, sent)
    error = None if chance.random() < 0.5 else IcmpError(chance.choice(["", "10.0.0.254"]), 3, 1)
    return Outcome(
        sent,
        received,
        0.001 if received else None,
        unreachable=bool(error and sent and not received),
        error=error if sent else None,
    )
