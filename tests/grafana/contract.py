"""Every metric name that a panel or a rule may read, taken from the code that exports them."""

from fping_exporter.judge import judge
from fping_exporter.metrics import families
from fping_exporter.telemetry import Telemetry
from tests.build import inventory, sweep

__all__ = ["names"]

PROMETHEUS = {"up", "scrape_duration_seconds", "ALERTS"}
"""Written by Prometheus itself."""


def names() -> set[str]:
    """Return the names of all samples that the exporter can show, and of Prometheus's own."""
    exported = {family.name for family in families(judge(inventory(), targets={}, sweep=sweep({})))}
    own = {
        name
        for metric in Telemetry().registry.collect()
        for name in (metric.name + "_total" * (metric.type == "counter"),)
    }
    return exported | own | PROMETHEUS
