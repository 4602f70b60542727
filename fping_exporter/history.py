"""What is remembered of instances from sweep to sweep."""

from collections.abc import Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import TypedDict

import msgspec

from fping_exporter.model import Instance, Reason, Snapshot, Verdict
from fping_exporter.nova_status import is_off
from fping_exporter.timeline import LENGTH, PingResult, Stepper, Timeline, moved_back, no_later, shared

__all__ = ["RETENTION", "History", "Vantage"]

RETENTION = 86_400.0
"""Seconds for which an instance that is no longer listed is remembered.

One list may lack an instance that the next one has. The alert rules look back one day.
"""

FIRST_BOOT = 900.0
"""Seconds after the launch in which a guest may still boot, and after which it may have answered."""

_UNWATCHED = 900.0
"""Seconds for which the process may be away: an instance launched meanwhile hardly answers and dies."""

DEFAULT_PAUSE = 600.0
"""Seconds for which a result is believed by default, as ``cache.max_stale`` has it."""

_VANTAGE_RETENTION = 3600.0
"""Seconds for which a kind of vantage that is gone is taken to come back."""


class Vantage(msgspec.Struct, frozen=True):
    """A kind of vantage that could send."""

    asked: frozenset[str]
    """The ids of the instances that were asked from there."""
    sent_at: float
    """Unix time of the last sweep in which it could send."""

    def lost_since(self, now: float) -> bool:
        """Whether it is missed: it could send not long before `now`, in Unix seconds."""
        return now - self.sent_at < _VANTAGE_RETENTION


class History(msgspec.Struct, frozen=True):
    """What earlier snapshots tell of each instance, whether or not the newest list has it."""

    begun_at: float | None = None
    """Unix time of the first snapshot in it; of what was before, it knows nothing."""
    last_replies: Mapping[str, float] = {}
    """Unix times in seconds, by the instance's id; an instance that never answered has none."""
    layer2_replies: Mapping[str, float] = {}
    """The same of answers at layer 2, for those that answered there within the retention."""
    unlisted_since: Mapping[str, float] = {}
    """Unix time of the first snapshot that lacked it, for those that the newest lacks, if anything is known
    of them."""
    missed: Mapping[str, float] = {}
    """Unix time since which each is missed, for those that were when they were last asked, and that Nova has
    not called off since; by the instance's id."""
    active: frozenset[str] = frozenset()
    """Ids of those that Nova calls ACTIVE, or did before their cell went down."""
    blocked: frozenset[str] = frozenset()
    """Ids of those whose security groups keep pings out, or did before their cell went down."""
    launches: frozenset[str] = frozenset()
    """Ids of those that were listed within 15 minutes of their launch, which is less than a day ago, and have
    not answered yet. One that comes later, from another host or another exporter's share, may have answered
    there."""
    vantages: Mapping[str, Vantage] = {}
    """By kind (``local``, ``qdhcp``, ...)."""
    sweeps: tuple[float, ...] = ()
    """Unix times of the last results in each timeline, the oldest first, 64 at most."""
    timelines: Mapping[str, Timeline] = {}
    """What the last sweeps found out about each instance, by its id."""

    def after(self, snapshot: Snapshot, *, max_pause: float = DEFAULT_PAUSE) -> "History":
        """Return the history that a snapshot leads to, without what is older than :data:`RETENTION`.

        If the sweep before began more than `max_pause` seconds earlier, nobody knows what was in between.
        """
        now = snapshot.sweep.started_at
        listed = {verdict.instance.id for verdict in snapshot.verdicts}
        unlisted_since = {
            id_: since
            for id_ in self._remembered - listed
            if now - (since := self.unlisted_since.get(id_, now)) < RETENTION
        }
        last_replies = _last_replies(snapshot, _only(self.last_replies, unlisted_since))
        if self._is_ahead_of(now):
            last_replies = {id_: min(at, now) for id_, at in last_replies.items()}
        return History(
            begun_at=now if self.begun_at is None else self.begun_at,
            last_replies=last_replies,
            layer2_replies={
                id_: at
                for id_, at in _only(self.layer2_replies, listed | unlisted_since.keys()).items()
                if now - at < RETENTION
            }
            | {verdict.instance.id: now for verdict in snapshot.verdicts if verdict.layer2_alive},
            unlisted_since=unlisted_since,
            missed=self._missed(snapshot, unlisted_since),
            active=frozenset(v.instance.id for v in snapshot.verdicts if self.calls_active(v)),
            blocked=frozenset(v.instance.id for v in snapshot.verdicts if self.keeps_pings_out(v)),
            launches=frozenset(
                v.instance.id
                for v in snapshot.verdicts
                if v.last_reply_at is None and self._saw_launch(v.instance, now)
            ),
            vantages={kind: vantage for kind, vantage in self.vantages.items() if vantage.lost_since(now)}
            | _sending(snapshot),
            **self._timelines_after(snapshot, unlisted_since, max_pause=max_pause),
        )

    def _is_ahead_of(self, now: float) -> bool:
        """Whether the clock was set back since the sweep before, while the process ran."""
        return bool(self.sweeps) and now < self.sweeps[-1]

    def _timelines_after(
        self, snapshot: Snapshot, unlisted: Iterable[str], *, max_pause: float
    ) -> "_Timelines":
        now = snapshot.sweep.started_at
        sweeps, before = self.sweeps, self.timelines
        if self._is_ahead_of(now):
            sweeps = tuple([min(at, now) for at in sweeps])
            before = no_later(before, now)
        pause: tuple[PingResult, ...] = ()
        if sweeps and now - sweeps[-1] > max_pause:
            pause = (PingResult.UNKNOWN,)
            sweeps = (*sweeps, sweeps[-1] + max_pause)
        answered = Stepper((*pause, PingResult.ANSWERED), at=now)
        unknown = Stepper((*pause, PingResult.UNKNOWN), at=now)
        silent = unknown if snapshot.blind else Stepper((*pause, PingResult.SILENT), at=now)
        after = {
            (id_ := v.instance.id): (
                answered if v.alive else silent if v.alive is False and v.probed else unknown
            )[before.get(id_)]
            for v in snapshot.verdicts
        }
        for id_ in unlisted:
            if id_ in before:
                after[id_] = unknown[before[id_]]
        return {"sweeps": (*sweeps, now)[-LENGTH:], "timelines": after}

    def told(self, snapshot: Snapshot) -> Snapshot:
        """Return the snapshot that led to this history, with the timelines of its instances."""
        return msgspec.structs.replace(snapshot, timelines=self.timelines, sweeps=self.sweeps)

    def resumed(self, *, stopped_at: float, now: float) -> "History":
        """Return the history for a process that begins at `now`, of one that ended at `stopped_at`.

        Both are Unix times in seconds. Nothing was listed in between, so that until the first snapshot
        every instance counts as unlisted since `stopped_at`.
        """
        unlisted_since = {
            id_: since
            for id_ in self._remembered
            if now - (since := self.unlisted_since.get(id_, stopped_at)) < RETENTION
        }
        return History(
            begun_at=self.begun_at if now - stopped_at < _UNWATCHED else None,
            last_replies=_only(self.last_replies, unlisted_since),
            layer2_replies=_only(self.layer2_replies, unlisted_since),
            unlisted_since=unlisted_since,
            missed={id_: at for id_, at in self.missed.items() if id_ in unlisted_since},
            launches=self.launches,
            sweeps=self.sweeps if self.timelines else (),
            timelines=shared({id_: each for id_, each in self.timelines.items() if id_ in unlisted_since}),
        )

    def moved_back(self, seconds: float) -> "History":
        """Return the history in the time of a clock that was set back by `seconds`."""
        return History(
            begun_at=None if self.begun_at is None else self.begun_at - seconds,
            last_replies={id_: at - seconds for id_, at in self.last_replies.items()},
            layer2_replies={id_: at - seconds for id_, at in self.layer2_replies.items()},
            unlisted_since={id_: at - seconds for id_, at in self.unlisted_since.items()},
            missed={id_: at - seconds for id_, at in self.missed.items()},
            launches=self.launches,
            sweeps=tuple([at - seconds for at in self.sweeps]),
            timelines=moved_back(self.timelines, seconds),
        )

    def calls_active(self, verdict: Verdict) -> bool:
        """Whether Nova calls an instance ACTIVE, or did before its cell went down."""
        instance = verdict.instance
        return instance.active or (instance.in_down_cell and instance.id in self.active)

    def keeps_pings_out(self, verdict: Verdict) -> bool:
        """Whether the security groups of an instance explain its silence, or did before its cell went down.

        They are not looked at while Nova does not call it ACTIVE.
        """
        instance = verdict.instance
        return verdict.reason is Reason.ICMP_BLOCKED or (
            instance.in_down_cell and instance.id in self.blocked
        )

    @property
    def stored(self) -> "History":
        """The part that outlives a restart; the rest is found again in the first sweep."""
        return msgspec.structs.replace(self, active=frozenset(), blocked=frozenset(), vantages={})

    def _saw_launch(self, instance: Instance, now: float) -> bool:
        at = instance.launched_at
        if at is None or now - at >= RETENTION:
            return False
        return now - at < FIRST_BOOT or instance.id in self.launches

    def _missed(self, snapshot: Snapshot, unlisted: Iterable[str]) -> dict[str, float]:
        """Return those that are missed, and those that were and of which nobody knows better now."""
        unknown = {
            verdict.instance.id
            for verdict in (snapshot.verdicts if self.missed else ())
            if not verdict.answers and not is_off(verdict.instance.status)
        }
        now = snapshot.sweep.started_at
        still = self.missed.keys() & unknown.union(unlisted)
        return {id_: self.missed.get(id_, now) for id_ in snapshot.missed | still}

    @property
    def _remembered(self) -> AbstractSet[str]:
        """Ids of those of which anything is known that a list may lack for a while."""
        return {*self.timelines, *self.last_replies, *self.layer2_replies, *self.missed}


class _Timelines(TypedDict):
    """Fields of a history."""

    sweeps: tuple[float, ...]
    timelines: Mapping[str, Timeline]


def _only(times: Mapping[str, float], ids: Collection[str]) -> dict[str, float]:
    return {id_: at for id_, at in times.items() if id_ in ids}


def _last_replies(snapshot: Snapshot, replies: dict[str, float]) -> dict[str, float]:
    """Add those of the snapshot to `replies`: another mapping of all would cost 4 MB for 100,000."""
    for verdict in snapshot.verdicts:
        if verdict.last_reply_at is not None:
            replies[verdict.instance.id] = verdict.last_reply_at
    return replies


def _sending(snapshot: Snapshot) -> dict[str, Vantage]:
    """Return the kinds of vantages that could send."""
    asked: dict[str, list[str]] = {}
    for verdict in snapshot.verdicts:
        for probed in verdict.probed:
            if probed.target and probed.outcome:
                asked.setdefault(probed.target.kind, []).append(verdict.instance.id)
    now = snapshot.sweep.started_at
    return {kind: Vantage(frozenset(ids), now) for kind, ids in asked.items()}
