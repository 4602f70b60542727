"""The configuration: YAML in, one frozen value out, every error with its place.

Defaults live in the types. ``deploy/fping-exporter.yml`` is the commented sample.
"""

import difflib
import ipaddress
import json
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
import yaml
from msgspec import Meta

from fping_exporter.duration import Duration
from fping_exporter.errors import ConfigError

__all__ = ["Cache", "Config", "Instances", "OsFping", "Probe", "Rule", "load", "parse"]

Patterns = str | tuple[str, ...]
"""One glob or several, of which any may match."""


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Part of the configuration: read strictly, unchangeable."""


class Rule(_Section, frozen=True):
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


class Instances(_Section, frozen=True):
    """Which instances are taken: those that any rule includes, less those that any excludes."""

    include: tuple[Rule, ...] = ()
    exclude: tuple[Rule, ...] = ()


class Probe(_Section, frozen=True):
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


class Cache(_Section, frozen=True):
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


class OsFping(_Section, frozen=True):
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


class Config(_Section, frozen=True):
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


def load(path: Path) -> Config:
    """Read the file at `path`; raise ConfigError with the file, the place and what is right."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"{path}: cannot be read: {reason}") from None
    return parse(text, source=str(path))


def parse(text: str, *, source: str) -> Config:
    """Read a configuration; `source` names it in the ConfigError that bad text raises."""
    try:
        data = yaml.load(text, Loader=_StrictLoader)  # noqa: S506, it is a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise ConfigError(f"{source}{place}: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError) as error:  # control characters; 2026-13-01
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from None
    try:
        return msgspec.convert({} if data is None else data, Config, strict=True, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}: {_explain(str(error))}") from None


def _decode(kind: type, value: object) -> object:
    """Read the one type of ours that msgspec does not know."""
    if kind is Duration:
        return Duration.parse(value)
    raise NotImplementedError(kind)


class _StrictLoader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002, the base's signature
        seen = set()
        for key, _ in node.value:
            if key.value in seen and isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} stands twice", problem_mark=key.start_mark
                )
            if isinstance(key, yaml.ScalarNode):
                seen.add(key.value)
        return super().construct_mapping(node, deep)


_PLACE = re.compile(r"(?P<what>.*?)(?: - at (?P<key>`key` in )?`\$(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
_CHOICE = re.compile(r"Invalid enum value (?P<got>.*)", re.DOTALL)
_KIND = re.compile(r"Expected `(?P<expected>[^`]*)`(?P<bound>.*?)(?:, got `(?P<got>[^`]*)`)?", re.DOTALL)
_KINDS = {
    "array": "a list",
    "bool": "true or false",
    "date": "a date",
    "datetime": "a time",
    "float": "a number",
    "int": "a whole number",
    "null": "nothing",
    "object": "a mapping",
    "str": "text",
}


def _explain(message: str) -> str:
    """Say what msgspec found in the words of someone who writes YAML."""
    found = _PLACE.fullmatch(message)
    assert found  # noqa: S101, the pattern matches any text
    what, path = found["what"], (found["path"] or "").lstrip(".")
    where = f"{path}: " if path else ""
    if unknown := _UNKNOWN.fullmatch(what):
        known = list(_type_at(path).__struct_fields__)
        near = difflib.get_close_matches(unknown["key"], known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else "known are " + ", ".join(known)
        return f"{path + '.' if path else ''}{unknown['key']}: unknown key; {hint}"
    if choice := _CHOICE.fullmatch(what):
        allowed = " or ".join(json.dumps(value) for value in get_args(_type_at(path)))
        return f"{where}expected {allowed}, got {choice['got'].replace(chr(39), chr(34))}"
    if kind := _KIND.fullmatch(what):
        # What may be null may also be left out, which is what one would do.
        expected = [_KINDS.get(name, name) for name in kind["expected"].split(" | ") if name != "null"]
        got = f", got {_KINDS.get(kind['got'], kind['got'])}" if kind["got"] else ""
        every = " as every key" if found["key"] else ""
        quote = "; put it in quotes if it is text" if "text" in expected and kind["got"] in _SCALARS else ""
        return f"{where}expected {' or '.join(expected)}{every}{kind['bound']}{got}{quote}"
    return where + what


_SCALARS = {"int", "float", "bool", "date", "datetime"}


def _type_at(path: str) -> Any:  # noqa: ANN401, types have no common type
    """Return the type of what stands at `path`, such as ``instances.include[0]``, or in a list there."""
    kind: Any = Config
    for name in re.sub(r"\[[^]]*\]", "", path).split(".") if path else ():
        kind = get_type_hints(kind)[name]
        while get_origin(kind) not in (None, Literal):
            kind = get_args(kind)[0]
    return kind
