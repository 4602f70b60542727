"""Neutron: owners of addresses, networks and routers, and the echo requests that security groups admit."""

import ipaddress
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from sys import intern
from typing import TypeVar
from urllib.parse import urlencode

import msgspec

from fping_exporter.cloud.pages import Page, decode, pages
from fping_exporter.cloud.session import Client
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
_VALUES_AT_ONCE = 50
"""Maximum number of values of a filter in one request, so that the URL stays short enough."""
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


class FloatingAddresses(msgspec.Struct, frozen=True):
    """What Neutron maps its floating addresses to; the fields are those of Topology."""

    instances: Mapping[str, tuple[str, ...]] = {}
    public: Mapping[str, Mapping[str, str]] = {}


def list_topology(
    network: Client, *, host: str | None, kinds: Collection[str], networks: bool, addresses: Collection[str]
) -> Listed:
    """Return the ports of all instances, or of those on `host`, and what else vantages of these kinds need.

    With `host`, whatever port has one of `addresses` is looked up for ``local``, from where other hosts'
    guests may be reached at the same ones. `networks` says whether to list networks too.
    """
    ports = everywhere = _list_ports(network, {} if host is None else {"binding:host_id": host})
    if host is not None:
        others = _list_other_ports(network, ports, kinds=kinds, addresses=addresses)
        everywhere = list({port.id: port for port in [*ports, *others]}.values())
    interfaces = [port for port in everywhere if port.device_owner in _ROUTER_INTERFACES]
    listed_networks = (
        _list(network, "networks", _Network, ("id", "name", "router:external", "shared")) if networks else ()
    )
    in_subnet: dict[str, list[str]] = {}
    for interface in interfaces:
        for fixed in interface.fixed_ips:
            in_subnet.setdefault(fixed.subnet_id, []).append(interface.device_id)
    values = {port.id: port.value() for port in everywhere}
    of_instance: dict[str, list[Port]] = {}
    for port in ports:
        if port.of_instance:
            of_instance.setdefault(port.device_id, []).append(values[port.id])
    topology = Topology(
        ports={device: tuple(found) for device, found in of_instance.items()},
        owners=_owners(values[port.id] for port in everywhere if port.device_owner != _FLOATING_IP),
        metadata_ports=_metadata_ports(
            values[port.id] for port in everywhere if port.device_owner in _METADATA_PORTS
        ),
        networks={
            each.id: Network(each.id, each.name, each.external, each.shared) for each in listed_networks
        },
        routers={subnet: tuple(found) for subnet, found in in_subnet.items()},
        distributed=frozenset(
            interface.device_id for interface in interfaces if interface.device_owner == _ROUTER_INTERFACES[1]
        ),
    )
    return Listed(topology, ports, complete=host is None)


def _list_other_ports(
    network: Client, ports: Iterable["_Port"], *, kinds: Collection[str], addresses: Collection[str]
) -> Iterator["_Port"]:
    """Yield ports that are not the host's, but tell what vantages of these kinds reach."""
    if not {"qrouter", "snat"}.isdisjoint(kinds):
        for owner in _ROUTER_INTERFACES:
            yield from _list_ports(network, {"device_owner": owner})
    if "ovnmeta" in kinds:
        there = sorted({port.network_id for port in ports})
        for batch in _batches(there):
            yield from _list_ports(network, {"device_owner": _METADATA_PORTS, "network_id": batch})
    if "local" in kinds:
        for batch in _batches(sorted(addresses)):
            yield from _list_ports(network, {"fixed_ips": [f"ip_address={ip}" for ip in batch]})


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


def list_floating(network: Client, listed: Listed) -> FloatingAddresses:
    """Return to which instance each floating address is mapped; empty text: to none that `listed` has.

    Two external networks may have the same address.
    """
    devices = {port.id: port.device_id for port in listed.ports if port.of_instance}
    instances: dict[str, tuple[str, ...]] = {}
    public: dict[str, dict[str, str]] = {}
    for each in _list(network, "floatingips", _FloatingIp, _FloatingIp.__struct_fields__):
        ip, device = _canonical(each.floating_ip_address), devices.get(each.port_id or "", "")
        instances[ip] = (*instances.get(ip, ()), device)
        if device and each.fixed_ip_address:
            public.setdefault(device, {})[_canonical(each.fixed_ip_address)] = ip
    return FloatingAddresses(instances, public)


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

    @property
    def of_instance(self) -> bool:
        return bool(self.device_id) and not self.device_owner.startswith("network:")

    def value(self) -> Port:
        return Port(
            device=self.device_id if self.of_instance else f"port {self.id}",
            network_id=intern(self.network_id),
            mac=self.mac_address,
            subnets={_canonical(fixed.ip_address): intern(fixed.subnet_id) for fixed in self.fixed_ips},
            security_groups=tuple(map(intern, self.security_groups)) if self.port_security_enabled else None,
        )

    def addresses(self) -> Iterable[str]:
        """Yield the addresses that rules count as this port's if they name one of its security groups."""
        yield from (_canonical(fixed.ip_address) for fixed in self.fixed_ips)
        yield from (pair.ip_address for pair in self.allowed_address_pairs if _is_network(pair.ip_address))


class _FloatingIp(_Entry):
    floating_ip_address: str
    fixed_ip_address: str | None = None
    port_id: str | None = None


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
"""Neutron accepts IPv4's names for IPv6 rules too; each family has only one ICMP."""
_ECHO_TYPE: Mapping[Family, int] = {4: 8, 6: 128}


def _rules(group: _Group) -> Iterable[SecurityRule]:
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


def _list_ports(network: Client, filters: Mapping[str, str | Sequence[str]]) -> list[_Port]:
    return _list(network, "ports", _Port, _PORT_FIELDS, filters)


def _list(
    network: Client,
    path: str,
    kind: type[T],
    fields: Collection[str],
    filters: Mapping[str, str | Sequence[str]] | None = None,
    *,
    ids: Sequence[str] | None = None,
) -> list[T]:
    """List all entries of one kind, or those with these ids; only `fields` are requested."""
    if ids is not None:
        return [
            entry for batch in _batches(ids) for entry in _pages(network, path, kind, fields, {"id": batch})
        ]
    return _pages(network, path, kind, fields, filters or {})


def _batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split `values` into batches that fit into a URL."""
    return (values[start : start + _VALUES_AT_ONCE] for start in range(0, len(values), _VALUES_AT_ONCE))


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
    """Return the address in canonical form; Neutron's IPv4 addresses have it already, and skip the parser."""
    try:
        return str(ipaddress.ip_address(ip)) if ":" in ip else ip
    except ValueError:  # then no instance has it
        return ip


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
