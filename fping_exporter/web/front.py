"""The application of the process: its own metrics, health, reloads, and an overview of its clouds."""

import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

import msgspec
from flask import Blueprint, Flask, Response, render_template, request
from prometheus_client.registry import Collector
from werkzeug.exceptions import NotFound

from fping_exporter import __version__
from fping_exporter.config import Config
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.metrics.scrape import Up
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Snapshot
from fping_exporter.monitor import Monitor
from fping_exporter.web import assets, lifecycle
from fping_exporter.web.application import make_application
from fping_exporter.web.banners import Late
from fping_exporter.web.metrics import Scrapes, stop_waiting
from fping_exporter.web.once import OncePer
from fping_exporter.web.origin import Origin
from fping_exporter.web.overview import Overview, count
from fping_exporter.web.ping_state import classify
from fping_exporter.web.table import TableQuery
from fping_exporter.web.times import add_template_filters

__all__ = ["WebCloud", "create_front"]

_MAX_WAIT = 5.0
"""Seconds that the overview waits for refreshes, all of which go on at once."""


class WebCloud(Protocol):
    """What the web knows of a cloud."""

    @property
    def name(self) -> str:
        """Its name in the configuration."""
        ...

    @property
    def monitor(self) -> Monitor:
        """The monitor of the configuration in use."""
        ...

    @property
    def whole(self) -> Snapshots:
        """Where pages have their snapshots from."""
        ...

    @property
    def telemetry(self) -> Telemetry:
        """Its metrics."""
        ...

    @property
    def is_tried(self) -> bool:
        """Whether its first sweep is complete, or will not be soon."""
        ...


Clouds = Callable[[], Mapping[str, WebCloud]]
"""Returns the clouds of the configuration in use, by name."""


def create_front(
    clouds: Clouds,
    *,
    settings: Callable[[], Config],
    process: ProcessTelemetry,
    telemetry_path: str,
    controls: lifecycle.Controls | None = None,
    max_wait: float = _MAX_WAIT,
) -> Flask:
    """Build the application.

    `settings` returns the whole configuration in use. `controls` are the functions behind ``/-/reload`` and
    ``/-/quit``; None disables both. The overview waits for refreshes for `max_wait` seconds at most.
    """
    app = make_application()
    app.register_blueprint(assets.blueprint())
    app.register_blueprint(_metrics(clouds, process=process, path=telemetry_path))
    app.register_blueprint(lifecycle.blueprint(lambda: _why_unready(clouds()), settings=settings))
    app.register_blueprint(lifecycle.controls_blueprint(controls))
    app.register_blueprint(_pages(clouds, max_wait=max_wait))
    return app


def _why_unready(clouds: Mapping[str, WebCloud]) -> str | None:
    if len(clouds) == 1:
        [cloud] = clouds.values()
        return None if cloud.monitor.latest else "The first sweep is not complete yet."
    waiting = [name for name, cloud in clouds.items() if not cloud.is_tried]
    return f"The first sweep is not complete yet: {', '.join(waiting)}." if waiting else None


def _metrics(clouds: Clouds, *, process: ProcessTelemetry, path: str) -> Blueprint:
    """Serve the metrics of the process, and those of an only cloud with them, at `path`."""
    bp = Blueprint("metrics", __name__)
    scrapes = Scrapes()

    @bp.get(path)
    def metrics() -> Response:
        found = clouds()
        if len(found) == 1:
            [cloud] = found.values()
            return scrapes.answer(cloud.monitor, own=[process.registry, cloud.telemetry.registry])
        own: list[Collector] = [process.registry, Up({name: _is_up(each) for name, each in found.items()})]
        return scrapes.answer(None, own=own)

    return bp


def _is_up(cloud: WebCloud) -> bool:
    monitor = cloud.monitor
    return monitor.age < monitor.settings.cache.max_stale


class Card(NamedTuple):
    """What the overview shows of a cloud."""

    name: str
    state: str
    """``up``, ``late``, ``no results`` that are young enough, or ``waiting`` for the first sweep."""
    error: str | None
    """Why the newest list or sweep failed."""
    snapshot: Snapshot | None = None
    overview: Overview | None = None
    """None where the results are too old to count: nobody knows how many are silent by now."""


def _pages(clouds: Clouds, *, max_wait: float) -> Blueprint:
    bp = Blueprint("clouds", __name__)
    add_template_filters(bp)
    pages = _Pages(clouds, max_wait)
    bp.get("/")(pages.index)
    bp.get("/sd/clouds")(pages.targets)
    bp.before_app_request(pages.add_page_to_not_found)
    return bp


class _Pages:
    def __init__(self, clouds: Clouds, max_wait: float) -> None:
        self._clouds = clouds
        self._max_wait = max_wait
        self._overviews: dict[str, OncePer[Snapshot, Overview]] = {}
        self._slow: set[str] = set()
        """Clouds that were waited for in vain: nobody waits for them again before they have fresh results."""

    def index(self) -> Response:
        cards = [self._card(name, cloud, snapshot) for name, cloud, snapshot in self._snapshots()]
        query = TableQuery.from_args(request.args)
        page = render_template("clouds.html", **self._frame(), banners=(), cards=cards)
        response = Response(page, content_type="text/html; charset=utf-8")
        if seconds := query.refresh or (any(card.state == "waiting" for card in cards) and _FIRST_REFRESH):
            response.headers["Refresh"] = str(seconds)
        return response

    def targets(self) -> Response:
        """Return the clouds for Prometheus's http_sd: targets of ``/probe``, to be relabelled."""
        groups = [
            {"targets": [name], "labels": {"__meta_fping_exporter_cloud": name}} for name in self._clouds()
        ]
        return Response(msgspec.json.encode(groups), content_type="application/json")

    def add_page_to_not_found(self) -> None:
        """Have a path that leads nowhere answered with a page that links the clouds."""
        error = request.routing_exception
        if isinstance(error, NotFound):
            page = render_template("not_found.html", **self._frame(), banners=(), clouds=list(self._clouds()))
            error.response = Response(page, status=404, content_type="text/html; charset=utf-8")

    def _frame(self) -> dict[str, object]:
        return {
            "version": __version__,
            "origin": Origin("", "", socket.gethostname()),
            "now": time.time(),
            "snapshot": None,
            "query": TableQuery.from_args(request.args),
        }

    def _snapshots(self) -> Iterator[tuple[str, WebCloud, Snapshot | None]]:
        """Yield each cloud's snapshot; refreshes begin at once, and are waited for together."""
        clouds = self._clouds()
        self._slow &= {name for name, cloud in clouds.items() if cloud.monitor.fresh is None}
        for cloud in clouds.values():
            if cloud.monitor.fresh is None:
                cloud.monitor.refresh()
        deadline = time.monotonic() + self._max_wait
        for name, cloud in clouds.items():
            left = 0 if name in self._slow else max(deadline - time.monotonic(), 0)
            found = cloud.whole.snapshot(timeout=left, stop_waiting=stop_waiting(request.environ))
            if cloud.monitor.fresh is None:
                self._slow.add(name)
            yield name, cloud, found or cloud.monitor.latest

    def _card(self, name: str, cloud: WebCloud, snapshot: Snapshot | None) -> Card:
        telemetry, settings = cloud.telemetry, cloud.monitor.settings
        error = telemetry.inventory.error or telemetry.sweep.error
        if snapshot is None:
            return Card(name, "no results" if error else "waiting", error)
        if not _is_up(cloud):
            return Card(name, "no results", error, snapshot)
        late = Late.find(snapshot, settings.cache, now=time.time())
        overview = self._overviews.setdefault(name, OncePer(_count))(snapshot)
        return Card(name, "late" if late.sweep or late.list else "up", error, snapshot, overview)


def _count(snapshot: Snapshot) -> Overview:
    return count(classify(snapshot))


_FIRST_REFRESH = 5
"""Seconds after which the browser asks again while a first sweep is under way."""
