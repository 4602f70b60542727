"""Neutron's lists: which fields are asked for, how they are paged, and what makes an entry unreadable."""

import ipaddress
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Generic, TypeVar
from urllib.parse import urlencode

import msgspec

from fping_exporter.cloud.entries import EntryDecoder
from fping_exporter.cloud.pages import PAGE_LIMIT, List, Page, read_list
from fping_exporter.cloud.session import Client

__all__ = [
    "ADDRESS_GROUPS",
    "FLOATING_IPS",
    "NETWORKS",
    "PORTS",
    "SECURITY_GROUPS",
    "AddressGroupEntry",
    "FloatingIpEntry",
    "GroupEntry",
    "NetworkEntry",
    "NeutronList",
    "PortEntry",
    "RuleEntry",
    "batches",
    "canonical_address",
    "is_network",
    "joined",
]

T = TypeVar("T", bound=msgspec.Struct)

_VALUES_AT_ONCE = 50
"""Maximum number of values of a filter in one request, so that the URL stays short enough."""


class _FixedIp(msgspec.Struct, gc=False):
    ip_address: str
    """In canonical form."""
    subnet_id: str

    def __post_init__(self) -> None:
        self.ip_address = canonical_address(self.ip_address)


class _AddressPair(msgspec.Struct, gc=False):
    ip_address: str
    """An address, or a network in CIDR notation."""


class PortEntry(msgspec.Struct):
    """A port."""

    id: str
    network_id: str
    fixed_ips: list[_FixedIp]
    device_id: str = ""
    device_owner: str = ""
    mac_address: str = ""
    security_groups: list[str] | None = None
    """None: it is not known which ones, or there is no extension for them."""
    allowed_address_pairs: list[_AddressPair] = []
    port_security_enabled: bool | None = True
    """Absent where Neutron has no extension to switch it off."""
    vif_details: object = msgspec.field(default=None, name="binding:vif_details")
    """Absent where the credentials may not see it."""

    @property
    def driver(self) -> str:
        """The mechanism driver that binds it at the lowest level; empty if that is not said.

        ``bound_drivers`` names one for each level of a hierarchical binding, which count from "0".
        """
        drivers = self.vif_details.get("bound_drivers") if isinstance(self.vif_details, dict) else None
        if not isinstance(drivers, dict):
            return ""
        levels = {int(level): name for level, name in drivers.items() if level.isdecimal()}
        return str(levels[max(levels)]) if levels else ""


class FloatingIpEntry(msgspec.Struct):
    """A floating IP."""

    id: str
    floating_ip_address: str
    """In canonical form."""
    fixed_ip_address: str | None = None
    """The address that it is mapped to, in canonical form."""
    port_id: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if an address is none."""
        self.floating_ip_address = canonical_address(self.floating_ip_address)
        if self.fixed_ip_address is not None:
            self.fixed_ip_address = canonical_address(self.fixed_ip_address)


class NetworkEntry(msgspec.Struct):
    """A network."""

    id: str
    name: str = ""
    external: bool = msgspec.field(default=False, name="router:external")
    shared: bool = False


class RuleEntry(msgspec.Struct):
    """A rule of a security group."""

    direction: str
    ethertype: str
    protocol: str | int | None = None
    port_range_min: int | None = None
    port_range_max: int | None = None
    remote_ip_prefix: str | None = None
    remote_group_id: str | None = None
    remote_address_group_id: str | None = None

    def __post_init__(self) -> None:
        """Raise ValueError if the rule does not tell whom it lets in: then neither does its group."""
        if self.ethertype.lower() not in {"ipv4", "ipv6"}:
            raise ValueError("ethertype is neither IPv4 nor IPv6")
        if self.direction == "ingress" and self.remote_ip_prefix and not is_network(self.remote_ip_prefix):
            raise ValueError("remote_ip_prefix is no IP network")


class GroupEntry(msgspec.Struct):
    """A security group."""

    id: str
    security_group_rules: list[RuleEntry]


class AddressGroupEntry(msgspec.Struct):
    """An address group."""

    id: str
    addresses: list[str]
    """CIDRs."""

    def __post_init__(self) -> None:
        """Raise ValueError if one of the addresses is none."""
        if not all(map(is_network, self.addresses)):
            raise ValueError("one of its addresses is no IP network")


class NeutronList(Generic[T]):
    """One list of Neutron's."""

    def __init__(self, path: str, kind: type[T]) -> None:
        """Read the list at `path` into instances of `kind`, and ask for no other fields."""
        key = path.replace("-", "_")
        self._path = path
        self._decoder = EntryDecoder("Neutron", key, kind)
        self._fields = [field.encode_name for field in msgspec.structs.fields(kind)]

    def read(self, network: Client, filters: Mapping[str, str | Sequence[str]] = {}) -> List[T]:
        """Return the entries that `filters` leave."""
        query = urlencode({"fields": self._fields, **filters}, doseq=True)
        return read_list(
            lambda params: network.get(f"/{self._path}?{query}", params=params), PAGE_LIMIT, self._read_page
        )

    def read_by_id(self, network: Client, ids: Sequence[str]) -> List[T]:
        """Return the entries that have these ids."""
        return joined(self.read(network, {"id": batch}) for batch in batches(ids))

    def _read_page(self, body: bytes) -> Page[T]:
        page = self._decoder.decode(body)
        return Page(page.readable, page.following if page.has_next else None, page.unreadable)


def joined(lists: Iterable[List[T]]) -> List[T]:
    """Return the entries of several lists as one."""
    whole: List[T] = List([], [], truncated=False)
    for each in lists:
        whole.entries.extend(each.entries)
        whole.unreadable.extend(each.unreadable)
    return whole


def batches(values: Sequence[str]) -> Iterator[Sequence[str]]:
    """Split `values` into batches that fit into a URL."""
    return (values[start : start + _VALUES_AT_ONCE] for start in range(0, len(values), _VALUES_AT_ONCE))


def canonical_address(ip: str) -> str:
    """Return the address in canonical form, which Neutron's IPv4 addresses have already.

    Raises ValueError if it is none.
    """
    try:
        if ":" in ip:
            return str(ipaddress.ip_address(ip))
        socket.inet_pton(socket.AF_INET, ip)
    except (OSError, ValueError):  # whose text would have the address in it
        raise ValueError("not an IP address") from None
    return ip


@lru_cache(maxsize=4096)
def is_network(text: str) -> bool:
    """Whether the text is an IP address, or a network in CIDR notation."""
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


PORTS = NeutronList("ports", PortEntry)
NETWORKS = NeutronList("networks", NetworkEntry)
FLOATING_IPS = NeutronList("floatingips", FloatingIpEntry)
SECURITY_GROUPS = NeutronList("security-groups", GroupEntry)
ADDRESS_GROUPS = NeutronList("address-groups", AddressGroupEntry)
