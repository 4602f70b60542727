"""The configuration: parsed from YAML into one frozen value. Every error names its place.

The types have the defaults. ``deploy/fping-exporter.yml`` is the commented sample.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from msgspec import Meta

from fping_exporter.config import strict_yaml
from fping_exporter.config.clouds import DEFAULT_CLOUD, check_cloud, is_cloud_name, locate, merge
from fping_exporter.config.duration import Duration
from fping_exporter.config.fleet import Agents, CentralInventory
from fping_exporter.config.fleet_prometheus import Fleet
from fping_exporter.config.labels import check_labels
from fping_exporter.config.layer2 import Layer2
from fping_exporter.config.links import Links
from fping_exporter.config.mail_address import are_mail_addresses
from fping_exporter.config.share import Share
from fping_exporter.config.strict_yaml import Section
from fping_exporter.errors import ConfigError

__all__ = [
    "DEFAULT_CLOUD",
    "DEFAULT_FILE",
    "Agents",
    "Cache",
    "CentralInventory",
    "Config",
    "Fleet",
    "Instances",
    "Links",
    "Metric",
    "Metrics",
    "OsFping",
    "Probe",
    "Rule",
    "Scope",
    "Share",
    "find",
    "is_cloud_name",
    "load",
    "locate",
    "parse",
]

Patterns = str | tuple[str, ...]
"""One glob, or several of which any may match."""


class Rule(Section, frozen=True, omit_defaults=True):
    """A rule of the selection. It matches an instance if all keys that are given match."""

    id: Patterns | None = None
    project: Patterns | None = None
    """Id or name."""
    name: Patterns | None = None
    status: Patterns | None = None
    hypervisor: Patterns | None = None
    availability_zone: Patterns | None = None
    network: Patterns | None = None
    tag: Patterns | None = None
    address: Patterns | None = None
    """CIDR; it matches if any address of the instance is within it."""
    metadata: dict[str, Patterns] | None = None

    def __post_init__(self) -> None:
        """Refuse rules without a key, and values that never match."""
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if not given:
            message = "a rule needs at least one key: " + ", ".join(self.__struct_fields__)
            raise ValueError(message)
        for name in given:
            value = getattr(self, name)
            if not value or (name != "metadata" and "" in patterns(value)):
                message = f"{name}: empty, so the rule could never match"
                raise ValueError(message)
        for key, value in (self.metadata or {}).items():
            if value == ():
                message = f"metadata.{key}: an empty list, so the rule could never match"
                raise ValueError(message)
        for cidr in patterns(self.address):
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                message = f"address: expected a network such as 10.0.0.0/8 or fd00::/8: {error}"
                raise ValueError(message) from None


def patterns(value: Patterns | None) -> tuple[str, ...]:
    """Return one or several patterns as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


class Instances(Section, frozen=True):
    """Which instances are monitored: those that any rule includes, except those that any rule excludes."""

    include: tuple[Rule, ...] = ()
    exclude: tuple[Rule, ...] = ()
    host: Annotated[str, Meta(min_length=1)] | None = None
    """Only the instances on this nova-compute host; ``self`` is the host that the exporter runs on."""


Vantage = Literal["local", "qdhcp", "ovnmeta", "qrouter", "snat"]
"""A kind of network namespace to ping from: the exporter's own, or those of Neutron."""


class Probe(Section, frozen=True):
    """How the instances are pinged."""

    engine: Literal["sweep", "multiping"] = "sweep"
    timeout: Duration = Duration(1)
    """Time to wait for the reply to a packet."""
    count: Annotated[int, Meta(ge=1, le=100)] = 1
    """Packets sent to each address in a sweep."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """Further rounds, only for addresses that have not answered."""
    rate: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Maximum rate in packets per second, over all sockets."""
    addresses: Literal["all", "fixed", "floating"] = "all"
    families: Annotated[tuple[Literal[4, 6], ...], Meta(min_length=1)] = (4, 6)
    vantages: Annotated[tuple[Vantage, ...], Meta(min_length=1)] | Literal["auto"] = ("local",)
    """Where to ping from; ``auto``: all kinds that this host has."""
    local_networks: tuple[str, ...] | None = None
    """Names or ids of the networks that are reached from ``local``. None: all networks, or only external
    ones if there are other vantages."""
    layer2: Layer2 = Layer2("auto")
    """Whether guests that are silent to pings are asked by ARP and neighbour discovery."""
    per_address: bool = False
    """Whether each address has a series."""

    def __post_init__(self) -> None:
        """Refuse vantages that the engine does not support."""
        if self.engine == "multiping" and self.vantages != ("local",):
            raise ValueError("engine: multiping pings from local only; use sweep, or vantages: [local]")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of vantages that are used."""
        return frozenset(get_args(Vantage) if self.vantages == "auto" else self.vantages)

    @property
    def only_local(self) -> bool:
        """Whether the exporter's own namespace is the only vantage."""
        return self.kinds == {"local"}

    @property
    def all_from_local(self) -> bool:
        """Whether every network is taken to be reached from the exporter's own namespace."""
        return self.only_local and self.local_networks is None


class Cache(Section, frozen=True):
    """Maximum ages of results."""

    inventory: Duration = Duration(60)
    """Maximum age of the list of instances."""
    full_inventory: Duration = Duration(600)
    """Maximum age of the last full list: between two, the cloud is asked for what changed."""
    sweep: Duration = Duration(15)
    """Maximum age of ping results; a scrape that finds older ones triggers a sweep."""
    max_stale: Duration = Duration(600)
    """Age from which results are not exported any more."""

    def __post_init__(self) -> None:
        """Refuse ages with which every scrape would be empty."""
        for name in ("inventory", "sweep"):
            if self.max_stale <= getattr(self, name):
                message = f"max_stale: must be above {name} ({getattr(self, name)}), got {self.max_stale}"
                raise ValueError(message)


Metric = Literal[
    "instance_alive",
    "instance_layer2_alive",
    "instance_hypervisor_active",
    "instance_state_mismatch",
    "instance_silent",
    "instance_missed",
    "instance_never_answered",
    "instance_rtt_seconds",
    "instance_packet_loss_ratio",
    "instance_last_reply_timestamp_seconds",
    "instance_silent_since_timestamp_seconds",
    "instance_launched_timestamp_seconds",
    "instance_address_alive",
    "instance_info",
    "instance_pings_sent_total",
    "instance_pings_lost_total",
    "project_info",
    "project_contact_info",
    "project_instances",
    "hypervisor_up",
    "hypervisor_instances",
    "hypervisor_rtt_seconds",
]
"""The metrics of a snapshot; those of the exporter itself cannot be disabled."""


class Metrics(Section, frozen=True):
    """Which metrics are exported."""

    disable: tuple[Metric, ...] = ()
    """Metrics that are left out: nothing of them is rendered."""
    counters: bool = False
    """Whether packets of each instance are counted, and round trips to the instances of each hypervisor."""


class OsFping(Section, frozen=True):
    """The os-fping API that Nova had."""

    auth: Literal["keystone", "none"] = "keystone"
    """``keystone``: clients send a Keystone token. ``none``: every client sees all instances."""
    rate_limit: str = "12/hour"
    """Maximum rate of requests of one user over a moving window, or ``unlimited``."""

    def __post_init__(self) -> None:
        """Refuse malformed limits."""
        if not _RATE_LIMIT.fullmatch(self.rate_limit):
            message = (
                "rate_limit: expected a number of requests per second, minute, hour or day such as 12/hour, "
                f'or unlimited, got "{self.rate_limit}"'
            )
            raise ValueError(message)


_RATE_LIMIT = re.compile(r"[1-9][0-9]{0,5}/(second|minute|hour|day)|unlimited")


Scope = Mapping[str, str | bool | tuple[str, ...] | None]
"""What a list of instances depends on, by name."""


class Config(Section, frozen=True):
    """The whole configuration."""

    cloud: str | None = None
    """Entry of clouds.yaml. None: the one that OS_CLOUD names, else the OS_* variables."""
    region: str | None = None
    all_projects: bool = True
    """False: only the credentials' own project, for which no admin role is required."""
    projects: tuple[str, ...] = ()
    """Names or ids. If there are any, only these projects are listed."""
    inventory: CentralInventory | None = None
    """The centrals that an agent has its list from, in place of a cloud."""
    agents: Agents | bool = False
    """Whether agents may have the list from this exporter, which makes it a central."""
    instances: Instances = Instances()
    probe: Probe = Probe()
    cache: Cache = Cache()
    metrics: Metrics = Metrics()
    labels: Mapping[str, str] = {}
    """Labels that instance_info and the targets of ``/sd`` get beside their own, by their names."""
    os_fping: OsFping = OsFping()
    contacts: Mapping[str, str] = {}
    """E-mail addresses, separated by commas, by the id of the project, or by its name if it is unique."""
    contacts_from_keystone: bool = False
    """Whether users in Keystone are the contacts of projects that `contacts` does not have."""
    links: Links = Links()
    """Where the pages link to."""
    fleet: Fleet | None = None
    """Where the words of other exporters are read. None: only this one's own counts."""
    share: Share | None = None
    """Where exporters agree on who pings what. None: this one pings all."""
    clouds: Mapping[str, Any] = {}
    """What each of several clouds has over these settings, by its name. Empty: there is one cloud."""

    def __post_init__(self) -> None:
        """Refuse values and combinations of settings that cannot work."""
        if self.inventory:
            self._refuse_settings_of_a_cloud()
        if self.agents and self.instances.host:
            raise ValueError(
                "agents: instances.host lists one host, and a central lists all: remove one of the two"
            )
        if self.share and self.host == "self":
            raise ValueError(
                "share: with host: self each exporter lists its own host only, and nobody pings the guests "
                "of a host that falls to another exporter: remove one of the two"
            )
        if self.fleet and self.fleet.max_age <= self.cache.sweep:
            raise ValueError(
                f"fleet.max_age: must be above cache.sweep ({self.cache.sweep}), got {self.fleet.max_age}"
            )
        check_labels(self.labels)
        for project, emails in self.contacts.items():
            if not are_mail_addresses(emails):
                raise ValueError(
                    f"contacts: {project}: expected mail addresses such as ops@example.org, "
                    f'joined by commas, got "{emails}"'
                )
        _refuse_shared_groups(self.by_cloud())

    def by_cloud(self) -> Mapping[str, "Config"]:
        """Return the settings of each cloud, by its name; :data:`DEFAULT_CLOUD` where there is only one."""
        if not self.clouds:
            return {DEFAULT_CLOUD: self}
        defaults = strict_yaml.to_data(self) | {"clouds": {}}
        found = {}
        for name, own in self.clouds.items():
            check_cloud(name, own)
            try:
                found[name] = strict_yaml.convert(merge(defaults, own or {}), Config)
            except ValueError as error:
                raise ValueError(locate(name, error)) from None
        return found

    def choose(self, names: Sequence[str]) -> Mapping[str, "Config"]:
        """Return the settings of the clouds of these names, by name; of all, if there is no name.

        Raises ConfigError with the known names if there is no such cloud.
        """
        clouds = self.by_cloud()
        for name in names:
            if name not in clouds:
                raise ConfigError(f"--cloud: unknown: {name!r:.80}; known are {', '.join(clouds)}")
        return {name: clouds[name] for name in dict.fromkeys(names)} if names else clouds

    def choose_one(self, name: str | None) -> "Config":
        """Return the settings of the cloud `name`; None: of the only one. Raises as :meth:`choose`."""
        clouds = self.choose([name] if name else [])
        if len(clouds) > 1:
            raise ConfigError(f"--cloud: choose one of {', '.join(clouds)}")
        return next(iter(clouds.values()))

    def _refuse_settings_of_a_cloud(self) -> None:
        """Raise ValueError if anything is set that an agent leaves to its centrals."""
        given = {
            "cloud": self.cloud,
            "region": self.region,
            "all_projects: false": not self.all_projects,
            "projects": self.projects,
            "agents": self.agents,
            "instances.host": self.instances.host,
            "contacts": self.contacts,
            "contacts_from_keystone": self.contacts_from_keystone,
        }
        if names := [name for name, value in given.items() if value]:
            hint = " (inventory.host chooses the host)" if "instances.host" in names else ""
            raise ValueError(
                f"inventory: an agent has its list from a central and no cloud of its own: remove "
                f"{', '.join(names)}{hint}, or inventory"
            )

    @property
    def host(self) -> str | None:
        """The host whose instances alone are listed, ``self`` for this one; None: those of all hosts."""
        return self.inventory.host if self.inventory else self.instances.host

    @property
    def scope(self) -> Scope:
        """What a cloud's list of instances depends on; with the same scope, a list can be shared."""
        return {
            "cloud": self.cloud,
            "region": self.region,
            "all_projects": self.all_projects,
            "projects": self.projects,
            "instances.host": self.instances.host,
        }


def _refuse_shared_groups(clouds: Mapping[str, Config]) -> None:
    """Raise ValueError if two clouds share their instances out in one group: each would ping only a part."""
    members: dict[tuple[str, str], str] = {}
    for name, settings in clouds.items():
        if share := settings.share:
            other = members.setdefault((share.url, share.group), name)
            if other != name:
                raise ValueError(
                    f'clouds.{name}.share.group: "{share.group}" is the group of clouds.{other} as well, '
                    "so that each would ping only a part of its instances: give each cloud a group"
                )


DEFAULT_FILE = Path("fping-exporter.yml")
"""The file that is read when none is named, if it exists."""


def find(named: Path | None) -> Path | None:
    """Return the file to read: `named`, else `DEFAULT_FILE` if it exists now, else None.

    Raises ConfigError if this user may not search the working directory.
    """
    if named:
        return named
    try:
        return DEFAULT_FILE if DEFAULT_FILE.exists() else None
    except OSError as error:
        raise ConfigError(
            f"{DEFAULT_FILE}: cannot be looked for in the working directory: {error.strerror}; "
            "name a file with --config.file, or start in another directory"
        ) from None


def load(path: Path | None) -> Config:
    """Read the file at `path` (None: the defaults). Raises ConfigError with file and place."""
    if path is None:
        return Config()
    return strict_yaml.parse(strict_yaml.read(path), Config, source=str(path))


def parse(text: str, *, source: str) -> Config:
    """Parse a configuration. Raises ConfigError, which calls the text `source`."""
    return strict_yaml.parse(text, Config, source=source)
