"""Hypervisors, and whether the nova-compute service in front of each is up."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fping_exporter.cloud.entries import EntryDecoder
from fping_exporter.cloud.pages import PAGE_LIMIT, Get, List, Page, read_list
from fping_exporter.cloud.session import Client
from fping_exporter.cloud.unreadable import Skip, Unreadable
from fping_exporter.errors import ConfigError, NotFoundError
from fping_exporter.hosts import Hosts
from fping_exporter.model import Instance

__all__ = [
    "ComputeNode",
    "ComputeNodes",
    "NamedInstances",
    "choose_among_namesakes",
    "find_host",
    "list_compute_nodes",
    "name_hypervisors",
]


class ComputeNode(msgspec.Struct, frozen=True):
    """A hypervisor and the host of its nova-compute. With Ironic, one host has many hypervisors."""

    name: str
    host: str
    up: bool


class ComputeNodes(NamedTuple):
    """The hypervisors as Nova lists them."""

    nodes: tuple[ComputeNode, ...]
    """Several may have the same name: an Ironic node that moved from one nova-compute to another."""
    hosts_in_down_cells: frozenset[str]
    """Hosts of nova-compute in a cell that is down, of which Nova shows nothing else."""
    hosts: frozenset[str] = frozenset()
    """All hosts of nova-compute."""
    unreadable: Sequence[Unreadable] = ()
    """Hypervisors that cannot be read."""


def list_compute_nodes(
    compute: Client,
    *,
    microversion: str | None,
    host: str | None = None,
    known: ComputeNodes | None = None,
    skip: Skip,
) -> ComputeNodes:
    """Return all hypervisors, or those on one `host`; `skip` gets the entries that cannot be read.

    Which are up, their services tell, in one answer. The hypervisors are those that are `known`, if there
    are any, unless the services are on other hosts by now.

    Raises ForbiddenError if the credentials may not list hypervisors or services.
    """
    services = _list_services(compute, microversion=microversion, host=host, skip=skip)
    state_of = Hosts({service.host: service.state == "up" for service in services if service.state})
    hosts = frozenset(service.host for service in services)
    in_down_cells = frozenset(service.host for service in services if service.status == "UNKNOWN")
    nodes: Iterable[ComputeNode]
    if known and known.nodes and known.hosts == hosts and not in_down_cells:
        nodes, unreadable = known.nodes, known.unreadable
    else:

        def get(params: Mapping[str, str]) -> bytes:
            return compute.get("/os-hypervisors/detail", params=params, microversion=microversion)

        listed = _on_host(get, host) if host else read_list(get, PAGE_LIMIT, _read)
        unreadable = listed.unreadable
        nodes = (
            ComputeNode(entry.name, entry.service.host, up=entry.state == "up") for entry in listed.entries
        )
    skip(unreadable)
    return ComputeNodes(
        nodes=tuple(
            ComputeNode(node.name, node.host, up=state_of.find(node.host, default=node.up)) for node in nodes
        ),
        hosts_in_down_cells=in_down_cells,
        hosts=hosts,
        unreadable=unreadable,
    )


def find_host(compute: Client, name: str, *, microversion: str | None, skip: Skip) -> str:
    """Return Nova's name for the host `name`; either may lack the domain.

    Raises ConfigError if Nova has no such host, and ForbiddenError if the credentials may not list services.
    """
    services = _list_services(compute, microversion=microversion, skip=skip)
    found = Hosts({service.host: service.host for service in services}).find(name, default="")
    if not found:
        raise ConfigError(f'instances.host: Nova has no nova-compute on "{name}"')
    return found


def _list_services(
    compute: Client, *, microversion: str | None, host: str | None = None, skip: Skip
) -> Sequence["_Service"]:
    params = {"binary": "nova-compute"} | ({"host": host} if host else {})
    services = _SERVICES.decode(compute.get("/os-services", params=params, microversion=microversion))
    skip(services.unreadable)
    return services.readable


def _on_host(get: Get, host: str) -> "List[_Entry]":
    """Return the hypervisors on `host`.

    Nova filters by hypervisors' names only: a hypervisor on a host has the host's name in its own.
    """
    try:
        page = _HYPERVISORS.decode(get({"hypervisor_hostname_pattern": host.partition(".")[0]}))
    except NotFoundError:
        return List([], [], truncated=False)
    on_host = [entry for entry in page.readable if entry.service.host == host]
    return List(on_host, list(page.unreadable), truncated=False)


def choose_among_namesakes(
    nodes: Iterable[ComputeNode], instances: Iterable[Instance]
) -> tuple[ComputeNode, ...]:
    """Return one node for each name: the one whose host carries the instance that is on it.

    Nova keeps the record of an Ironic node under its former nova-compute for a while, or for ever if that
    is gone. Without an instance, one that is up goes before one that is down, and a later one before an
    earlier one.
    """
    by_name: dict[str, list[ComputeNode]] = {}
    for node in nodes:
        by_name.setdefault(node.name, []).append(node)
    if any(len(namesakes) > 1 for namesakes in by_name.values()):
        carrying = {(instance.hypervisor, instance.host) for instance in instances}
        for namesakes in by_name.values():
            namesakes.sort(key=lambda node: ((node.name, node.host) in carrying, node.up))
    return tuple(namesakes[-1] for namesakes in by_name.values())


def name_hypervisors(instances: Iterable[Instance], nodes: Collection[ComputeNode]) -> tuple[Instance, ...]:
    """Return the instances with the names of their hypervisors as `nodes` has them.

    Some instances have no hypervisor's name, or one that is not in the list. They get the name of the
    hypervisor on their host, if that host has exactly one.
    """
    names = {node.name for node in nodes}
    hosts: dict[str, list[str]] = {}
    for node in nodes:
        hosts.setdefault(node.host, []).append(node.name)
    on_host = Hosts({host: names[0] for host, names in hosts.items() if len(names) == 1})
    return tuple(
        instance
        if instance.hypervisor in names or not (name := on_host.find(instance.host, default=""))
        else msgspec.structs.replace(instance, hypervisor=name)
        for instance in instances
    )


class NamedInstances(NamedTuple):
    """The instances with the names of their hypervisors, for the next list."""

    by_id: Mapping[str, Instance] = {}
    places: frozenset[tuple[str, str]] = frozenset()
    """Name and host of the hypervisors that the names are from."""

    def after(
        self,
        instances: Mapping[str, Instance],
        nodes: Collection[ComputeNode],
        *,
        changed: Collection[str] | None,
    ) -> "NamedInstances":
        """Return the same of `instances`, of which only those with the ids `changed` may be other ones.

        None: all may be. One that is the same as before is the same object.
        """
        places = frozenset((node.name, node.host) for node in nodes)
        known = self.by_id
        if changed is None or places != self.places:
            named: dict[str, Instance] = {}
            todo: Collection[str] = instances.keys()
        else:
            named, todo = dict(known), changed
            for id_ in changed:
                if id_ not in instances:
                    named.pop(id_, None)
        for instance in name_hypervisors([instances[id_] for id_ in todo if id_ in instances], nodes):
            before = known.get(instance.id)
            named[instance.id] = before if before and before == instance else instance
        return NamedInstances(named, places)


class _Service(msgspec.Struct):
    host: str
    state: str = ""
    """``up`` or ``down``; absent where the service's cell is down."""
    status: str = ""
    """``enabled`` or ``disabled``; ``UNKNOWN`` where the service's cell is down."""


class _Entry(msgspec.Struct):
    id: int | str
    name: str = msgspec.field(name="hypervisor_hostname")
    service: _Service
    state: str = ""


_SERVICES = EntryDecoder("Nova", "services", _Service)
_HYPERVISORS = EntryDecoder("Nova", "hypervisors", _Entry)


def _read(body: bytes) -> Page[_Entry]:
    page = _HYPERVISORS.decode(body)
    return Page(page.readable, page.following if page.has_next else None, page.unreadable)
