"""``/``, ``/instance/<id>`` and ``/hypervisors``: HTML pages of the newest snapshot."""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from flask import Blueprint, Response, current_app, g, render_template, request
from werkzeug.exceptions import NotFound

from fping_exporter import __version__
from fping_exporter.config.links import Link, Links, links_to
from fping_exporter.errors import ProbeError, RateLimitError
from fping_exporter.explanation.advice import REASONS
from fping_exporter.explanation.asking import Asker, explain_from_here
from fping_exporter.explanation.values import Explanation
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Inventory, Snapshot, Verdict
from fping_exporter.nova_status import contradicts
from fping_exporter.web.banners import Banner, Late, banners
from fping_exporter.web.export import Row, as_csv, as_json
from fping_exporter.web.filters import Filter, build_filters
from fping_exporter.web.hypervisors import HypervisorRow, down_hypervisors, list_hypervisors
from fping_exporter.web.metrics import stop_waiting
from fping_exporter.web.once import OncePer
from fping_exporter.web.origin import Origin
from fping_exporter.web.overview import Overview, count
from fping_exporter.web.ping_state import answers_though_off, classify, ping_state
from fping_exporter.web.strip import day_strip, own_strip
from fping_exporter.web.table import (
    COLUMNS,
    PAGE_SIZE,
    Ranked,
    TableQuery,
    find_page,
    find_rows,
    rank,
)
from fping_exporter.web.times import add_template_filters

__all__ = ["blueprint"]


_MAX_WAIT = 5.0
"""Seconds that a view waits for a refresh. After that it shows what there is, and the refresh goes on."""


def blueprint(
    monitor: Callable[[], Snapshots],
    *,
    telemetry: Telemetry,
    origin: Callable[[], Origin],
    asker: Callable[[], Asker] | None = None,
) -> Blueprint:
    """Render the pages from the newest snapshot, refreshed first where it is too old, as for a scrape.

    `origin` returns which cloud they are about, `asker` what asks an instance anew for its page; None: nobody
    does. The pages work without JavaScript: the query string holds
    filters, sort order, page, and how often the browser is to load the page again.
    """
    bp = Blueprint("status", __name__)
    add_template_filters(bp)
    bp.add_app_template_filter(ping_state)
    bp.add_app_template_test(answers_though_off)
    bp.add_app_template_test(_is_off, "off")
    pages = _Pages(monitor, telemetry, origin, asker)
    bp.get("/")(pages.index)
    bp.get("/instance/<instance_id>")(pages.instance)
    bp.get("/hypervisors")(pages.hypervisors)
    bp.before_app_request(pages.add_page_to_not_found)
    return bp


class _Digest(NamedTuple):
    """What the pages need of all verdicts of a snapshot."""

    overview: Overview
    ranked: Ranked

    @classmethod
    def of(cls, snapshot: Snapshot) -> "_Digest":
        classified = classify(snapshot)
        return cls(count(classified), rank(classified))


class _Pages:
    """The views, and what they keep of the newest snapshot and list."""

    def __init__(
        self,
        monitor: Callable[[], Snapshots],
        telemetry: Telemetry,
        origin: Callable[[], Origin],
        asker: Callable[[], Asker] | None,
    ) -> None:
        self._monitor_in_use = monitor
        self._telemetry = telemetry
        self._origin = origin
        self._asker = asker
        self._digest = OncePer[Snapshot, _Digest](_Digest.of)
        self._filters = OncePer[Inventory, dict[str, Filter]](build_filters)
        self._hypervisors = OncePer[Snapshot, list[HypervisorRow]](list_hypervisors)

    def index(self) -> Response:
        query = TableQuery.from_args(request.args)
        if query.format:
            return self._file(query)
        snapshot = self._newest()
        if snapshot is None:
            return self._render("status.html", None)
        ranked = self._digest(snapshot).ranked
        return self._render(
            "status.html",
            snapshot,
            filters=self._filters(snapshot.inventory),
            columns=COLUMNS,
            reasons=REASONS,
            page=find_page(ranked, query, snapshot, size=_page_size()),
        )

    def _file(self, query: TableQuery) -> Response:
        """Return all rows; 503 where they are too old for the metrics, as a file has no banner to say so."""
        snapshot = self._fresh()
        if snapshot is None:
            text = "no results are fresh enough\n"
            return Response(text, status=503, content_type="text/plain; charset=utf-8")
        return _export(find_rows(self._digest(snapshot).ranked, query, snapshot), snapshot, query.format)

    def instance(self, instance_id: str) -> Response:
        snapshot = self._newest()
        if snapshot is None:
            return self._render("status.html", None)
        verdict = next((each for each in snapshot.verdicts if each.instance.id == instance_id), None)
        settings = self._monitor.settings
        if verdict is None:
            part = settings.share is not None and settings.fleet is None
            response = self._render("gone.html", snapshot, id=instance_id, part=part)
            response.status_code = 404
            return response
        day = self._monitor.last_day(instance_id)
        asked, refusal = self._ask_now(verdict, snapshot)
        if asked:
            [verdict] = asked.verdicts
        explanation = explain_from_here(
            verdict,
            asked or snapshot,
            probe=settings.probe,
            anew=asked is not None,
            runbook=settings.links.runbook or "",
        )
        return self._render(
            "instance.html",
            snapshot,
            more=[Banner("note", refusal)] if refusal else [],
            verdict=verdict,
            it=explanation,
            can_ask=self._asker is not None,
            links=_links(verdict, explanation, settings.links),
            since=snapshot.since(verdict),
            strips=[strip for strip in (own_strip(snapshot, instance_id), day_strip(day)) if strip],
            day_error=day.error if day else "",
        )

    def _ask_now(self, verdict: Verdict, snapshot: Snapshot) -> tuple[Snapshot | None, str]:
        """Ask an instance anew if the query says so; return the result, or why there is none, in a sentence.

        Clients are limited: what asks may be no person.
        """
        if self._asker is None or request.args.get("ask") != "now":
            return None, ""
        asker = self._asker()
        try:
            asker.count(request.remote_addr or "")
            return asker.ask(verdict.instance, snapshot), ""
        except RateLimitError as error:
            return None, f"It was not asked again, and these are the results of the last sweep. {error}"
        except ProbeError as error:
            return None, f"It could not be asked again: {error}"

    def hypervisors(self) -> Response:
        snapshot = self._newest()
        rows = self._hypervisors(snapshot) if snapshot else []
        return self._render("hypervisors.html", snapshot, rows=rows)

    def add_page_to_not_found(self) -> None:
        """Have a path that leads nowhere answered with a page, except below those of os-fping."""
        error = request.routing_exception
        if isinstance(error, NotFound):
            page = render_template("not_found.html", **self._frame(None), banners=())
            error.response = Response(page, status=404, content_type="text/html; charset=utf-8")

    @property
    def _monitor(self) -> Snapshots:
        """The monitor of the current request: a reload meanwhile gives this page no other one."""
        if "monitor" not in g:
            g.monitor = self._monitor_in_use()
        found: Snapshots = g.monitor
        return found

    def _newest(self) -> Snapshot | None:
        return self._fresh() or self._monitor.latest

    def _fresh(self) -> Snapshot | None:
        return self._monitor.snapshot(timeout=_MAX_WAIT, stop_waiting=stop_waiting(request.environ))

    def _frame(self, snapshot: Snapshot | None) -> dict[str, object]:
        """Return what the frame of every page shows."""
        query = TableQuery.from_args(request.args)
        return {
            "version": __version__,
            "origin": self._origin(),
            "runbook": self._monitor.settings.links.runbook,
            "now": time.time(),
            "snapshot": snapshot,
            "query": query,
            "refresh": query.refresh or None,
            "has_os_fping": "os_fping" in current_app.blueprints,
        }

    def _render(
        self, template: str, snapshot: Snapshot | None, *, more: Iterable[Banner] = (), **context: object
    ) -> Response:
        """Render a page, with what the pages of a snapshot have in common, and `more` banners."""
        monitor = self._monitor
        overview = self._digest(snapshot).overview if snapshot else None
        page = render_template(
            template,
            **self._frame(snapshot),
            overview=overview,
            banners=[*banners(monitor, self._telemetry, snapshot, overview), *more],
            late=Late.find(snapshot, monitor.settings.cache, now=time.time()) if snapshot else None,
            down=down_hypervisors(snapshot.inventory) if snapshot else frozenset(),
            project_name=snapshot.inventory.project_name if snapshot else None,
            **context,
        )
        response = Response(page, content_type="text/html; charset=utf-8")
        seconds = TableQuery.from_args(request.args).refresh if snapshot else _FIRST_SWEEP_REFRESH
        if seconds:
            response.headers["Refresh"] = str(seconds)
        return response


_FIRST_SWEEP_REFRESH = 2
"""Seconds after which the browser asks again while no sweep is complete."""
_PHONE_ROWS = 25


def _page_size() -> int:
    """Return how many rows a page has: fewer on a phone, which shows each as a card."""
    return _PHONE_ROWS if "Mobi" in request.headers.get("User-Agent", "") else PAGE_SIZE


def _export(verdicts: list[Verdict], snapshot: Snapshot, form: str) -> Response:
    rows = (Row.of(verdict, snapshot) for verdict in verdicts)
    if form == "json":
        return Response(as_json(rows), content_type="application/json")
    response = Response(as_csv(rows), content_type="text/csv; charset=utf-8; header=present")
    response.headers["Content-Disposition"] = 'attachment; filename="instances.csv"'
    return response


def _links(verdict: Verdict, explanation: Explanation, links: Links) -> list[Link]:
    """Return where more is said of an instance, and of what to do next."""
    found = list(links_to(verdict.instance, links))
    if url := explanation.next.url:
        found.append(Link(f"Runbook: {explanation.next.section}", url))
    return found


def _is_off(status: str) -> bool:
    """Whether an answer contradicts a Nova status."""
    return contradicts(status, alive=True)
