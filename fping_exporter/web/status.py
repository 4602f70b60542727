"""``/`` and ``/instance/<id>``: HTML pages of the newest snapshot."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Blueprint, render_template, request

from fping_exporter import __version__
from fping_exporter.config.duration import Duration
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Address, Outcome, Probed, Reason, Snapshot, Target, Verdict
from fping_exporter.nova_status import contradicts
from fping_exporter.text import printable
from fping_exporter.web.origin import Origin
from fping_exporter.web.table import (
    COLUMNS,
    PingState,
    TableQuery,
    answers_though_off,
    filter_verdicts,
    paginate,
    ping_state,
    sort_verdicts,
)

__all__ = ["blueprint"]


def blueprint(
    monitor: Callable[[], Snapshots], *, telemetry: Telemetry, origin: Callable[[], Origin]
) -> Blueprint:
    """Render the pages from the newest snapshot; a page view never triggers a sweep.

    `origin` returns which cloud they are about. The pages work without JavaScript: the query string holds
    filters, sort order and page.
    """
    bp = Blueprint("status", __name__, static_folder="static", static_url_path="/static")
    bp.add_app_template_filter(printable)
    bp.add_app_template_filter("{:,}".format, "thousands")
    bp.add_app_template_filter(_format_duration, "duration")
    bp.add_app_template_filter(_format_utc, "utc")
    bp.add_app_template_filter(ping_state)
    bp.add_app_template_test(answers_though_off)
    bp.add_app_template_test(_is_off, "off")

    @bp.context_processor
    def common_variables() -> dict[str, object]:
        return {"version": __version__, "origin": origin(), "now": time.time()}

    @bp.get("/")
    def index() -> str:
        snapshot, query = monitor().latest, TableQuery.from_args(request.args)
        banners = list(_banners(monitor(), telemetry))
        if snapshot is None:
            return render_template("status.html", banners=banners, snapshot=None)
        found = filter_verdicts(snapshot, query)
        return render_template(
            "status.html",
            banners=banners,
            snapshot=snapshot,
            summary=_summarize(snapshot),
            query=query,
            filters=_filters(snapshot),
            columns=COLUMNS,
            page=paginate(sort_verdicts(snapshot, found, query.sort), query.page),
            down={hypervisor.name for hypervisor in snapshot.inventory.hypervisors if not hypervisor.up},
            project_name=snapshot.inventory.project_name,
        )

    @bp.get("/instance/<instance_id>")
    def instance(instance_id: str) -> str | tuple[str, int]:
        snapshot = monitor().latest
        found = (v for v in snapshot.verdicts if v.instance.id == instance_id) if snapshot else iter(())
        verdict = next(found, None)
        banners = list(_banners(monitor(), telemetry))
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


def _banners(monitor: Snapshots, telemetry: Telemetry) -> Iterator[_Banner]:
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
    asked = [v for v in snapshot.verdicts if v.instance.active and ping_state(v) is not PingState.UNASKED]
    if asked and not any(v.alive for v in asked):
        yield _Banner(
            "bad",
            f"None of {len(asked)} ACTIVE instances answers. The exporter itself may have no route to them.",
        )
    for part_name, listed in snapshot.inventory.parts.items():
        if not listed:
            yield _Banner(
                "note", f"{part_name.replace('_', ' ')}: could not be listed. The log has the reason."
            )


class _PingCounts(NamedTuple):
    """How many instances are in each PingState."""

    alive: int
    stopped: int
    never: int
    unasked: int

    @property
    def silent(self) -> int:
        return self.stopped + self.never


class _Summary(NamedTuple):
    """The counts at the top of the page."""

    total: _PingCounts
    active: _PingCounts
    by_status: dict[str, _PingCounts]
    """By Nova status, the most frequent first."""
    though_off: int
    """Instances that answer though Nova calls them off, paused, suspended or shelved."""
    reasons: list[tuple[Reason, int]]
    """Why ACTIVE instances do not answer, the most frequent first."""
    hypervisors: list[tuple[str, int]]
    """Hypervisors with the most silent ACTIVE instances."""
    projects: list[tuple[str, int]]
    """Ids of the projects with the most silent ACTIVE instances."""


_TOP = 5
"""Rows of the tables of hypervisors and projects."""
_NO_INSTANCES = _PingCounts(0, 0, 0, 0)


def _summarize(snapshot: Snapshot) -> _Summary:
    counts = Counter((v.instance.status, ping_state(v)) for v in snapshot.verdicts)
    by_status = {
        status: _PingCounts(*(counts[status, state] for state in PingState))
        for status, _ in Counter(v.instance.status for v in snapshot.verdicts).most_common()
    }
    silent = [v for v in snapshot.verdicts if v.instance.active and ping_state(v).silent]
    return _Summary(
        total=_PingCounts(*map(sum, zip(*by_status.values(), strict=True))) if by_status else _NO_INSTANCES,
        active=by_status.get("ACTIVE", _NO_INSTANCES),
        by_status=by_status,
        though_off=sum(map(answers_though_off, snapshot.verdicts)),
        reasons=Counter(v.reason for v in snapshot.verdicts if v.instance.active and v.reason).most_common(),
        hypervisors=Counter(v.instance.hypervisor for v in silent if v.instance.hypervisor).most_common(_TOP),
        projects=Counter(v.instance.project_id for v in silent).most_common(_TOP),
    )


class _Filter(NamedTuple):
    """A drop-down list above the table."""

    label: str
    options: list[tuple[str, str]]
    """Value of the query parameter, and the text shown for it."""


def _filters(snapshot: Snapshot) -> dict[str, _Filter]:
    """Return the drop-down lists by the name of their query parameter."""
    instances = snapshot.inventory.instances
    projects = {id_: snapshot.inventory.project_name(id_) for id_ in {i.project_id for i in instances}}
    # A project name is unique only within its domain.
    name_counts = Counter(projects.values())
    labels = {id_: name if name_counts[name] == 1 else f"{name} ({id_})" for id_, name in projects.items()}
    hypervisors = sorted({i.hypervisor for i in instances if i.hypervisor})
    return {
        "project": _Filter("Project", sorted(labels.items(), key=lambda option: option[1].casefold())),
        "status": _Filter("Nova status", [(each, each) for each in sorted({i.status for i in instances})]),
        "ping": _Filter(
            "Ping",
            [
                (PingState.ALIVE, "answers"),
                ("though_off", "answers: though off"),
                ("silent", "silent"),
                (PingState.STOPPED, "silent: stopped answering"),
                (PingState.NEVER, "silent: never answered"),
                ("layer2", "silent: answers at layer 2"),
                (PingState.UNASKED, "not asked"),
                *((reason, reason.replace("_", " ")) for reason in Reason),
            ],
        ),
        "hypervisor": _Filter("Hypervisor", [(name, name) for name in hypervisors]),
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
