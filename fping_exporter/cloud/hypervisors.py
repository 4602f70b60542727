"""Hypervisors, and whether the nova-compute service in front of each is up."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fping_exporter.cloud.pages import Get, Page, decode, pages
from fping_exporter.cloud.session import Client
from fping_exporter.errors import ConfigError, NotFoundError
from fping_exporter.hosts import Hosts
from fping_exporter.model import Instance

__all__ = ["Fleet", "Node", "find_host", "list_nodes", "placed"]


class Node(msgspec.Struct, frozen=True):
    """A hypervisor and the host of its nova-compute. With Ironic, one host has many."""

    name: str
    host: str
    up: bool


class Fleet(NamedTuple):
    """All hypervisors, one for each name, and the hosts of which Nova knows nothing but the name."""

    nodes: tuple[Node, ...]
    lost: frozenset[str]
    """Hosts of nova-compute in a cell that is down."""


def list_nodes(compute: Client, *, microversion: str | None, host: str | None = None) -> Fleet:
    """Return the hypervisors, all of them or those on one `host`.

    Raises ForbiddenError where the credentials may not list hypervisors or services.
    """
    services = _list_services(compute, microversion=microversion, host=host)
    state_of = Hosts({service.host: service.state == "up" for service in services if service.state})

    def get(params: Mapping[str, str]) -> bytes:
        return compute.get("/os-hypervisors/detail", params=params, microversion=microversion)

    nodes: dict[str, Node] = {}
    for page in [_on_host(get, host)] if host else pages(get, {}, _read):
        for entry in page:
            up = state_of.find(entry.service.host, default=entry.state == "up")
            nodes[entry.name] = Node(entry.name, entry.service.host, up)
    return Fleet(
        nodes=tuple(nodes.values()),
        lost=frozenset(service.host for service in services if service.status == "UNKNOWN"),
    )


def find_host(compute: Client, name: str, *, microversion: str | None) -> str:
    """Return Nova's name for the host `name`; either may lack the domain.

    Raises ConfigError where Nova has no such host, and ForbiddenError where the credentials may not ask.
    """
    services = _list_services(compute, microversion=microversion)
    found = Hosts({service.host: service.host for service in services}).find(name, default="")
    if not found:
        raise ConfigError(f'instances.host: Nova has no nova-compute on "{name}"')
    return found


def _list_services(compute: Client, *, microversion: str | None, host: str | None = None) -> list["_Service"]:
    params = {"binary": "nova-compute"} | ({"host": host} if host else {})
    body = compute.get("/os-services", params=params, microversion=microversion)
    return decode(body, _Services).services


def _on_host(get: Get, host: str) -> Sequence["_Entry"]:
    """Ask for those only whose name has the host's in it, as those of hypervisors on hosts do."""
    try:
        entries = _read(get({"hypervisor_hostname_pattern": host.partition(".")[0]})).entries
    except NotFoundError:
        return ()
    return [entry for entry in entries if entry.service.host == host]


def placed(instances: Iterable[Instance], nodes: Collection[Node]) -> tuple[Instance, ...]:
    """Return the instances with the name of their hypervisor as `nodes` has it.

    Where Nova does not tell an instance's hypervisor, or tells a name that is not in the list,
    the one on the instance's host is meant, if there is one and only one.
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


class _Service(msgspec.Struct):
    host: str
    state: str = ""
    """``up`` or ``down``; absent where the service's cell is down."""
    status: str = ""
    """``enabled`` or ``disabled``; ``UNKNOWN`` where the service's cell is down."""


class _Services(msgspec.Struct):
    services: list[_Service]


class _Entry(msgspec.Struct):
    id: int | str
    name: str = msgspec.field(name="hypervisor_hostname")
    service: _Service
    state: str = ""


class _Entries(msgspec.Struct):
    hypervisors: list[_Entry]
    links: list[dict[str, str]] = msgspec.field(default_factory=list, name="hypervisors_links")


def _read(body: bytes) -> Page[_Entry]:
    page = decode(body, _Entries)
    last = page.hypervisors[-1:] if page.links else []
    return Page(page.hypervisors, str(last[0].id) if last else None)
