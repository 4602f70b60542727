"""``/``: the numbers of the last sweep, for people."""

import time

from flask import Blueprint, render_template

from fping_exporter import __version__
from fping_exporter.duration import Duration
from fping_exporter.monitor import Monitor

__all__ = ["blueprint"]


def blueprint(monitor: Monitor, *, telemetry_path: str) -> Blueprint:
    """Draw the page from the newest snapshot, without asking for a new one."""
    bp = Blueprint("status", __name__)

    @bp.get("/")
    def index() -> str:
        snapshot = monitor.latest
        verdicts = snapshot.verdicts if snapshot else ()
        return render_template(
            "index.html",
            version=__version__,
            telemetry_path=telemetry_path,
            snapshot=snapshot,
            alive=sum(verdict.alive for verdict in verdicts),
            active=sum(verdict.instance.active for verdict in verdicts),
            silent=[v for v in verdicts if v.instance.active and not v.alive],
            age=lambda then: Duration(round(max(time.time() - then, 0))),
        )

    return bp
