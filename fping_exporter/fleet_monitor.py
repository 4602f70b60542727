"""The view of the whole: this exporter's own snapshot, merged with what the other exporters say."""

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

import msgspec

from fping_exporter import config
from fping_exporter.fleet.day import Day
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.reader import FleetReader
from fping_exporter.fleet.reading import Reading
from fping_exporter.model import Probed, Snapshot, Verdict
from fping_exporter.monitor import Monitor
from fping_exporter.verdict.judge import judge_instance

__all__ = ["FleetMonitor", "Snapshots"]

_MAX_WAIT_SECONDS = 10.0
"""How long a caller waits for a reading at most; the reading goes on, and the one before is used."""
_EARLY_SECONDS = 5.0
"""How much too early words may expire, so that one merge serves for many that expire one after the other."""
_POLL_SECONDS = 0.25


class Snapshots(Protocol):
    """Where a page or an API has its snapshots from: a monitor, or a monitor of the whole fleet."""

    @property
    def settings(self) -> config.Config:
        """The configuration that it belongs to."""
        ...

    @property
    def latest(self) -> Snapshot | None:
        """The newest complete snapshot, however old; asking for it sends nothing to an instance."""
        ...

    @property
    def age(self) -> float:
        """Seconds since the older of its sweep and its list was begun; else inf."""
        ...

    def snapshot(self, *, timeout: float | None, stop_waiting: Callable[[], bool] = ...) -> Snapshot | None:
        """Return the newest complete snapshot, refreshed first where it is too old; see :class:`Monitor`."""
        ...

    def last_day(self, instance_id: str, /) -> Day | None:
        """Return the last 24 hours of an instance, or why they cannot be told; None if no fleet is read."""
        ...


class FleetMonitor:
    """Snapshots of a monitor, in which the words of the fleet count. Threads share it.

    ``/metrics`` reads the monitor itself: what other exporters say is in Prometheus already.
    """

    def __init__(self, monitor: Monitor, reader: FleetReader) -> None:
        """Merge what `monitor` and `reader` have, which both belong to one configuration."""
        self._monitor = monitor
        self._reader = reader
        self._lock = threading.Lock()
        self._merged: _Merged | None = None

    @property
    def settings(self) -> config.Config:
        """The configuration that it belongs to."""
        return self._monitor.settings

    def last_day(self, instance_id: str, /) -> Day:
        """Return the last 24 hours of an instance as Prometheus has them, or why they cannot be told."""
        return self._reader.days.read(instance_id)

    @property
    def age(self) -> float:
        """As the monitor's; the words of the fleet have ages of their own."""
        return self._monitor.age

    @property
    def latest(self) -> Snapshot | None:
        """The newest complete snapshot, however old; the fleet is read, and waited for if no word is left."""
        reading = self._reader.newest
        read = self._reader.refresh()
        if self._monitor.latest is None:
            return None
        if reading is None or time.monotonic() - reading.began >= self._reader.settings.max_age:
            self._wait(read, None, lambda: False)
        snapshot = self._monitor.latest
        return self._merge(snapshot) if snapshot else None

    def snapshot(
        self, *, timeout: float | None, stop_waiting: Callable[[], bool] = lambda: False
    ) -> Snapshot | None:
        """Return the newest complete snapshot; the fleet is read while the monitor refreshes its own.

        None where the monitor has none that is young enough: without a list nobody knows who is an instance.
        """
        began = time.monotonic()
        read = self._reader.refresh()
        snapshot = self._monitor.snapshot(timeout=timeout, stop_waiting=stop_waiting)
        if snapshot is None:
            return None
        self._wait(read, None if timeout is None else timeout - (time.monotonic() - began), stop_waiting)
        return self._merge(snapshot)

    def _wait(self, read: threading.Event, timeout: float | None, stop_waiting: Callable[[], bool]) -> None:
        """Wait for a reading; not if the last one failed, so that a Prometheus that is away delays nobody."""
        if self._reader.failing:
            return
        deadline = time.monotonic() + min(math.inf if timeout is None else timeout, _MAX_WAIT_SECONDS)
        while not read.wait(max(min(_POLL_SECONDS, deadline - time.monotonic()), 0)):
            if time.monotonic() >= deadline or stop_waiting():
                return

    def _merge(self, snapshot: Snapshot) -> Snapshot:
        """Return the merged snapshot, the same one until something changes or a word expires."""
        reading = self._reader.newest
        with self._lock:
            known, now = self._merged, time.monotonic()
            if known and known.own is snapshot and known.reading is reading and now < known.valid_until:
                return known.whole
            max_age = self._reader.settings.max_age
            most = max_age - min(_EARLY_SECONDS, max_age / 10)
            elapsed = now - reading.began if reading else 0.0
            own_age = self._monitor.sweep_age
            own = snapshot if own_age < most else _without_pings(snapshot)
            whole = merge(own, reading, max_age=most - elapsed)
            words = [*(each.age for each in reading.exporters), *reading.older] if reading else []
            ages = [own_age, *(age + elapsed for age in words)]
            oldest = max((age for age in ages if age < most), default=-math.inf)
            self._merged = _Merged(snapshot, reading, whole, now + max_age - oldest)
            return whole


def _without_pings(snapshot: Snapshot) -> Snapshot:
    """Return the snapshot as if its sweep had asked nobody: that is too long ago."""

    def unasked(verdict: Verdict) -> Verdict:
        planned = tuple([Probed(p.address, p.target, ambiguous=p.ambiguous) for p in verdict.probed])
        asked_at, replied_at = snapshot.sweep.started_at, verdict.last_reply_at
        return judge_instance(verdict.instance, planned, {}, asked_at=asked_at, replied_at=replied_at)

    return msgspec.structs.replace(snapshot, verdicts=tuple(map(unasked, snapshot.verdicts)))


class _Merged(NamedTuple):
    own: Snapshot
    reading: Reading | None
    whole: Snapshot
    valid_until: float
    """By the monotonic clock: when the first of the words that count is too old."""
