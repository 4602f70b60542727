"""The list of instances: refreshed by one thread at a time, kept over failures and reloads."""

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import msgspec

from fping_exporter.config import Scope
from fping_exporter.config.duration import format_age
from fping_exporter.errors import CentralError, FpingExporterError
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Instance, Inventory
from fping_exporter.single_flight import SingleFlight
from fping_exporter.storage import State

if TYPE_CHECKING:
    from fping_exporter.cloud.session import Session

__all__ = ["InventorySource", "Lister", "Listing", "Upstream", "list_once", "merge"]

logger = logging.getLogger(__name__)

_LEAST_DOUBTED = 10
"""Instances that must be missing at once before a list is doubted."""


class InventorySource(Protocol):
    """Where lists of instances come from. A cloud is one."""

    def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:
        """Return a complete list; raises FpingExporterError where there is none to be had.

        With `full`, all is asked for again, and not only what changed since the last list. Those with the
        ids `silent` do not answer, and nothing explains it: whether they have their addresses still is
        looked up.
        """
        ...


class Upstream(InventorySource, Protocol):
    """Where a configuration has its lists from: a cloud, or the centrals of an agent."""

    @property
    def session(self) -> "Session | None":
        """The session with the cloud's services; an agent has none."""
        ...

    @property
    def name(self) -> str:
        """The cloud's name; empty if it is not known."""
        ...

    @property
    def region(self) -> str:
        """The region's name; empty if it is not known."""
        ...

    @property
    def scope(self) -> Scope:
        """What the lists depend on: those of the same scope list the same instances."""
        ...

    def is_same(self, other: Self) -> bool:
        """Return whether what the settings name, such as an entry of clouds.yaml, is the same as for `other`.

        Both have the same settings.
        """
        ...

    def take_over(self, before: Self) -> None:
        """Begin with what `before` knows, which has the same scope; call it before listing."""
        ...

    def close(self) -> None:
        """Keep no connection open from now on: another configuration takes over, or none.

        A list that is under way goes on, as it may be handed over.
        """
        ...

    def recall(self, inventory: Inventory, *, listed_at: float) -> None:
        """Begin with the list that an earlier process made `listed_at`, by the monotonic clock."""
        ...

    def look_up(self, id_: str) -> Instance | None:
        """Return what Nova says of one instance now; None if nobody can ask it from here.

        Raises NotFoundError if it does not exist any more, and CloudError.
        """
        ...


class Listing(NamedTuple):
    """The newest complete list."""

    complete: Inventory
    selected: Inventory
    """Only the instances that the configuration selects."""
    began: float
    """When it was begun, by the monotonic clock, in seconds."""
    outdated: bool = False
    """Whether it was asked for by an earlier configuration, and is to be refreshed however young."""
    unconfirmed: frozenset[str] = frozenset()
    """Instances that the newest list lacks, and that stay until the next one lacks them as well."""

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self.began


class Lister:
    """Holds the newest list of one cloud, and refreshes it when told to.

    It outlives a reload that lists the same cloud: the list, and a refresh that is under way, serve
    the new configuration as well.
    """

    def __init__(
        self, source: InventorySource, *, select: Callable[[Inventory], Inventory], telemetry: Telemetry
    ) -> None:
        """List from `source`, and keep what `select` returns of it beside the whole; nothing is asked yet."""
        self._source = source
        self._select = select
        self._telemetry = telemetry
        self._retired = False
        self._lock = threading.Lock()
        self._flight = SingleFlight("inventory", self._run, refused=self._fail)
        self.newest: Listing | None = None
        self.silent: Collection[str] = ()
        """Ids of the instances that are silent in the newest sweep, which nothing explains."""

    def reconfigure(self, source: InventorySource, *, select: Callable[[Inventory], Inventory]) -> None:
        """List from `source` from the next refresh on; select anew from what is there until then."""
        with self._lock:
            self._source, self._select = source, select
            if self.newest:
                self.newest = self.newest._replace(selected=select(self.newest.complete), outdated=True)

    def resume(self, stored: State) -> None:
        """Begin with the list of an earlier process. It is refreshed at the first chance, however young."""
        with self._lock:
            selected = self._select(stored.inventory)
            self.newest = Listing(
                stored.inventory,
                selected,
                stored.list_began,
                outdated=True,
                unconfirmed=stored.unconfirmed,
            )
            self._telemetry.observe_stored_inventory(selected, unconfirmed=bool(stored.unconfirmed))

    def retire(self) -> None:
        """Ask for and report nothing any more: another cloud is listed now, or none."""
        with self._lock:
            self._retired = True

    def refresh(self) -> threading.Event:
        """Begin a refresh, or join the one under way; the event is set when it has ended.

        A refresh that fails leaves the list as it was.
        """
        return self._flight.start()

    def _run(self) -> None:
        if self._retired:
            return
        source, began = self._source, time.monotonic()
        try:
            # What confirms that instances are gone is another full list.
            full = bool(self.newest and self.newest.unconfirmed)
            listed = source.inventory(full=full, silent=self.silent)
            self._accept(listed, began=began, outdated=lambda: source is not self._source)
        except FpingExporterError as error:
            self._fail(error)
        except Exception as error:
            logger.exception("listing the instances failed, which is a bug")
            self._fail(error, logged=True)

    def _accept(self, listed: Inventory, *, began: float, outdated: Callable[[], bool]) -> None:
        with self._lock:
            before = self.newest
            if listed.relay_age is not None:
                began -= listed.relay_age
            complete, unconfirmed = merge(before, listed)
            self.newest = Listing(
                complete, self._select(complete), began, outdated=outdated(), unconfirmed=unconfirmed
            )
            if self._retired:
                return
            self._telemetry.observe_inventory(self.newest.selected, unconfirmed=bool(unconfirmed))
        if before and unconfirmed:
            logger.warning(
                "the new list lacks %d of %d instances, %s for one: they are kept until the next list "
                "lacks them as well",
                len(unconfirmed),
                len(before.complete.instances),
                min(unconfirmed),
            )

    def _fail(self, error: Exception, *, logged: bool = False) -> None:
        with self._lock:
            if self._retired:
                return
            self._telemetry.inventory.failed("a bug, see the log" if logged else str(error))
        if not logged:
            logger.error("listing the instances failed: %s", error)


def list_once(source: InventorySource, *, max_stale: float) -> Inventory:
    """Return a list that is younger than `max_stale` seconds, for those who have no :class:`Lister`.

    A central gives an agent what it has, however old. Raises CentralError if that is too old, and what a list
    raises.
    """
    listed = source.inventory()
    age = listed.relay_age
    if age is not None and age >= max_stale:
        raise CentralError(
            f"the newest list of the central is {format_age(age)} old, and cache.max_stale is "
            f"{format_age(max_stale)}: the central's log says why it has no younger one"
        )
    return listed


def merge(before: Listing | None, listed: Inventory) -> tuple[Inventory, frozenset[str]]:
    """Return the list to use, and the ids of the instances in it that `listed` lacks.

    A complete list that suddenly lacks more than half of the instances of the one before, and at
    least ten, may be an error of the cloud's: a policy, a cell or a database that answers with
    nothing. What it lacks stays until the next list lacks it too. What was merged from changes is believed
    at once: there, what is gone was said to be deleted. So is a list of a central's, which has doubted it.
    """
    if before is None or not listed.full or listed.relay_age is not None:
        return listed, frozenset()
    ids = {instance.id for instance in listed.instances}
    missing = [
        instance
        for instance in before.complete.instances
        if instance.id not in ids and instance.id not in before.unconfirmed
    ]
    if len(missing) < _LEAST_DOUBTED or 2 * len(missing) <= len(before.complete.instances):
        return listed, frozenset()
    kept = msgspec.structs.replace(listed, instances=(*listed.instances, *missing))
    return kept, frozenset(instance.id for instance in missing)
