"""A cloud whose lists a test may alter, entry by entry, and the verdicts on its instances."""

from collections.abc import Callable
from typing import Any

import msgspec

from fping_exporter import config
from fping_exporter.cloud import Cloud
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import NovaServer
from fping_exporter.model import Address, AddressKind, Instance, Inventory, Verdict
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, sweep
from tests.cloud.faulty import ALPHA, BETA
from tests.cloud.neutron import NeutronCloud, group, port, rule

__all__ = ["BY_NETWORK", "EVERYWHERE", "AlteredCloud", "judged", "without_names"]

EVERYWHERE = config.Probe()
BY_NETWORK = config.Probe(local_networks=("net", "net2"))
"""Networks are listed only if some of them are chosen."""
SENDER = "10.0.0.250"
_ANSWERING = {"10.0.0.1", "10.0.0.4", "10.0.0.7", "192.0.2.1"}


class AlteredCloud(NeutronCloud):
    """Seven instances, and what is true of them.

    ``answers`` is the only one that answers, and ``blocked`` the only one that lets no ping in. ``friendly``
    lets the sender in, as a member of a group. Nova lists ``moved`` and ``mapped`` with addresses at which
    other devices answer now, as Neutron knows. ``twinned`` shares its
    address with a device on another network.
    """

    def __init__(self) -> None:
        super().__init__(
            _server("answers", "10.0.0.1"),
            _server("blocked", "10.0.0.2"),
            _server("friendly", "10.0.0.3"),
            _server("moved", "10.0.0.4"),
            _server("mapped", floating="192.0.2.1"),
            _server("other", "10.0.0.5"),
            _server("twinned", "10.0.0.7"),
        )
        self.network["ports"] = [
            _port("answers", "10.0.0.1"),
            _port("blocked", "10.0.0.2", security_groups=["closed"]),
            _port("friendly", "10.0.0.3", security_groups=["friends"]),
            _port("moved", "10.0.0.44"),
            _port("mapped", "10.0.0.6"),
            _port("other", "10.0.0.5"),
            _port("heir", "10.0.0.4"),
            _port("twinned", "10.0.0.7"),
            _port("twin", "10.0.0.7", network_id="net2"),
            port(
                "dhcp", SENDER, "fd00::250", device="dhcp", owner="network:dhcp", security_groups=["friends"]
            ),
        ]
        self.network["floatingips"] = [
            {"id": "f1", "floating_ip_address": "192.0.2.1", "port_id": "port-heir"},
            {"id": "f2", "floating_ip_address": "192.0.2.2", "port_id": None},
        ]
        self.network["networks"] = [
            {"id": id_, "name": id_, "router:external": True, "shared": True} for id_ in ("net", "net2")
        ]
        self.network["security_groups"] = [
            group("default", rule()),
            group("closed", rule(protocol="tcp", port_range_min=22, port_range_max=22)),
            group("friends", rule(remote_group_id="friends"), rule(protocol="udp")),
            group("offices", rule(remote_address_group_id="a")),
        ]
        self.network["address_groups"] = [{"id": id_, "addresses": ["198.51.100.0/24"]} for id_ in "ab"]
        self.keystone: dict[str, list[Any]] = {
            "users": [
                {"id": "u1", "email": "ann@example.org", "enabled": True},
                {"id": "u2", "email": "bob@example.org"},
            ],
            "role_assignments": [
                {"scope": {"project": {"id": ALPHA.id}}, "user": {"id": "u1"}},
                {"scope": {"project": {"id": BETA.id}}, "user": {"id": "u2"}},
            ],
        }
        self.changes: dict[str, Callable[[list[Any]], list[Any]]] = {}
        """What is done to the lists of these keys before they are sent."""

    def answer(self, request: Request) -> Answer:
        name = request.path.rpartition("/")[2]
        if name in self.keystone:
            answer = Answer(200, {name: self.keystone[name]})
        else:
            answer = super().answer(request)
        if answer.status != 200 or not self.changes:
            return answer
        body = msgspec.json.decode(
            answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
        )
        for key in self.changes.keys() & body.keys():
            body[key] = self.changes[key](body[key])
        return answer._replace(body=body)

    def lists(self, cloud: Cloud) -> dict[str, list[Any]]:
        """What `cloud` is sent, by the lists' keys."""
        sent: dict[str, list[Any]] = {}

        def note(key: str) -> Callable[[list[Any]], list[Any]]:
            return lambda entries: sent.setdefault(key, entries) and entries

        keys = ("servers", "services", "hypervisors", "projects", *self.keystone, *self.network)
        self.changes = {key: note(key) for key in keys}
        cloud.inventory()
        self.changes = {}
        return sent


def _server(id_: str, ip: str = "", *, floating: str = "") -> NovaServer:
    kind = AddressKind.FLOATING if floating else AddressKind.FIXED
    address = Address(ip or floating, 4, kind, "net", f"mac-port-{id_}")
    return NovaServer(
        id=id_,
        name=id_,
        project_id=ALPHA.id,
        hypervisor="kvm-1.example",
        addresses=(address,),
        tags=["t"],
        metadata={"k": "v"},
    )


def _port(device: str, ip: str, **changes: Any) -> dict[str, Any]:
    return port(f"port-{device}", ip, device=device, **{"security_groups": ["default"], **changes})


def judged(inventory: Inventory, probe: config.Probe = EVERYWHERE) -> dict[str, Verdict]:
    """The verdicts after a sweep from the sender's address, by instance."""
    targets = plan(inventory.instances, inventory.topology, probe)
    asked = {each.target for probed in targets.values() for each in probed if each.target}
    outcomes = {target: ALIVE if target.ip in _ANSWERING else SILENT for target in asked}
    snapshot = judge(
        inventory,
        targets=targets,
        sweep=sweep(outcomes),
        sources=lambda targets: dict.fromkeys(targets, SENDER),
    )
    return {verdict.instance.id: verdict for verdict in snapshot.verdicts}


def without_names(instance: Instance) -> Instance:
    """The instance without what hypervisors' lists add to it."""
    return msgspec.structs.replace(instance, hypervisor="")
