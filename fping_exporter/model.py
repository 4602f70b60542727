"""The values that flow one way through the exporter: inventory, targets, sweep, snapshot.

All are frozen, and none is part of a cycle, so the many are kept from the garbage collector
(gc=False). Times named ``*_at`` are Unix timestamps in seconds; durations and round trips are in
seconds.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, NamedTuple

import msgspec

from fping_exporter.nova_status import contradicts
from fping_exporter.timeline import Since, Timeline

__all__ = [
    "LOCAL",
    "NOT_ASKED",
    "Address",
    "AddressKind",
    "FleetExporter",
    "Hypervisor",
    "IcmpError",
    "Instance",
    "Inventory",
    "Layer2Doubt",
    "Layer2Rejection",
    "Layer2Sweep",
    "Layer2Target",
    "Network",
    "Outcome",
    "Port",
    "Probed",
    "Project",
    "Reason",
    "Rejection",
    "SecurityRule",
    "Snapshot",
    "Sweep",
    "Target",
    "Topology",
    "Verdict",
    "Witness",
    "family_of",
    "kind_of",
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
    mac: str = ""
    """MAC address of the port that has the address, or that it is mapped to; empty if Nova does not say."""


class Instance(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One server of Nova. Fields that the credentials may not see are empty."""

    id: str
    project_id: str
    name: str
    status: str
    """Nova's status, upper case: ``ACTIVE``, ``SHUTOFF``, ``ERROR``, ..."""
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
    launched_at: float | None = None
    """When it was first launched (``OS-SRV-USG:launched_at``); None until then."""
    created_at: float | None = None
    """When somebody asked for it (``created``); None if it is not known."""
    flavor: str = ""
    """The flavor's name at the time of creation; its id from a Nova before 2.47."""
    image: str = ""
    """The image's id; empty where the instance boots from a volume."""
    user_id: str = ""
    """The user that created it."""

    @property
    def active(self) -> bool:
        """Whether Nova reports ``ACTIVE``."""
        return self.status == "ACTIVE"

    @property
    def in_down_cell(self) -> bool:
        """Whether Nova reports ``UNKNOWN``: the database of its cell does not answer."""
        return self.status == "UNKNOWN"


class Project(msgspec.Struct, frozen=True, gc=False):
    """One project of Keystone."""

    id: str
    name: str = ""
    """Empty if it is not known."""
    domain_id: str = ""


class Hypervisor(msgspec.Struct, frozen=True, gc=False):
    """One hypervisor and the state of the nova-compute service in front of it."""

    name: str
    """The hypervisor's own name, as in ``Instance.hypervisor``."""
    up: bool
    host: str = ""
    """The host of nova-compute, as in ``Instance.host``; empty if it is not known."""


class Port(msgspec.Struct, frozen=True, gc=False):
    """One port of Neutron."""

    network_id: str
    """Empty if it is not known."""
    mac: str
    subnets: Mapping[str, str]
    """The subnet of each of its fixed addresses."""
    security_groups: tuple[str, ...] | None
    """Ids; None if port security is off, so that no packet is filtered, or if it is not known."""
    device: str = ""
    """The id of the instance that has it; where no instance has it, a text that is no instance's id."""
    driver: str = ""
    """The mechanism driver that binds it, at the lowest level, such as ``ovn``; empty if it is not known."""
    id: str = ""
    """Empty if it cannot be read."""


class Network(msgspec.Struct, frozen=True, gc=False):
    """One network of Neutron."""

    id: str
    name: str
    external: bool
    shared: bool


class SecurityRule(msgspec.Struct, frozen=True, gc=False):
    """A security group rule that admits echo requests, from anywhere unless a field restricts the sender."""

    family: Family
    prefix: str | None = None
    """CIDR that contains the sender."""
    group: str | None = None
    """Id of the security group that the sender's port is a member of."""
    address_group: str | None = None
    """Id of the address group that contains the sender."""
    id: str = ""
    """Empty if it is not known."""


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """Networks, and who has which address. Empty fields were not asked for, or not answered."""

    ports: Mapping[str, tuple[Port, ...]] = {}
    """Of each instance, by its id; empty for those that an agent only knows to have some."""
    owners: Mapping[str, tuple[Port, ...]] = {}
    """Neutron's ports that have an address, be they of instances, routers or agents; several where networks
    overlap. Floating addresses are not here."""
    floating: Mapping[str, tuple[str, ...]] = {}
    """By floating address, the id of the instance that Neutron maps it to; empty where it is none's."""
    public: Mapping[str, Mapping[str, str]] = {}
    """By the id of an instance: the floating address that Neutron maps to each of its fixed ones."""
    claims: Mapping[str, frozenset[str]] = {}
    """The ids of the instances that Nova lists with an address, for addresses of more than one, and of those
    servers that cannot be read otherwise."""
    metadata_ports: Mapping[str, tuple[Port, ...]] = {}
    """The ports through which OVN's metadata agents are reached, by the network's id."""
    networks: Mapping[str, Network] = {}
    routers: Mapping[str, tuple[str, ...]] = {}
    """Ids of the routers with an interface in a subnet, by the subnet's id."""
    distributed: frozenset[str] = frozenset()
    """Routers of which every host has its own part."""
    rules: Mapping[str, tuple[SecurityRule, ...]] = {}
    """Those of each security group that is known, by its id."""
    group_names: Mapping[str, str] = {}
    """The names of security groups, which are not unique, by their ids."""
    members: Mapping[str, frozenset[str]] = {}
    """The addresses of the ports in those security groups that rules name; what is not here is not known."""
    address_groups: Mapping[str, tuple[str, ...]] = {}
    """The CIDRs of those address groups that rules name; what is not here is not known."""
    incomplete: frozenset[str] = frozenset()
    """Which of ``ports``, ``floating_ips`` and ``networks`` have entries that could not be read: what is not
    found there may be one of these. Addresses that could be read all the same do not count."""
    loopback: bool = False
    """Whether guests are at loopback addresses, which is so in the demo's cloud only."""


class Inventory(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """What the cloud said at one time."""

    instances: tuple[Instance, ...]
    projects: Mapping[str, Project] = {}
    """By id; only those that the credentials may see."""
    contacts: Mapping[str, str] = {}
    """E-mail addresses, joined by commas, by the project's id."""
    hypervisors: tuple[Hypervisor, ...] = ()
    topology: Topology = Topology()
    parts: Mapping[str, bool] = {}
    """Optional parts of the listing (``hypervisors``, ``projects``, ``contacts``, ``ports``,
    ``floating_ips``, ``security_groups``): whether each was had."""
    skipped: Mapping[str, int] = {}
    """How many entries of each list (``servers``, or one of the optional parts) were left out, since they
    could not be read; absent: none."""
    full: bool = True
    """Whether all instances were listed; if not, what changed was merged into the list before."""
    corrections: int = 0
    """How many instances a full list showed otherwise than the changes that were merged before it."""
    listed_at: float
    duration: float
    relay_age: float | None = None
    """How old the list was when it was asked for, in seconds, where a central made it; None: this exporter
    listed the cloud itself."""

    def project_name(self, project_id: str) -> str:
        """Return the project's name where it is known, else its id."""
        project = self.projects.get(project_id)
        return project.name if project and project.name else project_id


def kind_of(vantage: str) -> str:
    """Return a vantage without the id: ``local``, ``qdhcp``, ``ovnmeta``, ``qrouter``, ``snat``."""
    return vantage.partition("-")[0]


def family_of(ip: str) -> Family:
    """Return the IP version of an address."""
    return 6 if ":" in ip else 4


class Target(NamedTuple):
    """What a packet is sent to. Tenant networks overlap: the vantage is part of the address."""

    vantage: str
    """:data:`LOCAL`, or the name of a network namespace of this host (``qdhcp-<network id>``, ...)."""
    ip: str

    @property
    def kind(self) -> str:
        """The vantage without the id: ``local``, ``qdhcp``, ``ovnmeta``, ``qrouter``, ``snat``."""
        return kind_of(self.vantage)

    @property
    def family(self) -> Family:
        """The IP version of the address."""
        return family_of(self.ip)


class IcmpError(msgspec.Struct, frozen=True, gc=False):
    """An ICMP error that quotes an echo request: that was not delivered."""

    sender: str
    """The address of the router or the kernel that reports it; empty if it is not known."""
    type: int
    """As RFC 792 and RFC 4443 number them; so is `code`."""
    code: int


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """What a sweep learned of one target."""

    sent: int
    """Packets that this machine really sent."""
    received: int
    rtt: float | None
    """The best round trip, in seconds; None where nothing came back, or nobody knows when it did."""
    unreachable: bool = False
    """Whether an ICMP error said that a packet could not be delivered, and no reply came."""
    error: IcmpError | None = None
    """The first ICMP error about one of the packets; None where none came, or the engine drops them."""

    @property
    def alive(self) -> bool:
        """Whether any reply came from the target itself."""
        return self.received > 0

    @property
    def asked(self) -> bool:
        """Whether anything was sent to the target: if not, its silence means nothing."""
        return self.sent > 0


NOT_ASKED = Outcome(sent=0, received=0, rtt=None)
"""The outcome of a target to which nothing could be sent, for want of a socket, a route or a permission."""


class Probed(msgspec.Struct, frozen=True, gc=False):
    """An address that the configuration asks for, how it is asked, and what came of it."""

    address: Address
    target: Target | None
    """None where no vantage here reaches it, or it is ambiguous."""
    outcome: Outcome | None = None
    """None where it was not asked."""
    ambiguous: bool = False
    """Whether it is not asked since nothing tells whose an answer would be."""


class Rejection(StrEnum):
    """Why a packet that came in does not count as a reply."""

    SOURCE = "source"
    """It came from an address that was not asked."""
    COOKIE = "cookie"
    """It does not carry what the target was sent."""
    SEQUENCE = "sequence"
    """It answers a packet that was not sent."""
    DUPLICATE = "duplicate"
    """It answers a packet that has been answered."""
    ERROR = "error"
    """It is an ICMP error that quotes what was not sent."""
    CHECKSUM = "checksum"
    """Its ICMP checksum is wrong."""


class Layer2Target(NamedTuple):
    """A guest as it is asked at layer 2: who has this address is asked at this MAC, and nowhere else."""

    vantage: str
    """As in :class:`Target`."""
    ip: str
    mac: str
    """Of the port that has the address, in Neutron's notation: ``fa:16:3e:00:00:01``."""

    @property
    def kind(self) -> str:
        """The vantage without the id, as in :class:`Target`."""
        return kind_of(self.vantage)

    @property
    def family(self) -> Family:
        """The IP version of the address."""
        return family_of(self.ip)

    @property
    def place(self) -> tuple[str, Family]:
        """The vantage and the IP version: what drops or answers questions does so for a whole place."""
        return self.vantage, self.family


class Layer2Rejection(StrEnum):
    """Why an ARP reply or a neighbour advertisement that came in proves nothing."""

    MALFORMED = "malformed"
    """It is not what RFC 826 or RFC 4861 describes."""
    TAGGED = "tagged"
    """It is from another VLAN."""
    BROADCAST = "broadcast"
    """It was sent to all, not to this interface."""
    UNSOLICITED = "unsolicited"
    """It answers no question, or one that has not been asked yet."""
    RECIPIENT = "recipient"
    """It answers a question from another address than ours."""
    MAC = "mac"
    """Another MAC than the one asked answers for the address."""
    ADDRESS = "address"
    """A MAC that was asked answers for another address."""
    FOREIGN = "foreign"
    """Neither its MAC nor its address was asked for."""
    HOP_LIMIT = "hop_limit"
    """It may have come through a router."""
    CHECKSUM = "checksum"
    """Its ICMPv6 checksum is wrong."""
    LATE = "late"
    """It came when the time for it was over."""
    DUPLICATE = "duplicate"
    """It repeats what has been answered."""
    KERNEL = "kernel"
    """This machine's kernel has asked all for the address meanwhile: a switch may have answered that."""


class Layer2Doubt(StrEnum):
    """Why nothing is known of a guest that was to be asked at layer 2; of several that fit, the first."""

    IMPERSONATED = "impersonated"
    """Somebody answers for it even at a MAC that nobody has."""
    UNTESTED = "untested"
    """Whether somebody answers at a MAC that nobody has is not clear."""
    LINK = "link"
    """The link does not carry frames, or was not steady."""
    LATE = "late"
    """An answer came too late, or may have been one to this machine's kernel."""
    OTHER_MAC = "other_mac"
    """Another MAC than the one asked answers for its address."""
    UNFINISHED = "unfinished"
    """It was not asked in all rounds."""
    DEAF = "deaf"
    """Not even guests that answer pings answer there: questions do not arrive."""


class Layer2Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """What a sweep at layer 2 found out."""

    alive: Mapping[Layer2Target, bool] = {}
    """Whether the kernel behind the MAC answered. Who could not be asked to the end, or is not believed, is
    not here."""
    doubtful: Mapping[Layer2Target, Layer2Doubt] = {}
    """Those whose link is here, and of which nothing is known all the same, and why."""
    sent: int = 0
    received: int = 0
    """Answers that count."""
    rejected: Mapping[Layer2Rejection, int] = {}
    trusted: Mapping[str, bool] = {}
    """By the kind of vantage, whether answers are believed there as a rule; only kinds that were asked."""
    duration: float = 0.0


class Sweep(msgspec.Struct, frozen=True, kw_only=True):
    """One round of pings to every target. Every target asked for has an outcome."""

    outcomes: Mapping[Target, Outcome]
    sent: int
    received: int
    rejected: Mapping[Rejection, int] = {}
    """Packets that came in and were not counted as replies."""
    refused: Mapping[str, int] = {}
    """Packets that this machine refused to send, retries included, by the name of the errno, such as
    ``EPERM``."""
    unsent: Mapping[Target, str] = {}
    """Why this machine could send nothing to a target, in words; not all that were not asked are here."""
    ambiguous: int = 0
    """Addresses that were not asked, since nothing tells whose an answer would be."""
    failed: int = 0
    """Instances that could not be planned or judged, or not completely, because of a bug."""
    layer2: Layer2Sweep | None = None
    """What those said at layer 2 who are silent to pings; None where nobody was asked."""
    overflows: int = 0
    """How often the kernel's neighbour table was full meanwhile, whoever filled it."""
    started_at: float
    duration: float


class Reason(StrEnum):
    """Why an instance is not alive; of several that fit, the first."""

    NOT_ACTIVE = "not_active"
    NO_ADDRESS = "no_address"
    NO_VANTAGE = "no_vantage"
    """No place here reaches its networks."""
    AMBIGUOUS_ADDRESS = "ambiguous_address"
    """Somebody else may have its addresses, and nothing tells whose an answer would be."""
    ICMP_BLOCKED = "icmp_blocked"
    ICMP_IGNORED = "icmp_ignored"
    """Its kernel answers at layer 2, and no security group that is known keeps the ping out."""
    UNREACHABLE = "unreachable"
    NO_REPLY = "no_reply"


class FleetExporter(msgspec.Struct, frozen=True, gc=False):
    """Another exporter of the same cloud, as Prometheus knows it."""

    name: str
    """Its label ``instance``."""
    age: float
    """Seconds from its newest sweep, or from the scrape of it if that was before, to the reading."""
    swept_at: float
    """Unix time of that sweep, by its own clock; of the scrape if that was before."""
    blind: bool
    """Whether its word that an instance is silent says nothing of the instance."""


class Witness(msgspec.Struct, frozen=True, gc=False):
    """What another exporter says of an instance."""

    exporter: FleetExporter
    alive: bool
    reason: Reason | None = None
    """Why not alive; None when alive."""
    rtt: float | None = None
    layer2_alive: bool | None = None


class Verdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Nova's word on an instance beside the ping's."""

    instance: Instance
    alive: bool | None
    """None where it could not be asked from here."""
    reason: Reason | None
    """Why not alive; None when alive."""
    probed: tuple[Probed, ...] = ()
    rtt: float | None = None
    """The best round trip over the instance's addresses, in seconds."""
    loss: float | None = None
    """Lost / sent of its best address, 0 to 1; None where nothing was sent."""
    last_reply_at: float | None = None
    """When it last answered a ping of this exporter; None until it has."""
    layer2_alive: bool | None = None
    """Whether its kernel answers at layer 2; None where it was not asked there, or is not believed."""
    witnesses: tuple[Witness, ...] = ()
    """The other exporters whose words count in it; none unless the fleet is read."""

    @property
    def asked(self) -> bool:
        """Whether it was asked, by this exporter or by another one of the fleet."""
        return bool(self.witnesses) or any(each.outcome for each in self.probed)

    @property
    def answers(self) -> bool:
        """Whether it is known to live: it answered a ping, or its kernel answered at layer 2."""
        return bool(self.alive or self.layer2_alive)

    @property
    def silent(self) -> bool:
        """Whether Nova reports it as ACTIVE, and it was asked and did not answer."""
        return self.instance.active and self.alive is False

    @property
    def unasked(self) -> bool:
        """Whether Nova reports it as ACTIVE, and it could not be asked from here."""
        return self.instance.active and self.alive is None

    @property
    def mismatch(self) -> bool | None:
        """Whether the ping contradicts Nova's status; None where it could not be asked."""
        return None if self.alive is None else contradicts(self.instance.status, alive=self.alive)


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, weakref=True):
    """The one thing that the faces see: an inventory, judged by a sweep of it."""

    inventory: Inventory
    verdicts: tuple[Verdict, ...]
    sweep: Sweep
    missed: frozenset[str] = frozenset()
    """Ids of the instances that fell silent, which nothing explains."""
    never_answered: frozenset[str] = frozenset()
    """Ids of those that have not answered since they were launched, within the last day."""
    blind: bool = False
    """Whether silence says nothing of an instance: this exporter has lost its way to most of them."""
    alone: bool = True
    """Whether no other exporter can be expected to ask what could not be asked from here."""
    per_address: bool = False
    """Whether the outcome of each address is wanted as a metric."""
    others: tuple[Instance, ...] = ()
    """Those that other members of a share ask, and the inventory lacks; none unless the fleet is read."""
    timelines: Mapping[str, Timeline] = {}
    """What the last sweeps of this exporter found out about each instance, this one included, by its id."""
    sweeps: tuple[float, ...] = ()
    """Unix times of the last results in each timeline, the oldest first."""

    silent_elsewhere: Mapping[str, float] = {}
    """Unix time since which an instance has been silent to other exporters, by its id; none unless the fleet
    is read."""

    def since(self, verdict: Verdict) -> Since | None:
        """Return since when an instance has been answering, or silent; None where nobody knows.

        Where others speak of it as well: it answers since it answered this exporter, or longer, and is silent
        since it fell silent to the last of them. One that is asked by others alone by now is not told by what
        was found out here before: an answer of then, or a silence before its last reply.
        """
        if not verdict.asked or verdict.alive is None:  # without an address it is not alive, and is not asked
            return None
        timeline = self.timelines.get(verdict.instance.id)
        own = None
        if timeline and timeline.alive is verdict.alive:
            own = Since(timeline.since, timeline.at_least)
        if not verdict.witnesses:
            return own
        if verdict.alive:
            heard = any(each.outcome and each.outcome.alive for each in verdict.probed)
            return own._replace(at_least=True) if own and heard else None
        times = [own.at] if own else []
        if elsewhere := self.silent_elsewhere.get(verdict.instance.id):
            times.append(elsewhere)
        at, replied_at = max(times, default=0.0), verdict.last_reply_at
        return Since(at, at_least=replied_at is None) if at > (replied_at or 0.0) else None

    @property
    def unexplained(self) -> frozenset[str]:
        """Ids of the instances that are ACTIVE, were asked and are silent, which nothing explains."""
        return frozenset(each.instance.id for each in self.verdicts if each.reason in _UNEXPLAINED)


_UNEXPLAINED = frozenset({Reason.UNREACHABLE, Reason.NO_REPLY})
