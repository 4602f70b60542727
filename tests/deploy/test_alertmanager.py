"""The Alertmanager configuration is valid, and routes every alert to the right receiver."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from fping_exporter.web.table import TableQuery

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "alertmanager" / "alertmanager.yml"
TEMPLATE = ROOT / "deploy" / "alertmanager" / "templates" / "fping-exporter.tmpl"


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


def test_mails_link_to_dashboards_and_variables_that_exist() -> None:
    boards = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in (ROOT / "grafana" / "dashboards").glob("*.json")
    ]
    variables = {board["uid"]: {each["name"] for each in board["templating"]["list"]} for board in boards}
    links = re.findall(r"}}(fping-[a-z]+)(.*)", TEMPLATE.read_text(encoding="utf-8"))
    assert {uid for uid, _ in links} == set(variables)
    assert all(set(re.findall(r"var-(\w+)=", query)) <= variables[uid] for uid, query in links)
    assert all("var-cloud=" in query for _, query in links)


def test_mails_link_to_the_status_page_with_parameters_that_it_has() -> None:
    (page,) = re.findall(r"(?s)define \"fping.page\"(.*?)define", TEMPLATE.read_text(encoding="utf-8"))
    used = set(re.findall(r"[?&](\w+)=", page))
    assert used == {"ping", "project", "hypervisor"}
    assert used <= set(TableQuery._fields)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("alert", "receivers"),
    [
        ("InstanceSilent severity=warning project_id=p email=a@p.example", "project"),
        ("InstanceSilent severity=warning project_id=p", "operator"),
        ("ProjectSilent severity=critical project_id=p email=a@p.example", "pager,operator,project"),
        ("ProjectSilent severity=critical project_id=p", "pager,operator"),
        ("InstanceNeverAnswered severity=warning project_id=p email=a@p.example", "project"),
        ("InstanceIgnoresPing severity=info project_id=p email=a@p.example", "nobody"),
        ("InstanceStuckBuilding severity=warning project_id=p email=a@p.example", "operator,project"),
        ("InstanceStuckMoving severity=warning project_id=p email=a@p.example", "operator,project"),
        ("InstanceStuckMoving severity=warning project_id=p", "operator"),
        ("ProjectHypervisorOutage severity=warning project_id=p email=a@p.example hypervisor=c1", "project"),
        ("HypervisorManySilent severity=critical hypervisor=c1", "pager,operator"),
        ("HypervisorDown severity=critical hypervisor=c1", "pager,operator"),
        ("HypervisorDown severity=warning hypervisor=c1", "operator"),
        ("FpingExporterGone severity=critical job=fping-exporter instance=x1", "pager,operator"),
        ("FpingExporterReloadFailed severity=warning job=fping-exporter instance=x1", "operator"),
        ("NotificationsFailed severity=critical instance=a1 integration=email", "pager,operator"),
        ("AnAlertOfYourOwn", "operator"),
    ],
)
def test_an_alert_reaches(alert: str, receivers: str) -> None:
    amtool(
        "config",
        "routes",
        "test",
        f"--config.file={CONFIG}",
        f"--verify.receivers={receivers}",
        *f"alertname={alert}".split(),
    )
