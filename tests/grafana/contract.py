"""The metric and label names that panels and rules may read, taken from the code that exports them."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.verdict.judge import judge
from tests.build import ALIVE, inventory, sweep
from tests.exposition import metrics
from tests.units import exporter_metrics

__all__ = ["labels", "names"]

GOLDEN = Path(__file__).parents[1] / "golden" / "instances.prom"

PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS", "ALERTS_FOR_STATE"}
"""Written by Prometheus itself."""
_ALERTMANAGER = {"alertmanager_notifications_failed_total": {"integration"}}
"""Metrics of Alertmanager that the rules read, with their labels."""
_OF_TARGETS = {"job", "instance", "shard", "cloud"}
"""Labels that the shipped scrape configurations give to targets."""


def names() -> set[str]:
    """Return the names of all samples that the exporter can export, and of those that Prometheus adds."""
    exported = {metric.name for metric in metrics(judge(inventory(), targets={}, sweep=sweep({})))}
    own = {
        name
        for metric in exporter_metrics(_stored()).collect()
        for name in (metric.name + "_total" * (metric.type == "counter"),)
    }
    return exported | own | PROMETHEUS | _ALERTMANAGER.keys()


def labels() -> dict[str, set[str]]:
    """Return the labels of each of these names, as Prometheus stores them."""
    telemetry = _stored()
    telemetry.observe_request("compute", 200)
    telemetry.observe_sweep(sweep({"192.0.2.1": ALIVE}))
    text = GOLDEN.read_text(encoding="utf-8")
    shown = [*text_string_to_metric_families(text), *exporter_metrics(telemetry).collect()]
    found = {name: set(_OF_TARGETS) for name in names()}
    for sample in (sample for family in shown for sample in family.samples):
        found[sample.name] |= sample.labels.keys()
    for name, given in _ALERTMANAGER.items():
        found[name] |= given
    found["ALERTS"] |= {"alertname", "alertstate"}
    found["ALERTS_FOR_STATE"] |= {"alertname"}
    return found


def _stored() -> Telemetry:
    """Return the telemetry of an exporter whose state outlives a restart, and which reads a fleet."""
    telemetry = Telemetry()
    telemetry.observe_state(success=True)
    telemetry.expect_fleet(read=True)
    telemetry.observe_fleet(started_at=0, duration=0, instances=0, exporters={"heard": 1}, partial=False)
    return telemetry
