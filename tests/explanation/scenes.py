"""A snapshot of an instance for each reason, made as a sweep makes it."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from fping_exporter import config
from fping_exporter.explanation.build import explain
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.explanation.values import Explanation
from fping_exporter.model import (
    LOCAL,
    NOT_ASKED,
    IcmpError,
    Instance,
    Inventory,
    Layer2Sweep,
    Layer2Target,
    Network,
    Outcome,
    Port,
    Reason,
    SecurityRule,
    Snapshot,
    Target,
    Topology,
)
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.layer2 import plan_layer2
from fping_exporter.verdict.plan import plan
from tests.build import SILENT, address, instance, inventory, sweep

__all__ = ["ID", "IP", "REASONS", "SOURCE", "World", "port"]

ID, IP, SOURCE = "5f0c0000-0000-4000-8000-000000000001", "192.0.2.7", "192.0.2.1"
MAC = "fa:16:3e:00:00:07"
NETWORK = Network("net-1", "public", external=True, shared=True)
RULE = SecurityRule(4, prefix="192.0.2.0/24", id="rule-1")


def port(*, device: str = ID, ip: str = IP, groups: tuple[str, ...] | None = ("g1",)) -> Port:
    return Port(NETWORK.id, MAC, {ip: "sub-1"}, groups, device, "ovs", "port-1")


GUEST = instance(
    ID,
    address(IP, mac=MAC, network="public"),
    name="web-1",
    project_id="p1",
    host="cn-1",
    hypervisor="cn-1.example",
    created_at=1_000.0,
)
KNOWN = Topology(
    ports={ID: (port(),)},
    owners={IP: (port(),)},
    networks={NETWORK.id: NETWORK},
    rules={"g1": (RULE,)},
    group_names={"g1": "default"},
)


class World(NamedTuple):
    """What a cloud lists, and what its guests answer."""

    guest: Instance = GUEST
    topology: Topology = KNOWN
    outcome: Outcome = SILENT
    layer2_alive: bool | None = None
    probe: config.Probe = config.Probe()
    others: tuple[Instance, ...] = ()
    unsent: Mapping[Target, str] = {}

    @property
    def inventory(self) -> Inventory:
        return inventory(self.guest, *self.others, topology=self.topology)

    def snapshot(self) -> Snapshot:
        there = self.inventory
        alone = msgspec.structs.replace(there, instances=(self.guest,))
        targets = plan(alone.instances, self.topology, self.probe)
        asked = {each.target: self.outcome for found in targets.values() for each in found if each.target}
        swept = msgspec.structs.replace(sweep(asked), unsent=self.unsent)
        chosen = plan_layer2(alone, targets, swept.outcomes, InstanceErrors())
        heard = (
            {}
            if self.layer2_alive is None
            else {Layer2Target(LOCAL, each.ip, MAC): self.layer2_alive for each in self.guest.addresses}
        )
        swept = msgspec.structs.replace(swept, layer2=Layer2Sweep(alive=heard))
        judged = judge(
            alone,
            targets=targets,
            sweep=swept,
            layer2=chosen,
            sources=lambda some: dict.fromkeys(some, SOURCE),
        )
        return msgspec.structs.replace(judged, inventory=there)

    def explain(self, *, runbook: str = "", sources: bool = True, **changes: object) -> Explanation:
        snapshot = self.snapshot()
        [verdict] = snapshot.verdicts
        targets = [each.target for each in verdict.probed if each.target]
        evidence = Evidence(
            snapshot.inventory,
            snapshot.sweep,
            self.probe,
            sources=dict.fromkeys(targets, SOURCE) if sources else {},
            **changes,  # type: ignore[arg-type]
        )
        return explain(verdict, evidence, runbook=runbook)


BLOCKED = msgspec.structs.replace(KNOWN, rules={"g1": ()})
TWICE = msgspec.structs.replace(KNOWN, owners={IP: (port(), port(device="rival"))})
ELSEWHERE = msgspec.structs.replace(
    KNOWN, networks={NETWORK.id: Network("net-1", "private", external=False, shared=False)}
)

REASONS = {
    Reason.NO_REPLY: World(layer2_alive=False),
    Reason.UNREACHABLE: World(
        outcome=Outcome(3, 0, None, unreachable=True, error=IcmpError("192.0.2.254", 3, 1))
    ),
    Reason.ICMP_BLOCKED: World(topology=BLOCKED),
    Reason.ICMP_IGNORED: World(layer2_alive=True),
    Reason.AMBIGUOUS_ADDRESS: World(
        topology=TWICE, others=(instance("rival", IP, name="web-2", project_id="p2"),)
    ),
    Reason.NO_VANTAGE: World(
        topology=ELSEWHERE, probe=config.Probe(vantages=("local", "qdhcp")), outcome=NOT_ASKED
    ),
    Reason.NO_ADDRESS: World(guest=msgspec.structs.replace(GUEST, addresses=())),
    Reason.NOT_ACTIVE: World(guest=msgspec.structs.replace(GUEST, status="SHUTOFF")),
}
