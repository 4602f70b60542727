"""The os-fping API without tokens, for tests of the exporter's other pages."""

from flask import Blueprint

from fping_exporter import config
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Snapshot
from fping_exporter.os_fping.api import OsFpingApi
from fping_exporter.os_fping.callers import AnonymousAccess
from fping_exporter.os_fping.on_demand import OnDemand
from fping_exporter.os_fping.rate_limit import RateLimits
from fping_exporter.os_fping.views import blueprint
from fping_exporter.probe import Prober
from tests.os_fping.explaining import make_explainer

__all__ = ["anonymous_os_fping"]


def anonymous_os_fping(monitor: Snapshots, *, prober: Prober, telemetry: Telemetry) -> Blueprint:
    """Return the API's blueprint over `monitor`."""

    def snapshot() -> Snapshot | None:
        return monitor.snapshot(timeout=30)

    api = OsFpingApi(
        config.OsFping(auth="none"),
        callers=AnonymousAccess(snapshot),
        on_demand=OnDemand(monitor.settings, prober=prober, snapshot=snapshot),
        explainer=make_explainer(monitor.settings, prober, snapshot),
        rate_limits=RateLimits(),
        telemetry=telemetry,
    )
    return blueprint(lambda: api, telemetry=telemetry)
