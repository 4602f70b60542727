"""Neutron: owners of addresses, networks and routers, and the echo requests that security groups admit."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from sys import intern

import msgspec

from fping_exporter.cloud.neutron_lists import (
    ADDRESS_GROUPS,
    FLOATING_IPS,
    NETWORKS,
    PORTS,
    SECURITY_GROUPS,
    GroupEntry,
    PortEntry,
    batches,
    is_network,
    joined,
)
from fping_exporter.cloud.pages import List
from fping_exporter.cloud.session import Client
from fping_exporter.cloud.unreadable import Skip
from fping_exporter.cloud.unreadable_ports import UnreadablePort, read_floating_address, read_fragments
from fping_exporter.model import Family, Network, Port, SecurityRule, Topology

__all__ = ["FloatingAddresses", "Listed", "list_floating", "list_security", "list_topology"]


_ROUTER_INTERFACES = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)
_FLOATING_IP = "network:floatingip"
_METADATA_PORTS = ("network:dhcp", "network:distributed")
"""OVN's metadata ports. Before Neutron 16 (Ussuri) they had the owner that DHCP agents' ports have."""


class Listed(msgspec.Struct):
    """Neutron's ports as far as they were listed, and what was read from them."""

    topology: Topology
    ports: Sequence[PortEntry]
    unreadable: Sequence[UnreadablePort]
    complete: bool
    """Whether the ports of all hosts were listed."""


class FloatingAddresses(msgspec.Struct, frozen=True):
    """What Neutron maps its floating addresses to; the fields are those of Topology."""

    instances: Mapping[str, tuple[str, ...]] = {}
    public: Mapping[str, Mapping[str, str]] = {}
    complete: bool = True
    """Whether every floating address could be read."""


def list_topology(
    network: Client,
    *,
    host: str | None,
    kinds: Collection[str],
    networks: bool,
    addresses: Collection[str],
    skip: Skip,
) -> Listed:
    """Return the ports of all instances, or of those on `host`, and what else vantages of these kinds need.

    With `host`, whatever port has one of `addresses` is looked up for ``local``, from where other hosts'
    guests may be reached at the same ones. `networks` says whether to list networks too.

    `skip` gets the entries that cannot be read. The ports of an instance of which one cannot be read are
    unknown, all of them; what can be read of that port still tells that an address has an owner.
    """
    listed = PORTS.read(network, {} if host is None else {"binding:host_id": host})
    others: List[PortEntry] = List([], [], truncated=False)
    if host is not None:
        others = joined(_list_other_ports(network, listed.entries, kinds=kinds, addresses=addresses))
    listed_networks = NETWORKS.read(network) if networks else List([], [], truncated=False)
    for each in (listed, others, listed_networks):
        skip(each.unreadable)

    ports = listed.entries
    everywhere = list({port.id: port for port in [*ports, *others.entries]}.values())
    unreadable = [read_fragments(each.entry) for each in [*listed.unreadable, *others.unreadable]]
    interfaces = [port for port in everywhere if port.device_owner in _ROUTER_INTERFACES]
    in_subnet: dict[str, list[str]] = {}
    for interface in interfaces:
        for fixed in interface.fixed_ips:
            in_subnet.setdefault(fixed.subnet_id, []).append(interface.device_id)
    values = {port.id: _value(port) for port in everywhere}
    of_instance: dict[str, list[Port]] = {}
    for port in ports:
        if _is_of_instance(port):
            of_instance.setdefault(port.device_id, []).append(values[port.id])
    for fragments in unreadable:
        of_instance.pop(fragments.device, None)
    owners = _owners(values[port.id] for port in everywhere if port.device_owner != _FLOATING_IP)
    for fragments in unreadable:
        for ip in fragments.ips:
            owners[ip] = (*owners.get(ip, ()), fragments.value())
    topology = Topology(
        ports={device: tuple(found) for device, found in of_instance.items()},
        owners=owners,
        incomplete=frozenset(
            [
                *(["ports"] if any(not fragments.ips_complete for fragments in unreadable) else []),
                *(["networks"] if listed_networks.unreadable else []),
            ]
        ),
        metadata_ports=_metadata_ports(
            values[port.id] for port in everywhere if port.device_owner in _METADATA_PORTS
        ),
        networks={
            each.id: Network(each.id, each.name, each.external, each.shared)
            for each in listed_networks.entries
        },
        routers={subnet: tuple(found) for subnet, found in in_subnet.items()},
        distributed=frozenset(
            interface.device_id for interface in interfaces if interface.device_owner == _ROUTER_INTERFACES[1]
        ),
    )
    return Listed(topology, ports, unreadable, complete=host is None)


def _list_other_ports(
    network: Client, ports: Iterable[PortEntry], *, kinds: Collection[str], addresses: Collection[str]
) -> Iterator[List[PortEntry]]:
    """Yield lists of ports that are not the host's, but tell what vantages of these kinds reach."""
    if not {"qrouter", "snat"}.isdisjoint(kinds):
        for owner in _ROUTER_INTERFACES:
            yield PORTS.read(network, {"device_owner": owner})
    if "ovnmeta" in kinds:
        there = sorted({port.network_id for port in ports})
        for batch in batches(there):
            yield PORTS.read(network, {"device_owner": _METADATA_PORTS, "network_id": batch})
    if "local" in kinds:
        for batch in batches(sorted(addresses)):
            yield PORTS.read(network, {"fixed_ips": [f"ip_address={ip}" for ip in batch]})


def _is_of_instance(port: PortEntry) -> bool:
    return bool(port.device_id) and not port.device_owner.startswith("network:")


def _value(port: PortEntry) -> Port:
    groups = port.security_groups
    return Port(
        device=port.device_id if _is_of_instance(port) else f"port {port.id}",
        network_id=intern(port.network_id),
        mac=port.mac_address,
        subnets={fixed.ip_address: intern(fixed.subnet_id) for fixed in port.fixed_ips},
        security_groups=tuple(map(intern, groups))
        if groups is not None and port.port_security_enabled
        else None,
        driver=intern(port.driver),
    )


def _owners(ports: Iterable[Port]) -> dict[str, tuple[Port, ...]]:
    owners: dict[str, tuple[Port, ...]] = {}
    for port in ports:
        for ip in port.subnets:
            owners[ip] = (*owners.get(ip, ()), port)
    return owners


def _metadata_ports(ports: Iterable[Port]) -> dict[str, tuple[Port, ...]]:
    of_network: dict[str, tuple[Port, ...]] = {}
    for port in ports:
        of_network[port.network_id] = (*of_network.get(port.network_id, ()), port)
    return of_network


def list_floating(network: Client, listed: Listed, *, skip: Skip) -> FloatingAddresses:
    """Return to which instance each floating address is mapped.

    It is mapped to an empty text if it is none's that `listed` has, or it cannot be read whose. Two external
    networks may have the same address. `skip` gets the entries that cannot be read.
    """
    devices = {port.id: port.device_id for port in listed.ports if _is_of_instance(port)}
    instances: dict[str, tuple[str, ...]] = {}
    public: dict[str, dict[str, str]] = {}
    floating_ips = FLOATING_IPS.read(network)
    skip(floating_ips.unreadable)
    for each in floating_ips.entries:
        ip, device = each.floating_ip_address, devices.get(each.port_id or "", "")
        instances[ip] = (*instances.get(ip, ()), device)
        if device and each.fixed_ip_address:
            public.setdefault(device, {})[each.fixed_ip_address] = ip
    addresses = [read_floating_address(each.entry) for each in floating_ips.unreadable]
    for address in filter(None, addresses):
        instances[address] = (*instances.get(address, ()), "")
    return FloatingAddresses(instances, public, complete=all(addresses))


def list_security(network: Client, listed: Listed, *, skip: Skip) -> Topology:
    """Return the topology with what the security groups of its ports let in.

    A security group or an address group that cannot be read, which `skip` gets, is unknown. So are the
    members of the groups of a port that cannot be read.
    """
    if listed.complete:
        groups = SECURITY_GROUPS.read(network)
    else:
        wanted = {group for port in listed.ports for group in port.security_groups or ()}
        groups = SECURITY_GROUPS.read_by_id(network, sorted(wanted))
    skip(groups.unreadable)
    rules = {group.id: tuple(_rules(group)) for group in groups.entries}
    named = [rule for group in rules.values() for rule in group]
    address_groups = {}
    if any(rule.address_group for rule in named):
        listed_groups = ADDRESS_GROUPS.read(network)
        skip(listed_groups.unreadable)
        address_groups = {group.id: tuple(group.addresses) for group in listed_groups.entries}
    return msgspec.structs.replace(
        listed.topology,
        rules=rules,
        members=_members(listed, {rule.group for rule in named if rule.group}),
        address_groups=address_groups,
    )


def _members(listed: Listed, groups: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the addresses in those of `groups` of which all ports are known."""
    if not listed.complete:
        return {}
    members: dict[str, set[str]] = {group: set() for group in groups}
    for unreadable in listed.unreadable:
        for group in list(members) if unreadable.groups is None else unreadable.groups:
            members.pop(group, None)
    for port in listed.ports:
        if port.security_groups is None:
            return {}
        for group in port.security_groups:
            if group in members:
                members[group].update(_member_addresses(port))
    return {group: frozenset(addresses) for group, addresses in members.items()}


def _member_addresses(port: PortEntry) -> Iterator[str]:
    """Yield the addresses that rules count as this port's if they name one of its security groups."""
    yield from (fixed.ip_address for fixed in port.fixed_ips)
    yield from (pair.ip_address for pair in port.allowed_address_pairs if is_network(pair.ip_address))


_ANY = frozenset({"", "any", "0"})
_ICMP = frozenset({"icmp", "1", "icmpv6", "ipv6-icmp", "58"})
"""Neutron accepts IPv4's names for IPv6 rules too; each family has only one ICMP."""
_ECHO_TYPE: Mapping[Family, int] = {4: 8, 6: 128}


def _rules(group: GroupEntry) -> Iterable[SecurityRule]:
    """Yield the rules of the group that admit echo requests from at least one sender."""
    for rule in group.security_group_rules:
        if rule.direction != "ingress":
            continue
        family: Family = 6 if rule.ethertype.lower() == "ipv6" else 4
        protocol = str(rule.protocol if rule.protocol is not None else "").lower()
        if protocol in _ICMP:
            # In ICMP rules the two ports are not a range, but the type and the code.
            if rule.port_range_min not in {None, _ECHO_TYPE[family]} or rule.port_range_max not in {None, 0}:
                continue
        elif protocol not in _ANY:
            continue
        yield SecurityRule(
            family=family,
            prefix=rule.remote_ip_prefix or None,
            group=rule.remote_group_id,
            address_group=rule.remote_address_group_id,
        )
