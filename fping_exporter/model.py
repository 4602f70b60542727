"""The values that flow one way through the house: inventory, targets, sweep, snapshot.

All are frozen, and none is part of a cycle, so the many are kept from the garbage collector (gc=False). Times named ``*_at`` are Unix timestamps in seconds; durations and
round trips are in seconds.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec

__all__ = [
    "LOCAL",
    "Address",
    "AddressKind",
    "Hypervisor",
    "Instance",
    "Inventory",
    "Outcome",
    "Project",
    "Reason",
    "Snapshot",
    "Sweep",
    "Target",
    "Verdict",
]

LOCAL = "local"
"""The vantage that is the exporter's own network namespace."""

Family = Literal[4, 6]


class AddressKind(StrEnum):
    """Whether an address belongs to the port or is mapped to it (``OS-EXT-IPS:type``)."""

    FIXED = "fixed"
    FLOATING = "floating"


class Address(msgspec.Struct, frozen=True, gc=False):
    """One address of an instance as Nova lists it."""

    ip: str
    """In the canonical text form of :mod:`ipaddress`."""
    family: Family
    kind: AddressKind
    network: str
    """Nova's name for the network. Names are not unique."""


class Instance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One server of Nova. What the credentials may not see is empty."""

    id: str
    project_id: str
    name: str
    status: str
    """Nova's word, upper case: ``ACTIVE``, ``SHUTOFF``, ``ERROR``, ..."""
    power_state: str = ""
    """Of the hypervisor, upper case as in Nova's documentation: ``RUNNING``, ``SHUTDOWN``, ..."""
    task_state: str = ""
    host: str = ""
    """The host of nova-compute (``OS-EXT-SRV-ATTR:host``)."""
    hypervisor: str = ""
    """The hypervisor's own name (``OS-EXT-SRV-ATTR:hypervisor_hostname``)."""
    availability_zone: str = ""
    addresses: tuple[Address, ...] = ()
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = {}

    @property
    def active(self) -> bool:
        """Whether Nova reports ``ACTIVE``."""
        return self.status == "ACTIVE"


class Project(msgspec.Struct, frozen=True, gc=False):
    """One project of Keystone."""

    id: str
    name: str
    domain_id: str


class Hypervisor(msgspec.Struct, frozen=True, gc=False):
    """One hypervisor and the state of the nova-compute service in front of it."""

    name: str
    """The hypervisor's own name, as in ``Instance.hypervisor``."""
    up: bool


class Inventory(msgspec.Struct, frozen=True, kw_only=True):
    """What the cloud said at one time."""

    instances: tuple[Instance, ...]
    projects: Mapping[str, Project] = {}
    """By id; only those that the credentials may see."""
    hypervisors: tuple[Hypervisor, ...] = ()
    parts: Mapping[str, bool] = {}
    """Optional parts of the listing (``hypervisors``, ``projects``): whether each was had."""
    listed_at: float
    duration: float


class Target(NamedTuple):
    """What a packet is sent to. Tenant networks overlap: the vantage is part of the address."""

    vantage: str
    ip: str


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a sweep learned of one target."""

    sent: int
    received: int
    rtt: float | None
    """The best round trip, in seconds; None where nothing came back."""
    unreachable: bool = False
    """Whether the kernel or a router said that the target cannot be reached."""

    @property
    def alive(self) -> bool:
        """Whether any reply came from the target itself."""
        return self.received > 0


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One round of pings to every target. Every target asked for has an outcome."""

    outcomes: Mapping[Target, Outcome]
    sent: int
    received: int
    rejected: Mapping[str, int] = {}
    """Packets that came in and were not counted as replies, by reason."""
    started_at: float
    duration: float


class Reason(StrEnum):
    """Why an instance is not alive."""

    NOT_ACTIVE = "not_active"
    NO_ADDRESS = "no_address"
    UNREACHABLE = "unreachable"
    NO_REPLY = "no_reply"


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nova's word on an instance beside the ping's."""

    instance: Instance
    alive: bool
    reason: Reason | None
    """Why not alive; None when alive."""
    rtt: float | None = None
    """The best round trip over the instance's addresses, in seconds."""
    loss: float | None = None
    """Lost / sent of its best address, 0 to 1; None where nothing was sent."""
    last_reply_at: float | None = None
    """When it last answered this exporter; None until it has."""


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The one thing that the faces see: an inventory, judged by a sweep of it."""

    inventory: Inventory
    verdicts: tuple[Verdict, ...]
    sweep: Sweep
