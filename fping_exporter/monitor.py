"""The cache: it owns time, refreshes on demand, and never makes a caller wait too long."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from fping_exporter import config
from fping_exporter.errors import FpingExporterError
from fping_exporter.metrics.telemetry import Part, Telemetry
from fping_exporter.model import Inventory, Snapshot
from fping_exporter.probe import Prober
from fping_exporter.snapshot import take_snapshot
from fping_exporter.verdict.selection import select

__all__ = ["Monitor", "Parts"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
"""Between two looks at whether a waiting caller is still there."""


class Parts(NamedTuple):
    """What a configuration decides."""

    settings: config.Config
    list_instances: Callable[[], Inventory]
    prober: Prober


class Monitor:
    """Holds the last inventory and the last snapshot, and decides when each is refreshed.

    Nothing happens without a caller: a snapshot that has grown too old is refreshed
    when somebody asks for it. One refresh runs at a time, and callers join it. A refresh
    that fails leaves what was there in use until `cache.max_stale`.
    """

    def __init__(self, parts: Parts, *, telemetry: Telemetry) -> None:
        """Take the parts; start nothing."""
        self._parts = parts
        self._telemetry = telemetry
        self._inventory: _Listed | None = None
        self._taking_over = threading.Lock()
        self._shot: _Shot | None = None
        self._listing = _SingleFlight("inventory", self._refresh_inventory)
        self._sweeping = _SingleFlight("sweep", self._refresh_snapshot)

    @property
    def settings(self) -> config.Config:
        """The configuration in use."""
        return self._parts.settings

    @property
    def latest(self) -> Snapshot | None:
        """The newest complete snapshot, however old; asking for it refreshes nothing."""
        return self._shot.snapshot if self._shot else None

    @property
    def fresh(self) -> Snapshot | None:
        """The newest snapshot if it is younger than `cache.sweep`; asking for it refreshes nothing."""
        shot = self._shot
        return shot.snapshot if shot and _age(shot.begun) < self._parts.settings.cache.sweep else None

    def snapshot(
        self, *, timeout: float | None, stop_waiting: Callable[[], bool] = lambda: False
    ) -> Snapshot | None:
        """Return the newest complete snapshot, refreshed first where it is too old.

        Waits for the refresh `timeout` seconds at most (None: until it ends), or until `stop_waiting`
        holds, which is asked a few times a second; the refresh goes on when the caller has left.
        None where there is no snapshot, or its sweep or its inventory is older than `cache.max_stale`.
        """
        cache = self._parts.settings.cache
        if self._shot is None or _age(self._shot.begun) >= cache.sweep:
            _wait(self._sweeping.start(), timeout, stop_waiting)
        newest = self._shot
        if newest is None or max(_age(newest.begun), _age(newest.listed)) >= cache.max_stale:
            return None
        return newest.snapshot

    def warm_up(self) -> None:
        """Begin the first refresh, so that the first scrape finds it done or under way."""
        self._sweeping.start()

    def reconfigure(self, parts: Parts) -> None:
        """Use these parts from the next refresh on; the last snapshot stays in use until then.

        So does the last inventory, selected anew, if it is of what the new configuration lists as
        well: a cloud that is away just now does not end the pinging.
        """
        with self._taking_over:
            before, self._parts = self._parts, parts
            known = self._inventory
            if known and parts.settings.scope == before.settings.scope:
                selected = select(known.all, parts.settings.instances)
                self._inventory = known._replace(inventory=selected, due=True)
            else:
                self._inventory = None

    def _refresh_snapshot(self) -> None:
        parts = self._parts
        cache = parts.settings.cache
        if self._shot and _age(self._shot.begun) < cache.sweep:
            return  # the refresh before this one ended while its caller was on the way
        known = self._inventory
        if known is None or known.due or _age(known.begun) >= cache.inventory:
            listing = self._listing.start()
            if known is None or _age(known.begun) >= cache.max_stale:
                listing.wait()
                known = self._inventory
        if known is None or _age(known.begun) >= cache.max_stale:
            return
        begun = time.monotonic()
        with self._reporting(self._telemetry.sweep, "sweep"):
            snapshot = take_snapshot(
                known.inventory,
                prober=parts.prober,
                probe=parts.settings.probe,
                instances=parts.settings.instances,
                previous=self.latest,
            )
            with self._taking_over:
                if parts.settings.scope == self._parts.settings.scope:  # else it is of another cloud
                    self._shot = _Shot(snapshot, begun=begun, listed=known.begun)
            self._telemetry.observe_sweep(snapshot.sweep)

    def _refresh_inventory(self) -> None:
        parts = self._parts
        begun = time.monotonic()
        with self._reporting(self._telemetry.inventory, "listing the instances"):
            everything = parts.list_instances()
            inventory = select(everything, parts.settings.instances)
            with self._taking_over:
                if parts is self._parts:  # else another configuration has come, which may exclude some
                    self._inventory = _Listed(everything, inventory, begun)
            self._telemetry.observe_inventory(inventory)

    @contextlib.contextmanager
    def _reporting(self, part: Part, what: str) -> Iterator[None]:
        """Let a failure show in the log and in the metrics, and nowhere else."""
        try:
            yield
        except FpingExporterError as error:
            part.failed(str(error))
            logger.error("%s failed: %s", what, error)  # noqa: TRY400, the line says it all
        except Exception:
            part.failed("a bug, of which the log has more")
            logger.exception("%s failed, which is a bug", what)


class _Listed(NamedTuple):
    """An inventory, whole and as selected, and when its listing began, on the monotonic clock."""

    all: Inventory
    inventory: Inventory
    begun: float
    due: bool = False
    """Whether it is of an earlier configuration, and to be listed again however young."""


class _Shot(NamedTuple):
    """A snapshot, and when its sweep and its listing began, on the monotonic clock."""

    snapshot: Snapshot
    begun: float
    listed: float


def _wait(event: threading.Event, timeout: float | None, stop_waiting: Callable[[], bool]) -> None:
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while not event.wait(min(_POLL_SECONDS, max(deadline - time.monotonic(), 0))):
        if time.monotonic() >= deadline or stop_waiting():
            return


def _age(begun: float) -> float:
    return time.monotonic() - begun


class _SingleFlight:
    """Runs one piece of work in a thread, at most once at a time."""

    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self._name = name
        self._work = work
        self._lock = threading.Lock()
        self._landed = threading.Event()
        self._landed.set()

    def start(self) -> threading.Event:
        """Start the work where it is not under way; the event is set when it has ended."""
        with self._lock:
            if self._landed.is_set():
                self._landed = threading.Event()
                # A daemon: a cloud that hangs must not keep the process from ending.
                threading.Thread(target=self._run, args=(self._landed,), name=self._name, daemon=True).start()
            return self._landed

    def _run(self, landed: threading.Event) -> None:
        try:
            self._work()
        finally:
            landed.set()
