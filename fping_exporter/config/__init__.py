"""The configuration: YAML in, one frozen value out, every error with its place.

Defaults live in the types. ``deploy/fping-exporter.yml`` is the commented sample.
"""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, get_args

from msgspec import Meta

from fping_exporter.config import strict_yaml
from fping_exporter.config.duration import Duration
from fping_exporter.config.mail_address import are_mail_addresses
from fping_exporter.config.strict_yaml import Section

__all__ = [
    "DEFAULT_FILE",
    "Cache",
    "Config",
    "Instances",
    "OsFping",
    "Probe",
    "Rule",
    "find",
    "load",
    "parse",
]

Patterns = str | tuple[str, ...]
"""One glob or several, of which any may match."""


class Rule(Section, frozen=True, omit_defaults=True):
    """A rule of the selection: every key that is given must match."""

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
    """CIDR; matches when any address of the instance is within."""
    metadata: dict[str, Patterns] | None = None

    def __post_init__(self) -> None:
        """Refuse what could never be meant."""
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if not given:
            message = "a rule needs at least one key: " + ", ".join(self.__struct_fields__)
            raise ValueError(message)
        for name in given:
            if not getattr(self, name):
                message = f"{name}: empty, so the rule could never match"
                raise ValueError(message)
        for cidr in patterns(self.address):
            try:
                ipaddress.ip_network(cidr)
            except ValueError as error:
                message = f"address: expected a network such as 10.0.0.0/8 or fd00::/8: {error}"
                raise ValueError(message) from None


def patterns(value: Patterns | None) -> tuple[str, ...]:
    """One or several patterns, always as a tuple."""
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


class Instances(Section, frozen=True):
    """Which instances are taken: those that any rule includes, less those that any excludes."""

    include: tuple[Rule, ...] = ()
    exclude: tuple[Rule, ...] = ()
    host: Annotated[str, Meta(min_length=1)] | None = None
    """Only those on this host of nova-compute; ``self`` is the one that the exporter runs on."""


Vantage = Literal["local", "qdhcp", "ovnmeta", "qrouter", "snat"]
"""A kind of place to ping from: the exporter's own namespace, or Neutron's."""


class Probe(Section, frozen=True):
    """How the instances are asked."""

    engine: Literal["sweep", "multiping"] = "sweep"
    timeout: Duration = Duration(1)
    """Wait for the reply to a packet."""
    count: Annotated[int, Meta(ge=1, le=100)] = 1
    """Packets to every address in a sweep."""
    retries: Annotated[int, Meta(ge=0, le=10)] = 2
    """Further rounds, only for addresses that have not answered."""
    rate: Annotated[int, Meta(ge=1, le=1_000_000)] = 20_000
    """Packets a second at most, over all sockets."""
    addresses: Literal["all", "fixed", "floating"] = "all"
    families: Annotated[tuple[Literal[4, 6], ...], Meta(min_length=1)] = (4, 6)
    vantages: Annotated[tuple[Vantage, ...], Meta(min_length=1)] | Literal["auto"] = ("local",)
    """Where to ping from; ``auto``: all kinds, as far as this host has them."""
    local_networks: tuple[str, ...] | None = None
    """Names or ids of the networks that are reached from ``local``. None: all, but with any other
    vantage only external ones."""
    per_address: bool = False
    """Whether each address has a series of its own."""

    def __post_init__(self) -> None:
        """Refuse what the engine cannot do."""
        if self.engine == "multiping" and self.vantages != ("local",):
            raise ValueError("engine: multiping pings from local only; use sweep, or vantages: [local]")

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of vantages that may be used."""
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
    """How old an answer may be."""

    inventory: Duration = Duration(60)
    """Age at which the list of instances is refreshed."""
    sweep: Duration = Duration(15)
    """Age at which a scrape triggers a new sweep."""
    max_stale: Duration = Duration(600)
    """Older results are not served."""

    def __post_init__(self) -> None:
        """Refuse ages that would leave every scrape empty."""
        for name in ("inventory", "sweep"):
            if self.max_stale <= getattr(self, name):
                message = f"max_stale: must be above {name} ({getattr(self, name)}), got {self.max_stale}"
                raise ValueError(message)


class OsFping(Section, frozen=True):
    """The API that Nova called os-fping."""

    auth: Literal["keystone", "none"] = "keystone"
    """Whether callers bring a token of Keystone; if not, everybody sees everything."""
    rate_limit: str = "12/hour"
    """Requests of one user over a moving window, or ``unlimited``."""

    def __post_init__(self) -> None:
        """Refuse limits of another form."""
        if not _RATE_LIMIT.fullmatch(self.rate_limit):
            message = (
                "rate_limit: expected a number of requests per second, minute, hour or day such as 12/hour, "
                f'or unlimited, got "{self.rate_limit}"'
            )
            raise ValueError(message)


_RATE_LIMIT = re.compile(r"[1-9][0-9]{0,5}/(second|minute|hour|day)|unlimited")


class Config(Section, frozen=True):
    """All of it."""

    cloud: str | None = None
    """Entry of clouds.yaml; None: OS_CLOUD, else the OS_* variables."""
    region: str | None = None
    all_projects: bool = True
    """False: only the credentials' own project, which needs no admin right."""
    projects: tuple[str, ...] = ()
    """Names or ids; when given, only these are listed."""
    instances: Instances = Instances()
    probe: Probe = Probe()
    cache: Cache = Cache()
    os_fping: OsFping = OsFping()
    contacts: Mapping[str, str] = {}
    """E-mail addresses, joined by commas, by the project's id, or by its name if no other has the same."""
    contacts_from_keystone: bool = False
    """Whether the users of a project that `contacts` does not name are written to."""

    def __post_init__(self) -> None:
        """Refuse what no mail could be sent to."""
        for project, emails in self.contacts.items():
            if not are_mail_addresses(emails):
                raise ValueError(
                    f"contacts: {project}: expected mail addresses such as ops@example.org, "
                    f'joined by commas, got "{emails}"'
                )

    @property
    def scope(self) -> tuple[object, ...]:
        """Whom is asked for which instances: where this is equal, one listing is as good as another."""
        return self.cloud, self.region, self.all_projects, self.projects, self.instances.host


DEFAULT_FILE = Path("fping-exporter.yml")
"""What is read, if it is there, when no file is named."""


def find(named: Path | None) -> Path | None:
    """Return the file to read: the one that is named, else `DEFAULT_FILE` if it is there now."""
    return named or (DEFAULT_FILE if DEFAULT_FILE.exists() else None)


def load(path: Path | None) -> Config:
    """Read the file at `path` (None: the defaults); raise ConfigError with file, place and what is right."""
    if path is None:
        return Config()
    return strict_yaml.parse(strict_yaml.read(path), Config, source=str(path))


def parse(text: str, *, source: str) -> Config:
    """Read a configuration; `source` names it in the ConfigError that bad text raises."""
    return strict_yaml.parse(text, Config, source=source)
