"""Lists of small clouds, with addresses, networks and groups that overlap."""

import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from fping_exporter.model import (
    Address,
    AddressKind,
    Hypervisor,
    Instance,
    Inventory,
    Network,
    Port,
    Project,
    SecurityRule,
    Topology,
)

__all__ = ["HOSTS", "IPS", "inventories"]

HOSTS = ("cn-1", "cn-2", "cn-3")
IPS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "192.0.2.1")
_IDS = ("a", "b", "c", "d", "e")
_NETWORKS = ("net-1", "net-2", "net-3", "")
_SUBNETS = ("sub-1", "sub-2", "sub-3")
_ROUTERS = ("router-1", "router-2")
_GROUPS = ("group-1", "group-2", "group-3")
_MACS = ("m1", "m2")

T = TypeVar("T")


def inventories() -> st.SearchStrategy[Inventory]:
    """Draw a list; Nova and Neutron may contradict each other in it.

    It is made from one number: so many values would each cost hypothesis more than the test itself.
    """
    return st.integers(0, 2**64).map(lambda seed: _World(seed).inventory())


class _World:
    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311, no secret
        self._one = self._random.choice

    def _some(self, values: Sequence[T], most: int = 9) -> list[T]:
        """Return none, some or all of them, in any order."""
        return self._random.sample(values, self._random.randint(0, min(most, len(values))))

    def _by(self, keys: Sequence[str], value: Callable[[], T]) -> dict[str, T]:
        return {key: value() for key in self._some(keys)}

    def inventory(self) -> Inventory:
        instances = tuple(map(self._instance, self._some(_IDS)))
        return Inventory(
            instances=instances,
            projects={"p-a": Project("p-a", "alpha"), "p-b": Project("p-b", "beta")},
            contacts={"p-a": "a@example.org"},
            hypervisors=(
                Hypervisor("hv-1", up=True, host="cn-1"),
                Hypervisor("hv-2", up=False, host="cn-2"),
            ),
            topology=self._topology(instances),
            parts={"ports": True, "contacts": True},
            skipped={"ports": 1},
            listed_at=1_000,
            duration=1,
        )

    def _instance(self, id_: str) -> Instance:
        return Instance(
            id=id_,
            project_id=f"p-{id_}",
            name=id_,
            status="ACTIVE",
            host=self._one(HOSTS),
            hypervisor=self._one(["", "hv-1"]),
            addresses=tuple(map(self._address, self._some(IPS, 3))),
        )

    def _address(self, ip: str) -> Address:
        return Address(
            ip, 6 if ":" in ip else 4, self._one(list(AddressKind)), "net-1", self._one(("", *_MACS))
        )

    def _port(self, device: str, ips: Sequence[str], mac: str = "") -> Port:
        return Port(
            network_id=self._one(_NETWORKS),
            mac=mac or self._one(_MACS),
            subnets={ip: self._one(_SUBNETS) for ip in ips},
            security_groups=self._one([None, tuple(self._some(_GROUPS, 2))]),
            device=device,
        )

    def _ports(self) -> tuple[Port, ...]:
        return tuple(
            self._port(self._one((*_IDS, "port 1")), self._some(IPS, 3))
            for _ in range(self._random.randint(0, 2))
        )

    def _ports_of(self, instance: Instance) -> tuple[Port, ...]:
        """Return ports that fit Nova's addresses, or some others."""
        if self._one((True, True, False)):
            return tuple(self._port(instance.id, [each.ip], each.mac) for each in instance.addresses)
        return self._ports()

    def _rules(self) -> tuple[SecurityRule, ...]:
        return tuple(
            SecurityRule(
                family=self._one((4, 6)),
                prefix=self._one((None, "10.0.0.0/30")),
                group=self._one((None, *_GROUPS)),
                address_group=self._one((None, "addresses")),
            )
            for _ in range(self._random.randint(0, 2))
        )

    def _topology(self, instances: Sequence[Instance]) -> Topology:
        ports = self._by(_IDS, self._ports) | {
            each.id: self._ports_of(each) for each in self._some(instances)
        }
        owners = self._by(IPS, self._ports)
        for port in (port for found in ports.values() for port in found if self._one((True, False))):
            for ip in port.subnets:
                owners[ip] = (*owners.get(ip, ()), port)
        return Topology(
            ports=ports,
            owners=owners,
            floating=self._by(IPS, lambda: tuple(self._some(("", *_IDS), 2))),
            public=self._by(_IDS, lambda: {self._one(IPS): self._one(IPS)}),
            claims=self._by(IPS, lambda: frozenset(self._some(_IDS, 2))),
            metadata_ports=self._by(_NETWORKS, self._ports),
            networks={
                id_: Network(id_, f"name-{id_[-1]}", external=id_ == "net-2", shared=False)
                for id_ in self._some(_NETWORKS)
                if id_
            },
            routers=self._by(_SUBNETS, lambda: tuple(self._some(_ROUTERS))),
            distributed=frozenset(self._some(_ROUTERS)),
            rules=self._by(_GROUPS, self._rules),
            members=self._by(_GROUPS, lambda: frozenset(self._some((*IPS, "10.0.0.0/31")))),
            address_groups=self._by(["addresses"], lambda: ("10.0.0.2/32",)),
            incomplete=frozenset(self._some(["ports", "floating_ips", "networks"])),
        )
