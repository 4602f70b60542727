"""The queries of all panels and rules, run by a real Prometheus that has scraped an exporter."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.deploy.stack import prometheus, query
from tests.grafana.promql import concrete, metrics
from tests.grafana.test_dashboards import TEXTS, queries, rules
from tests.integration.process import eventually

__all__ = ["FLEET", "OCCASIONAL", "PANELS", "RECORDS", "missing_metrics", "scraping", "shows"]

PANELS = sorted({expr for name in TEXTS for expr in queries(name)})
RECORDS = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
EXPRESSIONS = [*PANELS, *(rule["expr"] for rule in rules())]

OCCASIONAL = {
    "exporter:fping_exporter_gone:bool",
    "id:instance:noted",
    "instance_missed",
    "instance_never_answered",
}
"""There only when something is wrong."""
FLEET = {name for expr in EXPRESSIONS for name in metrics(expr) if name.startswith("fping_exporter_fleet_")}
"""Metrics of an exporter that reads what others say."""


@contextlib.contextmanager
def scraping(directory: Path, *, target: str) -> Iterator[str]:
    """Run Prometheus, which scrapes `target` (HOST:PORT); after some seconds yield its own HOST:PORT."""
    enough = "min(count_over_time(up[1m])) >= 8 and on () count(fping_exporter_up == 1)"
    with prometheus(directory, target=target, alertmanager="127.0.0.1:9") as address:

        def check() -> None:
            assert query(address, enough)

        eventually(check)
        yield address


def shows(address: str, expr: str) -> bool:
    """Return whether a panel's query has data for at least one instance: no instance is alive and silent."""
    return any(query(address, concrete(expr, chosen)) for chosen in _choices(address))


def missing_metrics(address: str) -> set[str]:
    """Return the metrics of a query that have no samples, even if the query returns 0 without them."""
    read = {name for expr in EXPRESSIONS for name in metrics(expr)}
    return {name for name in read if not query(address, f"count(last_over_time({name}[1m]))")}


def _choices(address: str) -> list[dict[str, str]]:
    """Return values of the dashboards' variables, one set for each instance."""
    return [
        {
            "job": "fping-exporter",
            "cloud": ".*",
            "project": each["metric"]["project_id"],
            "hypervisor": ".*",
            "id": each["metric"]["id"],
            "exporter": ".*",
            "__rate_interval": "5s",
            "__range": "1m",
        }
        for each in query(address, "instance_info")
    ]
