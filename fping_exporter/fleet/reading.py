"""What the other exporters say, read from Prometheus: a few queries, each as small as its answer can be.

Prometheus puts the time of the evaluation beside each value, not the time of the sample, so that ages are
asked for on their own. All series of one scrape have the same sample time: one age for each exporter is
enough, and the few series that are older than the newest scrape of their exporter are named one by one.
There are some after a restart of Prometheus, which does not know what was withdrawn while it was away.
"""

import math
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Protocol

import msgspec

from fping_exporter.fleet.prometheus import Answer, Element
from fping_exporter.model import FleetExporter, Reason, Witness

__all__ = ["QueryApi", "Reading", "read_fleet"]

_REMEMBERED_SECONDS = 86_400.0
"""For how long the last reply of an instance is known of which no exporter speaks any more."""

_SWEPT = "fping_exporter_sweep_last_success_timestamp_seconds"
_BLIND = "fping_exporter_blind"
_STATES = f'__name__=~"{_SWEPT}|{_BLIND}"'
_REASONS = {str(reason): reason for reason in Reason}
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
    last_replies: Mapping[str, float] = {}
    """Unix time at which an instance last answered any of them, by its id."""
    partial: bool = False
    """Whether the server warns that something may be missing."""
    began: float
    """When the reading was begun, by the monotonic clock, in seconds."""


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
    oldest = sampled.now - max_age
    old = set(exporters.keys(queries.older("instance_alive", oldest)))
    old_layer2 = set(exporters.keys(queries.older("instance_layer2_alive", oldest)))
    alive = queries.each("instance_alive")
    reasons = dict(exporters.reasons(queries.each("instance_silent")))
    rtts = dict(exporters.values(queries.each("instance_rtt_seconds")))
    layer2 = dict(exporters.values(queries.each("instance_layer2_alive")))
    replied = queries.ask(
        f"max by (id) (instance_last_reply_timestamp_seconds{{{queries.match}}}"
        f" and on (id) instance_silent{{{queries.match}}})"
    )

    words: dict[str, tuple[Witness, ...]] = {}
    for key, value in exporters.values(alive):
        id_, index = key
        exporter = exporters.known[index]
        if key in old:
            continue
        if value == 1:
            rtt = rtts.get(key, math.nan)
            word = Witness(exporter, alive=True, rtt=rtt if math.isfinite(rtt) else None)
        elif value == 0 and (reason := _REASONS.get(reasons.get(key, ""))) and reason not in _NOT_ASKED:
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
        exporters=tuple(exporters.known),
        words=words,
        last_replies=_last_replies(words, replied, before),
        partial=queries.partial,
        began=began,
    )


_Key = tuple[str, int]
"""The id of an instance, and the index of an exporter."""


class _Queries:
    """The forms of queries that a reading consists of."""

    def __init__(self, api: QueryApi, match: Mapping[str, str], *, deadline: float) -> None:
        self._api = api
        self._deadline = deadline
        self.match = ",".join(f"{name}={_quote(value)}" for name, value in match.items())
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
        swept: dict[frozenset[tuple[str, str]], float] = {}
        blind: dict[frozenset[tuple[str, str]], bool] = {}
        for element in states:
            name, value = element.metric.get("__name__"), _number(element)
            if name == _SWEPT:
                swept[_source(element.metric)] = value
            elif name == _BLIND:
                blind[_source(element.metric)] = value != 0
        self.known: list[FleetExporter] = []
        self._indices: dict[frozenset[tuple[str, str]], int] = {}
        for element in sampled.elements:
            source = _source(element.metric)
            swept_at, sampled_at = swept.get(source, math.nan), _number(element)
            if not math.isfinite(swept_at) or not math.isfinite(sampled_at) or swept_at in own_sweeps:
                continue
            self._indices[source] = len(self.known)
            self.known.append(
                FleetExporter(
                    name=dict(source).get("instance", ""),
                    age=sampled.now - min(sampled_at, swept_at),
                    swept_at=swept_at,
                    blind=blind.get(source, True),
                )
            )

    def keys(self, elements: Iterable[Element]) -> Iterator[_Key]:
        return (key for element in elements if (key := self._key(element)))

    def values(self, elements: Iterable[Element]) -> Iterator[tuple[_Key, float]]:
        return ((key, _number(element)) for element in elements if (key := self._key(element)))

    def reasons(self, elements: Iterable[Element]) -> Iterator[tuple[_Key, str]]:
        for element in elements:
            reason = element.metric.get("reason", "")
            if key := self._key(element):
                yield key, reason

    def _key(self, element: Element) -> _Key | None:
        """Return which instance a series is about, and from which exporter; None if it is not known."""
        id_ = element.metric.pop("id", "")
        index = self._indices.get(_source(element.metric))
        return (id_, index) if id_ and index is not None else None


def _number(element: Element) -> float:
    """Return the value of a series; NaN if it is no number."""
    try:
        return float(element.value[1])
    except ValueError:
        return math.nan


def _source(metric: dict[str, str]) -> frozenset[tuple[str, str]]:
    """Return what tells the exporter of a series: the labels that Prometheus adds. The others are removed."""
    for name in _OF_INSTANCES:
        metric.pop(name, None)
    return frozenset(metric.items())


def _last_replies(
    words: Mapping[str, tuple[Witness, ...]], replied: Answer, before: Reading | None
) -> Mapping[str, float]:
    """Return when each instance last answered.

    Who answers now did so in the sweep of its exporter. Prometheus is asked for the others only, and `before`
    has those of which nobody speaks now.
    """
    found = dict(before.last_replies) if before else {}
    for element in replied.elements:
        id_, at = element.metric.get("id", ""), _number(element)
        if math.isfinite(at):
            found[id_] = max(at, found.get(id_, at))
    for id_, witnesses in words.items():
        for witness in witnesses:
            if witness.alive:
                at = witness.exporter.swept_at
                found[id_] = max(at, found.get(id_, at))
    return {id_: at for id_, at in found.items() if replied.now - at < _REMEMBERED_SECONDS}


def _quote(value: str) -> str:
    """Return a string literal of PromQL."""
    escaped = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    return f'"{escaped}"'
