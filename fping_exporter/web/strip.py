"""The results of an instance as a strip of cells, the oldest at the left."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import NamedTuple

from fping_exporter.fleet.day import CELL_SECONDS, Day
from fping_exporter.model import Snapshot
from fping_exporter.timeline import PingResult

__all__ = ["Run", "Strip", "day_strip", "own_strip"]


class Run(NamedTuple):
    """Neighbouring cells with the same result."""

    result: str
    """``answered``, ``silent``, ``partly`` or ``unknown``."""
    first: int
    """Number of its first cell in the strip, from 0."""
    cells: int
    began: float
    """Unix time at which its first cell begins, in seconds."""
    ended: float
    """Unix time at which its last cell ends, in seconds."""


class Strip(NamedTuple):
    """Results of an instance from some time on."""

    runs: list[Run]
    title: str
    unit: str
    """What a cell is, in the plural."""

    @classmethod
    def of(cls, cells: Iterable["_Cell"], title: str, *, unit: str) -> "Strip":
        """Build a strip of cells."""
        runs = []
        first = 0
        for result, neighbours in groupby(cells, key=lambda cell: cell.result):
            same = list(neighbours)
            runs.append(Run(result, first, len(same), same[0].began, same[-1].ended))
            first += len(same)
        return cls(runs, title, unit)

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


class _Cell(NamedTuple):
    result: str
    began: float
    ended: float


RESULTS = ("answered", "partly", "silent", "unknown")
_NAMES = {
    PingResult.ANSWERED: "answered",
    PingResult.SILENT: "silent",
    PingResult.UNKNOWN: "unknown",
}


def day_strip(day: Day | None) -> Strip | None:
    """Return the strip of the last 24 hours; None if they are not known."""
    if day is None or not day.cells:
        return None
    cells = (_Cell(result, ended - CELL_SECONDS, ended) for result, ended in day.cells)
    title = "Last 24 hours, of all exporters"
    if day.partial:
        title += ", though Prometheus warns that some may be missing"
    return Strip.of(cells, title, unit="quarters of an hour")


def own_strip(snapshot: Snapshot, instance_id: str) -> Strip | None:
    """Return what the last sweeps of this exporter found out; None for an instance that it never asked."""
    timeline = snapshot.timelines.get(instance_id)
    if timeline is None or timeline.alive is None:
        return None
    return Strip.of(_timed(list(timeline), snapshot.sweeps), "Last sweeps of this exporter", unit="sweeps")


def _timed(results: Sequence[PingResult], sweeps: Sequence[float]) -> Iterable[_Cell]:
    """Yield the results of those sweeps that knew the instance, with the times of the sweeps."""
    for result, at in zip(results[len(results) - len(sweeps) :], sweeps, strict=True):
        if result is not PingResult.NONE:
            yield _Cell(_NAMES[result], at, at)
