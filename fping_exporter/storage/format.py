"""The file that outlives a restart: JSON lines, compressed by gzip. ``zcat`` shows it.

    {"format":"fping-exporter state","version":1,"scope":{"cloud":"mine",...},"inventory":{...},...}
    {"instances":[{"id":...},...]}
    {"topology":{"ports":{...}}}
    {"history":{"last_replies":{...}}}

The first line is the header, each of the others holds a slice. So neither writing nor reading holds the
global interpreter lock (GIL) for longer than a slice takes. The checksum is gzip's.
"""

import gzip
import time
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Annotated, BinaryIO, NamedTuple, TypeVar

import msgspec
from msgspec import Meta

from fping_exporter.config import Scope
from fping_exporter.errors import StorageError
from fping_exporter.history import History
from fping_exporter.model import Instance, Inventory, Topology
from fping_exporter.storage.clock import Moment, seconds_between

__all__ = ["VERSION", "State", "read", "write"]

VERSION = 1
"""The version of the format. A field that is added with a default needs no new one."""

_FORMAT = "fping-exporter state"
_SLICE = 100
"""Instances, or entries of a mapping, in a line."""
_MAX_BYTES = 1 << 30
"""Most bytes of a file, uncompressed: some eight times what 100,000 instances take."""
_MAX_LINE_BYTES = 1 << 25
"""Most bytes of a line. A slice of instances with all the metadata that Nova admits has 23 MB: 128 pairs of
255 characters each, of which those of values may be control characters, six bytes each in JSON."""

_SLEWED_SECONDS = 1.0
"""By how much clocks may differ without one of them having been set."""

_T = TypeVar("_T")
_S = TypeVar("_S", bound=msgspec.Struct)


class State(NamedTuple):
    """What outlives a restart: enough to ping at once, and to know who stopped answering."""

    inventory: Inventory
    """The newest complete list, before the selection."""
    list_began: float
    """When it was begun, by the monotonic clock of this process, in seconds."""
    unconfirmed: frozenset[str]
    """Instances that the newest list lacks, and that stay until the next one lacks them as well."""
    history: History

    @property
    def age(self) -> float:
        """Seconds since the list was begun."""
        return time.monotonic() - self.list_began


class _Identity(msgspec.Struct):
    """The part of a header that stays the same in all versions."""

    format: str = ""
    version: int = 0


class _Header(msgspec.Struct, kw_only=True):
    format: str = _FORMAT
    version: int = VERSION
    scope: Scope
    written: Moment
    list_age: Annotated[float, Meta(ge=0)]
    """Seconds from the begin of the list to `written`."""
    unconfirmed: frozenset[str]
    inventory: Inventory
    """Without instances and topology."""


class _Slice(msgspec.Struct, omit_defaults=True):
    instances: tuple[Instance, ...] = ()
    topology: Topology | None = None
    history: History | None = None


_json = msgspec.json.Encoder()


def write(state: State, file: BinaryIO, *, scope: Scope, now: Moment, max_bytes: int = _MAX_BYTES) -> None:
    """Write `state` to `file`; raises StorageError if it is larger than what :func:`read` accepts."""
    left = max_bytes
    with gzip.GzipFile(filename="", mode="wb", compresslevel=1, fileobj=file, mtime=0) as packed:
        for part in _split(state, scope=scope, now=now):
            line = _json.encode(part) + b"\n"
            left -= len(line)
            if left < 0 or len(line) > _MAX_LINE_BYTES:
                raise StorageError(f"the state has more than {max_bytes} bytes, or a line that is too long")
            packed.write(line)


def read(file: BinaryIO, *, scope: Scope, now: Moment, max_bytes: int = _MAX_BYTES) -> State:
    """Read what :func:`write` wrote. No clock that was set back makes it look younger than it is.

    Raises StorageError if the file is damaged, of another version, of another scope, or from the future.
    """
    try:
        with gzip.GzipFile(fileobj=file) as packed:
            lines = _lines(packed, max_bytes)
            header = _read_header(next(lines, b""), scope=scope)
            slices = [msgspec.json.decode(line, type=_Slice) for line in lines]
    except (OSError, EOFError, ValueError, RecursionError, zlib.error) as error:  # msgspec's are ValueErrors
        raise StorageError(f"it is damaged ({error})") from error
    passed = seconds_between(header.written, now)
    if passed is None:
        raise StorageError(
            f"it was written {header.written.unix - now.unix:.0f} s in the future, so a clock is or was wrong"
        )
    age = header.list_age + passed
    stopped_at = _no_later(header.written.unix, than=now.unix - passed)
    history = _join(History(), [each.history for each in slices if each.history])
    return State(
        inventory=msgspec.structs.replace(
            header.inventory,
            instances=tuple(instance for each in slices for instance in each.instances),
            topology=_join(Topology(), [each.topology for each in slices if each.topology]),
            listed_at=_no_later(header.inventory.listed_at, than=now.unix - age),
        ),
        list_began=time.monotonic() - age,
        unconfirmed=header.unconfirmed,
        history=history.moved_back(header.written.unix - stopped_at).resumed(
            stopped_at=stopped_at, now=now.unix
        ),
    )


def _no_later(at: float, *, than: float) -> float:
    """Return the Unix time `at`, or `than` if that is earlier, and not just because a clock was slewed."""
    return at if at - than < _SLEWED_SECONDS else than


def _split(state: State, *, scope: Scope, now: Moment) -> Iterator[msgspec.Struct]:
    inventory = state.inventory
    yield _Header(
        scope=scope,
        written=now,
        list_age=max(time.monotonic() - state.list_began, 0),
        unconfirmed=state.unconfirmed,
        inventory=msgspec.structs.replace(inventory, instances=(), topology=Topology()),
    )
    for instances in _batches(inventory.instances):
        yield _Slice(instances=instances)
    for topology in _slices(inventory.topology):
        yield _Slice(topology=topology)
    for history in _slices(state.history.stored):
        yield _Slice(history=history)


def _lines(packed: gzip.GzipFile, max_bytes: int) -> Iterator[bytes]:
    left = max_bytes
    while line := packed.readline(_MAX_LINE_BYTES + 1):
        left -= len(line)
        if left < 0 or len(line) > _MAX_LINE_BYTES:
            raise StorageError(f"it has more than {max_bytes} bytes, or a line that is too long")
        yield line


def _read_header(line: bytes, *, scope: Scope) -> _Header:
    identity = msgspec.json.decode(line, type=_Identity)
    if identity.format != _FORMAT:
        raise StorageError("it is no state of fping-exporter")
    if identity.version != VERSION:
        raise StorageError(f"it is of version {identity.version} of the format, not of {VERSION}")
    header = msgspec.json.decode(line, type=_Header)
    if header.scope != scope:
        names = [
            name for name in sorted({*scope, *header.scope}) if header.scope.get(name) != scope.get(name)
        ]
        raise StorageError(
            f"it is of another cloud, region or set of instances (changed: {', '.join(names)})"
        )
    return header


def _slices(whole: _S) -> Iterator[_S]:
    """Yield structs that :func:`_join` puts together again: each has one slice of one mapping."""
    mappings = _mappings(whole)
    yield msgspec.structs.replace(whole, **{name: {} for name in mappings})
    for name, mapping in mappings.items():
        for batch in _batches(mapping.items()):
            yield type(whole)(**{name: dict(batch)})


def _join(default: _S, slices: list[_S]) -> _S:
    """Put slices together; what is no mapping is the first one's. Without any, return `default`."""
    if not slices:
        return default
    joined: dict[str, dict[object, object]] = {name: {} for name in _mappings(default)}
    for each in slices:
        for name, mapping in _mappings(each).items():
            joined[name].update(mapping)
    return msgspec.structs.replace(slices[0], **joined)


def _mappings(struct: msgspec.Struct) -> dict[str, Mapping[object, object]]:
    values = {name: getattr(struct, name) for name in struct.__struct_fields__}
    return {name: value for name, value in values.items() if isinstance(value, Mapping)}


def _batches(items: Iterable[_T]) -> Iterator[tuple[_T, ...]]:
    iterator = iter(items)
    while batch := tuple(islice(iterator, _SLICE)):
        yield batch
