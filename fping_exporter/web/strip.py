"""The results of an instance as a strip of cells, the oldest at the left."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from fping_exporter.model import Snapshot
from fping_exporter.timeline import PingResult

__all__ = ["Run", "Strip", "own_strip"]


class Run(NamedTuple):
    """Neighbouring cells with the same result."""

    result: str
    """``answered``, ``silent``, ``partly`` or ``unknown``."""
    first: int
    """Number of its first cell in the strip, from 0."""
    cells: int
    began: float
    """Unix time of its first cell, in seconds."""
    ended: float
    """Unix time of its last cell, in seconds."""


class Strip(NamedTuple):
    """Results of an instance from some time on."""

    runs: list[Run]
    title: str
    """What a cell is."""

    @classmethod
    def of(cls, results: Iterable[tuple[str, float]], title: str) -> "Strip":
        """Build a strip of results and the Unix times of their cells."""
        runs = []
        first = 0
        for result, cells in groupby(results, key=lambda each: each[0]):
            times = [at for _, at in cells]
            runs.append(Run(result, first, len(times), times[0], times[-1]))
            first += len(times)
        return cls(runs, title)

    @property
    def cells(self) -> int:
        """How many cells it has."""
        return sum(run.cells for run in self.runs)

    @property
    def summary(self) -> str:
        """How many cells have each result, such as ``60 answered, 4 silent``."""
        counts = Counter[str]()
        for run in self.runs:
            counts[run.result] += run.cells
        return ", ".join(f"{counts[result]} {result}" for result in RESULTS if counts[result])


RESULTS = ("answered", "partly", "silent", "unknown")
_NAMES = {
    PingResult.ANSWERED: "answered",
    PingResult.SILENT: "silent",
    PingResult.UNKNOWN: "unknown",
}


def own_strip(snapshot: Snapshot, instance_id: str) -> Strip | None:
    """Return what the last sweeps of this exporter found out; None for an instance that was not in any."""
    timeline = snapshot.timelines.get(instance_id)
    if timeline is None:
        return None
    return Strip.of(_timed(list(timeline), snapshot.sweeps), "Last sweeps of this exporter")


def _timed(results: Sequence[PingResult], sweeps: Sequence[float]) -> Iterable[tuple[str, float]]:
    """Yield the results of those sweeps that knew the instance, with the times of the sweeps."""
    for result, at in zip(results[len(results) - len(sweeps) :], sweeps, strict=True):
        if result is not PingResult.NONE:
            yield _NAMES[result], at
