"""What Prometheus has on the last 24 hours of one instance."""

import logging
import math
import threading
import time
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from fping_exporter import config
from fping_exporter.errors import FpingExporterError
from fping_exporter.fleet.prometheus import Prometheus, RangeAnswer
from fping_exporter.fleet.promql import matchers, quote
from fping_exporter.log_limit import LogLimit

__all__ = ["CELL_SECONDS", "Day", "DayReader", "day_query", "read_day"]

logger = logging.getLogger(__name__)

CELLS = 96
CELL_SECONDS = 900
_SECONDS = 3.0
"""How long a page waits for the answer."""
_MAX_BODY_BYTES = 1 << 20
"""The answer is one series with a value for each cell: some 3 KiB."""
_PERHAPS_UNSENT = "not_active|no_address|no_vantage|ambiguous_address"
"""The reasons with which an exporter may have sent nothing."""
_MAX_KEPT = 64
"""Days that are kept at most, until they are old."""


class Day(NamedTuple):
    """Cells of a quarter of an hour, the oldest first."""

    cells: tuple[tuple[str, float], ...] = ()
    """``answered``, ``silent``, ``partly`` (both) or ``unknown``, and the Unix time at which a cell ends."""
    error: str = ""
    """Why there are none."""
    partial: bool = False
    """Whether the server warns that something may be missing: then who is silent may have answered others."""


class RangeApi(Protocol):
    """What a day is read from."""

    def query_range(
        self, expression: str, *, start: float, end: float, step: float, deadline: float
    ) -> RangeAnswer:
        """Return the range vector of an expression; raises FpingExporterError where there is none."""
        ...


def day_query(instance_id: str, match: Mapping[str, str]) -> str:
    """Return the share of each cell in which the instance answered, of the time in which that is known.

    It joins the words of the exporters each minute as :mod:`fping_exporter.fleet.merge` does: any reply is
    life; silence counts only from who sent something, and is not blind.
    """
    one = matchers({**match, "id": instance_id})
    alive = f"instance_alive{{{one}}}"
    sent = f"instance_packet_loss_ratio{{{one}}}"
    unsent = f"instance_silent{{{one},reason=~{quote(_PERHAPS_UNSENT)}}}"
    blind = f"fping_exporter_blind{{{matchers(match)}}}"
    return (
        f"avg_over_time(max({alive} == 1 or ({alive}"
        f" unless ignoring (reason) ({unsent} unless ignoring (reason) {sent})"
        f" unless ignoring (id, project_id) ({blind} == 1)"
        f"))[{CELL_SECONDS}s:1m])"
    )


def read_day(
    api: RangeApi, instance_id: str, *, match: Mapping[str, str], now: float, deadline: float
) -> Day:
    """Read the 24 hours before `now`, a Unix time; raises FpingExporterError."""
    start = now - (CELLS - 1) * CELL_SECONDS
    series, partial = api.query_range(
        day_query(instance_id, match), start=start, end=now, step=CELL_SECONDS, deadline=deadline
    )
    results = ["unknown"] * CELLS
    for at, text in series[0].values if series else ():
        number = (at - start) / CELL_SECONDS  # a server may align the times to the step
        if math.isfinite(number) and 0 <= round(number) < CELLS:
            results[round(number)] = _result(text)
    ends = [start + number * CELL_SECONDS for number in range(CELLS)]
    return Day(tuple(zip(results, ends, strict=True)), partial=partial)


def _result(share: str) -> str:
    try:
        value = float(share)
    except ValueError:
        return "unknown"
    if not 0 <= value <= 1:
        return "unknown"
    return "silent" if value == 0 else "answered" if value == 1 else "partly"


class DayReader:
    """Reads days for pages. Threads share it.

    One query runs at a time, and a day is kept as long as the results of a sweep. After a query that failed
    none is sent for as long, so that a Prometheus that hangs delays few pages.
    """

    def __init__(self, settings: config.Fleet, *, interval: float) -> None:
        """Prepare; a day is kept for `interval` seconds. Raises ConfigError for unreadable files."""
        self._match = settings.match
        self._prometheus = Prometheus(settings, max_body_bytes=_MAX_BODY_BYTES)
        self._interval = interval
        self._lock = threading.Lock()
        self._days: dict[str, tuple[float, Day]] = {}
        """By the id of the instance, with the monotonic time from which on it is too old."""
        self._failed: tuple[float, Day] = (-math.inf, Day())
        self._log_limit = LogLimit()

    def read(self, instance_id: str) -> Day:
        """Return the last 24 hours of an instance, or why there are none; it waits some seconds at most."""
        deadline = time.monotonic() + _SECONDS
        if kept := self._kept(instance_id):
            return kept
        if not self._lock.acquire(timeout=_SECONDS):
            return Day(error="Prometheus is still busy with the page of another instance")
        try:
            return self._kept(instance_id) or self._read(instance_id, deadline)
        finally:
            self._lock.release()

    def _kept(self, instance_id: str) -> Day | None:
        now = time.monotonic()
        known = [self._days[instance_id]] if instance_id in self._days else []
        return next((day for until, day in (*known, self._failed) if now < until), None)

    def _read(self, instance_id: str, deadline: float) -> Day:
        try:
            day = read_day(
                self._prometheus, instance_id, match=self._match, now=time.time(), deadline=deadline
            )
        except FpingExporterError as error:
            day = Day(error=str(error))
            self._failed = (time.monotonic() + self._interval, day)
            if self._log_limit.allows(str(error)):
                logger.warning("the last 24 hours of an instance could not be read: %s", error)
            return day
        now = time.monotonic()
        days = {id_: kept for id_, kept in self._days.items() if now < kept[0]}
        while len(days) >= _MAX_KEPT:
            del days[next(iter(days))]
        self._days = {**days, instance_id: (now + self._interval, day)}
        return day
