"""What the cloud says of a few instances, kept up to date at little cost."""

import glob
import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from functools import partial
from typing import NamedTuple, TypeVar

from fping_exporter.config import Config, Instances, Rule
from fping_exporter.errors import FpingExporterError, NotFoundError
from fping_exporter.instance_lookup import find_instances
from fping_exporter.lister import Upstream, list_once
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Instance, Inventory
from fping_exporter.single_flight import start_daemon_thread
from fping_exporter.verdict.selection import select

__all__ = ["WatchedInstances"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")

_RELIST_SECONDS = 5.0
"""Between two lists of the cloud at least, however much changes."""
_LOOKUPS = 20
"""Servers that Nova is asked for one by one in a row, at most."""
_LACKING_LISTS = 2
"""In a row that lack a server which Nova does not find, before it counts as deleted: one may be cut."""
_LOOKUPS_SECONDS = 5.0
"""After which no further one is asked for in this row: nobody is pinged meanwhile."""


class _NovaState(NamedTuple):
    """What Nova says of an instance, as far as a ping depends on it."""

    status: str
    host: str
    addresses: frozenset[str]

    @classmethod
    def of(cls, instance: Instance) -> "_NovaState":
        return cls(instance.status, instance.host, frozenset(each.ip for each in instance.addresses))


class WatchedInstances:
    """A few instances of one cloud.

    The cloud is listed as a whole at the beginning, since only so it is known whose an address is; and again,
    by what changed, when that list is older than `cache.inventory`. In between, Nova is asked for single
    servers. If it says something new of one, such as its first address, the cloud is listed at once.
    """

    def __init__(
        self, settings: Config, upstream: Upstream, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Prepare to ask `upstream`; nothing is sent yet. `clock` is in seconds and never goes back."""
        self._cache = settings.cache
        self._upstream = upstream
        self._clock = clock
        self._nova_states: dict[str, _NovaState] = {}
        """What Nova last said of each."""
        self._asked_at: dict[str, float] = {}
        """When Nova was last asked for a single server."""
        self._listed_at = clock()
        self._tried_at = -math.inf
        self._outdated = False
        self._log_limit = LogLimit(60)
        self._not_found: set[str] = set()
        """Ids of those that Nova did not find when it was last asked."""
        self._hidden: set[str] = set()
        """Ids of those that a list had all the same: Nova shows these credentials no single server of other
        projects, as those of the role in deploy/policy. They are listed, not asked for."""
        self._lacking_lists = Counter[str]()
        """How many lists in a row did not have each."""
        self.inventory: Inventory
        """What was last listed, of these instances; of others that may have their addresses, in `claims`."""

    @property
    def deleted(self) -> set[str]:
        """Ids of those that Nova neither finds nor has in its last lists."""
        return {id_ for id_ in self._not_found | self._hidden if self._lacking_lists[id_] >= _LACKING_LISTS}

    def begin(self, texts: Sequence[str], *, seconds: float) -> list[Instance]:
        """List the cloud within so many seconds; return the instances that `texts` mean.

        Raises InstanceLookupError, what a list raises, and TimeoutError.
        """
        listed, listed_at = self._list(seconds)
        found = find_instances(texts, listed)
        self._nova_states = {each.id: _NovaState.of(each) for each in found}
        self._take(listed, listed_at)
        return found

    def refresh(self, doubtful: Iterable[str], *, seconds: float) -> None:
        """Bring the list up to date, within so many seconds.

        `doubtful` are the ids of those of which Nova may have something new to say. What fails is tried again
        at the next call. Raises the error of a list if none is younger than `cache.max_stale`.
        """
        end = self._clock() + seconds
        if not self._is_list_due():
            self._look_up(doubtful, end)
        if self._is_list_due():
            self._relist(end)

    def _is_list_due(self) -> bool:
        now = self._clock()
        is_old = self._outdated or now - self._listed_at >= self._cache.inventory
        return is_old and now - self._tried_at >= _RELIST_SECONDS

    def _relist(self, end: float) -> None:
        began = self._tried_at = self._clock()
        try:
            listed, listed_at = self._list(end - began)
        except TimeoutError:
            return
        except FpingExporterError as error:
            if began - self._listed_at >= self._cache.max_stale:
                raise
            self._warn("listing the instances failed", error)
            return
        self._take(listed, listed_at)

    def _list(self, seconds: float) -> tuple[Inventory, float]:
        """Return a new list, and when it was begun."""
        began = self._clock()
        work = partial(list_once, self._upstream, max_stale=self._cache.max_stale)
        listed = _call(work, seconds=seconds)
        return listed, began - (listed.relay_age or 0.0)

    def _take(self, listed: Inventory, listed_at: float) -> None:
        """Keep what `listed` says of the watched instances; it was begun at `listed_at`."""
        ids = tuple(map(glob.escape, self._nova_states))
        self.inventory = select(listed, Instances(include=(Rule(id=ids),)))
        self._listed_at, self._outdated = listed_at, False
        there = {each.id for each in self.inventory.instances}
        self._hidden |= self._not_found & there
        self._lacking_lists = Counter(
            {id_: self._lacking_lists[id_] + 1 for id_ in self._nova_states.keys() - there}
        )

    def _look_up(self, doubtful: Iterable[str], end: float) -> None:
        """Ask Nova for those that were not asked for the longest time."""
        began, doubtful = self._clock(), set(doubtful)
        self._outdated = self._outdated or bool((doubtful & self._hidden) - self.deleted)
        for id_ in sorted(doubtful - self._hidden, key=lambda id_: self._asked_at.get(id_, 0.0))[:_LOOKUPS]:
            now = self._clock()
            if now - began >= _LOOKUPS_SECONDS:
                return
            self._asked_at[id_] = now
            try:
                found = _call(partial(self._upstream.look_up, id_), seconds=end - now)
            except NotFoundError:
                self._not_found.add(id_)
                self._outdated = self._outdated or id_ not in self.deleted
            except TimeoutError:
                return
            except FpingExporterError as error:
                self._warn("asking Nova for a server failed", error)
                return
            else:
                self._not_found.discard(id_)
                if found and (state := _NovaState.of(found)) != self._nova_states[id_]:
                    self._nova_states[id_], self._outdated = state, True

    def _warn(self, what: str, error: FpingExporterError) -> None:
        if self._log_limit.allows(what):
            logger.warning("%s: %s", what, error)


def _call(work: Callable[[], _T], *, seconds: float) -> _T:
    """Return what `work` returns within so many seconds, or raise what it raises; TimeoutError after that.

    Its thread is then left behind, and does not keep the process from ending. If no time is left, nothing is
    begun.
    """
    if seconds <= 0:
        raise TimeoutError
    result: Future[_T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001, it is raised where the result is awaited
            result.set_exception(error)

    start_daemon_thread(run, name="wait")
    return result.result(timeout=seconds)
