"""Addresses of instances between full lists: Nova's changes do not show them, so Neutron's ports count.

Nova's list has the addresses of a cache of its own, with the names of their networks. Where Neutron has the
same addresses of an instance, Nova's stay as they are.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import compress, filterfalse
from operator import is_not
from typing import NamedTuple

import msgspec

from fping_exporter.cloud.servers import parse_address
from fping_exporter.model import Address, AddressKind, Instance, Network, Port

__all__ = ["NetworkNames", "PortAddresses"]


class PortAddresses(NamedTuple):
    """What Neutron says of the addresses of instances."""

    ports: Mapping[str, tuple[Port, ...]]
    """Of each instance, by its id."""
    floating: Mapping[str, Mapping[str, str]] | None
    """By the id of an instance: the floating address that is mapped to each of its fixed ones. None: nobody
    knows."""
    unknown: Collection[str] = ()
    """Instances of which a port cannot be read."""

    def changed_since(self, before: "PortAddresses") -> frozenset[str]:
        """Return the ids of the instances of which it says otherwise than `before`, or something again."""
        changed = _changed_keys(before.ports, self.ports).union(before.unknown)
        if before.floating is not None and self.floating is not None:
            changed |= _changed_keys(before.floating, self.floating)
        return frozenset(changed.difference(self.unknown))

    def apply(self, instance: Instance, *, network_name: Callable[[str], str]) -> Instance:
        """Return the instance with its addresses by Neutron; itself if these are the ones that it has.

        `network_name` returns the name of a network, by its id.
        """
        if instance.id in self.unknown:
            return instance
        kept = {(each.ip, each.kind, each.mac): each for each in instance.addresses}
        addresses: list[Address] = []
        for port, ip, kind in self._of(instance.id):
            address = (
                kept.get((ip, kind, port.mac))
                or kept.get((ip, kind, ""))
                or parse_address(ip, kind=kind, network=network_name(port.network_id), mac=port.mac)
            )
            if address:
                addresses.append(address)
        if self.floating is None:
            addresses += [each for each in instance.addresses if each.kind is AddressKind.FLOATING]
        if set(addresses) == set(instance.addresses):
            return instance
        return msgspec.structs.replace(instance, addresses=tuple(addresses))

    def _of(self, instance_id: str) -> Iterable[tuple[Port, str, AddressKind]]:
        """Yield the addresses of an instance, each with the port that it belongs or is mapped to."""
        floating = (self.floating or {}).get(instance_id, {})
        for port in self.ports.get(instance_id, ()):
            for ip in port.subnets:
                yield port, ip, AddressKind.FIXED
                if mapped := floating.get(ip):
                    yield port, mapped, AddressKind.FLOATING


class NetworkNames:
    """Nova's names of networks, by their ids: Neutron's, or those that Nova lists other addresses with.

    A name that neither tells is empty.
    """

    def __init__(
        self,
        instances: Iterable[Instance],
        ports: Mapping[str, Sequence[Port]],
        networks: Mapping[str, Network],
    ) -> None:
        """Look names up in `networks`, else among the addresses of `instances` at their `ports`."""
        self._instances, self._ports, self._networks = instances, ports, networks

    def __call__(self, network_id: str) -> str:
        """Return the name of a network."""
        if network := self._networks.get(network_id):
            return network.name
        return self._listed_by_nova.get(network_id, "")

    @cached_property
    def _listed_by_nova(self) -> Mapping[str, str]:
        names: dict[str, str] = {}
        for instance in self._instances:
            ports = {ip: port for port in self._ports.get(instance.id, ()) for ip in port.subnets}
            for address in instance.addresses:
                port = ports.get(address.ip)
                if port and address.network and address.kind is AddressKind.FIXED:
                    names.setdefault(port.network_id, address.network)
        return names


def _changed_keys(before: Mapping[str, object], after: Mapping[str, object]) -> set[str]:
    """Return the keys of which the two have different values. Values are compared by identity first."""
    if before is after:
        return set()
    others = list(compress(after, map(is_not, after.values(), map(before.get, after))))
    changed = {key for key in others if before.get(key) != after[key]}
    return changed.union(filterfalse(after.__contains__, before))
