"""What changed at Nova since the last list (``changes-since``), merged into the instances that are known.

Nova's filter compares the time at which the record of an instance was last updated. So it shows what is new,
deleted, renamed, stopped, started, locked or rebooted, and metadata; it shows neither tags nor addresses
(tried on a real Nova). Deleted instances are listed too, until their records are archived.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fping_exporter.cloud.servers import Servers, as_unknown
from fping_exporter.cloud.unreadable import Unreadable
from fping_exporter.model import AddressKind, Instance

__all__ = [
    "MAX_GAP_SECONDS",
    "OVERLAP_SECONDS",
    "Mark",
    "UnreadableServers",
    "find_corrections",
    "join",
    "merge_changes",
    "same_objects",
]

OVERLAP_SECONDS = 120
"""Each question reaches back that much before the last answer.

Clocks of Nova's hosts differ, and an update may be in the database only seconds after its time.
"""

MAX_GAP_SECONDS = 600
"""Age of the last answer from which on all is listed: records of what was deleted may be archived by then."""


class Mark(NamedTuple):
    """Up to when Nova has told what changed."""

    asked_at: float
    """When it was last asked, by the monotonic clock."""
    date: float
    """The Unix time of the first page of its answer, by its own clock (header ``Date``)."""
    question: object
    """What it was asked for: changes continue a list only if all the rest of the question is the same."""
    page_size: int
    """Servers that it puts on a page at least."""

    @property
    def since(self) -> float:
        """The Unix time to ask for changes since, by Nova's clock."""
        return self.date - OVERLAP_SECONDS


class UnreadableServers(NamedTuple):
    """The servers that cannot be read as a whole, over several lists."""

    by_id: Mapping[str, tuple[Unreadable, ...]] = {}
    nameless: tuple[Unreadable, ...] = ()
    """Those of which not even the id can be read: changes do not tell when they are gone."""

    def after(self, servers: Servers, *, full: bool) -> "UnreadableServers":
        """Return what cannot be read after this list, whose word on a server replaces earlier ones."""
        by_id: dict[str, tuple[Unreadable, ...]] = {}
        if not full:
            told = servers.instances.keys() | servers.gone
            by_id.update((id_, faults) for id_, faults in self.by_id.items() if id_ not in told)
        found: dict[str, tuple[Unreadable, ...]] = {}
        nameless = []
        for each in servers.unreadable:
            if each.known_id is None:
                nameless.append(each)
            elif each.known_id not in servers.gone:
                found[each.known_id] = (*found.get(each.known_id, ()), each)
        return UnreadableServers(by_id | found, tuple(nameless))

    def all(self) -> list[Unreadable]:
        """Return them in one list."""
        return [*(each for faults in self.by_id.values() for each in faults), *self.nameless]


def merge_changes(known: Mapping[str, Instance], servers: Servers) -> dict[str, Instance]:
    """Return the `known` instances with the changes that Nova tells.

    What it calls deleted is left out. One that cannot be read, or is in a cell that is down, is as it was
    known before, with the status UNKNOWN. An instance of which nothing changed is the same object.
    """
    merged = dict(known)
    for id_ in servers.gone:
        merged.pop(id_, None)
    for id_, instance in servers.instances.items():
        before = known.get(id_)
        after = as_unknown(before) if before and instance.in_down_cell else instance
        merged[id_] = before if before == after and before else after
    for each in servers.unreadable:
        id_ = each.known_id or ""
        if id_ in merged and id_ not in servers.instances:
            merged[id_] = as_unknown(merged[id_])
    return merged


def same_objects(known: Mapping[str, Instance], listed: Mapping[str, Instance]) -> dict[str, Instance]:
    """Return what is `listed`, with the objects that are `known` where nothing changed.

    What is kept for each object, such as its text, is then still of use after a full list.
    """
    get = known.get
    return {
        id_: before if (before := get(id_)) and before == instance else instance
        for id_, instance in listed.items()
    }


def find_corrections(
    merged: Mapping[str, Instance], listed: Mapping[str, Instance], *, told: Collection[str]
) -> list[str]:
    """Return the ids of the instances that a full list shows otherwise than the changes before it told.

    Left out is what changes do not tell, or not yet: those that Nova has `told` to be changed since, tags,
    those in a cell that is down, and the coming and going of instances in BUILD: such a one may be deleted
    before it comes to a host, and Nova does not note the time (``_delete`` in nova/compute/api.py).
    """
    return [
        id_
        for id_ in merged.keys() | listed.keys()
        if (before := merged.get(id_)) is not (after := listed.get(id_))
        and id_ not in told
        and _is_correction(before, after)
    ]


def _is_correction(before: Instance | None, after: Instance | None) -> bool:
    if before is None or after is None:
        one = before or after
        return one is not None and one.status != "BUILD" and not one.in_down_cell
    if before.in_down_cell or after.in_down_cell:
        return False
    return _comparable(before) != _comparable(after)


def _comparable(instance: Instance) -> tuple[Instance, frozenset[tuple[str, AddressKind]]]:
    addresses = frozenset((each.ip, each.kind) for each in instance.addresses)
    return msgspec.structs.replace(instance, tags=(), addresses=()), addresses


def join(lists: Sequence[Servers]) -> Servers:
    """Return several lists, such as those of several projects, as one."""
    if len(lists) == 1:
        return lists[0]
    instances: dict[str, Instance] = {}
    gone: set[str] = set()
    unreadable: list[Unreadable] = []
    page_size = 0
    for each in lists:
        instances.update(each.instances)
        gone |= each.gone
        unreadable += each.unreadable
        page_size = max(page_size, each.page_size)
    return Servers(instances, frozenset(gone - instances.keys()), unreadable, page_size)
