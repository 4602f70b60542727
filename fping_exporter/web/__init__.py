"""The faces of a snapshot on HTTP: one Flask blueprint each."""

from collections.abc import Iterable

from flask import Blueprint, Flask, Response

from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.monitor import Monitor
from fping_exporter.web import lifecycle, metrics, sd, status

__all__ = ["create_app"]


def create_app(
    monitor: Monitor,
    *,
    telemetry: Telemetry,
    telemetry_path: str,
    controls: lifecycle.Controls | None = None,
    others: Iterable[Blueprint] = (),
) -> Flask:
    """Put the faces together; `telemetry_path` is where the metrics are, ``/metrics`` as a rule.

    `controls` are what may be done over HTTP, None for nothing. `others` are blueprints of other
    features, such as os-fping.
    """
    app = Flask(__name__, static_folder=None)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.url_map.merge_slashes = False  # a path with a slash too many is another path, not a redirect
    app.register_blueprint(metrics.blueprint(monitor, telemetry=telemetry, path=telemetry_path))
    app.register_blueprint(status.blueprint(monitor, telemetry=telemetry, telemetry_path=telemetry_path))
    app.register_blueprint(lifecycle.blueprint(monitor, controls=controls))
    app.register_blueprint(sd.blueprint(monitor))
    for blueprint in others:
        app.register_blueprint(blueprint)
    app.after_request(_harden)
    return app


def _harden(response: Response) -> Response:
    """Names from Nova are untrusted text: nothing in a page may run or be guessed to be a page."""
    response.headers.setdefault("Content-Security-Policy", _POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
