"""A disabled metric that shipped alerts or dashboards read is warned of."""

from pathlib import Path
from typing import get_args

import pytest

from fping_exporter.cli import main
from fping_exporter.cli.readers import alerts_on, dashboards_on, miss
from fping_exporter.config import Metric
from tests.cli.test_cli import CREDENTIALS
from tests.grafana.promql import metrics
from tests.grafana.test_dashboards import TEXTS, queries, rules

METRICS = get_args(Metric)
READ = {rule.get("record") or rule["alert"]: metrics(rule["expr"]) for rule in rules()}
"""What each rule reads, as found by the test's own reading of PromQL."""


def behind(names: set[str]) -> set[str]:
    """Return these metrics, and those that the recording rules among them read."""
    found = names.union(*(READ.get(name, ()) for name in names))
    return found if found == names else behind(found)


@pytest.mark.parametrize("metric", METRICS)
def test_the_readers_of_a_metric(metric: str) -> None:
    alerts = [rule["alert"] for rule in rules() if "alert" in rule]
    assert alerts_on(metric) == [alert for alert in alerts if metric in behind(READ[alert])]
    assert dashboards_on(metric) == sorted(
        name.removesuffix(".json") for name in TEXTS if any(metric in metrics(expr) for expr in queries(name))
    )


def test_an_alert_needs_what_a_recording_rule_reads_for_it() -> None:
    assert "instance_packet_loss_ratio" not in READ["InstanceSilent"]
    assert "InstanceSilent" in alerts_on("instance_packet_loss_ratio")


def test_what_nobody_reads_is_not_missed() -> None:
    assert list(miss(["instance_address_alive"])) == []


def test_what_is_read_is_missed_once() -> None:
    first, second = miss(["hypervisor_up", "instance_rtt_seconds", "hypervisor_up"])
    assert first == (
        "metrics.disable: hypervisor_up: needed by the alerts HypervisorUpNoneAnswering, HypervisorDown, "
        "HypervisorDownGuestsAnswering and by the dashboards fping-cloud, as shipped"
    )
    assert second == (
        "metrics.disable: instance_rtt_seconds: needed by the dashboards fping-cloud, fping-instance, "
        "fping-project, as shipped"
    )


def test_config_check_warns_and_finds_the_configuration_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    Path("fping-exporter.yml").write_text("metrics: {disable: [instance_address_alive, hypervisor_up]}")
    assert main(["--config.check"]) == 0
    printed = capsys.readouterr()
    assert printed.out == "fping-exporter.yml: the configuration is right.\n"
    (line,) = printed.err.splitlines()
    assert line.startswith("fping-exporter: warning: metrics.disable: hypervisor_up: needed by the alerts ")
