"""Neutron's word on the instances' ports: their networks, and what their security groups let in."""

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from sys import intern
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from fping_exporter.cloud.pages import Page, decode, pages
from fping_exporter.cloud.session import Client
from fping_exporter.model import Family, Network, Port, SecurityRule, Topology

__all__ = ["Listed", "list_security", "list_topology"]


_ROUTER_INTERFACES = (
    "network:router_interface",
    "network:router_interface_distributed",
    "network:ha_router_replicated_interface",
)
_IDS_AT_ONCE = 50
"""As many as an address of common length holds."""
_PORT_FIELDS = (
    "id",
    "device_id",
    "device_owner",
    "network_id",
    "mac_address",
    "fixed_ips",
    "allowed_address_pairs",
    "security_groups",
    "port_security_enabled",
)


class Listed(msgspec.Struct):
    """Neutron's ports as far as they were listed, and what was read from them."""

    topology: Topology
    ports: Sequence["_Port"]
    complete: bool


def list_topology(network: Client, *, host: str | None, networks: bool, routers: bool) -> Listed:
    """Return the ports of all instances, or of those on `host`, and what else is wanted."""
    if host is None:
        ports = _list_ports(network)
        interfaces = [port for port in ports if port.device_owner in _ROUTER_INTERFACES]
    else:
        ports = _list_ports(network, {"binding:host_id": host})
        interfaces = [
            port
            for owner in (_ROUTER_INTERFACES if routers else ())
            for port in _list_ports(network, {"device_owner": owner})
        ]
    there = (
        _list(network, "networks", _Network, ("id", "name", "router:external", "shared")) if networks else ()
    )
    in_subnet: dict[str, list[str]] = {}
    for interface in interfaces:
        for fixed in interface.fixed_ips:
            in_subnet.setdefault(fixed.subnet_id, []).append(interface.device_id)
    of_instance: dict[str, list[Port]] = {}
    for port in ports:
        if port.device_id and not port.device_owner.startswith("network:"):
            of_instance.setdefault(port.device_id, []).append(port.value())
    topology = Topology(
        ports={device: tuple(found) for device, found in of_instance.items()},
        networks={each.id: Network(each.id, each.name, each.external, each.shared) for each in there},
        routers={subnet: tuple(found) for subnet, found in in_subnet.items()},
        distributed=frozenset(
            interface.device_id for interface in interfaces if interface.device_owner == _ROUTER_INTERFACES[1]
        ),
    )
    return Listed(topology, ports, complete=host is None)


def list_security(network: Client, listed: Listed) -> Topology:
    """Return the topology with what the security groups of its ports let in."""
    wanted = None
    if not listed.complete:
        wanted = sorted({group for port in listed.ports for group in port.security_groups})
    groups = _list(network, "security-groups", _Group, ("id", "security_group_rules"), ids=wanted)
    rules = {group.id: tuple(_rules(group)) for group in groups}
    named = [rule for group in rules.values() for rule in group]
    remote = {rule.group for rule in named if rule.group}
    members: dict[str, set[str]] = {group: set() for group in remote} if listed.complete else {}
    for port in listed.ports:
        for group in port.security_groups:
            if group in members:
                members[group].update(port.addresses())
    address_groups: Iterable[_AddressGroup] = ()
    if any(rule.address_group for rule in named):
        address_groups = _list(network, "address-groups", _AddressGroup, ("id", "addresses"))
    return msgspec.structs.replace(
        listed.topology,
        rules=rules,
        members={group: frozenset(addresses) for group, addresses in members.items()},
        address_groups={group.id: tuple(filter(_is_network, group.addresses)) for group in address_groups},
    )


class _Entry(msgspec.Struct):
    id: str


T = TypeVar("T", bound=_Entry)


class _Link(msgspec.Struct):
    rel: str


class _Fixed(msgspec.Struct, gc=False):
    ip_address: str
    subnet_id: str


class _Pair(msgspec.Struct, gc=False):
    ip_address: str


class _Port(_Entry):
    device_id: str
    device_owner: str
    network_id: str
    mac_address: str
    fixed_ips: list[_Fixed]
    security_groups: list[str] = []
    allowed_address_pairs: list[_Pair] = []
    port_security_enabled: bool = True
    """Absent where Neutron has no extension to switch it off."""

    def value(self) -> Port:
        return Port(
            network_id=intern(self.network_id),
            mac=self.mac_address,
            subnets={_canonical(fixed.ip_address): intern(fixed.subnet_id) for fixed in self.fixed_ips},
            security_groups=tuple(map(intern, self.security_groups)) if self.port_security_enabled else None,
        )

    def addresses(self) -> Iterable[str]:
        """Return what counts as its own when it is a member of a group."""
        yield from (_canonical(fixed.ip_address) for fixed in self.fixed_ips)
        yield from (pair.ip_address for pair in self.allowed_address_pairs if _is_network(pair.ip_address))


class _Network(_Entry):
    name: str = ""
    external: bool = msgspec.field(default=False, name="router:external")
    shared: bool = False


class _Rule(msgspec.Struct):
    direction: str
    ethertype: str = "IPv4"
    protocol: str | int | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None


class _Group(_Entry):
    security_group_rules: list[_Rule]


class _AddressGroup(_Entry):
    addresses: list[str]


_ANY = frozenset({"", "any", "0"})
_ICMP = frozenset({"icmp", "1", "icmpv6", "ipv6-icmp", "58"})
"""Neutron takes IPv4's names for IPv6 too, and each family has but one ICMP."""
_ECHO_TYPE: Mapping[Family, int] = {4: 8, 6: 128}


def _rules(group: _Group) -> Iterable[SecurityRule]:
    """Return those of the group's rules that let an echo request in from somewhere."""
    for rule in group.security_group_rules:
        if rule.direction != "ingress":
            continue
        family: Family = 6 if rule.ethertype.lower() == "ipv6" else 4
        protocol = str(rule.protocol if rule.protocol is not None else "").lower()
        if protocol in _ICMP:
            # Of ICMP, these are not a range: the type, and the code.
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


def _list_ports(network: Client, filters: Mapping[str, str] | None = None) -> list[_Port]:
    return _list(network, "ports", _Port, _PORT_FIELDS, filters)


def _list(
    network: Client,
    path: str,
    kind: type[T],
    fields: Collection[str],
    filters: Mapping[str, str] | None = None,
    *,
    ids: Sequence[str] | None = None,
) -> list[T]:
    """Return all of one kind, or those of these ids, with no other fields than these."""
    if ids is not None:
        batches = [ids[start : start + _IDS_AT_ONCE] for start in range(0, len(ids), _IDS_AT_ONCE)]
        return [entry for batch in batches for entry in _pages(network, path, kind, fields, {"id": batch})]
    return _pages(network, path, kind, fields, filters or {})


def _pages(
    network: Client,
    path: str,
    kind: type[T],
    fields: Collection[str],
    filters: Mapping[str, str | Sequence[str]],
) -> list[T]:
    key = path.replace("-", "_")
    query = urlencode({"fields": fields, **filters}, doseq=True)

    def get(params: Mapping[str, str]) -> bytes:
        return network.get(f"/{path}?{query}", params=params)

    def read(body: bytes) -> Page[T]:
        parts = decode(body, dict[str, msgspec.Raw])
        entries: list[T] = decode(bytes(parts.get(key, b"")), list[kind])  # type: ignore[valid-type]
        links = decode(bytes(parts.get(f"{key}_links", b"[]")), list[_Link])
        more = entries and any(link.rel == "next" for link in links)
        return Page(entries, entries[-1].id if more else None)

    return [entry for page in pages(get, {}, read) for entry in page]


def _canonical(ip: str) -> str:
    """Return the address as instances have it; Neutron's IPv4 already is, and there is much of it."""
    return str(ipaddress.ip_address(ip)) if ":" in ip else ip


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
