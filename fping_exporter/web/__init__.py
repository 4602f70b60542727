"""The Flask application of a cloud: one blueprint for each way to read a snapshot over HTTP."""

from collections.abc import Callable, Iterable

from flask import Blueprint, Flask

from fping_exporter.explanation.asking import Asker
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.monitor import Monitor
from fping_exporter.web import assets, lifecycle, metrics, sd, status
from fping_exporter.web.application import make_application
from fping_exporter.web.origin import Origin

__all__ = ["create_app"]


def create_app(
    monitor: Callable[[], Monitor],
    *,
    whole: Callable[[], Snapshots] | None = None,
    telemetry: Telemetry,
    telemetry_path: str,
    origin: Callable[[], Origin],
    asker: Callable[[], Asker] | None = None,
    others: Iterable[Blueprint] = (),
) -> Flask:
    """Build the application.

    `monitor` returns the monitor of the configuration in use, and `whole` where the pages and ``/sd`` have
    their snapshots from; None: from the monitor, too.
    `telemetry` has the exporter's own metrics of the cloud, and `telemetry_path` is the path of all metrics,
    ``/metrics`` by default. `origin` returns which cloud the configuration in use is about, and `asker`
    what pings an instance anew for its page. `others` are blueprints of other features, such as os-fping.
    """
    app = make_application()
    app.register_blueprint(assets.blueprint())
    app.register_blueprint(metrics.blueprint(monitor, own=[telemetry.registry], path=telemetry_path))
    app.register_blueprint(
        status.blueprint(whole or monitor, telemetry=telemetry, origin=origin, asker=asker)
    )
    app.register_blueprint(
        lifecycle.blueprint(
            lambda: None if monitor().latest else "The first sweep is not complete yet.",
            settings=lambda: monitor().settings,
        )
    )
    app.register_blueprint(sd.blueprint(whole or monitor))
    for blueprint in others:
        app.register_blueprint(blueprint)
    return app
