"""``/`` and ``/instance/<id>``: the last sweep, for people."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from flask import Blueprint, render_template, request

from fping_exporter import __version__
from fping_exporter.config.duration import Duration
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Address, Probed, Reason, Snapshot, Verdict
from fping_exporter.monitor import Monitor
from fping_exporter.text import printable
from fping_exporter.web.table import Query, find, paginate, sort

__all__ = ["blueprint"]

_COLUMNS = {
    "name": "Instance",
    "project": "Project",
    "status": "Nova",
    "ping": "Ping",
    "last_reply": "Last reply",
    "rtt": "RTT",
    "hypervisor": "Hypervisor",
}
"""By what they are sorted by."""


def blueprint(monitor: Monitor, *, telemetry: Telemetry, telemetry_path: str) -> Blueprint:
    """Draw the pages from the newest snapshot, without asking for a new one.

    They are read without JavaScript: what is shown is all in the query string.
    """
    bp = Blueprint("status", __name__, static_folder="static", static_url_path="/static")
    bp.add_app_template_filter(printable)
    bp.add_app_template_filter("{:,}".format, "thousands")
    bp.add_app_template_filter(_span, "span")
    bp.add_app_template_filter(_utc, "utc")

    @bp.context_processor
    def everywhere() -> dict[str, object]:
        return {"version": __version__, "telemetry_path": telemetry_path, "now": time.time()}

    @bp.get("/")
    def index() -> str:
        snapshot, query = monitor.latest, Query.read(request.args)
        notices = list(_notices(monitor, telemetry))
        if snapshot is None:
            return render_template("status.html", notices=notices, snapshot=None)
        found = find(snapshot, query)
        return render_template(
            "status.html",
            notices=notices,
            snapshot=snapshot,
            summary=_summarize(snapshot),
            query=query,
            choices=_choices(snapshot),
            columns=_COLUMNS,
            page=paginate(sort(snapshot, found, query.sort), query.page),
            down={hypervisor.name for hypervisor in snapshot.inventory.hypervisors if not hypervisor.up},
            project_name=snapshot.inventory.project_name,
        )

    @bp.get("/instance/<instance_id>")
    def instance(instance_id: str) -> str | tuple[str, int]:
        snapshot = monitor.latest
        found = (v for v in snapshot.verdicts if v.instance.id == instance_id) if snapshot else iter(())
        verdict = next(found, None)
        notices = list(_notices(monitor, telemetry))
        if snapshot is None or verdict is None:
            return render_template("gone.html", notices=notices, id=instance_id), 404
        return render_template(
            "instance.html",
            notices=notices,
            snapshot=snapshot,
            verdict=verdict,
            asked=list(_asked(verdict)),
            project_name=snapshot.inventory.project_name(verdict.instance.project_id),
        )

    return bp


class _Notice(NamedTuple):
    level: str
    """``bad`` where the numbers should not be trusted, else ``note``."""
    text: str


def _notices(monitor: Monitor, telemetry: Telemetry) -> Iterator[_Notice]:
    """Say what stands between the reader and the truth."""
    snapshot, cache = monitor.latest, monitor.settings.cache
    for part, what in (
        (telemetry.inventory, "The instances could not be listed"),
        (telemetry.sweep, "The instances could not be pinged"),
    ):
        if part.error:
            yield _Notice("bad", f"{what}: {part.error}")
    if snapshot is None:
        yield _Notice("note", "No sweep is complete yet.")
        return
    age = time.time() - min(snapshot.sweep.started_at, snapshot.inventory.listed_at)
    if age >= cache.max_stale:
        yield _Notice(
            "bad",
            f"These results are {_span(age)} old, more than cache.max_stale ({cache.max_stale}), and no "
            "longer served as metrics. A scrape of the metrics refreshes them.",
        )
    asked = [v for v in snapshot.verdicts if v.instance.active and v.loss is not None]
    if asked and not any(v.alive for v in asked):
        yield _Notice(
            "bad",
            f"None of {len(asked)} ACTIVE instances answers: the exporter itself may have no way to them.",
        )
    for part_name, had in snapshot.inventory.parts.items():
        if not had:
            yield _Notice("note", f"{part_name.replace('_', ' ')}: could not be listed, the log says why.")


class _Answers(NamedTuple):
    """How many answer, are silent, or could not be asked."""

    alive: int
    silent: int
    unasked: int


class _Summary(NamedTuple):
    """The counts at the top."""

    total: _Answers
    active: _Answers
    matrix: dict[str, _Answers]
    """By Nova's status, the most frequent first."""
    reasons: list[tuple[Reason, int]]
    """Why ACTIVE instances are silent, the most frequent first."""
    hypervisors: list[tuple[str, int]]
    """Where the most of these are."""
    projects: list[tuple[str, int]]
    """Whose the most of these are, by id."""


_MOST = 5


def _summarize(snapshot: Snapshot) -> _Summary:
    counts: Counter[tuple[str, bool | None]] = Counter(
        (v.instance.status, v.alive) for v in snapshot.verdicts
    )
    matrix = {
        status: _Answers(counts[status, True], counts[status, False], counts[status, None])
        for status, _ in Counter(v.instance.status for v in snapshot.verdicts).most_common()
    }
    silent = [v for v in snapshot.verdicts if v.instance.active and v.alive is False]
    hypervisors = Counter(v.instance.hypervisor for v in silent if v.instance.hypervisor)
    return _Summary(
        total=_Answers(*map(sum, zip(*matrix.values(), strict=True))) if matrix else _Answers(0, 0, 0),
        active=matrix.get("ACTIVE", _Answers(0, 0, 0)),
        matrix=matrix,
        reasons=Counter(v.reason for v in silent if v.reason).most_common(),
        hypervisors=hypervisors.most_common(_MOST),
        projects=Counter(v.instance.project_id for v in silent).most_common(_MOST),
    )


def _choices(snapshot: Snapshot) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    """Return the filters: label, and the values with their words, by the name of the parameter."""
    instances = snapshot.inventory.instances
    projects = {id_: snapshot.inventory.project_name(id_) for id_ in {i.project_id for i in instances}}
    times = Counter(projects.values())
    return {
        "project": (
            "Project",
            sorted(
                # Names are unique within a domain only.
                ((id_, name if times[name] == 1 else f"{name} ({id_})") for id_, name in projects.items()),
                key=lambda choice: choice[1].casefold(),
            ),
        ),
        "status": ("Nova", [(status, status) for status in sorted({i.status for i in instances})]),
        "ping": (
            "Ping",
            [
                *(("alive", "answers"), ("silent", "silent"), ("unasked", "not asked")),
                *((reason, reason.replace("_", " ")) for reason in Reason),
            ],
        ),
        "hypervisor": (
            "Hypervisor",
            [(name, name) for name in sorted({i.hypervisor for i in instances if i.hypervisor})],
        ),
    }


def _asked(verdict: Verdict) -> Iterator[tuple[Address, Probed | None, str]]:
    """Yield each address of an instance, how it was asked, and what came of that in a word."""
    probed = {each.address: each for each in verdict.probed}
    for address in verdict.instance.addresses:
        yield address, probed.get(address), _word(probed.get(address))


def _word(probed: Probed | None) -> str:
    if probed is None:
        return "not asked"
    if probed.target is None:
        return "no vantage"
    if probed.outcome is None:
        return "not sent"
    if probed.outcome.alive:
        return "answers"
    return "unreachable" if probed.outcome.unreachable else "no reply"


def _span(seconds: float) -> str:
    """Write a length of time as people do, in two units at most."""
    seconds = max(seconds, 0)
    step = next((step for above, step in ((86_400, 3600), (3600, 60)) if seconds >= above), 1)
    return str(Duration(round(seconds / step) * step))


def _utc(timestamp: float) -> str:
    """Write a Unix time in ISO 8601."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
