"""What was true when, and what a scrape said of it."""

import bisect
import re
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

__all__ = ["Judge", "Said", "Span", "Truth", "read"]

_SAMPLE = re.compile(r'^instance_(alive|hypervisor_active)\{id="([^"]+)"[^}]*\} (\S+)$', re.MULTILINE)
_PLANNING = 1.0
"""Seconds that a sweep plans at most, on a busy machine."""
_OWN = re.compile(r"^fping_exporter_(\w+) (\S+)$", re.MULTILINE)


class Span(NamedTuple):
    """From when to when, in Unix seconds."""

    begin: float
    end: float


class Truth:
    """The history of one fact, which is true or false at any time but while it changes."""

    def __init__(self, at: float, *, value: bool) -> None:
        """Begin with `value` at the time `at`, in Unix seconds."""
        self._changes = [(Span(at, at), value)]

    @property
    def now(self) -> bool:
        """The value since the last change."""
        return self._changes[-1][1]

    def change(self, value: bool, span: Span) -> None:  # noqa: FBT001, the fact itself
        """Record that it became `value` at some time within `span`."""
        self._changes.append((span, value))

    def was(self, value: bool, span: Span) -> bool:  # noqa: FBT001, the fact itself
        """Return whether it may have been `value` at any time within `span`."""
        last = bisect.bisect_right(self._changes, span.end, key=lambda change: change[0].begin) - 1
        for index in range(last, -1, -1):
            changed, became = self._changes[index]
            if became == value:
                return True
            if changed.end <= span.begin:  # it was the other value all the time
                return False
        return False  # it did not exist yet


class Said(NamedTuple):
    """A scrape, read."""

    at: float
    """When it was answered, in Unix seconds."""
    alive: Mapping[str, bool]
    active: Mapping[str, bool]
    own: Mapping[str, float]
    """The exporter's own metrics that have no labels, without their prefix."""

    def window(self, what: str) -> Span:
        """Return from when to when the newest complete ``sweep`` or ``inventory`` took."""
        begin = self.own[f"{what}_last_success_timestamp_seconds"]
        return Span(begin, begin + self.own[f"{what}_duration_seconds"])


def read(text: str, at: float) -> Said:
    """Read an exposition in format 0.0.4."""
    said: dict[str, dict[str, bool]] = {"alive": {}, "hypervisor_active": {}}
    for name, id_, value in _SAMPLE.findall(text):
        said[name][id_] = float(value) == 1
    own = {name: float(value) for name, value in _OWN.findall(text)}
    return Said(at, said["alive"], said["hypervisor_active"], own)


class Judge:
    """Compares what scrapes said with what was true at the time of the sweep, or of the list, behind it."""

    def __init__(self, answers: Mapping[str, Truth], active: Mapping[str, Truth]) -> None:
        """Know the truths by the id of an instance: whether its guest answers, whether Nova says ACTIVE."""
        self._answers, self._active = answers, active
        self._lists: list[_List] = []

    def judge(self, said: Said) -> Counter[str]:
        """Return how many verdicts were right, wrong, or unknown. Scrapes come in the order of time.

        A verdict is right if it was true at any time of the sweep, or of the list, that it is from.
        """
        found: Counter[str] = Counter()
        sweep = said.window("sweep")
        listed = self._list_of(said, sweep)
        for what, values, truths, window in (
            ("ping", said.alive, self._answers, sweep),
            ("Nova", said.active, self._active, listed),
        ):
            for id_, value in values.items():
                right = truths[id_].was(value, window)
                found[f"{what}: right" if right else f"{what}: wrong"] += 1
        found["ping: unknown"] = len(said.active) - len(said.alive)
        return found

    def _list_of(self, said: Said, sweep: Span) -> Span:
        """Return from when to when Nova may have said what a sweep found in its list.

        A sweep takes the newest list that is complete, and then plans. Of the lists that were complete by
        then, the newest may not have been scraped. One that is not confirmed keeps what the one before had.
        """
        newest = said.window("inventory")
        if newest not in (each.taken for each in self._lists):
            doubted = said.own["inventory_unconfirmed"] and self._lists
            begin = self._lists[-1].said_from if doubted else newest.begin
            self._lists = [*self._lists[-9:], _List(newest, begin)]
        for each in reversed(self._lists):
            if each.taken.end <= sweep.begin - _PLANNING:
                return Span(each.said_from, max(each.taken.end, sweep.begin))
        return Span(self._lists[0].said_from, max(newest.end, sweep.begin))


class _List(NamedTuple):
    taken: Span
    said_from: float
    """When Nova said the oldest of it, in Unix seconds."""
