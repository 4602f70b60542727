"""The newest reading of the fleet: when it is made, and what becomes of one that fails."""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from fping_exporter import config
from fping_exporter.errors import FpingExporterError
from fping_exporter.fleet.day import DayReader
from fping_exporter.fleet.prometheus import Prometheus
from fping_exporter.fleet.reading import Reading, read_fleet
from fping_exporter.fleet.tls import digest
from fping_exporter.log_limit import LogLimit
from fping_exporter.single_flight import SingleFlight

__all__ = ["FleetReader", "Observer", "read_once"]

logger = logging.getLogger(__name__)

_READING_SECONDS = 60.0
"""How long all queries of one reading may take together. The first one of 100,000 instances took 18 s of a
Prometheus that had half a core."""


class Observer(Protocol):
    """Who is told how the readings go. The telemetry is."""

    def observe_fleet(
        self,
        *,
        started_at: float,
        duration: float,
        instances: int,
        exporters: Mapping[str, int],
        partial: bool,
    ) -> None:
        """Record a complete reading; `exporters` are counted by their state."""
        ...

    def observe_failed_fleet(self, error: str) -> None:
        """Record a reading that failed."""
        ...


class FleetReader:
    """Holds the newest reading of one configuration. Threads share it."""

    def __init__(
        self,
        settings: config.Fleet,
        *,
        interval: float,
        observer: Observer,
        own_sweeps: Callable[[], Collection[float]] = tuple,
    ) -> None:
        """Prepare to read at most once in `interval` seconds; raises ConfigError for unreadable files.

        `own_sweeps` returns the Unix times at which this exporter's own latest sweeps began.
        """
        self.settings = settings
        self.newest: Reading | None = None
        """However old; the words in it have ages."""
        self.failing = False
        """Whether the last reading failed."""
        self.days = DayReader(settings, interval=interval)
        """Reads the last 24 hours of single instances."""
        self._files = digest(settings, section="fleet")
        self._prometheus = Prometheus(settings)
        self._interval = interval
        self._observer: Observer | None = observer
        self._own_sweeps = own_sweeps
        self._log_limit = LogLimit()
        self._lock = threading.Lock()
        self._tried_at = -float("inf")
        self._flight = SingleFlight("fleet", self._read, refused=self._fail)

    def is_same(self, other: "FleetReader") -> bool:
        """Return whether the settings of `other` are the same, and its certificates and key."""
        return self.settings == other.settings and self._files == other._files  # noqa: SLF001, of this class

    def retire(self) -> None:
        """Report nothing from now on: another configuration is in use."""
        self._observer = None

    def take_over(self, before: "FleetReader") -> None:
        """Go on with the words of the configuration before, if it read the same fleet."""
        if before.settings == self.settings:
            self.newest = before.newest

    def refresh(self) -> threading.Event:
        """Begin a reading if the last one is old enough, or join the one under way; set when it has ended."""
        with self._lock:
            if time.monotonic() - self._tried_at < self._interval:
                return self._flight.newest
            self._tried_at = time.monotonic()
        return self._flight.start()

    def _read(self) -> None:
        started_at, began = time.time(), time.monotonic()
        try:
            reading = read_fleet(
                self._prometheus,
                match=self.settings.match,
                max_age=self.settings.max_age,
                deadline=began + _READING_SECONDS,
                own_sweeps=self._own_sweeps(),
                before=self.newest,
            )
        except FpingExporterError as error:
            self._fail(error)
        except Exception:
            logger.exception("reading the fleet failed, which is a bug")
            self._report_failure("a bug, see the log")
        else:
            self.newest, self.failing = reading, False
            if observer := self._observer:
                observer.observe_fleet(
                    started_at=started_at,
                    duration=time.monotonic() - began,
                    instances=len(reading.words),
                    exporters=self._count(reading),
                    partial=reading.partial,
                )

    def _count(self, reading: Reading) -> Mapping[str, int]:
        """Return how many exporters are in each state."""
        counts = Counter(
            "stale" if exporter.age >= self.settings.max_age else "blind" if exporter.blind else "heard"
            for exporter in reading.exporters
        )
        return {state: counts[state] for state in ("heard", "blind", "stale")}

    def _fail(self, error: FpingExporterError) -> None:
        self._report_failure(str(error))
        if self._observer and self._log_limit.allows(str(error)):
            logger.error("reading the fleet failed: %s", error)

    def _report_failure(self, error: str) -> None:
        self.failing = True
        if observer := self._observer:
            observer.observe_failed_fleet(error)


def read_once(settings: config.Fleet) -> Reading:
    """Read the fleet for a command; raises FpingExporterError."""
    return read_fleet(
        Prometheus(settings),
        match=settings.match,
        max_age=settings.max_age,
        deadline=time.monotonic() + _READING_SECONDS,
    )
