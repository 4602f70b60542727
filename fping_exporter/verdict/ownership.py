"""Whose answer a ping of an address would get: the instance's own, or possibly somebody else's."""

from collections.abc import Collection, Iterable

from fping_exporter.model import Address, AddressKind, Instance, Topology

__all__ = ["AddressOwners", "find_claims"]


def find_claims(instances: Iterable[Instance]) -> dict[str, frozenset[str]]:
    """Return the ids of the instances that Nova lists with an address, for addresses of more than one."""
    first: dict[str, str] = {}
    several: dict[str, set[str]] = {}
    for instance in instances:
        for address in instance.addresses:
            other = first.setdefault(address.ip, instance.id)
            if other != instance.id:
                several.setdefault(address.ip, {other}).add(instance.id)
    return {ip: frozenset(ids) for ip, ids in several.items()}


class AddressOwners:
    """Who may answer for an address in a place from which several networks may be reached.

    Neutron's word goes before Nova's, which is a cache: where Neutron has a port with the address or maps it
    as a floating one, Nova's list counts only for instances of which Neutron knows no port at all.
    """

    def __init__(
        self, instances: Iterable[Instance], topology: Topology, *, networks: Collection[str] | None
    ) -> None:
        """Take into account `instances`, and whom `topology` knows besides.

        `networks` are the ids of the networks that are reached; None: any may be.
        """
        self._ports, self._owners = topology.ports, topology.owners
        self._floating = topology.floating
        self._all_networks, self._incomplete = topology.networks, topology.incomplete
        self._networks = networks
        self._claims = find_claims(instances)
        for ip, ids in topology.claims.items():
            self._claims[ip] = self._claims.get(ip, _NOBODY) | ids

    def is_only_owner(self, instance_id: str, address: Address) -> bool:
        """Whether nobody but this instance, which Nova lists with the address, can answer for it."""
        claims = self._claims.get(address.ip, _NOBODY)
        owners = self._known_owners(address.ip)
        if not owners:
            return claims <= {instance_id} and not self._may_have_moved(instance_id, address)
        return owners == {instance_id} and all(id_ == instance_id or id_ in self._ports for id_ in claims)

    def _known_owners(self, ip: str) -> set[str]:
        """Return who has the address by Neutron: ids of instances, and texts that are no instance's.

        A network that cannot be read may be reached from here.
        """
        owners = {port.device for port in self._owners.get(ip, ()) if self._may_be_reached(port.network_id)}
        owners.update(self._floating.get(ip, ()))
        return owners

    def _may_be_reached(self, network: str) -> bool:
        if self._networks is None or network in self._networks or not network:
            return True
        return "networks" in self._incomplete and network not in self._all_networks

    def _may_have_moved(self, instance_id: str, address: Address) -> bool:
        """Whether a port or a floating IP that cannot be read may have the address, which none else has."""
        if address.kind is AddressKind.FLOATING:
            return "floating_ips" in self._incomplete
        return "ports" in self._incomplete and instance_id in self._ports


_NOBODY: frozenset[str] = frozenset()
