"""Every query of every panel and rule, asked of a real Prometheus that has scraped the demo."""

import sys
from collections.abc import Iterator

import pytest

from tests.deploy.stack import prometheus, query
from tests.grafana.promql import concrete, metrics
from tests.grafana.test_dashboards import TEXTS, queries, rules
from tests.integration.process import Process, eventually, free_port

pytestmark = pytest.mark.e2e

PANELS = sorted({expr for name in TEXTS for expr in queries(name)})
RECORDS = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}

FAULTS = {
    "exporter:fping_exporter_gone:bool",
    "exporter:fping_exporter_uplink_lost:ratio",
    "exporter:fping_exporter_blind:bool",
    "id:instance_silent:believed",
}
"""Recorded only when something is wrong, which in the demo nothing is: its silent ones always were."""
NOT_IN_THE_DEMO = {"project_contact_info", "fping_exporter_packets_rejected_total", "ALERTS"}
"""Metrics without a sample there: nobody forges a reply on loopback."""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return HOST:PORT of a Prometheus that has scraped the demo for some seconds."""
    directory = tmp_path_factory.mktemp("demo")
    target = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "fping_exporter", "demo", f"--web.listen-address={target}"]
    with (
        Process(command, log=directory / "demo.log"),
        prometheus(directory / "prometheus", target=target, alertmanager="127.0.0.1:9") as address,
    ):
        enough = "min(count_over_time(up[1m])) >= 8 and on () count(fping_exporter_up == 1)"

        def check() -> None:
            assert query(address, enough)

        eventually(check)
        yield address


@pytest.fixture(scope="module")
def choices(scraped: str) -> list[dict[str, str]]:
    """Return what a reader can choose in the dashboards, once for each instance."""
    return [
        {
            "job": "fping-exporter",
            "project": each["metric"]["project_id"],
            "hypervisor": ".*",
            "id": each["metric"]["id"],
            "exporter": ".*",
            "__rate_interval": "5s",
            "__range": "1m",
        }
        for each in query(scraped, "instance_info")
    ]


@pytest.mark.parametrize("expr", [expr for expr in PANELS if not metrics(expr) & NOT_IN_THE_DEMO])
def test_a_panel_shows_something(scraped: str, choices: list[dict[str, str]], expr: str) -> None:
    """For one instance at least: none is both alive and silent."""
    assert any(query(scraped, concrete(expr, chosen)) for chosen in choices)


@pytest.mark.parametrize("expr", [expr for expr in PANELS if metrics(expr) & NOT_IN_THE_DEMO])
def test_a_panel_without_data_is_understood(scraped: str, choices: list[dict[str, str]], expr: str) -> None:
    query(scraped, concrete(expr, choices[0]))


@pytest.mark.parametrize("record", RECORDS)
def test_a_rule_records_something(scraped: str, record: str) -> None:
    assert bool(query(scraped, RECORDS[record])) != (record in FAULTS)


def test_every_metric_has_samples(scraped: str) -> None:
    """Even where a panel would show a 0 without."""
    read = {name for expr in [*PANELS, *(rule["expr"] for rule in rules())] for name in metrics(expr)}
    missing = {name for name in read if not query(scraped, f"count(last_over_time({name}[1m]))")}
    assert missing <= FAULTS | NOT_IN_THE_DEMO
