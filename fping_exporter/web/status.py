"""``/`` and ``/instance/<id>``: HTML pages of the newest snapshot."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from typing import NamedTuple

from flask import Blueprint, Response, abort, render_template, request

from fping_exporter import __version__
from fping_exporter.config.duration import Duration
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Address, Inventory, Outcome, Probed, Snapshot, Target, Verdict
from fping_exporter.nova_status import contradicts
from fping_exporter.text import printable
from fping_exporter.web.compression import GzippedBody
from fping_exporter.web.filters import Filter, build_filters
from fping_exporter.web.once import OncePer
from fping_exporter.web.origin import Origin
from fping_exporter.web.overview import Overview, count
from fping_exporter.web.ping_state import answers_though_off, ping_state
from fping_exporter.web.table import COLUMNS, Ranked, TableQuery, find_page, rank

__all__ = ["blueprint"]


def blueprint(
    monitor: Callable[[], Snapshots], *, telemetry: Telemetry, origin: Callable[[], Origin]
) -> Blueprint:
    """Render the pages from the newest snapshot; a page view never triggers a sweep.

    `origin` returns which cloud they are about. The pages work without JavaScript: the query string holds
    filters, sort order and page.
    """
    bp = Blueprint("status", __name__)
    bp.add_app_template_filter(printable)
    bp.add_app_template_filter("{:,}".format, "thousands")
    bp.add_app_template_filter(_format_duration, "duration")
    bp.add_app_template_filter(_format_utc, "utc")
    bp.add_app_template_filter(ping_state)
    bp.add_app_template_test(answers_though_off)
    bp.add_app_template_test(_is_off, "off")

    overview_of = OncePer[Snapshot, Overview](count)
    ranked_of = OncePer[Snapshot, Ranked](rank)
    filters_of = OncePer[Inventory, dict[str, Filter]](build_filters)
    static_files = _read_static_files()

    @bp.get("/static/<filename>")
    def static(filename: str) -> Response:
        if filename not in static_files:
            abort(404)
        content_type, body = static_files[filename]
        return body.respond(content_type)

    @bp.context_processor
    def common_variables() -> dict[str, object]:
        return {"version": __version__, "origin": origin(), "now": time.time()}

    @bp.get("/")
    def index() -> str:
        snapshot, query = monitor().latest, TableQuery.from_args(request.args)
        overview = overview_of(snapshot) if snapshot else None
        banners = list(_banners(monitor(), telemetry, overview))
        if snapshot is None:
            return render_template("status.html", banners=banners, snapshot=None)
        return render_template(
            "status.html",
            banners=banners,
            snapshot=snapshot,
            summary=overview,
            query=query,
            filters=filters_of(snapshot.inventory),
            columns=COLUMNS,
            page=find_page(ranked_of(snapshot), query, snapshot.inventory),
            down={hypervisor.name for hypervisor in snapshot.inventory.hypervisors if not hypervisor.up},
            project_name=snapshot.inventory.project_name,
        )

    @bp.get("/instance/<instance_id>")
    def instance(instance_id: str) -> str | tuple[str, int]:
        snapshot = monitor().latest
        found = (v for v in snapshot.verdicts if v.instance.id == instance_id) if snapshot else iter(())
        verdict = next(found, None)
        banners = list(_banners(monitor(), telemetry, overview_of(snapshot) if snapshot else None))
        if snapshot is None or verdict is None:
            return render_template("gone.html", banners=banners, id=instance_id), 404
        return render_template(
            "instance.html",
            banners=banners,
            snapshot=snapshot,
            verdict=verdict,
            addresses=_address_rows(verdict),
            project_name=snapshot.inventory.project_name(verdict.instance.project_id),
        )

    return bp


class _Banner(NamedTuple):
    """A message above the content: why the page may be wrong or incomplete."""

    level: str
    """CSS class: ``bad`` if the numbers should not be trusted, else ``note``."""
    text: str


def _banners(monitor: Snapshots, telemetry: Telemetry, overview: Overview | None) -> Iterator[_Banner]:
    """Yield the reasons not to believe the page: failures, stale results, a blind exporter."""
    snapshot, cache = monitor.latest, monitor.settings.cache
    for part, what in (
        (telemetry.inventory, "The instances could not be listed"),
        (telemetry.sweep, "The instances could not be pinged"),
        (telemetry.fleet, "What the other exporters say could not be read"),
    ):
        if part and part.error:
            yield _Banner("bad", f"{what}: {part.error}")
    if snapshot is None:
        yield _Banner("note", "No sweep is complete yet.")
        return
    age = monitor.age
    if age >= cache.max_stale:
        yield _Banner(
            "bad",
            f"These results are {_format_duration(age)} old. That is more than cache.max_stale "
            f"({cache.max_stale}), so they are no longer served as metrics. A scrape of the metrics "
            "refreshes them.",
        )
    if overview and overview.active.silent and not overview.active.alive:
        yield _Banner(
            "bad",
            f"None of {overview.active.silent} ACTIVE instances answers. "
            "The exporter itself may have no route to them.",
        )
    for part_name, listed in snapshot.inventory.parts.items():
        if not listed:
            yield _Banner(
                "note", f"{part_name.replace('_', ' ')}: could not be listed. The log has the reason."
            )


def _read_static_files() -> dict[str, tuple[str, GzippedBody]]:
    """Return content type and content of the style sheet and the icon, by name."""
    folder = files("fping_exporter.web") / "static"
    return {
        name: (content_type, GzippedBody.pack((folder / name).read_bytes()))
        for name, content_type in (("style.css", "text/css; charset=utf-8"), ("icon.svg", "image/svg+xml"))
    }


class _AddressRow(NamedTuple):
    """A row of an instance's table of addresses."""

    address: Address
    target: Target | None
    outcome: Outcome | None
    result: str
    """What the last sweep says, in words."""


def _address_rows(verdict: Verdict) -> list[_AddressRow]:
    """Return a row for each address that Nova lists, whether the configuration probes it or not."""
    by_address = {each.address: each for each in verdict.probed}
    rows = []
    for address in verdict.instance.addresses:
        probed = by_address.get(address, Probed(address, None))
        result = _result(probed) if address in by_address else "not asked"
        rows.append(_AddressRow(address, probed.target, probed.outcome, result))
    return rows


def _result(probed: Probed) -> str:
    if probed.ambiguous:
        return "ambiguous address"
    if probed.target is None:
        return "no vantage"
    if probed.outcome is None:
        return "not sent"
    if probed.outcome.alive:
        return "answers"
    return "unreachable" if probed.outcome.unreachable else "no reply"


def _is_off(status: str) -> bool:
    """Whether an answer contradicts a Nova status."""
    return contradicts(status, alive=True)


def _format_duration(seconds: float) -> str:
    """Return a duration in its two largest units, such as ``2h5m``."""
    seconds = max(seconds, 0)
    step = next((step for above, step in ((86_400, 3600), (3600, 60)) if seconds >= above), 1)
    return str(Duration(round(seconds / step) * step))


def _format_utc(timestamp: float) -> str:
    """Return a Unix time in ISO 8601, in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
