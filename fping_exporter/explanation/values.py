"""The explanation of one instance, as a value. Its fields are those of the JSON."""

import msgspec

from fping_exporter.model import AddressKind, Reason
from fping_exporter.verdict.security_groups import Filtering

__all__ = [
    "AddressFacts",
    "Claimant",
    "Explanation",
    "Group",
    "IcmpErrorFacts",
    "Layer2Facts",
    "NextStep",
    "NovaFacts",
    "SecurityFacts",
    "WitnessFacts",
]


class NovaFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Nova's word. What these credentials may not see is None."""

    status: str
    task_state: str | None
    power_state: str | None
    host: str | None
    hypervisor: str | None
    hypervisor_up: bool | None
    """Whether nova-compute is up there."""
    availability_zone: str | None
    created_at: float | None
    """Unix time in seconds; so are all that are called ``_at``."""
    launched_at: float | None
    mismatch: bool | None
    """Whether the ping contradicts the status; None if nobody knows."""


class Claimant(msgspec.Struct, frozen=True):
    """Somebody else who may have an address."""

    id: str | None
    """Of an instance, or ``port`` and the id of a port; None if it may not be told."""
    name: str | None
    """None if it is not known, or may not be told."""


class IcmpErrorFacts(msgspec.Struct, frozen=True, kw_only=True):
    """An ICMP error about one of the packets."""

    sender: str | None
    """The address of the router or the kernel that reports it; None if it is not known."""
    type: int
    code: int
    meaning: str


class Group(msgspec.Struct, frozen=True):
    """A security group."""

    id: str
    name: str | None
    """None if it is not known."""


class SecurityFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the security groups of a port do with a ping from here."""

    decision: Filtering
    groups: tuple[Group, ...]
    """All of the port's."""
    rule_id: str | None
    """The rule that lets it in; None if none does, or if it is not known."""
    text: str
    """The deciding rule in words, or which one is missing, or what is not known."""


class Layer2Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned of an address at layer 2."""

    asked: bool
    alive: bool | None
    """None if it was not asked, or nobody knows."""
    mac: str | None
    """Where it is asked; None if that is not known."""
    text: str


class AddressFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One address that Nova lists."""

    ip: str
    kind: AddressKind
    network: str
    """Nova's name for the network."""
    network_id: str | None
    """None if it is not known; so are `port_id` and `mac`."""
    port_id: str | None
    mac: str | None
    owner: str
    """Whose the address is, in words."""
    others: tuple[Claimant, ...]
    """Who else may answer for it in the place from which it would be asked; of many, the first."""
    others_count: int
    """How many these are in all."""
    vantage: str | None
    """From where it is asked; None if it is not."""
    why_not_asked: str | None
    """None if it was asked."""
    source: str | None
    """The source address of the packets; None if it is not known, or nothing was sent."""
    sent: int | None
    """Packets; None if nothing was sent, or that is not known."""
    received: int | None
    rtt_seconds: float | None
    """The best round trip."""
    icmp_error: IcmpErrorFacts | None
    security: SecurityFacts
    layer2: Layer2Facts


class WitnessFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What another exporter says."""

    exporter: str | None
    """None if it may not be told."""
    alive: bool
    layer2_alive: bool | None
    reason: Reason | None
    rtt_seconds: float | None
    swept_at: float


class NextStep(msgspec.Struct, frozen=True, kw_only=True):
    """What to do next."""

    sentence: str
    command: str | None
    """The one to begin with; None if there is nothing to do."""
    section: str | None
    """The heading of a section of the runbook."""
    url: str | None
    """Where that section is; None if the configuration does not say where the runbook is."""


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of why an instance answers or not. What is not known is None, and said so."""

    id: str
    name: str
    project_id: str
    project: str
    """Its name where it is known, else the id."""
    summary: str
    """Whether it answers, in one sentence."""
    alive: bool | None
    """Whether it answers pings; None: nobody knows."""
    layer2_alive: bool | None
    reason: Reason | None
    """Why it is not alive; None if it is, or if that is not known."""
    meaning: str | None
    """The reason in words."""
    remarks: tuple[str, ...]
    """What else one has to know to understand this, each in a sentence."""
    anew: bool
    """Whether it was asked for this explanation; else these are the results of the last sweep."""
    asked_at: float
    """When the sweep began, whether or not anything could be sent."""
    listed_at: float
    """When the cloud was listed."""
    remembered: bool
    """Whether earlier sweeps are known; if not, neither are `since` and the last reply before this one."""
    last_reply_at: float | None
    """When it last answered a ping of this exporter; None if it never did, or that is not known."""
    since: float | None
    """Unix time of the first sweep since which it has been answering, or silent; None if nobody knows."""
    since_at_least: bool
    """Whether it may have been so for longer."""
    rtt_seconds: float | None
    loss_ratio: float | None
    """Lost / sent of its best address, 0 to 1."""
    nova: NovaFacts
    addresses: tuple[AddressFacts, ...]
    witnesses: tuple[WitnessFacts, ...]
    next: NextStep
