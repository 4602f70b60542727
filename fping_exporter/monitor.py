"""The cache: it owns time, refreshes on demand, and never makes a caller wait too long."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, TypeGuard, TypeVar

from fping_exporter import config
from fping_exporter.errors import FpingExporterError
from fping_exporter.judge import take_snapshot
from fping_exporter.model import Inventory, Snapshot
from fping_exporter.probe import Prober
from fping_exporter.selection import select
from fping_exporter.telemetry import Part, Telemetry

__all__ = ["Monitor"]

log = logging.getLogger(__name__)

T = TypeVar("T")


class Monitor:
    """Holds the last inventory and the last snapshot, and decides when each is refreshed.

    Nothing happens without a caller: a snapshot that has grown too old is refreshed
    when somebody asks for it. One refresh runs at a time, and callers join it. A refresh
    that fails leaves what was there in use until `cache.max_stale`.
    """

    def __init__(
        self,
        settings: config.Config,
        *,
        list_instances: Callable[[], Inventory],
        prober: Prober,
        telemetry: Telemetry,
    ) -> None:
        """Take the parts; start nothing."""
        self._settings = settings
        self._list_instances = list_instances
        self._prober = prober
        self._telemetry = telemetry
        self._inventory: _Dated[Inventory] | None = None
        self._snapshot: _Dated[Snapshot] | None = None
        self._listing = _SingleFlight("inventory", self._refresh_inventory)
        self._sweeping = _SingleFlight("sweep", self._refresh_snapshot)

    @property
    def latest(self) -> Snapshot | None:
        """The newest complete snapshot, however old; asking for it refreshes nothing."""
        return self._snapshot.value if self._snapshot else None

    def snapshot(self, *, timeout: float | None) -> Snapshot | None:
        """Return the newest complete snapshot, refreshed first where it is too old.

        Waits for the refresh `timeout` seconds at most (None: until it ends); it goes on
        when the caller has left. None where there is no snapshot, or its sweep or the
        newest inventory is older than `cache.max_stale`.
        """
        cache = self._settings.cache
        if not _is_young(self._snapshot, cache.sweep):
            self._sweeping.start().wait(timeout)
        newest = self._snapshot
        if _is_young(newest, cache.max_stale) and _is_young(self._inventory, cache.max_stale):
            return newest.value
        return None

    def warm_up(self) -> None:
        """Begin the first refresh, so that the first scrape finds it done or under way."""
        self._sweeping.start()

    def _refresh_snapshot(self) -> None:
        cache = self._settings.cache
        if _is_young(self._snapshot, cache.sweep):
            return  # the refresh before this one ended while its caller was on the way
        if not _is_young(self._inventory, cache.inventory):
            listing = self._listing.start()
            if not _is_young(self._inventory, cache.max_stale):
                listing.wait()
        inventory = self._inventory
        if not _is_young(inventory, cache.max_stale):
            return
        begun = time.monotonic()
        with self._reporting(self._telemetry.sweep, "sweep"):
            snapshot = take_snapshot(
                inventory.value,
                prober=self._prober,
                probe=self._settings.probe,
                previous=self.latest,
            )
            self._snapshot = _Dated(snapshot, begun)
            self._telemetry.observe_sweep(snapshot.sweep)

    def _refresh_inventory(self) -> None:
        begun = time.monotonic()
        with self._reporting(self._telemetry.inventory, "listing the instances"):
            inventory = select(self._list_instances(), self._settings.instances)
            self._inventory = _Dated(inventory, begun)
            self._telemetry.observe_inventory(inventory)

    @contextlib.contextmanager
    def _reporting(self, part: Part, what: str) -> Iterator[None]:
        """Let a failure show in the log and in the metrics, and nowhere else."""
        try:
            yield
        except FpingExporterError as error:
            part.failed()
            log.error("%s failed: %s", what, error)  # noqa: TRY400, the line says it all
        except Exception:
            part.failed()
            log.exception("%s failed, which is a bug", what)


class _Dated(NamedTuple, Generic[T]):
    """A value and when work on it began, on the monotonic clock."""

    value: T
    begun: float


def _is_young(dated: _Dated[T] | None, age: float) -> TypeGuard[_Dated[T]]:
    return dated is not None and time.monotonic() - dated.begun < age


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
