"""The cache: it owns time, refreshes on demand, and never makes a caller wait too long."""

import logging
import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from fping_exporter import config
from fping_exporter.errors import FpingExporterError, ProbeError, ResourceError
from fping_exporter.fleet.reader import FleetReader
from fping_exporter.fleet.share import Share
from fping_exporter.history import History
from fping_exporter.lister import InventorySource, Lister, Listing
from fping_exporter.metrics.exposition import EMPTY, Exposition, render
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Instance, Inventory, Snapshot
from fping_exporter.probe import Layer2Witness, Prober
from fping_exporter.single_flight import SingleFlight
from fping_exporter.snapshot import take_snapshot
from fping_exporter.storage import State
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.selection import Selector

__all__ = ["Monitor", "Setup"]

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.25
"""Between two looks at whether a waiting caller is still there."""
_FREED_AT_ONCE = 1000
"""Values of the snapshot before that are freed between two chances for other threads."""
_LIST_PAUSE_SECONDS = 5.0
"""Between two attempts to list a cloud for its agents, if the first fails."""


class Setup(NamedTuple):
    """What a monitor works with, as a configuration decides."""

    settings: config.Config
    source: InventorySource
    prober: Prober
    layer2: Layer2Witness | None = None
    """Asks those at layer 2 who are silent; None: nobody does."""
    save: Callable[[State], None] = lambda _state: None
    """Called after each complete sweep with what is to outlive a restart. It must not wait for a disk."""
    fleet: FleetReader | None = None
    """Reads what other exporters say, after each complete sweep, so that it is there when it is needed."""
    share: Share | None = None
    """Decides which of the instances are this exporter's; None: all are."""

    def selector(self) -> Callable[[Inventory], Inventory]:
        """Return what reduces one inventory after the other to the instances that are selected."""
        return Selector(self.settings.instances)

    def part(self, inventory: Inventory) -> Inventory:
        """Return the inventory with the instances that this exporter asks."""
        return self.share.part(inventory) if self.share else inventory

    def others(self, inventory: Inventory, part: Inventory) -> tuple[Instance, ...]:
        """Return the instances that the `part` lacks, if what other exporters say of them is read."""
        if self.share is None or self.fleet is None:
            return ()
        own = {instance.id for instance in part.instances}
        return tuple(instance for instance in inventory.instances if instance.id not in own)


class Monitor:
    """Holds the newest list and the newest snapshot, and decides when each is refreshed.

    Nothing happens without a caller: a snapshot that has grown too old is refreshed when somebody asks
    for it. One refresh runs at a time, and callers join it. A refresh that fails leaves what was there
    in use until `cache.max_stale`.

    A monitor belongs to one configuration. The next configuration has a monitor of its own
    (:meth:`hand_over`), so that work of the earlier one neither delays it nor speaks for it.
    """

    def __init__(self, setup: Setup, *, telemetry: Telemetry, kept: "_Kept | None" = None) -> None:
        """Prepare, with what is `kept` of the configuration before; nothing is asked yet."""
        self.settings = setup.settings
        """The configuration that it belongs to."""
        self._setup = setup
        self._telemetry = telemetry
        lister = Lister(setup.source, select=setup.selector(), telemetry=telemetry)
        self._lister, self._history, self._sweep = kept or _Kept(lister, History(), None)
        self._retired = threading.Event()
        self._flight = SingleFlight("sweep", self._refresh, refused=self._give_up)
        self._due = SingleFlight("list due", self._refresh_list_when_due, refused=_log_refusal)

    @classmethod
    def resume(cls, setup: Setup, stored: State, *, telemetry: Telemetry) -> "Monitor":
        """Return a monitor that goes on with what an earlier process knew; nothing is asked yet.

        A list older than `cache.max_stale` is not used. When instances last answered is remembered all
        the same.
        """
        lister = Lister(setup.source, select=setup.selector(), telemetry=telemetry)
        known = {
            "age_seconds": round(stored.age),
            "instances": len(stored.inventory.instances),
            "replies": len(stored.history.last_replies),
        }
        if stored.age < setup.settings.cache.max_stale:
            lister.resume(stored)
            logger.info("the list and the last replies of an earlier process are used", extra=known)
        else:
            logger.info(
                "the list of an earlier process is older than cache.max_stale; its last replies are used",
                extra=known,
            )
        return cls(setup, telemetry=telemetry, kept=_Kept(lister, stored.history, None))

    def hand_over(self, setup: Setup, *, same_cloud: bool) -> "Monitor":
        """Return the monitor of the next configuration; this one reports nothing from now on.

        Where both list the same instances, the next one begins with this one's list, selected anew,
        with the refresh of it that is under way, with its snapshot and with its history: a cloud
        that is away at a reload does not end the pinging. Of another cloud nothing is taken over.
        """
        self._retired.set()
        if self._setup.fleet:
            self._setup.fleet.retire()
        if same_cloud:
            if self._setup.fleet and setup.fleet:
                setup.fleet.take_over(self._setup.fleet)
            self._lister.reconfigure(setup.source, select=setup.selector())
            history = self._history
            if setup.settings.probe != self.settings.probe:  # from where guests are asked may be as intended
                history = msgspec.structs.replace(history, vantages={})
            kept = _Kept(self._lister, history, self._sweep)
            return Monitor(setup, telemetry=self._telemetry, kept=kept)
        self._lister.retire()
        self._telemetry.forget_refreshes()
        return Monitor(setup, telemetry=self._telemetry)

    def retire(self) -> None:
        """Report nothing from now on: there is no next configuration of this cloud."""
        self._retired.set()
        if self._setup.fleet:
            self._setup.fleet.retire()
        self._lister.retire()

    @property
    def listing(self) -> Listing | None:
        """The newest complete list, however old; asking for it refreshes nothing."""
        return self._lister.newest

    def refresh_list(self) -> threading.Event:
        """Begin a refresh of the list, or join the one under way; the event is set when it has ended."""
        return self._lister.refresh()

    def refresh_list_when_due(self) -> None:
        """See to it that the next list is there when this one is as old as `cache.inventory`; return at once.

        Agents ask for the list when it is due. Scrapes of this exporter, which refresh it as well, may be
        rarer.
        """
        self._due.start()

    def _refresh_list_when_due(self) -> None:
        listing = self._lister.newest
        max_age = self.settings.cache.inventory
        begin = max_age - min(listing.complete.duration, max_age / 2) if listing else 0
        left = begin - listing.age if listing else 0
        self._retired.wait(max(left, min(_LIST_PAUSE_SECONDS, max_age)))
        listing = self._lister.newest
        if not self._retired.is_set() and (listing is None or listing.age >= begin):
            self._lister.refresh().wait()

    @property
    def latest(self) -> Snapshot | None:
        """The newest complete snapshot, however old; asking for it refreshes nothing."""
        return self._sweep.snapshot if self._sweep else None

    @property
    def fresh(self) -> Snapshot | None:
        """The newest snapshot if it is younger than `cache.sweep`; asking for it refreshes nothing."""
        newest = self._sweep
        return newest.snapshot if newest and newest.age < self.settings.cache.sweep else None

    @property
    def age(self) -> float:
        """Seconds since the newest snapshot's sweep, or its list if that is older, was begun; else inf."""
        return self._sweep.stale if self._sweep else math.inf

    @property
    def sweep_age(self) -> float:
        """Seconds since the newest snapshot's sweep was begun; else inf."""
        return self._sweep.age if self._sweep else math.inf

    def last_day(self, _instance_id: str, /) -> None:
        """Return nothing: what other exporters said is not read."""

    def snapshot(
        self, *, timeout: float | None, stop_waiting: Callable[[], bool] = lambda: False
    ) -> Snapshot | None:
        """Return the newest complete snapshot, refreshed first where it is too old.

        Waits for the refresh `timeout` seconds at most (None: until it ends), or until `stop_waiting`
        holds, which is asked a few times a second; the refresh goes on when the caller has left.
        None where there is no snapshot, or its sweep or its list is older than `cache.max_stale`.
        """
        newest = self._newest(timeout, stop_waiting)
        return newest.snapshot if newest else None

    def exposition(
        self, *, timeout: float | None, stop_waiting: Callable[[], bool] = lambda: False
    ) -> Exposition | None:
        """Return the finished text of the snapshot that :meth:`snapshot` would return."""
        newest = self._newest(timeout, stop_waiting)
        return newest.exposition if newest else None

    def _newest(self, timeout: float | None, stop_waiting: Callable[[], bool]) -> "_Swept | None":
        if self.fresh is None:
            _wait(self.refresh(), timeout, stop_waiting)
        newest = self._sweep
        return newest if newest and newest.stale < self.settings.cache.max_stale else None

    def refresh(self) -> threading.Event:
        """Begin a refresh, or join the one under way; the event is set when it has ended."""
        return self._flight.start()

    def _refresh(self) -> None:
        cache = self.settings.cache
        if self.fresh:
            return  # the refresh before this one ended while its caller was on the way
        listing = self._lister.newest
        if listing is None or listing.outdated or listing.age >= cache.inventory:
            listed = self._lister.refresh()
            if listing is None or listing.age >= cache.max_stale:
                listed.wait()
                listing = self._lister.newest
        if listing is None or listing.age >= cache.max_stale or self._retired.is_set():
            return
        began = time.monotonic()
        try:
            part = self._setup.part(listing.selected)
            snapshot = find_missed(
                take_snapshot(
                    part,
                    prober=self._setup.prober,
                    layer2=self._setup.layer2,
                    probe=self.settings.probe,
                    host=self.settings.host,
                    last_replies=self._history.last_replies,
                ),
                self._history,
            )
            snapshot = msgspec.structs.replace(snapshot, others=self._setup.others(listing.selected, part))
            history = self._history.after(snapshot, max_pause=cache.max_stale)
            snapshot = history.told(snapshot)
            exposition = render(
                snapshot,
                before=self._sweep.exposition if self._sweep else EMPTY,
                metrics=self.settings.metrics,
                labels=self.settings.labels,
            )
        except FpingExporterError as error:
            self._give_up(error)
            if isinstance(error, ProbeError) and not self._retired.is_set():
                self._telemetry.observe_failed_sweep(error.vantages)
        except Exception:
            self._fail("a bug, see the log")
            logger.exception("sweep failed, which is a bug")
        else:
            self._history = history
            self._lister.silent = snapshot.unexplained
            self._publish(_Swept(snapshot, exposition, began=began, list_began=listing.began))

    def _publish(self, swept: "_Swept") -> None:
        """Replace the newest snapshot, and report and store what the new one tells.

        Then free bit by bit what nobody else holds of the one before. In one step that would hold the global
        interpreter lock for 45 ms at 100,000 instances. The report does not wait for it: until it is there, a
        scrape brings the new verdicts without the word whether to believe them.
        """
        doomed: list[object] = []
        if self._sweep:
            before = self._sweep.snapshot
            doomed = [*before.verdicts, *before.sweep.outcomes, *before.sweep.outcomes.values()]
            del before
        self._sweep = swept
        self._report(swept.snapshot)
        self._save()
        if self._setup.fleet and not self._retired.is_set():
            self._setup.fleet.refresh()
        while doomed:
            del doomed[-_FREED_AT_ONCE:]

    def _report(self, snapshot: Snapshot) -> None:
        self._telemetry.count_packets(snapshot.sweep)
        if self._retired.is_set():
            return
        self._telemetry.observe_sweep(snapshot.sweep, blind=snapshot.blind)
        outcomes = snapshot.sweep.outcomes.values()
        unsent = sum(1 for outcome in outcomes if not outcome.sent)
        if 2 * unsent > len(outcomes):
            self._give_up(f"nothing could be sent to {unsent} of {len(outcomes)} targets")

    def _give_up(self, error: FpingExporterError | str) -> None:
        self._fail(str(error))
        logger.error("sweep failed: %s", error)

    def _save(self) -> None:
        newest = self._lister.newest
        if newest and not self._retired.is_set():
            state = State(newest.complete, newest.began, newest.unconfirmed, self._history)
            self._setup.save(state)

    def _fail(self, error: str) -> None:
        if not self._retired.is_set():
            self._telemetry.sweep.failed(error)


class _Kept(NamedTuple):
    """What one monitor leaves to the next of the same cloud."""

    lister: Lister
    history: History
    sweep: "_Swept | None"


class _Swept(NamedTuple):
    """A snapshot and its text, and when its sweep and its list were begun: monotonic clock, in seconds."""

    snapshot: Snapshot
    exposition: Exposition
    began: float
    list_began: float

    @property
    def age(self) -> float:
        """Seconds since the sweep was begun."""
        return time.monotonic() - self.began

    @property
    def stale(self) -> float:
        """Seconds since the older of the two was begun."""
        return time.monotonic() - min(self.began, self.list_began)


def _log_refusal(error: ResourceError) -> None:
    logger.warning("the list waits for the next scrape to be refreshed: %s", error)


def _wait(event: threading.Event, timeout: float | None, stop_waiting: Callable[[], bool]) -> None:
    deadline = math.inf if timeout is None else time.monotonic() + timeout
    while not event.wait(min(_POLL_SECONDS, max(deadline - time.monotonic(), 0))):
        if time.monotonic() >= deadline or stop_waiting():
            return
