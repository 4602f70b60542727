"""What the status page counts: instances by Nova's status and by ping, reasons, and where most are silent."""

from collections import Counter
from itertools import chain
from typing import NamedTuple

from fping_exporter.model import Reason
from fping_exporter.nova_status import contradicts
from fping_exporter.web.ping_state import Classified, PingState

__all__ = ["Overview", "PingCounts", "count"]


class PingCounts(NamedTuple):
    """How many instances are in each PingState."""

    alive: int
    stopped: int
    never: int
    unasked: int

    @property
    def silent(self) -> int:
        """How many were asked and did not answer."""
        return self.stopped + self.never


class Overview(NamedTuple):
    """The counts at the top of the page."""

    total: PingCounts
    active: PingCounts
    by_status: dict[str, PingCounts]
    """By Nova status, the most frequent first."""
    though_off: int
    """Instances that answer though Nova calls them off, paused, suspended or shelved."""
    reasons: list[tuple[Reason, int]]
    """Why ACTIVE instances do not answer, the most frequent first."""
    hypervisors: list[tuple[str, int]]
    """Hypervisors with the most silent ACTIVE instances."""
    projects: list[tuple[str, int]]
    """Ids of the projects with the most silent ACTIVE instances."""


_TOP = 5
"""Rows of the tables of hypervisors and projects."""
_NONE = PingCounts(0, 0, 0, 0)


def count(classified: Classified) -> Overview:
    """Count the instances of a snapshot."""
    counts = {
        state: Counter([verdict.instance.status for verdict in verdicts])
        for state, verdicts in classified.others.items()
    }
    if classified.steady:
        counts[PingState.ALIVE]["ACTIVE"] = len(classified.steady)
    by_status = {
        status: PingCounts(*(counts[state][status] for state in PingState))
        for status, _ in sum(counts.values(), start=Counter[str]()).most_common()
    }
    active = {
        state: [verdict for verdict in verdicts if verdict.instance.status == "ACTIVE"]
        for state, verdicts in classified.others.items()
    }
    silent = [v.instance for v in chain(active[PingState.STOPPED], active[PingState.NEVER])]
    return Overview(
        total=PingCounts(*map(sum, zip(*by_status.values(), strict=True))) if by_status else _NONE,
        active=by_status.get("ACTIVE", _NONE),
        by_status=by_status,
        though_off=sum(each.alive for status, each in by_status.items() if contradicts(status, alive=True)),
        reasons=Counter(
            [verdict.reason for verdict in chain.from_iterable(active.values()) if verdict.reason]
        ).most_common(),
        hypervisors=Counter([each.hypervisor for each in silent if each.hypervisor]).most_common(_TOP),
        projects=Counter([each.project_id for each in silent]).most_common(_TOP),
    )
