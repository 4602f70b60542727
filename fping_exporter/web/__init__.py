"""The Flask application: one blueprint for each way to read a snapshot over HTTP."""

from collections.abc import Callable, Iterable

from flask import Blueprint, Flask, Response, abort, request

from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.monitor import Monitor
from fping_exporter.web import lifecycle, metrics, sd, status
from fping_exporter.web.compression import compress_response
from fping_exporter.web.origin import Origin

__all__ = ["create_app"]


def create_app(
    monitor: Callable[[], Monitor],
    *,
    whole: Callable[[], Snapshots] | None = None,
    telemetry: Telemetry,
    process: ProcessTelemetry | None = None,
    telemetry_path: str,
    origin: Callable[[], Origin],
    controls: lifecycle.Controls | None = None,
    others: Iterable[Blueprint] = (),
) -> Flask:
    """Build the application.

    `monitor` returns the monitor of the configuration in use, and `whole` where the pages and ``/sd`` have
    their snapshots from; None: from the monitor, too.
    `telemetry` and `process` have the exporter's own metrics; without `process`, those of the process are
    not served. `telemetry_path` is the path of the metrics, ``/metrics`` by default. `origin` returns which
    cloud the configuration in use is about. `controls` are the functions behind
    ``/-/reload`` and ``/-/quit``; None disables both. `others` are blueprints of other features, such as
    os-fping.
    """
    app = Flask(__name__, static_folder=None)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.url_map.merge_slashes = False  # `/-//healthy` is 404, not a redirect
    app.before_request(_refuse_leading_slashes)
    own = [process.registry, telemetry.registry] if process else [telemetry.registry]
    app.register_blueprint(metrics.blueprint(monitor, own=own, path=telemetry_path))
    app.register_blueprint(status.blueprint(whole or monitor, telemetry=telemetry, origin=origin))
    app.register_blueprint(lifecycle.blueprint(monitor, controls=controls))
    app.register_blueprint(sd.blueprint(whole or monitor))
    for blueprint in others:
        app.register_blueprint(blueprint)
    app.after_request(_set_security_headers)
    app.after_request(compress_response)
    return app


def _refuse_leading_slashes() -> None:
    """Answer 404 to ``//metrics``: werkzeug takes it for ``/metrics``, which is another path."""
    if request.environ["PATH_INFO"].startswith("//"):
        abort(404)


def _set_security_headers(response: Response) -> Response:
    """Forbid scripts and content-type sniffing: names from Nova are untrusted text."""
    response.headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
