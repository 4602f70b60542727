"""Whose answer a ping of an address would get: the instance's own, or possibly somebody else's."""

from collections.abc import Collection, Iterable

from fping_exporter.model import Instance, Topology

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
        self._networks = networks
        self._claims = find_claims(instances)
        for ip, ids in topology.claims.items():
            self._claims[ip] = self._claims.get(ip, _NOBODY) | ids

    def is_only_owner(self, instance_id: str, ip: str) -> bool:
        """Whether nobody but this instance, which Nova lists with the address `ip`, can answer for it."""
        claims = self._claims.get(ip, _NOBODY)
        owners = self._known_owners(ip)
        if not owners:
            return claims <= {instance_id}
        return owners == {instance_id} and all(id_ == instance_id or id_ in self._ports for id_ in claims)

    def _known_owners(self, ip: str) -> set[str]:
        """Return who has the address by Neutron: ids of instances, and texts that are no instance's."""
        networks = self._networks
        owners = {
            port.device
            for port in self._owners.get(ip, ())
            if networks is None or port.network_id in networks
        }
        owners.update(self._floating.get(ip, ()))
        return owners


_NOBODY: frozenset[str] = frozenset()
