"""The Alertmanager configuration is valid, and routes every alert to the right receiver."""

import subprocess
from pathlib import Path

import pytest

CONFIG = Path(__file__).parents[2] / "deploy" / "alertmanager" / "alertmanager.yml"


def amtool(*arguments: object) -> str:
    done = subprocess.run(
        ["amtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.e2e  # as are all that run amtool
def test_the_configuration_is_valid() -> None:
    assert "1 templates" in amtool("check-config", CONFIG)


def test_it_holds_no_secret() -> None:
    lines = [line.partition("#")[0] for line in CONFIG.read_text(encoding="utf-8").splitlines()]
    assert not [line for line in lines if "password" in line or "secret" in line]


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ("alertname=InstanceSilent project_id=p email=ops@p.example", "project"),
        ("alertname=InstanceSilent project_id=p", "operator"),
        ("alertname=ProjectSilent project_id=p email=ops@p.example", "operator,project"),
        ("alertname=ProjectSilent project_id=p", "operator"),
        ("alertname=InstanceNeverAnswered project_id=p email=ops@p.example", "project"),
        ("alertname=InstanceStuckBuilding project_id=p email=ops@p.example", "operator,project"),
        ("alertname=InstanceStuckMoving project_id=p email=ops@p.example", "operator,project"),
        ("alertname=InstanceStuckMoving project_id=p", "operator"),
        ("alertname=ProjectHypervisorOutage project_id=p email=ops@p.example hypervisor=c1", "project"),
        ("alertname=HypervisorManySilent hypervisor=c1", "operator"),
        ("alertname=HypervisorDown hypervisor=c1", "operator"),
        ("alertname=FpingExporterGone job=fping-exporter instance=x1", "operator"),
    ],
)
def test_an_alert_reaches(labels: str, receivers: str) -> None:
    amtool(
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receivers}",
        *labels.split(),
    )
