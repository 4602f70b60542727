"""The contents of the demo's cloud: the README's case, then any number of other instances."""

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from fping_exporter.demo.standin import KeystoneUser, NovaHypervisor, NovaServer
from fping_exporter.model import Address, AddressKind, Project
from fping_exporter.probe.sockets import LOOPBACK_BROADCAST

__all__ = ["SILENT", "make_hypervisors", "make_projects", "make_servers", "make_users"]

SILENT = LOOPBACK_BROADCAST
"""The one loopback address that never answers; all others in 127.0.0.0/8 are this machine.

It is the broadcast address of lo, which Linux does not answer (net.ipv4.icmp_echo_ignore_broadcasts).
No packet to it leaves the machine.
"""

_FIXED, _FLOATING = IPv4Address("127.10.0.1"), IPv4Address("127.128.0.1")
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
_PROJECT_SIZE = 50
_HYPERVISOR_SIZE = 40
_MANY_HYPERVISORS = 10

_CASE = (
    ("selenium-0", "ACTIVE", SILENT),
    ("selenium-1", "ACTIVE", str(_FIXED)),
    ("text-0", "ACTIVE", SILENT),
    ("text-1", "SHUTOFF", SILENT),
)


def make_projects(instances: int) -> list[Project]:
    """Return the projects of this number of instances; the first has the README's case."""
    names = ["acceptance", *(f"team-{i:03}" for i in range(1, 1 + (instances - 1) // _PROJECT_SIZE))]
    return [Project(_id("project", name).hex, name, "default") for name in names]


def make_hypervisors(instances: int) -> list[NovaHypervisor]:
    """Return the hypervisors of this number of instances; the last of ten or more is down."""
    count = max(2, instances // _HYPERVISOR_SIZE)
    return [
        NovaHypervisor(f"compute-{i}.example", f"compute-{i}", up=count < _MANY_HYPERVISORS or i < count)
        for i in range(1, count + 1)
    ]


def make_users(projects: list[Project]) -> list[KeystoneUser]:
    """Return an admin and a member of the first project."""
    admin = Project(_id("project", "admin").hex, "admin", "default")
    return [
        KeystoneUser("admin", "admin", admin, "admin"),
        KeystoneUser("member", "member", projects[0], "member"),
    ]


def make_servers(
    instances: int, projects: list[Project], hypervisors: list[NovaHypervisor]
) -> Iterator[NovaServer]:
    """Yield this number of servers, oldest first: the README's case, then a mix of states.

    About 5 % of the ACTIVE ones are silent. 8 % are SHUTOFF, of which every tenth answers
    nevertheless. 2 % are in ERROR and 1 % in BUILD, without an address. Some have a floating
    address too.
    """
    for number in range(instances):
        if number < len(_CASE):
            name, status, ip = _CASE[number]
            addresses: tuple[Address, ...] = (_fixed(ip),)
        else:
            name, status = f"vm-{number:05}", _status(number)
            addresses = _addresses(number, status)
        yield NovaServer(
            id=str(_id("server", name)),
            name=name,
            project_id=projects[number // _PROJECT_SIZE % len(projects)].id,
            status=status,
            task_state="spawning" if status == "BUILD" else None,
            hypervisor=hypervisors[number % len(hypervisors)].name if addresses else None,
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
