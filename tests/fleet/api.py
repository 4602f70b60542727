"""A stand-in of Prometheus's API: a test gives it what exporters were scraped of, and faults."""

import re
import threading
import time
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self
from urllib.parse import parse_qs

from fping_exporter.demo.http import Answer, LoopbackServer, Request

__all__ = ["FakePrometheus", "Scraped", "matrix", "vector"]

_SELECTOR = re.compile(r"(\w*)\{(.*?)\}")
_MATCHER = re.compile(r'(\w+)(=~|=)"((?:[^"\\]|\\.)*)"')


class Scraped(NamedTuple):
    """One series and its newest sample."""

    name: str
    labels: Mapping[str, str]
    value: float
    at: float
    """The sample's time, in Unix seconds."""


def vector(*elements: tuple[Mapping[str, str], float], now: float | None = None) -> dict[str, object]:
    """Return the body of an answer: labels and value of each element."""
    now = time.time() if now is None else now
    result = [{"metric": dict(labels), "value": [now, str(float(value))]} for labels, value in elements]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


def matrix(*series: list[tuple[float, str]]) -> dict[str, object]:
    """Return the body of an answer: times and values of each series."""
    result = [{"metric": {}, "values": values} for values in series]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


class FakePrometheus:
    """It evaluates the forms of expressions that a reading has, and nothing else."""

    def __init__(self) -> None:
        self.series: list[Scraped] = []
        self.expressions: list[str] = []
        self.requests: list[Request] = []
        self.faults: Iterator[Answer | None] = iter(())
        """What the next queries are answered with; None: as if nothing were wrong."""
        self.extra: dict[str, object] = {}
        """What each answer has beside its data."""
        self.reason = "no_reply"
        """Of those that are silent in scrapes from now on."""
        self.sends = True
        """Whether exporters could send to those that are silent."""
        self.external_labels: dict[str, str] = {}
        """What all series have that are scraped from now on."""
        self.clock_offset = 0.0
        """How many seconds its clock is ahead of this machine's."""
        self.day: list[tuple[float, str]] = []
        """Times and values of what a range query finds."""
        self.hold = threading.Event()
        """No query is answered until it is set."""
        self.hold.set()
        self._http = LoopbackServer(self._answer)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self) -> Self:
        self._http.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.hold.set()
        self._http.stop()

    @property
    def http(self) -> LoopbackServer:
        """The server under it."""
        return self._http

    @property
    def now(self) -> float:
        """Its time, in Unix seconds."""
        return time.time() + self.clock_offset

    def scrape(
        self,
        exporter: str,
        alive: Mapping[str, bool] = {},
        *,
        age: float = 0.0,
        sweep_age: float = 1.0,
        blind: bool = False,
        layer2: Mapping[str, bool] = {},
        last_replies: Mapping[str, float] = {},
        silent_since: Mapping[str, float] = {},
    ) -> None:
        """Add what a scrape of `exporter` gave `age` seconds ago, `sweep_age` seconds after its sweep."""
        target = {"instance": exporter, "job": "fping-exporter", **self.external_labels}
        at = self.now - age
        swept_at = at - sweep_age
        self.series += [
            Scraped("fping_exporter_sweep_last_success_timestamp_seconds", target, swept_at, at),
            Scraped("fping_exporter_blind", target, blind, at),
        ]
        for id_, answers in alive.items():
            labels = {"id": id_, "project_id": "p", **target}
            self.series.append(Scraped("instance_alive", labels, answers, at))
            if answers:
                self.series.append(Scraped("instance_rtt_seconds", labels, 0.0004, at))
            else:
                self.series.append(Scraped("instance_silent", labels | {"reason": self.reason}, 1, at))
                if self.sends:
                    self.series.append(Scraped("instance_packet_loss_ratio", labels, 1, at))
            if id_ in silent_since:
                since = silent_since[id_]
                self.series.append(Scraped("instance_silent_since_timestamp_seconds", labels, since, at))
            if id_ in layer2:
                self.series.append(Scraped("instance_layer2_alive", labels, layer2[id_], at))
            replied_at = swept_at if answers else last_replies.get(id_)
            if replied_at is not None:
                self.series.append(Scraped("instance_last_reply_timestamp_seconds", labels, replied_at, at))

    def _answer(self, request: Request) -> Answer:
        self.requests.append(request)
        [expression] = parse_qs(request.body.decode())["query"]
        self.expressions.append(expression)
        self.hold.wait(10)
        if fault := next(self.faults, None):
            return fault
        if request.path.endswith("/query_range"):
            return Answer(200, matrix(self.day))
        body = vector(*self._evaluate(expression), now=self.now)
        return Answer(200, body | self.extra)

    def _evaluate(self, expression: str) -> list[tuple[Mapping[str, str], float]]:
        if found := re.fullmatch(r"timestamp\((.*)\)(?: < ([0-9.]+))?", expression):
            limit = float(found[2] or "inf")
            chosen = [each for each in self._select(found[1]) if each.at < limit]
            return [(each.labels, each.at) for each in chosen]
        if found := re.fullmatch(
            r"max without \(project_id\) \((.*) and ignoring \(reason\) (.*)\)", expression
        ):
            sent = [each.labels for each in self._select(found[2])]
            chosen = [each for each in self._select(found[1]) if _without(each.labels, "reason") in sent]
            return [(_without(each.labels, "project_id"), each.value) for each in chosen]
        if found := re.fullmatch(r"max without \(project_id\) \((.*)\)", expression):
            return [(_without(each.labels, "project_id"), each.value) for each in self._select(found[1])]
        if found := re.fullmatch(r"max by \(id\) \((.*) and on \(id\) (.*)\)", expression):
            both = {each.labels["id"] for each in self._select(found[2])}
            highest: dict[str, float] = {}
            for each in self._select(found[1]):
                if (id_ := each.labels["id"]) in both:
                    highest[id_] = max(each.value, highest.get(id_, each.value))
            return [({"id": id_}, value) for id_, value in highest.items()]
        if found := re.fullmatch(r"max by \(id\) \((.*)\)", expression):
            chosen = sorted(self._select(found[1]), key=lambda each: each.value)
            return list(
                {each.labels["id"]: ({"id": each.labels["id"]}, each.value) for each in chosen}.values()
            )
        return [({"__name__": each.name, **each.labels}, each.value) for each in self._select(expression)]

    def _select(self, selector: str) -> list[Scraped]:
        found = _SELECTOR.fullmatch(selector)
        assert found, selector
        matchers = [("__name__", found[1])] if found[1] else []
        for name, operator, literal in _MATCHER.findall(found[2]):
            value = literal.replace(r"\"", '"').replace(r"\\", "\\")
            matchers.append((name, value if operator == "=~" else re.escape(value)))
        return [
            each
            for each in self.series
            if all(
                re.fullmatch(pattern, {"__name__": each.name, **each.labels}.get(name, ""))
                for name, pattern in matchers
            )
        ]


def _without(labels: Mapping[str, str], name: str) -> dict[str, str]:
    return {each: value for each, value in labels.items() if each != name}
