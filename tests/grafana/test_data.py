"""Every panel and rule has data when Prometheus scrapes the demo."""

import sys
from collections.abc import Iterator

import pytest

from tests.deploy.stack import query
from tests.grafana.promql import metrics
from tests.grafana.scraped import FLEET, OCCASIONAL, PANELS, RECORDS, missing_metrics, scraping, shows
from tests.integration.process import Process, eventually, free_port

pytestmark = pytest.mark.e2e

NOT_IN_THE_DEMO = {
    "alertmanager_notifications_failed_total",
    "fping_exporter_state_success",
    *FLEET,
    "fping_exporter_layer2_trusted",
    "instance_layer2_alive",
    "project_contact_info",
    "ALERTS",
    "ALERTS_FOR_STATE",
}
"""Metrics without a sample there."""


@pytest.fixture(scope="module")
def scraped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the HOST:PORT of a Prometheus that has scraped the demo for some seconds."""
    directory = tmp_path_factory.mktemp("demo")
    target = f"127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "fping_exporter", "demo", f"--web.listen-address={target}"]
    with (
        Process(command, log=directory / "demo.log"),
        scraping(directory / "prometheus", target=target) as address,
    ):
        yield address


@pytest.mark.parametrize("expr", PANELS)
def test_a_panel_shows_something(scraped: str, expr: str) -> None:
    def check() -> None:
        assert shows(scraped, expr) or metrics(expr) & NOT_IN_THE_DEMO

    eventually(check)  # a scrape may have been late


@pytest.mark.parametrize("record", RECORDS)
def test_a_rule_records_something(scraped: str, record: str) -> None:
    def check() -> None:
        assert query(scraped, RECORDS[record]) or record in OCCASIONAL

    eventually(check)


def test_every_metric_has_samples(scraped: str) -> None:
    assert missing_metrics(scraped) <= OCCASIONAL | NOT_IN_THE_DEMO
