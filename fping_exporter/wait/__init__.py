"""Waiting for a few instances: until each answers a ping, or until each is down."""

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import msgspec

from fping_exporter.config import Config, Fleet
from fping_exporter.errors import CloudError, ProbeError
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.reading import Reading
from fping_exporter.lister import Upstream
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Instance, Inventory, Reason, Snapshot, Verdict
from fping_exporter.nova_status import is_off
from fping_exporter.wait.watched import WatchedInstances

__all__ = ["Ended", "InstanceWait", "Result", "is_down", "reason_of"]

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0
"""Between two rounds."""


class Result(StrEnum):
    """What became of an instance that was waited for."""

    ANSWERS = "answers"
    DOWN = "down"
    DELETED = "deleted"
    MISSING = "missing"
    """The time was up before."""


class Ended(NamedTuple):
    """An instance that is not waited for any more."""

    instance: Instance
    """As it was last listed."""
    result: Result
    seconds: float
    """From the beginning of the wait."""
    verdict: Verdict | None
    """That of the last round; None if there is none, or the instance was deleted since."""


class InstanceWait:
    """Waits for instances of one cloud, in rounds.

    Each round pings the instances that are waited for still, and nobody else, with the engine, the plan and
    the verdicts of a sweep. So an address that may be somebody else's as well is not pinged here either.
    """

    def __init__(
        self,
        settings: Config,
        upstream: Upstream,
        *,
        sweep: Callable[[Inventory], Snapshot],
        read_fleet: Callable[[], Reading | None] = lambda: None,
        down: bool = False,
        timeout: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare; nothing is asked yet. The time runs from now on: `timeout` seconds.

        `sweep` pings all instances of an inventory once. `read_fleet` returns what the other exporters say,
        and is called if there are some (`fleet`). `down` waits until each is down, not until it answers.
        """
        self._settings = settings
        self._sweep = sweep
        self._read_fleet = read_fleet
        self._down = down
        self._timeout = timeout
        self._clock = clock
        self._sleep = sleep
        self._began = clock()
        self._watched = WatchedInstances(settings, upstream, clock=clock)
        self._waiting: dict[str, Instance] = {}
        self._verdicts: dict[str, Verdict] = {}
        self._reading: Reading | None = None
        # What is said at the beginning counts with `down` only.
        self._read_at = -math.inf if down else self._began
        self._log_limit = LogLimit(60)

    @property
    def inventory(self) -> Inventory:
        """What was last listed, of the instances that were asked for."""
        return self._watched.inventory

    def begin(self, texts: Sequence[str]) -> list[Instance]:
        """List the cloud, and return the instances that `texts` mean: ids, names or addresses.

        Those that `instances` in the configuration leaves out can be meant as well. Raises
        InstanceLookupError, and what a list raises; CloudError if the time is up before it is there.
        """
        try:
            found = self._watched.begin(texts, seconds=self._time_left())
        except TimeoutError:
            raise CloudError(f"the cloud was not listed within the {self._timeout:g} s of the wait") from None
        self._waiting = {each.id: each for each in found}
        return found

    def run(
        self, *, after_round: Callable[[Counter[str]], object] = lambda _reasons: None
    ) -> Iterator[Ended]:
        """Yield each instance as soon as it needs no more waiting.

        At least one round is made, and one that has begun is finished. When the time is up, those that are
        waited for still are yielded as MISSING. `after_round` is called with their number by reason. Raises
        CloudError or CentralError if there is no list that is younger than `cache.max_stale`.
        """
        while self._waiting:
            yield from self._ping()
            after_round(Counter(reason_of(self._verdicts.get(id_)) for id_ in self._waiting))
            if not self._waiting or self._time_left() <= 0:
                break
            self._sleep(min(_PAUSE_SECONDS, self._time_left()))
            self._watched.refresh(self._doubtful(), seconds=self._time_left())
            for instance in self.inventory.instances:
                if instance.id in self._waiting:
                    self._waiting[instance.id] = instance
            for id_ in self._watched.deleted & self._waiting.keys():
                yield self._end(id_, Result.DELETED)
        for id_ in list(self._waiting):
            yield self._end(id_, Result.MISSING)

    def _time_left(self) -> float:
        return self._began + self._timeout - self._clock()

    def _doubtful(self) -> list[str]:
        """Return the ids of those that Nova may say something new of."""

        def is_doubtful(instance: Instance) -> bool:
            verdict = self._verdicts.get(instance.id)
            return (
                not instance.active
                or verdict is None
                or not verdict.asked
                or (self._down and not verdict.alive)
            )

        return [id_ for id_, instance in self._waiting.items() if is_doubtful(instance)]

    def _end(self, id_: str, result: Result) -> Ended:
        instance = self._waiting.pop(id_)
        verdict = None if result is Result.DELETED else self._verdicts.get(id_)
        return Ended(instance, result, self._clock() - self._began, verdict)

    def _ping(self) -> Iterator[Ended]:
        """Ping those that are waited for once; yield those that need no more waiting."""
        self._verdicts.clear()
        snapshot = self._take_snapshot()
        for verdict in snapshot.verdicts if snapshot else ():
            id_ = verdict.instance.id
            self._verdicts[id_] = verdict
            if self._down and is_down(verdict):
                yield self._end(id_, Result.DOWN)
            elif not self._down and verdict.alive:
                yield self._end(id_, Result.ANSWERS)

    def _take_snapshot(self) -> Snapshot | None:
        """Return what one sweep of those that are waited for says; None if nothing could be sent at all."""
        instances = tuple(each for each in self.inventory.instances if each.id in self._waiting)
        try:
            snapshot = self._sweep(msgspec.structs.replace(self.inventory, instances=instances))
        except ProbeError as error:  # such as the loss of the only link, which may come back
            if self._log_limit.allows(str(error)):
                logger.warning("pinging failed: %s", error)
            return None
        return self._merge(snapshot, fleet) if (fleet := self._settings.fleet) else snapshot

    def _merge(self, snapshot: Snapshot, fleet: Fleet) -> Snapshot:
        """Return the snapshot with what the other exporters have said since the wait began.

        What they said before says nothing of now, with one exception: whom another exporter heard lately is
        not known to be down before that one has asked again, however silent the instance is from here.
        """
        self._refresh_reading()
        since = merge(snapshot, self._reading, max_age=min(fleet.max_age, self._read_at - self._began))
        if not self._down:
            return since
        lately = merge(snapshot, self._reading, max_age=fleet.max_age)
        verdicts = tuple(
            before if before.answers else now
            for before, now in zip(lately.verdicts, since.verdicts, strict=True)
        )
        return msgspec.structs.replace(since, verdicts=verdicts)

    def _refresh_reading(self) -> None:
        """Ask what the other exporters say, at most once in `cache.sweep`: they sweep no more often."""
        now = self._clock()
        if now - self._read_at >= self._settings.cache.sweep:
            self._reading, self._read_at = self._read_fleet(), now


def is_down(verdict: Verdict) -> bool:
    """Whether it is proved, as far as silence can, that an instance is down.

    It was asked and did not answer, and either Nova says that it is off, or it is ACTIVE and nothing else
    explains its silence. Nothing is known of one that could not be asked, whose security groups keep pings
    out, or that is in a state between, such as REBOOT. One whose kernel answers at layer 2 is not down.
    """
    if verdict.alive is not False or not verdict.asked or verdict.layer2_alive:
        return False
    return is_off(verdict.instance.status) or verdict.reason in {Reason.UNREACHABLE, Reason.NO_REPLY}


def reason_of(verdict: Verdict | None) -> str:
    """Return the reason of a verdict, ``answers`` if it is alive, and ``not_pinged`` if there is none."""
    if verdict is None:
        return "not_pinged"
    return verdict.reason or ("answers" if verdict.alive else "not_pinged")
