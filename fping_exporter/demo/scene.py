"""The contents of the demo's cloud: a guest for each reason, then any number of other instances."""

import itertools
import uuid
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any, NamedTuple

from fping_exporter.demo.neutron import Neutron
from fping_exporter.demo.servers import NovaServer
from fping_exporter.demo.standin import KeystoneUser, NovaHypervisor
from fping_exporter.model import Address, AddressKind, Project
from fping_exporter.probe.loopback import Behaviour

__all__ = [
    "CONTACTS",
    "SCENE_SIZE",
    "make_hypervisors",
    "make_neutron",
    "make_projects",
    "make_servers",
    "make_users",
]

CONTACTS = {"acceptance": "acceptance-team@example.org"}
"""Whom to write to, by the name of the project."""

_FIXED, _FLOATING = IPv4Address("127.10.0.0"), IPv4Address("127.128.0.0")
_SHARED = "127.9.0.5"
"""The address that two guests have, in networks of their own, as tenants' networks overlap."""
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_PROJECT_SIZE = 50
_HYPERVISOR_SIZE = 40

_DEFAULT, _WEB = "default", "web-only"
"""The security groups: one lets everything in, the other one port of TCP."""


class _Guest(NamedTuple):
    """A guest of the scene."""

    name: str
    note: str
    """What is the matter with it, as its metadata says."""
    behaviour: Behaviour | None = None
    """None: it answers."""
    status: str = "ACTIVE"
    ip: str | None = None
    """None: one of its own; empty: it has no address."""
    network: str = "private"
    security_group: str = _DEFAULT
    hypervisor: int = 0
    """Its place among the hypervisors."""
    console: str = "Debian GNU/Linux 12 {name} ttyS0\n\n{name} login: \n"
    """The last lines of its console."""


_SCENE = (
    _Guest(
        "selenium-0",
        "it crashed",
        Behaviour.DEAD,
        console="Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n",
    ),
    _Guest("selenium-1", "it is well", hypervisor=1),
    _Guest(
        "text-0",
        "it has not booted",
        Behaviour.DEAD,
        console="error: no such device: 1f2e.\nEntering rescue mode...\ngrub rescue> \n",
    ),
    _Guest("text-1", "it is shut off", Behaviour.DEAD, status="SHUTOFF", hypervisor=1),
    _Guest(
        "blocked-by-security-group",
        "its security group lets TCP port 443 in, and no ping",
        Behaviour.DROPS_PINGS,
        security_group=_WEB,
    ),
    _Guest("ignores-pings", "its own firewall drops pings", Behaviour.DROPS_PINGS),
    _Guest("rejected-by-router", "a router says that the host is unreachable", Behaviour.REJECTED),
    _Guest("same-address-blue", "another network has its address too", ip=_SHARED, network="blue"),
    _Guest("same-address-green", "another network has its address too", ip=_SHARED, network="green"),
    _Guest("network-without-route", "no route leads to its network", Behaviour.NO_ROUTE, network="remote"),
    _Guest("without-address", "its port was detached", ip=""),
    _Guest("comes-and-goes", "it is dead for 40 seconds of every two minutes", Behaviour.COMES_AND_GOES),
    _Guest("off-but-answers", "Nova calls it off, and it runs", status="SHUTOFF"),
    _Guest("on-a-dead-hypervisor", "its hypervisor is down", Behaviour.DEAD, hypervisor=-1),
)

SCENE_SIZE = len(_SCENE)


def make_projects(instances: int) -> list[Project]:
    """Return the projects of this number of instances; the first has the scene."""
    names = ["acceptance", *(f"team-{i:03}" for i in range(1, 1 + (instances - 1) // _PROJECT_SIZE))]
    return [Project(_id("project", name).hex, name, "default") for name in names]


def make_hypervisors(instances: int) -> list[NovaHypervisor]:
    """Return the hypervisors of this number of instances: three at least, of which the last is down."""
    count = max(3, instances // _HYPERVISOR_SIZE)
    return [NovaHypervisor(f"compute-{i}.example", f"compute-{i}", up=i < count) for i in range(1, count + 1)]


def make_users(projects: list[Project]) -> list[KeystoneUser]:
    """Return an admin and a member of the first project; their passwords are public."""
    admin = Project(_id("project", "admin").hex, "admin", "default")
    return [
        KeystoneUser("admin", "admin", admin, "admin"),
        KeystoneUser("member", "member", projects[0], "member"),
    ]


def make_servers(
    instances: int, projects: list[Project], hypervisors: list[NovaHypervisor]
) -> Iterator[NovaServer]:
    """Yield this number of servers, oldest first: the scene, then a mix of states.

    Of the mix, about 5 % of the ACTIVE ones are silent. 8 % are SHUTOFF, of which every tenth answers
    nevertheless. 2 % are in ERROR and 1 % in BUILD, without an address. Some have a floating
    address too.
    """
    addresses = _Addresses()
    for number in range(instances):
        project = projects[number // _PROJECT_SIZE % len(projects)]
        if number < SCENE_SIZE:
            yield _scene_server(number, project, hypervisors, addresses)
        else:
            yield _mixed_server(number, project, hypervisors, addresses)


class _Addresses:
    """Gives each guest an address of its own."""

    def __init__(self) -> None:
        self._places = {behaviour: itertools.count(1) for behaviour in Behaviour}

    def next(self, behaviour: Behaviour) -> str:
        """Return the next address with this behaviour."""
        return str(IPv4Address(f"{behaviour.value}0.0") + next(self._places[behaviour]))


def _scene_server(
    number: int, project: Project, hypervisors: list[NovaHypervisor], addresses: _Addresses
) -> NovaServer:
    guest = _SCENE[number]
    ip = guest.ip
    if ip is None:
        ip = addresses.next(guest.behaviour) if guest.behaviour else str(_FIXED + number)
    return NovaServer(
        id=str(_id("server", guest.name)),
        name=guest.name,
        project_id=project.id,
        status=guest.status,
        hypervisor=hypervisors[guest.hypervisor].name,
        addresses=(_fixed(ip, number, guest.network),) if ip else (),
        metadata={"note": guest.note},
        security_groups=(guest.security_group,),
        console=guest.console.format(name=guest.name),
        created=_created(number),
    )


def _mixed_server(
    number: int, project: Project, hypervisors: list[NovaHypervisor], addresses: _Addresses
) -> NovaServer:
    name, status = f"vm-{number:05}", _status(number)
    found = _mixed_addresses(number, status, addresses)
    return NovaServer(
        id=str(_id("server", name)),
        name=name,
        project_id=project.id,
        status=status,
        task_state="spawning" if status == "BUILD" else None,
        hypervisor=hypervisors[number % len(hypervisors)].name if found else None,
        addresses=found,
        metadata={"role": "vm"},
        created=_created(number),
    )


def _created(number: int) -> str:
    return (_BEGIN + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _mixed_addresses(number: int, status: str, addresses: _Addresses) -> tuple[Address, ...]:
    if status not in {"ACTIVE", "SHUTOFF"}:
        return ()
    if number % 20 == 6 or (status == "SHUTOFF" and number % 120 != 5):  # noqa: PLR2004
        return (_fixed(addresses.next(Behaviour.DEAD), number),)
    fixed = _fixed(str(_FIXED + number), number)
    if number % 5:
        return (fixed,)
    return (fixed, Address(str(_FLOATING + number), 4, AddressKind.FLOATING, fixed.network, fixed.mac))


def _status(number: int) -> str:
    if number % 12 == 5:  # noqa: PLR2004, one in twelve, and so on
        return "SHUTOFF"
    if number % 50 == 8:  # noqa: PLR2004
        return "ERROR"
    if number % 100 == 33:  # noqa: PLR2004
        return "BUILD"
    return "ACTIVE"


def _fixed(ip: str, number: int, network: str = "private") -> Address:
    mac = f"fa:16:3e:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
    return Address(ip, 4, AddressKind.FIXED, network, mac)


def make_neutron(servers: Iterable[NovaServer]) -> Neutron:
    """Return the Neutron of these servers: a port for each, in the networks and security groups they name."""
    neutron = Neutron()
    neutron.entries["ports"] = [
        _port(server, address)
        for server in servers
        for address in server.addresses
        if address.kind is AddressKind.FIXED
    ]
    ports = {port["mac_address"]: port for port in neutron.entries["ports"]}
    neutron.entries["floatingips"] = [
        _floating_ip(address, ports[address.mac])
        for server in servers
        for address in server.addresses
        if address.kind is AddressKind.FLOATING
    ]
    neutron.entries["networks"] = [
        {"id": _network_id(name), "name": name, "router:external": False, "shared": False}
        for name in dict.fromkeys(["private", *(guest.network for guest in _SCENE)])
    ]
    neutron.entries["security_groups"] = [
        _security_group(_DEFAULT, protocol=None, port=None),
        _security_group(_WEB, protocol="tcp", port=443),
    ]
    return neutron


def _port(server: NovaServer, address: Address) -> dict[str, Any]:
    return {
        "id": str(_id("port", server.name)),
        "name": "",
        "tenant_id": server.project_id,
        "device_id": server.id,
        "device_owner": "compute:nova",
        "network_id": _network_id(address.network),
        "mac_address": address.mac,
        "fixed_ips": [{"ip_address": address.ip, "subnet_id": str(_id("subnet", address.network))}],
        "allowed_address_pairs": [],
        "security_groups": [str(_id("group", name)) for name in server.security_groups],
        "port_security_enabled": True,
    }


def _floating_ip(address: Address, port: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": str(_id("floating", address.ip)),
        "tenant_id": port["tenant_id"],
        "floating_ip_address": address.ip,
        "floating_network_id": _network_id("public"),
        "port_id": port["id"],
        "fixed_ip_address": port["fixed_ips"][0]["ip_address"],
    }


def _security_group(name: str, *, protocol: str | None, port: int | None) -> dict[str, Any]:
    ingress = {
        "id": str(_id("rule", name)),
        "direction": "ingress",
        "ethertype": "IPv4",
        "protocol": protocol,
        "port_range_min": port,
        "port_range_max": port,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        "remote_address_group_id": None,
    }
    return {"id": str(_id("group", name)), "name": name, "security_group_rules": [ingress]}


def _network_id(name: str) -> str:
    return str(_id("network", name))


def _id(kind: str, name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{kind}.demo")
