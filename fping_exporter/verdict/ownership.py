"""Whose answer a ping of an address would get: the instance's own, or possibly somebody else's."""

from collections.abc import Collection, Iterable, Mapping

from fping_exporter.model import Address, AddressKind, Instance, Topology

__all__ = ["AddressOwners", "Claims", "find_claims"]


def find_claims(instances: Iterable[Instance]) -> Mapping[str, frozenset[str]]:
    """Return the ids of the instances that Nova lists with an address, for addresses of more than one."""
    claims = Claims()
    claims.add(instances)
    return claims.of_several


class Claims:
    """Which instances Nova lists with an address, kept from list to list."""

    def __init__(self) -> None:
        """Begin without instances."""
        self._of_one: dict[str, str] = {}
        """The id of the instance that has an address, where there is one only."""
        self._of_several: dict[str, set[str]] = {}
        """The ids of the instances, for addresses of more than one: there may be thousands."""
        self._frozen: dict[str, frozenset[str]] = {}
        self._changed: set[str] = set()
        """The addresses of which `_frozen` is out of date."""

    @property
    def of_several(self) -> Mapping[str, frozenset[str]]:
        """The ids of the instances, for addresses of more than one."""
        for ip in self._changed:
            if ip in self._of_several:
                self._frozen[ip] = frozenset(self._of_several[ip])
            else:
                self._frozen.pop(ip, None)
        self._changed.clear()
        return self._frozen

    def add(self, instances: Iterable[Instance]) -> None:
        """Take these instances into account."""
        for instance in instances:
            for address in instance.addresses:
                self._add(address.ip, instance.id)

    def _add(self, ip: str, id_: str) -> None:
        if ip in self._of_several:
            self._of_several[ip].add(id_)
            self._changed.add(ip)
        elif (other := self._of_one.setdefault(ip, id_)) != id_:
            del self._of_one[ip]
            self._of_several[ip] = {other, id_}
            self._changed.add(ip)

    def remove(self, instances: Iterable[Instance]) -> None:
        """Forget these instances, which are as they were added."""
        for instance in instances:
            for address in instance.addresses:
                self._remove(address.ip, instance.id)

    def _remove(self, ip: str, id_: str) -> None:
        if ip in self._of_several:
            several = self._of_several[ip]
            several.discard(id_)
            if len(several) == 1:
                self._of_one[ip] = several.pop()
                del self._of_several[ip]
            self._changed.add(ip)
        elif self._of_one.get(ip) == id_:
            del self._of_one[ip]


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
        self._claims = dict(find_claims(instances))
        for ip, ids in topology.claims.items():
            self._claims[ip] = self._claims.get(ip, _NOBODY) | ids
        self._known: dict[str, frozenset[str]] = {}
        """What `_known_owners` returned so far: the owners of an address are the same for each of them."""

    def is_only_owner(self, instance_id: str, address: Address) -> bool:
        """Whether nobody but this instance, which Nova lists with the address, can answer for it."""
        claims = self._claims.get(address.ip, _NOBODY)
        owners = self._known_owners(address.ip)
        if not owners:
            return claims <= {instance_id} and not self._may_have_moved(instance_id, address)
        return owners == {instance_id} and all(id_ == instance_id or id_ in self._ports for id_ in claims)

    def others(self, instance_id: str, address: Address) -> frozenset[str]:
        """Return who else may answer for an address: ids of instances, and texts that are no instance's.

        If there is nobody, and the instance is not the only owner all the same, a port or a floating IP that
        cannot be read may have the address.
        """
        claims = self._claims.get(address.ip, _NOBODY)
        owners = self._known_owners(address.ip)
        if owners:
            claims = frozenset(id_ for id_ in claims if id_ not in self._ports)
        return (owners | claims) - {instance_id}

    def known_to_neutron(self, address: Address) -> bool:
        """Whether Neutron says whose the address is."""
        return bool(self._known_owners(address.ip))

    def _known_owners(self, ip: str) -> frozenset[str]:
        """Return who has the address by Neutron: ids of instances, and texts that are no instance's.

        A network that cannot be read may be reached from here.
        """
        known = self._known.get(ip)
        if known is None:
            ports = self._owners.get(ip, ())
            devices = {port.device for port in ports if self._may_be_reached(port.network_id)}
            known = self._known[ip] = frozenset(devices.union(self._floating.get(ip, ())))
        return known

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
