"""What the other exporters say, read from Prometheus at as little cost as can be.

Prometheus puts the time of the evaluation beside each value, not the time of the sample, so that ages are
asked for on their own. All series of one scrape have the same sample time: one age for each exporter is
enough, and the few series that are older than that are named one by one. There are some after a restart of
Prometheus, which does not know what was withdrawn while it was away.

Each query that goes through all instances costs Prometheus more than a second of CPU for 100,000. So who
is alive is asked in each reading, and what changes less in turns (:class:`_Turns`).
"""

import math
import time
from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import msgspec

from fping_exporter.fleet.prometheus import Answer, Element
from fping_exporter.fleet.promql import matchers
from fping_exporter.model import FleetExporter, Reason, Witness

__all__ = ["PARTIAL_FLEET", "QueryApi", "Reading", "read_fleet"]

PARTIAL_FLEET = (
    "Prometheus warns that something may be missing of what the other exporters say: who is silent here may "
    "have answered one of them"
)
"""What a reading that is partial means for who looks at it."""

_REMEMBERED_SECONDS = 86_400.0
"""For how long the last reply of an instance is known of which no exporter speaks any more."""

_SWEPT = "fping_exporter_sweep_last_success_timestamp_seconds"
_BLIND = "fping_exporter_blind"
_STATES = f'__name__=~"{_SWEPT}|{_BLIND}"'
_REASONS = {str(reason): reason for reason in Reason}
_SAME_SWEEP_SECONDS = 5e-6
"""How far apart two times of one sweep may be: VictoriaMetrics changes the last digits, by 2.4e-6 at most."""
_NOT_ASKED = frozenset({Reason.NO_ADDRESS, Reason.NO_VANTAGE, Reason.AMBIGUOUS_ADDRESS})
"""Reasons with which an exporter has sent nothing to an instance."""
_OF_INSTANCES = ("__name__", "project_id", "reason")
"""Labels that do not tell exporters apart."""


class QueryApi(Protocol):
    """What the words are read from."""

    def query(self, expression: str, *, deadline: float) -> Answer:
        """Return the instant vector of an expression; raises FpingExporterError where there is none."""
        ...


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """The words of the fleet at one time."""

    exporters: tuple[FleetExporter, ...] = ()
    words: Mapping[str, tuple[Witness, ...]] = {}
    """By the id of the instance. Those of an exporter whose age is not known are not here."""
    older: frozenset[float] = frozenset()
    """Ages of the words that are older than their exporters, in seconds."""
    last_replies: Mapping[str, float] = {}
    """Unix time at which an instance last answered any of them, by its id."""
    silent_since: Mapping[str, float] = {}
    """Unix time since which an instance has not answered any of those to which it is silent, by its id."""
    partial: bool = False
    """Whether the server warns that something may be missing."""
    began: float
    """When the reading was begun, by the monotonic clock, in seconds."""
    turns: "_Turns | None" = None
    """What was asked in this reading, or in one before."""


def read_fleet(
    api: QueryApi,
    *,
    match: Mapping[str, str],
    max_age: float,
    deadline: float,
    own_sweeps: Collection[float] = (),
    before: Reading | None = None,
) -> Reading:
    """Read the words of all exporters whose series have the labels `match`.

    Samples older than `max_age` seconds are left out. So is the exporter whose newest sweep began at one of
    `own_sweeps`, Unix times: it is the one that reads. `before` is the reading before this one. `deadline`
    is by the monotonic clock.

    Raises FpingExporterError if any query fails: half a reading would make silent whom the other half knows
    to be alive.
    """
    began = time.monotonic()
    queries = _Queries(api, match, deadline=deadline)
    # Ages are asked for before words, and old words before all words: what is scraped in between is taken for
    # older than it is, never for younger.
    sampled = queries.ask(f"timestamp({_SWEPT}{{{queries.match}}})")
    states = queries.ask(f"{{{_STATES}{queries.more}}}")
    exporters = _Exporters(sampled, states.elements, own_sweeps)
    turns = _take_turns(queries, exporters, before.turns if before else None, began=began, max_age=max_age)
    old_layer2 = set(exporters.values(queries.older("instance_layer2_alive", sampled.now - max_age)))
    alive = exporters.values(queries.each("instance_alive"))
    reasons = exporters.reasons(queries.each("instance_silent"))
    layer2 = exporters.values(queries.each("instance_layer2_alive"))

    older: set[float] = set()
    words: dict[str, tuple[Witness, ...]] = {}
    for key, value in alive.items():
        id_, source = key
        exporter = exporters.known[source]
        if key in turns.old:
            exporter = msgspec.structs.replace(exporter, age=max(exporter.age, sampled.now - turns.old[key]))
            if exporter.age >= max_age:
                continue
            older.add(exporter.age)
        if value == 1:
            rtt = turns.rtts.get(key, math.nan)
            word = Witness(exporter, alive=True, rtt=rtt if math.isfinite(rtt) else None)
        elif (
            value == 0
            and (reason := _REASONS.get(reasons.get(key, "")))
            and reason not in _NOT_ASKED
            and (reason is not Reason.NOT_ACTIVE or key in turns.off)
        ):
            answered = layer2.get(key) if key not in old_layer2 else None
            word = Witness(
                exporter,
                alive=False,
                reason=reason,
                layer2_alive=None if answered is None else answered == 1,
            )
        else:
            continue
        words[id_] = (*words[id_], word) if id_ in words else (word,)
    return Reading(
        exporters=tuple(exporters.known.values()),
        words=words,
        older=frozenset(older),
        last_replies=_last_replies(words, turns.replies, before, now=sampled.now),
        silent_since=turns.silent_since,
        partial=queries.partial,
        began=began,
        turns=turns,
    )


_Source = frozenset[tuple[str, str]]
"""What tells exporters apart: the labels that Prometheus gives to all series of a target."""
_Key = tuple[str, _Source]
"""The id of an instance, and who speaks of it."""


class _Turns(msgspec.Struct, frozen=True, kw_only=True):
    """What is not asked for in each reading, and when it was, by the monotonic clock."""

    old: Mapping[_Key, float] = {}
    """The sample times of words that are older than the newest scrape of their exporter; Unix times."""
    rtts: Mapping[_Key, float] = {}
    """The best round trips of those who answer, in seconds."""
    off: frozenset[_Key] = frozenset()
    """Who is silent and called off by Nova, and was sent something: the reason alone does not tell that."""
    replies: Mapping[str, float] = {}
    """Unix times at which the instances that are silent to somebody last answered anybody, by id."""
    silent_since: Mapping[str, float] = {}
    """Unix times since which they have been silent to all to whom they are silent, by id."""
    asked_at: Mapping[str, float] = {}
    """By the name of the field."""


def _take_turns(
    queries: "_Queries", exporters: "_Exporters", before: _Turns | None, *, began: float, max_age: float
) -> _Turns:
    """Ask for what was never asked for, or too long ago, and of the rest for the oldest, if it is due."""
    turns = before or _Turns()
    limits = {"old": max_age / 2, "rtts": max_age, "replies": max_age, "off": max_age}
    ages = {name: began - turns.asked_at.get(name, -math.inf) for name in limits}
    due = {name for name, age in ages.items() if age >= limits[name]}
    oldest = max(ages, key=lambda name: ages[name])
    if ages[oldest] >= max_age / 4:
        due.add(oldest)
    old, rtts, replies, off = turns.old, turns.rtts, turns.replies, turns.off
    silent_since = turns.silent_since
    if "old" in due:
        old = exporters.lingering(queries.older("instance_alive", exporters.now - max_age / 2))
    if "rtts" in due:
        rtts = exporters.values(queries.each("instance_rtt_seconds"))
    if "replies" in due:
        replied = queries.ask(
            f"max by (id) (instance_last_reply_timestamp_seconds{{{queries.match}}}"
            f" and on (id) instance_silent{{{queries.match}}})"
        )
        replies = {each.metric.get("id", ""): _number(each) for each in replied.elements}
        since = queries.ask(f"max by (id) (instance_silent_since_timestamp_seconds{{{queries.match}}})")
        silent_since = {
            each.metric.get("id", ""): at
            for each in since.elements
            if math.isfinite(at := _number(each)) and 0 < at <= exporters.now
        }
    if "off" in due:
        sent = queries.ask(
            f'max without (project_id) (instance_silent{{reason="{Reason.NOT_ACTIVE}"{queries.more}}}'
            f" and ignoring (reason) instance_packet_loss_ratio{{{queries.match}}})"
        )
        off = frozenset(exporters.values(sent.elements))
    asked_at = {**turns.asked_at, **dict.fromkeys(due, began)}
    return _Turns(old=old, rtts=rtts, replies=replies, silent_since=silent_since, off=off, asked_at=asked_at)


class _Queries:
    """The forms of queries that a reading consists of."""

    def __init__(self, api: QueryApi, match: Mapping[str, str], *, deadline: float) -> None:
        self._api = api
        self._deadline = deadline
        self.match = matchers(match)
        """What stands between the braces of a selector."""
        self.more = f",{self.match}" if match else ""
        """The same after another matcher."""
        self.partial = False

    def ask(self, expression: str) -> Answer:
        answer = self._api.query(expression, deadline=self._deadline)
        self.partial = self.partial or answer.partial
        return answer

    def each(self, metric: str) -> list[Element]:
        """Ask for a metric of instances; an answer without their projects is smaller by a third."""
        return self.ask(f"max without (project_id) ({metric}{{{self.match}}})").elements

    def older(self, metric: str, limit: float) -> list[Element]:
        """Ask for the series of which the newest sample is from before `limit`, a Unix time in seconds."""
        return self.ask(f"timestamp({metric}{{{self.match}}}) < {limit:.3f}").elements


class _Exporters:
    """The exporters of a reading, and which of them a series is from."""

    def __init__(self, sampled: Answer, states: Iterable[Element], own_sweeps: Collection[float]) -> None:
        """`sampled` has the time of the newest sample of each, `states` when it swept and if it is blind."""
        self.now = sampled.now
        own = sorted(own_sweeps)
        swept: dict[_Source, float] = {}
        blind: dict[_Source, bool] = {}
        for element in states:
            name, value = element.metric.get("__name__"), _number(element)
            if name == _SWEPT:
                swept[_source(element.metric)] = value
            elif name == _BLIND:
                blind[_source(element.metric)] = value != 0
        self.known: dict[_Source, FleetExporter] = {}
        self._same: dict[_Source, _Source] = {}
        """By a source the one object that all keys share."""
        self._sampled_at: dict[_Source, float] = {}
        for element in sampled.elements:
            source = _source(element.metric)
            swept_at, sampled_at = swept.get(source, math.nan), _number(element)
            if not math.isfinite(swept_at) or not math.isfinite(sampled_at):
                continue
            place = bisect_left(own, swept_at - _SAME_SWEEP_SECONDS)
            if place < len(own) and own[place] <= swept_at + _SAME_SWEEP_SECONDS:
                continue
            self._same[source] = source
            self._sampled_at[source] = sampled_at
            self.known[source] = FleetExporter(
                name=dict(source).get("instance", ""),
                age=sampled.now - min(sampled_at, swept_at),
                swept_at=min(sampled_at, swept_at),
                blind=blind.get(source, True),
            )

    def lingering(self, elements: Iterable[Element]) -> dict[_Key, float]:
        """Return the sample times of the series that are older than the newest sample of their exporter."""
        return {key: at for key, at in self.values(elements).items() if at < self._sampled_at[key[1]]}

    def values(self, elements: Iterable[Element]) -> dict[_Key, float]:
        """Return the values of series that are about an instance, and from a known exporter."""
        return {key: _number(element) for element in elements if (key := self._key(element))}

    def reasons(self, elements: Iterable[Element]) -> dict[_Key, str]:
        """Return their label ``reason`` likewise."""
        found = {}
        for element in elements:
            reason = element.metric.get("reason", "")
            if key := self._key(element):
                found[key] = reason
        return found

    def _key(self, element: Element) -> _Key | None:
        id_ = element.metric.pop("id", "")
        source = self._same.get(_source(element.metric))
        return (id_, source) if id_ and source is not None else None


def _number(element: Element) -> float:
    """Return the value of a series; NaN if it is no number."""
    try:
        return float(element.value[1])
    except ValueError:
        return math.nan


def _source(metric: dict[str, str]) -> _Source:
    """Return what tells the exporter of a series: the labels that Prometheus adds. The others are removed."""
    for name in _OF_INSTANCES:
        metric.pop(name, None)
    return frozenset(metric.items())


def _last_replies(
    words: Mapping[str, tuple[Witness, ...]],
    replies: Mapping[str, float],
    before: Reading | None,
    *,
    now: float,
) -> Mapping[str, float]:
    """Return when each instance last answered.

    Who answers now did so in the sweep of its exporter. Prometheus is asked for the others only (`replies`),
    and `before` has those of which nobody speaks now. A reply of the future, by a clock that is wrong, counts
    as one of this moment.
    """
    found = dict(before.last_replies) if before else {}
    for id_, at in replies.items():
        if math.isfinite(at) and at > 0:
            found[id_] = max(min(at, now), found.get(id_, 0))
    for id_, witnesses in words.items():
        for witness in witnesses:
            if witness.alive:
                at = witness.exporter.swept_at
                found[id_] = max(at, found.get(id_, at))
    return {id_: at for id_, at in found.items() if id_ in replies or now - at < _REMEMBERED_SECONDS}
