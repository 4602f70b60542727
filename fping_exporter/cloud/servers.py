"""Nova's servers: raw pages of ``GET /servers/detail``, decoded straight into instances."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from sys import intern
from typing import Any, NamedTuple

import msgspec

from fping_exporter.cloud.address_cache import AddressCache
from fping_exporter.cloud.entries import EntryDecoder, Mended
from fping_exporter.cloud.pages import PAGE_LIMIT, Get, Page, decode, read_list
from fping_exporter.cloud.unreadable import Skip, Unreadable
from fping_exporter.errors import ListingError
from fping_exporter.model import Address, AddressKind, Instance

__all__ = [
    "MICROVERSIONS",
    "Servers",
    "as_unknown",
    "claims_of_unreadable",
    "keep_servers_of_down_cells",
    "keep_unreadable_servers",
    "list_servers",
    "parse_address",
    "read_server",
    "read_servers",
]

MICROVERSIONS = ("2.69", "2.53", "2.1")
"""The microversions that this module can read, best first. Tags come with 2.26."""

_ORDER = {"sort_key": "created_at", "sort_dir": "asc"}
"""Servers created while the pages are read come last, so that none is missed."""

_ADDRESSES = AddressCache()

_GONE = frozenset({"DELETED", "SOFT_DELETED"})

_POWER_STATES: Mapping[int | None, str] = {
    0: "NOSTATE",
    1: "RUNNING",
    3: "PAUSED",
    4: "SHUTDOWN",
    6: "CRASHED",
    7: "SUSPENDED",
}
"""https://docs.openstack.org/api-ref/compute/#list-servers-detailed"""


class Servers(NamedTuple):
    """What a list of servers has."""

    instances: Mapping[str, Instance]
    """By id."""
    gone: frozenset[str]
    """Ids of those that Nova calls DELETED or SOFT_DELETED; with ``changes-since``, it lists them too."""
    unreadable: Sequence[Unreadable]
    """Servers that cannot be read, and those of which an address cannot be."""
    page_size: int
    """Servers on the largest page: so many at least Nova puts on a page where there are more."""


def list_servers(get: Get, filters: Mapping[str, str], *, skip: Skip) -> Mapping[str, Instance]:
    """Return the instances by id that Nova lists for `filters`; see :func:`read_servers`.

    `skip` gets the servers that cannot be read, and those of which an address cannot be.
    """
    servers = read_servers(get, filters)
    skip(servers.unreadable)
    return servers.instances


def read_servers(
    get: Get,
    filters: Mapping[str, str],
    *,
    known: Mapping[str, Instance] = {},
    changes_since: float | None = None,
    page_size: int = 0,
) -> Servers:
    """Return the servers that Nova lists for `filters` (``all_tenants``, ``project_id``).

    One that is as it was `known` before, by its id, is the same object. That is found out page by page:
    nowhere is a list in memory twice.

    With `changes_since`, a Unix time, it lists those only that were changed or deleted then or later.

    The list is read until a page is empty. A short page is not the last one: Nova drops
    duplicates from a page after it has cut the page to size, and caps the limit silently
    (``[api] max_limit``). Of changes, a page with less than half of `page_size` servers is the last one
    unless it links to another: no server comes more than twice. A server may come twice, if it moved between
    cells or left the queue of new servers meanwhile: it stays where it came first, as it was listed last.

    Raises ListingError if the list as a whole cannot be read or never ends, and what `get` raises.
    """
    params = {**PAGE_LIMIT, **filters, **_ORDER}
    if changes_since is None:
        reader = _PageReader(known)
    else:
        params["changes-since"] = datetime.fromtimestamp(changes_since, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        reader = _PageReader(known, last_below=page_size / 2)
    listed = read_list(get, params, reader.read)
    found = {instance.id: instance for instance in listed.entries}
    if changes_since is None:
        _ADDRESSES.trim(sum(len(instance.addresses) for instance in found.values()))
    gone = reader.gone | {each.known_id for each in listed.unreadable if _is_gone(each.entry)}
    return Servers(found, frozenset(filter(None, gone)) - found.keys(), listed.unreadable, reader.page_size)


def read_server(body: bytes) -> Instance:
    """Return the instance that ``GET /servers/<id>`` describes; raise ListingError if it cannot be read."""
    page = _SERVERS.decode_one(bytes(decode(body, _OneServer).server))
    unreadable = list(page.unreadable)
    instance = _instance(page.readable[0], unreadable) if page.readable else None
    if instance is None:
        raise ListingError(f"Nova's server cannot be read: {unreadable[0].why}")
    return instance


def keep_servers_of_down_cells(
    found: Mapping[str, Instance], *, known: Mapping[str, Instance], hosts: Collection[str]
) -> dict[str, Instance]:
    """Return the instances that were `found`, and those in cells that are down as they were `known` before.

    From microversion 2.69 on, Nova lists the servers of such a cell with the status UNKNOWN and
    little else, or, in a list with pages or filters, not at all. `hosts` are those in such cells.
    """
    missing = {
        id_: as_unknown(instance)
        for id_, instance in known.items()
        if id_ not in found and instance.host and instance.host in hosts
    }
    return missing | {
        id_: as_unknown(known[id_]) if instance.in_down_cell and id_ in known else instance
        for id_, instance in found.items()
    }


def keep_unreadable_servers(
    found: Mapping[str, Instance], *, known: Mapping[str, Instance], unreadable: Iterable[Unreadable]
) -> dict[str, Instance]:
    """Return the instances that were `found`, and those that cannot be read as they were `known` before.

    Their status is UNKNOWN. Nova lists them, so they are not gone. One that was never read is left out: its
    metadata, by which it may be excluded, are not known.
    """
    kept = [known.get(each.known_id or "") for each in unreadable if not _is_gone(each.entry)]
    return {each.id: as_unknown(each) for each in kept if each} | dict(found)


def claims_of_unreadable(unreadable: Iterable[Unreadable]) -> dict[str, frozenset[str]]:
    """Return the ids of the servers that cannot be read as a whole, by their addresses that can be.

    They may answer all the same.
    """
    claims: dict[str, frozenset[str]] = {}
    for each in unreadable:
        if not _is_gone(each.entry):
            for ip in _readable_addresses(each.entry):
                claims[ip] = claims.get(ip, frozenset()) | {each.known_id or "a server without an id"}
    return claims


def _is_gone(server: Any) -> bool:  # noqa: ANN401, any JSON
    status = server.get("status") if isinstance(server, dict) else None
    return isinstance(status, str) and status in _GONE


def _readable_addresses(server: Any) -> Iterator[str]:  # noqa: ANN401, any JSON
    networks = server.get("addresses") if isinstance(server, dict) else None
    for addresses in networks.values() if isinstance(networks, dict) else ():
        for address in addresses if isinstance(addresses, list) else ():
            try:
                entry = msgspec.convert(address, _Address)
            except msgspec.ValidationError:
                continue
            if parsed := _ADDRESSES.get(entry.addr, entry.kind, "", entry.mac):
                yield parsed.ip


def parse_address(text: str, *, kind: AddressKind, network: str, mac: str) -> Address | None:
    """Return the address as lists of servers have it, the same object each time; None if it is none."""
    return _ADDRESSES.get(text, kind, network, mac)


def as_unknown(instance: Instance) -> Instance:
    """Return the instance with the status UNKNOWN, and everything else as it was."""
    return msgspec.structs.replace(instance, status=_UNKNOWN)


_UNKNOWN = "UNKNOWN"
"""Nova's status of servers in a cell that is down; here that of unreadable servers as well."""


class _Address(msgspec.Struct, gc=False):
    addr: str
    kind: str = msgspec.field(default="fixed", name="OS-EXT-IPS:type")
    mac: str = msgspec.field(default="", name="OS-EXT-IPS-MAC:mac_addr")


class _Flavor(msgspec.Struct, gc=False):
    id: str = ""
    """Before 2.47."""
    original_name: str = ""


class _Image(msgspec.Struct, gc=False):
    id: str = ""


class _Server(msgspec.Struct):
    """The fields of a server that are read. Nova omits many without the right, or if the cell is down."""

    id: str
    tenant_id: str
    status: str
    name: str | None = None
    addresses: dict[str, list[_Address]] = {}
    metadata: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    power_state: int | None = msgspec.field(default=None, name="OS-EXT-STS:power_state")
    task_state: str | None = msgspec.field(default=None, name="OS-EXT-STS:task_state")
    host: str | None = msgspec.field(default=None, name="OS-EXT-SRV-ATTR:host")
    hypervisor: str | None = msgspec.field(default=None, name="OS-EXT-SRV-ATTR:hypervisor_hostname")
    availability_zone: str | None = msgspec.field(default=None, name="OS-EXT-AZ:availability_zone")
    launched_at: str | None = msgspec.field(default=None, name="OS-SRV-USG:launched_at")
    created: str | None = None
    flavor: _Flavor | None = None
    image: _Image | str | None = None
    """An empty text where the server boots from a volume."""
    user_id: str | None = None


class _OneServer(msgspec.Struct):
    server: msgspec.Raw


def _without_unreadable_addresses(server: Any) -> Mended:  # noqa: ANN401, any JSON
    """Return the server with those of its addresses that have the right shape."""
    if not isinstance(server, dict) or not isinstance(networks := server.get("addresses"), dict):
        return Mended(server)
    kept: dict[str, list[_Address]] = {}
    unreadable = []
    for network, addresses in networks.items():
        for address in addresses if isinstance(addresses, list) else [addresses]:
            try:
                kept.setdefault(network, []).append(msgspec.convert(address, _Address))
            except msgspec.ValidationError as error:
                unreadable.append(Unreadable(server, f"one of its addresses: {error}"))
    if unreadable and not any(kept.values()):
        raise ValueError("none of its addresses can be read")
    return Mended({**server, "addresses": kept}, unreadable)


_SERVERS = EntryDecoder("Nova", "servers", _Server, mend=_without_unreadable_addresses)


class _PageReader:
    """Reads the pages of one list."""

    def __init__(self, known: Mapping[str, Instance], *, last_below: float = 0) -> None:
        """Use the objects of `known` where nothing changed.

        A page that has fewer servers than `last_below`, and no link to another, is taken for the last one.
        """
        self._known = known
        self._last_below = last_below
        self.gone: set[str | None] = set()
        self.page_size = 0

    def read(self, body: bytes) -> Page[Instance]:
        page = _SERVERS.decode(body)
        unreadable = list(page.unreadable)
        instances = []
        for server in page.readable:
            if server.status in _GONE:
                self.gone.add(server.id)
            elif instance := _instance(server, unreadable):
                before = self._known.get(instance.id)
                instances.append(before if before and before == instance else instance)
        self.page_size = max(self.page_size, len(page.readable))
        is_last = len(page.readable) + len(page.unreadable) < self._last_below and not page.has_next
        return Page(instances, None if is_last else page.following, unreadable)


def _instance(server: _Server, unreadable: list[Unreadable]) -> Instance | None:
    """Return the instance without those of its parts that cannot be read, which `unreadable` gets.

    None if it has addresses and none of them can be read: to ask nothing would be to call it dead.
    """
    addresses = []
    for network, entries in server.addresses.items():
        for entry in entries:
            if address := _ADDRESSES.get(entry.addr, entry.kind, network, entry.mac):
                addresses.append(address)
            else:
                unreadable.append(Unreadable({"id": server.id}, "one of its addresses is no IP address"))
    if not addresses and any(server.addresses.values()):
        return None
    launched_at = None
    if server.launched_at is not None:
        launched_at = _timestamp(server.launched_at)
        if launched_at is None:
            unreadable.append(Unreadable({"id": server.id}, "its launched_at is no ISO 8601 time"))
    # Of most texts there are few, in thousands of servers: interned, each is in memory once.
    return Instance(
        id=server.id,
        project_id=intern(server.tenant_id),
        name=server.name or "",
        status=intern(server.status),
        power_state=_POWER_STATES.get(server.power_state, ""),
        task_state=server.task_state or "",
        host=intern(server.host or ""),
        hypervisor=intern(server.hypervisor or ""),
        availability_zone=intern(server.availability_zone or ""),
        addresses=tuple(addresses),
        tags=server.tags,
        metadata=server.metadata,
        launched_at=launched_at,
        created_at=_timestamp(server.created) if server.created else None,
        flavor=intern(server.flavor.original_name or server.flavor.id) if server.flavor else "",
        image=intern(server.image.id) if isinstance(server.image, _Image) else "",
        user_id=intern(server.user_id or ""),
    )


def _timestamp(text: str) -> float | None:
    """Return the Unix time of an ISO 8601 text; Nova writes UTC without a zone. None if it is unreadable."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except ValueError:
        return None
