"""What has been counted since the process began: packets of each instance, round trips of each hypervisor."""

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from fping_exporter.model import Outcome, Snapshot, Verdict

__all__ = ["BOUNDS", "Histogram", "PingCounts", "Pings"]

BOUNDS = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0)
"""Upper bounds of the buckets, in seconds: from a guest on this host to one that hardly answers."""


class Pings(NamedTuple):
    """Packets to the best address of an instance, as ``instance_packet_loss_ratio`` has it."""

    sent: int = 0
    lost: int = 0


class Histogram(NamedTuple):
    """Round trips."""

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    """How many fell into each bucket, the last one without a bound; those of other buckets not included."""
    total: float = 0.0
    """Their sum, in seconds."""


class PingCounts(msgspec.Struct, frozen=True):
    """Grows with each snapshot; what is listed no longer is forgotten."""

    instances: Mapping[str, Pings] = {}
    """By the instance's id; of those that were asked once at least."""
    hypervisors: Mapping[str, Histogram] = {}
    """By name; of those that have, or had, an instance that answered."""

    def after(self, snapshot: Snapshot) -> "PingCounts":
        """Return the counts with those of one more snapshot."""
        instances: dict[str, Pings] = {}
        round_trips: dict[str, list[float]] = {}
        for verdict in snapshot.verdicts:
            instance = verdict.instance
            sent, lost = self.instances.get(instance.id, _NONE)
            if best := _best(verdict):
                sent, lost = sent + best.sent, lost + best.sent - best.received
            if sent:
                instances[instance.id] = Pings(sent, lost)
            if instance.hypervisor:
                known = round_trips.setdefault(instance.hypervisor, [])
                if verdict.rtt is not None:
                    known.append(verdict.rtt)
        return PingCounts(
            instances,
            {
                name: _add(self.hypervisors.get(name, _EMPTY), seconds)
                for name, seconds in round_trips.items()
                if seconds or name in self.hypervisors
            },
        )


_NONE, _EMPTY = Pings(), Histogram()


def _best(verdict: Verdict) -> Outcome | None:
    """Return the outcome of the address that lost the smallest share; None where nothing was sent."""
    if verdict.loss is None:
        return None
    return min(
        (each.outcome for each in verdict.probed if each.outcome and each.outcome.sent),
        key=lambda outcome: (outcome.sent - outcome.received) / outcome.sent,
        default=None,
    )


def _add(histogram: Histogram, seconds: list[float]) -> Histogram:
    counts = list(histogram.counts)
    for each in seconds:
        counts[bisect_left(BOUNDS, each)] += 1
    return Histogram(tuple(counts), histogram.total + sum(seconds))
