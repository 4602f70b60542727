"""Neutron's ports: who has which address, by a full list, and by what changed since.

What changed shows ports that are new or other than before; it does not show which were deleted. These stay
until somebody else is seen to have their address, until they are looked up, or until the next full list.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import chain
from sys import intern
from typing import NamedTuple

import msgspec

from fping_exporter.cloud.neutron_lists import NeutronList, PortEntry, is_network
from fping_exporter.cloud.unreadable_ports import UnreadablePort
from fping_exporter.model import Instance, Network, Port, Topology

__all__ = [
    "METADATA_PORTS",
    "PORTS",
    "ROUTER_INTERFACES",
    "KnownPorts",
    "ListedPort",
    "MergedPorts",
    "disown_foreign",
    "is_of_instance",
    "know_ports",
    "merge_ports",
]

ROUTER_INTERFACES = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)
METADATA_PORTS = ("network:dhcp", "network:distributed")
"""OVN's metadata ports. Before Neutron 16 (Ussuri) they had the owner that DHCP agents' ports have."""

_DISTRIBUTED = ROUTER_INTERFACES[1]
_INFRASTRUCTURE = frozenset((*ROUTER_INTERFACES, *METADATA_PORTS))
_FLOATING_IP = "network:floatingip"
_NO_INSTANCE = "port "
"""How the device of a port begins that no instance has."""


class ListedPort(msgspec.Struct, frozen=True, gc=False):
    """What is read of a port."""

    value: Port
    owner: str
    """Neutron's ``device_owner``."""
    project: str = ""
    """The id of its project."""
    router: str = ""
    """The id of the router that has it as an interface."""
    pairs: tuple[str, ...] = ()
    """The allowed address pairs that are addresses or networks in CIDR notation."""
    groups_known: bool = True
    """Whether Neutron says in which security groups it is, be it in none.

    A port without port security is in none: Neutron refuses the two together, and so nothing is made of it.
    """


def _read(entry: PortEntry) -> ListedPort:
    groups, owner = entry.security_groups, intern(entry.device_owner)
    of_instance = bool(entry.device_id) and not owner.startswith("network:")
    value = Port(
        device=entry.device_id if of_instance else _NO_INSTANCE + entry.id,
        network_id=intern(entry.network_id),
        mac=entry.mac_address,
        subnets={fixed.ip_address: intern(fixed.subnet_id) for fixed in entry.fixed_ips},
        security_groups=tuple(map(intern, groups))
        if groups is not None and entry.port_security_enabled
        else None,
        driver=intern(entry.driver),
        id=entry.id,
    )
    pairs = tuple(pair.ip_address for pair in entry.allowed_address_pairs if is_network(pair.ip_address))
    router = entry.device_id if owner in ROUTER_INTERFACES else ""
    groups_known = groups is not None and not (groups and not entry.port_security_enabled)
    return ListedPort(value, owner, intern(entry.project_id), router, pairs, groups_known)


PORTS = NeutronList("ports", PortEntry, convert=_read)


def is_of_instance(port: Port) -> bool:
    """Whether an instance has the port."""
    return not port.device.startswith(_NO_INSTANCE)


def disown_foreign(ports: Iterable[ListedPort], instances: Mapping[str, Instance]) -> Iterator[ListedPort]:
    """Yield the ports; one that is in another project than the instance that it names is no instance's.

    Any tenant may write the id of any instance into the ``device_id`` of its own port. Nova attaches no port
    of another project (``PortNotUsable`` in nova/network/neutron.py).
    """
    for each in ports:
        instance = instances.get(each.value.device)
        if instance and each.project and each.project != instance.project_id:
            value = msgspec.structs.replace(each.value, device=_NO_INSTANCE + each.value.id)
            yield msgspec.structs.replace(each, value=value)
        else:
            yield each


class KnownPorts(msgspec.Struct, frozen=True, kw_only=True):
    """Neutron's ports as far as they are known."""

    topology: Topology = Topology()
    by_id: Mapping[str, Port] = {}
    """Those of all hosts, or of the one that was listed."""
    pairs: Mapping[str, tuple[str, ...]] = {}
    """Allowed address pairs, by the port's id; ports without any are left out."""
    infrastructure: Mapping[str, ListedPort] = {}
    """Interfaces of routers and ports of metadata agents, by id."""
    unreadable: tuple[UnreadablePort, ...] = ()
    """All that were met since the last full list."""
    lost: frozenset[str] = frozenset()
    """Instances whose address another port has by now. Which they have instead, nobody knows."""
    complete: bool = False
    """Whether the ports of all hosts were listed."""
    groups_known: bool = True
    """Whether Neutron says of every port in which security groups it is."""
    date: float | None = None
    """Unix time of the last answer, by Neutron's clock; None where it does not say."""
    extensions: frozenset[str] | None = None
    """Neutron's extensions by which it can tell what changed; None: they have not been asked for."""
    confirmed: frozenset[str] = frozenset()
    """Silent instances of which the ports were listed after they had fallen silent."""

    @property
    def unknown(self) -> frozenset[str]:
        """Instances whose addresses Neutron does not tell: a port cannot be read, or has lost its address."""
        return self.lost.union(port.device for port in self.unreadable)


def know_ports(
    listed: Iterable[ListedPort],
    *,
    others: Iterable[ListedPort] = (),
    unreadable: Sequence[UnreadablePort] = (),
    networks: Mapping[str, Network] = {},
    incomplete: Collection[str] = (),
    complete: bool,
    date: float | None = None,
) -> KnownPorts:
    """Return what full lists tell: the ports `listed`, and `others`, whose owners count all the same.

    The ports of an instance of which one cannot be read are unknown, all of them; what can be read of that
    port still tells that an address has an owner.
    """
    by_id = {port.value.id: port for port in listed}
    everywhere = {port.value.id: port for port in others} | by_id
    unknown = {port.device for port in unreadable}
    ports: dict[str, tuple[Port, ...]] = {}
    for each in by_id.values():
        value = each.value
        if is_of_instance(value) and value.device not in unknown:
            ports[value.device] = (*ports.get(value.device, ()), value)
    owners = _owners(
        chain(
            (
                (ip, each.value)
                for each in everywhere.values()
                if each.owner != _FLOATING_IP
                for ip in each.value.subnets
            ),
            ((ip, fragments.value()) for fragments in unreadable for ip in fragments.ips),
        )
    )
    infrastructure = {id_: port for id_, port in everywhere.items() if port.owner in _INFRASTRUCTURE}
    return KnownPorts(
        topology=_with_infrastructure(
            Topology(
                ports=ports,
                owners=owners,
                networks=networks,
                incomplete=frozenset(incomplete) | _incomplete(unreadable),
            ),
            infrastructure.values(),
        ),
        by_id={id_: each.value for id_, each in by_id.items()},
        pairs={id_: each.pairs for id_, each in by_id.items() if each.pairs},
        infrastructure=infrastructure,
        unreadable=tuple(unreadable),
        complete=complete,
        groups_known=all(each.groups_known for each in by_id.values()),
        date=date,
    )


class MergedPorts(NamedTuple):
    """The ports after a merge, and what the merge changed."""

    known: KnownPorts
    changed: Sequence[ListedPort]
    """Those that are new, or other than before."""
    unreadable: Sequence[UnreadablePort]
    """Those that could be read before, or are new."""


def merge_ports(
    known: KnownPorts,
    listed: Iterable[ListedPort],
    *,
    unreadable: Iterable[UnreadablePort] = (),
    looked_up: AbstractSet[str] = frozenset(),
    date: float | None = None,
) -> MergedPorts:
    """Return the `known` ports with those that were `listed` since, as they are by now.

    Nothing of what was known is altered, and what did not change is shared with it.

    In a network, an address or a port that has it is one only: what a listed port has, an older port has no
    more. The instance of that one is `lost` then. Of two that were listed at once, both are owners, for it
    may have moved between two pages. Instances that were `looked_up` have the listed ports and no others.
    """
    merge = _Merge(known)
    ports = {port.value.id: port for port in listed}
    met = frozenset(known.unreadable)
    fragments = [each for each in unreadable if each not in met]
    merge.lost -= looked_up
    for device in looked_up:
        for port in merge.ports.get(device, ()):
            if port.id not in ports:
                merge.remove(port.id)
    changed = [port for port in ports.values() if merge.is_changed(port)]
    for each in changed:
        merge.remove(each.value.id)
    for fragment in fragments:
        merge.remove(fragment.id)
    for fragment in fragments:
        merge.add_unreadable(fragment)
    for each in changed:
        merge.add(each)
    for each in ports.values():
        merge.take_addresses(each.value, listed=ports)
    return MergedPorts(merge.result(date), changed, fragments)


class _Owners:
    """Who has which address, while that changes.

    Thousands of tenants may use the same private address, each in a network of its own. So the ports of an
    address are kept by network as soon as it is touched, and no step looks at all of them.
    """

    def __init__(self, known: Mapping[str, tuple[Port, ...]]) -> None:
        """Begin with what is `known`, which is not altered."""
        self._known = known
        self._touched: dict[str, dict[str, list[Port]]] = {}
        """By address and network."""

    def in_network(self, ip: str, network_id: str) -> tuple[Port, ...]:
        """Return the ports that have an address in a network."""
        return tuple(self._of(ip).get(network_id, ()))

    def add(self, port: Port, ips: Iterable[str]) -> None:
        """Add a port to the owners of `ips`."""
        for ip in ips:
            self._of(ip).setdefault(port.network_id, []).append(port)

    def remove(self, port: Port) -> None:
        """Forget a port that was added with all of its addresses."""
        for ip in port.subnets:
            of_network = self._of(ip).get(port.network_id, [])
            of_network[:] = [each for each in of_network if each.id != port.id]

    def result(self) -> dict[str, tuple[Port, ...]]:
        """Return the owners of each address that has any."""
        owners = dict(self._known)
        for ip, by_network in self._touched.items():
            _put(owners, ip, [port for ports in by_network.values() for port in ports])
        return owners

    def _of(self, ip: str) -> dict[str, list[Port]]:
        by_network = self._touched.get(ip)
        if by_network is None:
            by_network = self._touched[ip] = {}
            for port in self._known.get(ip, ()):
                by_network.setdefault(port.network_id, []).append(port)
        return by_network


class _Merge:
    """Copies of what is known of ports, while they are changed.

    The copies are shallow: most of the cost is that of copying a few hash tables.
    """

    def __init__(self, known: KnownPorts) -> None:
        topology = known.topology
        self._known = known
        self.ports = dict(topology.ports)
        self._owners = _Owners(topology.owners)
        self._by_id = dict(known.by_id)
        self._pairs = dict(known.pairs)
        self._infrastructure = dict(known.infrastructure)
        self._unreadable = list(known.unreadable)
        self._unknown = {port.device for port in known.unreadable}
        self.lost = set(known.lost)
        self._groups_known = known.groups_known

    def is_changed(self, port: ListedPort) -> bool:
        """Whether anything of it is other than what is known."""
        id_ = port.value.id
        return (
            self._by_id.get(id_) != port.value
            or self._pairs.get(id_, ()) != port.pairs
            or self._infrastructure.get(id_) != (port if port.owner in _INFRASTRUCTURE else None)
        )

    def remove(self, id_: str) -> None:
        """Forget the port that has this id, if it is known."""
        port = self._by_id.pop(id_, None)
        self._pairs.pop(id_, None)
        self._infrastructure.pop(id_, None)
        if port is None:
            return
        self._owners.remove(port)
        _put(self.ports, port.device, [each for each in self.ports.get(port.device, ()) if each.id != id_])

    def add(self, port: ListedPort) -> None:
        """Add a port of whose id none is known."""
        value = port.value
        self._by_id[value.id] = value
        if port.pairs:
            self._pairs[value.id] = port.pairs
        if port.owner in _INFRASTRUCTURE:
            self._infrastructure[value.id] = port
        if port.owner != _FLOATING_IP:
            self._owners.add(value, value.subnets)
        if is_of_instance(value) and value.device not in self._unknown:
            self.ports[value.device] = (*self.ports.get(value.device, ()), value)
        self._groups_known &= port.groups_known

    def add_unreadable(self, port: UnreadablePort) -> None:
        """Note a port that cannot be read: until the next full list, the ports of its device are unknown."""
        self._unreadable.append(port)
        self._unknown.add(port.device)
        self.ports.pop(port.device, None)
        self._owners.add(port.value(), port.ips)

    def take_addresses(self, port: Port, *, listed: Collection[str]) -> None:
        """Take the addresses of a port from those ports in its network that were not `listed` with it."""
        for ip in port.subnets:
            for other in self._owners.in_network(ip, port.network_id):
                if other.id and other.id not in listed:
                    self._take(ip, other)

    def _take(self, ip: str, port: Port) -> None:
        rest = msgspec.structs.replace(
            port, subnets={each: subnet for each, subnet in port.subnets.items() if each != ip}
        )
        self._by_id[port.id] = rest
        self._owners.remove(port)
        self._owners.add(rest, rest.subnets)
        if port.device in self.ports:
            self.ports[port.device] = _replaced(self.ports[port.device], rest)
            self.lost.add(port.device)
        if interface := self._infrastructure.get(port.id):
            self._infrastructure[port.id] = msgspec.structs.replace(interface, value=rest)

    def result(self, date: float | None) -> KnownPorts:
        """Return what is known by now."""
        known = self._known
        topology = msgspec.structs.replace(
            known.topology,
            ports=self.ports,
            owners=self._owners.result(),
            incomplete=known.topology.incomplete | _incomplete(self._unreadable),
        )
        if self._infrastructure != known.infrastructure:
            topology = _with_infrastructure(topology, self._infrastructure.values())
        return msgspec.structs.replace(
            known,
            topology=topology,
            by_id=self._by_id,
            pairs=self._pairs,
            infrastructure=self._infrastructure,
            unreadable=tuple(self._unreadable),
            lost=frozenset(self.lost),
            groups_known=self._groups_known,
            date=date,
        )


def _owners(ports: Iterable[tuple[str, Port]]) -> dict[str, tuple[Port, ...]]:
    """Return the ports of each address. Most have one; of those with thousands, none is copied for each."""
    owners: dict[str, tuple[Port, ...]] = {}
    several: dict[str, list[Port]] = {}
    for ip, port in ports:
        if ip not in owners:
            owners[ip] = (port,)
        elif ip in several:
            several[ip].append(port)
        else:
            several[ip] = [*owners[ip], port]
    owners.update((ip, tuple(having)) for ip, having in several.items())
    return owners


def _put(ports: dict[str, tuple[Port, ...]], key: str, values: Sequence[Port]) -> None:
    """Set what is at `key`; nothing is there if there are no values."""
    if values:
        ports[key] = tuple(values)
    else:
        ports.pop(key, None)


def _replaced(ports: Iterable[Port], port: Port) -> tuple[Port, ...]:
    return tuple(port if each.id == port.id else each for each in ports)


def _incomplete(unreadable: Iterable[UnreadablePort]) -> frozenset[str]:
    """Return ``ports`` if one of them may have an address that cannot be read."""
    return frozenset("" if port.ips_complete else "ports" for port in unreadable) - {""}


def _with_infrastructure(topology: Topology, infrastructure: Collection[ListedPort]) -> Topology:
    """Return the topology with the interfaces of routers and the ports of metadata agents."""
    routers: dict[str, tuple[str, ...]] = {}
    metadata_ports: dict[str, tuple[Port, ...]] = {}
    for port in infrastructure:
        if port.owner in METADATA_PORTS:
            network = port.value.network_id
            metadata_ports[network] = (*metadata_ports.get(network, ()), port.value)
        else:
            for subnet in port.value.subnets.values():
                routers[subnet] = (*routers.get(subnet, ()), port.router)
    return msgspec.structs.replace(
        topology,
        routers=routers,
        metadata_ports=metadata_ports,
        distributed=frozenset(port.router for port in infrastructure if port.owner == _DISTRIBUTED),
    )
