"""A real cloud gives data to every panel and rule."""

from collections.abc import Iterator

import pytest

from tests.deploy.stack import query
from tests.grafana.promql import metrics
from tests.grafana.scraped import FLEET, OCCASIONAL, PANELS, RECORDS, missing_metrics, scraping, shows
from tests.integration.exporter import Exporter, write_config
from tests.integration.lab import Lab
from tests.integration.process import eventually

pytestmark = pytest.mark.lab

NOT_IN_THE_LAB = {
    "ALERTS": "no instance changes meanwhile, and nothing else is wrong",
    "ALERTS_FOR_STATE": "likewise",
    "alertmanager_notifications_failed_total": "no Alertmanager is scraped",
    "instance_layer2_alive": "guests on links of this host have not the MACs of their ports",
    "fping_exporter_state_success": "the exporter has no directory for its state",
    **dict.fromkeys(FLEET, "the exporter reads no fleet: test_fleet.py has one"),
}
"""Metrics without a sample there, and why."""


@pytest.fixture(scope="module")
def scraped(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return HOST:PORT of a Prometheus that has scraped an exporter of the lab for some seconds."""
    directory = tmp_path_factory.mktemp("panels")
    config = write_config(
        directory,
        cloud="admin",
        contacts={"alpha": "ops@alpha.example"},
        cache={"inventory": "2s", "sweep": "1s"},
        probe={"timeout": "2s", "retries": 0},
    )
    with (
        Exporter(config, clouds=lab.clouds, log=directory / "exporter.log") as exporter,
        scraping(directory / "prometheus", target=exporter.address) as address,
    ):
        yield address


@pytest.mark.parametrize("expr", PANELS)
def test_a_panel_shows_something(scraped: str, expr: str) -> None:
    def check() -> None:
        assert shows(scraped, expr) or metrics(expr) & NOT_IN_THE_LAB.keys()

    eventually(check)  # a scrape may have been late


@pytest.mark.parametrize("record", RECORDS)
def test_a_rule_records_something(scraped: str, record: str) -> None:
    def check() -> None:
        assert query(scraped, RECORDS[record]) or record in OCCASIONAL

    eventually(check)


def test_every_metric_has_samples(scraped: str) -> None:
    assert missing_metrics(scraped) <= OCCASIONAL | NOT_IN_THE_LAB.keys()
