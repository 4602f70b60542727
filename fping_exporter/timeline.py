"""The last ping results of an instance in 16 bytes, and since when it has been answering or silent."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

__all__ = ["LENGTH", "PingResult", "Since", "Stepper", "Timeline", "moved_back", "no_later", "shared"]

LENGTH = 64
"""How many results are remembered of each instance."""

_BITS = 2
_BYTES = LENGTH * _BITS // 8
_ALL = (1 << LENGTH * _BITS) - 1


class PingResult(IntEnum):
    """What one sweep found out about an instance; the values are stored."""

    NONE = 0
    """It was not listed yet."""
    ANSWERED = 1
    SILENT = 2
    UNKNOWN = 3
    """Nobody knows: it was not asked, this exporter was blind, or there was no sweep."""


class Since(NamedTuple):
    """Since when an instance has been as it is."""

    at: float
    """Unix time of the first sweep that found it so, in seconds."""
    at_least: bool
    """Whether it may have been so for longer, as nobody knows how it was in the sweep before."""


class Timeline(msgspec.Struct, frozen=True, gc=False, cache_hash=True, omit_defaults=True):
    """The results of one instance. Most instances of a cloud are alike, and share one object.

    What nobody knows ends neither an answer nor a silence: an instance that is silent before and after is
    silent since the first of these sweeps, as it has not answered since.
    """

    results: Annotated[bytes, Meta(min_length=_BYTES, max_length=_BYTES)] = bytes(_BYTES)
    """Those of the last 64 sweeps of the exporter, two bits each; the oldest is in the highest bits."""
    alive: bool | None = None
    """Whether it answered when that was last known; None if it never was."""
    since: float = 0.0
    """Unix time of the first sweep since which it has been so, in seconds."""
    at_least: bool = False
    """As in :class:`Since`."""

    def then(self, result: PingResult, at: float) -> "Timeline":
        """Return the timeline after one more result, of a sweep that began at the Unix time `at`."""
        results = (int.from_bytes(self.results) << _BITS & _ALL | result).to_bytes(_BYTES)
        alive = _ALIVE[result]
        if alive is None or alive is self.alive:
            return Timeline(results, self.alive, self.since, self.at_least)
        known_before = _ALIVE[PingResult(self.results[-1] & 3)] is not None
        return Timeline(results, alive, at, not known_before)

    def moved_back(self, seconds: float) -> "Timeline":
        """Return the timeline in the time of a clock that was set back by `seconds`."""
        since = 0.0 if self.alive is None else self.since - seconds
        return Timeline(self.results, self.alive, since, self.at_least)

    def no_later(self, now: float) -> "Timeline":
        """Return the timeline after the clock was found to be set back to `now`, a Unix time in seconds.

        Nobody knows how long the clock was wrong. So a time that would lie in the future becomes `now`, the
        others stay, and it may have been so since before any of them.
        """
        if self.alive is None:
            return self
        return Timeline(self.results, self.alive, min(self.since, now), at_least=True)

    def __iter__(self) -> Iterator[PingResult]:
        """Yield the 64 results, the oldest first."""
        results = int.from_bytes(self.results)
        for shift in range((LENGTH - 1) * _BITS, -1, -_BITS):
            yield PingResult(results >> shift & 3)


_ALIVE: Mapping[PingResult, bool | None] = {
    PingResult.NONE: None,
    PingResult.ANSWERED: True,
    PingResult.SILENT: False,
    PingResult.UNKNOWN: None,
}


class Stepper(dict[Timeline | None, Timeline]):
    """By a timeline, the one after some more results. It computes each once, so that they stay shared.

    None stands for an instance that is new: of the results it gets the last one only.
    """

    def __init__(self, results: Sequence[PingResult], *, at: float) -> None:
        """Step by `results`, the last of which is of a sweep that began at the Unix time `at`."""
        super().__init__()
        self._results = results
        self._at = at

    def __missing__(self, before: Timeline | None) -> Timeline:
        """Compute the timeline after one that was not met yet."""
        after = before or Timeline()
        for result in self._results if before else self._results[-1:]:
            after = after.then(result, self._at)
        self[before] = after
        return after


def moved_back(timelines: Mapping[str, Timeline], seconds: float) -> dict[str, Timeline]:
    """Return timelines in the time of a clock that was set back by `seconds`."""
    return _changed(timelines, lambda timeline: timeline.moved_back(seconds))


def no_later(timelines: Mapping[str, Timeline], now: float) -> dict[str, Timeline]:
    """Return timelines after the clock was found to be set back to `now`: :meth:`Timeline.no_later`."""
    return _changed(timelines, lambda timeline: timeline.no_later(now))


def _changed(
    timelines: Mapping[str, Timeline], change: Callable[[Timeline], Timeline]
) -> dict[str, Timeline]:
    """Return each timeline after the change, which is made once for those that are equal."""
    changed = {timeline: change(timeline) for timeline in set(timelines.values())}
    return {id_: changed[timeline] for id_, timeline in timelines.items()}


def shared(timelines: Mapping[str, Timeline]) -> dict[str, Timeline]:
    """Return the same timelines, with one object for those that are equal."""
    objects: dict[Timeline, Timeline] = {}
    return {id_: objects.setdefault(timeline, timeline) for id_, timeline in timelines.items()}
