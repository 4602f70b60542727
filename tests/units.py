"""The one cloud of a service that has no more."""

from prometheus_client.registry import Collector

from fping_exporter.cloud_unit import CloudUnit
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.metrics.scrape import Up, collect_scrape
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.service import Service

__all__ = ["exporter_metrics", "only"]


def only(service: Service) -> CloudUnit:
    """Return the only cloud."""
    [unit] = service.units.values()
    return unit


def exporter_metrics(telemetry: Telemetry) -> Collector:
    """Return the exporter's own metrics in a scrape of ``/metrics`` that has results of instances."""
    return collect_scrape([ProcessTelemetry().registry, telemetry.registry, Up(True)])  # noqa: FBT003, the value
