"""Neutron's lists: which fields are asked for, how they are paged, and what makes an entry unreadable."""

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from sys import intern
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlencode

import msgspec

from fping_exporter.cloud.entries import EntryDecoder
from fping_exporter.cloud.pages import PAGE_LIMIT, Page, read_list
from fping_exporter.cloud.session import Client
from fping_exporter.cloud.unreadable import Unreadable

__all__ = [
    "ADDRESS_GROUPS",
    "FLOATING_IPS",
    "NETWORKS",
    "SECURITY_GROUPS",
    "AddressGroupEntry",
    "FloatingIpEntry",
    "GroupEntry",
    "ListedEntries",
    "NetworkEntry",
    "NeutronList",
    "PortEntry",
    "RuleEntry",
    "batches",
    "canonical_address",
    "is_network",
    "joined",
]

T = TypeVar("T")

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
    project_id: str = msgspec.field(default="", name="tenant_id")
    """By the older of Neutron's two names for it, which all versions know as a field to ask for."""
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


class FloatingIpEntry(msgspec.Struct, gc=False):
    """A floating IP."""

    id: str
    floating_ip_address: str
    """In canonical form."""
    fixed_ip_address: str | None = None
    """The address that it is mapped to, in canonical form."""
    port_id: str | None = None
    floating_network_id: str = ""
    """The external network that has the address."""

    def __post_init__(self) -> None:
        """Raise ValueError if an address is none."""
        self.floating_network_id = intern(self.floating_network_id)
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
    id: str = ""
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
    name: str = ""


class AddressGroupEntry(msgspec.Struct):
    """An address group."""

    id: str
    addresses: list[str]
    """CIDRs."""

    def __post_init__(self) -> None:
        """Raise ValueError if one of the addresses is none."""
        if not all(map(is_network, self.addresses)):
            raise ValueError("one of its addresses is no IP network")


class ListedEntries(NamedTuple, Generic[T]):
    """What Neutron lists."""

    entries: list[T]
    unreadable: list[Unreadable]
    date: float | None = None
    """Unix time at which Neutron made the first page, by its own clock; None where it does not say."""


class NeutronList(Generic[T]):
    """One list of Neutron's."""

    def __init__(
        self, path: str, kind: type[msgspec.Struct], *, convert: Callable[[Any], T] | None = None
    ) -> None:
        """Read the list at `path` into instances of `kind`, and ask for no other fields.

        `convert` makes something smaller of each entry, page by page, so that few entries are in memory.
        """
        key = path.replace("-", "_")
        self._path = path
        self._decoder: EntryDecoder[Any] = EntryDecoder("Neutron", key, kind)
        self._fields = [field.encode_name for field in msgspec.structs.fields(kind)]
        self.convert = convert

    def read(
        self,
        network: Client,
        filters: Mapping[str, str | Sequence[str]] = {},
        *,
        changed_since: float | None = None,
    ) -> ListedEntries[T]:
        """Return the entries that `filters` leave; with `changed_since`, those changed then or later.

        That is a Unix time by Neutron's clock. Neutron compares it with ``updated_at``.
        """
        query = {"fields": self._fields, **filters}
        if changed_since is not None:
            query["changed_since"] = datetime.fromtimestamp(changed_since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        encoded = urlencode(query, doseq=True)
        dates = []

        def get(params: Mapping[str, str]) -> bytes:
            answer = network.get_answer(f"/{self._path}?{encoded}", params=params)
            dates.append(answer.date)
            return answer.body

        whole = read_list(get, PAGE_LIMIT, self._read_page)
        return ListedEntries(whole.entries, whole.unreadable, dates[0])

    def read_by(self, network: Client, name: str, values: Sequence[str]) -> ListedEntries[T]:
        """Return the entries of which the field `name` has one of these values."""
        return joined(self.read(network, {name: batch}) for batch in batches(values))

    def _read_page(self, body: bytes) -> Page[T]:
        page = self._decoder.decode(body)
        entries = page.readable if self.convert is None else [self.convert(each) for each in page.readable]
        return Page(entries, page.following if page.has_next else None, page.unreadable)


def joined(lists: Iterable[ListedEntries[T]]) -> ListedEntries[T]:
    """Return the entries of several lists as one."""
    whole: ListedEntries[T] = ListedEntries([], [])
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


NETWORKS: NeutronList[NetworkEntry] = NeutronList("networks", NetworkEntry)
FLOATING_IPS: NeutronList[FloatingIpEntry] = NeutronList("floatingips", FloatingIpEntry)
SECURITY_GROUPS: NeutronList[GroupEntry] = NeutronList("security-groups", GroupEntry)
ADDRESS_GROUPS: NeutronList[AddressGroupEntry] = NeutronList("address-groups", AddressGroupEntry)
