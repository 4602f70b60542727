"""What the demo's cloud holds: the well-known case, and as many instances around it as one likes."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from fping_exporter.demo.standin import Node, Server, User
from fping_exporter.model import Address, AddressKind, Project
from fping_exporter.probe.sockets import LOOPBACK_BROADCAST

__all__ = ["make_nodes", "make_projects", "make_servers", "make_users"]

SILENT = LOOPBACK_BROADCAST
"""The one loopback address that never answers; all others in 127.0.0.0/8 are this machine.

It is the broadcast address of lo, which Linux does not answer (net.ipv4.icmp_echo_ignore_broadcasts).
No packet to it leaves the machine.
"""

_FIXED, _FLOATING = IPv4Address("127.10.0.1"), IPv4Address("127.128.0.1")
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_PROJECT_SIZE = 50
_NODE_SIZE = 40
_MANY_NODES = 10

_CASE = (
    ("selenium-0", "ACTIVE", SILENT),
    ("selenium-1", "ACTIVE", str(_FIXED)),
    ("text-0", "ACTIVE", SILENT),
    ("text-1", "SHUTOFF", SILENT),
)


def make_projects(instances: int) -> list[Project]:
    """Return the projects of so many instances; the first has the well-known case."""
    names = ["acceptance", *(f"team-{i:03}" for i in range(1, 1 + (instances - 1) // _PROJECT_SIZE))]
    return [Project(_id("project", name).hex, name, "default") for name in names]


def make_nodes(instances: int) -> list[Node]:
    """Return the hypervisors of so many instances; among many, the nova-compute of the last is down."""
    count = max(2, instances // _NODE_SIZE)
    return [
        Node(f"compute-{i}.example", f"compute-{i}", up=count < _MANY_NODES or i < count)
        for i in range(1, count + 1)
    ]


def make_users(projects: list[Project]) -> list[User]:
    """Return an admin, and a member of the first project."""
    admin = Project(_id("project", "admin").hex, "admin", "default")
    return [User("admin", "admin", admin, "admin"), User("member", "member", projects[0], "member")]


def make_servers(instances: int, projects: list[Project], nodes: list[Node]) -> Iterator[Server]:
    """Yield so many servers, oldest first: the well-known case, then a mix as clouds have it.

    About 5 % of those that are ACTIVE are silent; 8 % are SHUTOFF, of which every tenth answers
    all the same; 2 % are in ERROR and 1 % in BUILD, without an address. Some have a floating
    address too.
    """
    for number in range(instances):
        if number < len(_CASE):
            name, status, ip = _CASE[number]
            addresses: tuple[Address, ...] = (_fixed(ip),)
        else:
            name, status = f"vm-{number:05}", _status(number)
            addresses = _addresses(number, status)
        yield Server(
            id=str(_id("server", name)),
            name=name,
            project_id=projects[number // _PROJECT_SIZE % len(projects)].id,
            status=status,
            task_state="spawning" if status == "BUILD" else None,
            node=nodes[number % len(nodes)].name if addresses else None,
            addresses=addresses,
            metadata={"role": name.partition("-")[0]},
            created=(_BEGIN + timedelta(minutes=number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )


def _status(number: int) -> str:
    if number % 12 == 5:  # noqa: PLR2004, one in twelve, and so on
        return "SHUTOFF"
    if number % 50 == 8:  # noqa: PLR2004
        return "ERROR"
    if number % 100 == 33:  # noqa: PLR2004
        return "BUILD"
    return "ACTIVE"


def _addresses(number: int, status: str) -> tuple[Address, ...]:
    if status not in {"ACTIVE", "SHUTOFF"}:
        return ()
    if number % 20 == 6 or (status == "SHUTOFF" and number % 120 != 5):  # noqa: PLR2004
        return (_fixed(SILENT),)
    fixed = _fixed(str(_FIXED + number))
    if number % 5:
        return (fixed,)
    return (fixed, Address(str(_FLOATING + number), 4, AddressKind.FLOATING, fixed.network))


def _fixed(ip: str) -> Address:
    return Address(ip, 4, AddressKind.FIXED, "private")


def _id(kind: str, name: str) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_DNS, f"{name}.{kind}.demo")
