"""The rules, their tests, and that no alert goes without either."""

import functools
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fping_exporter.config import Cache
from fping_exporter.duration import Duration

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "prometheus"
RULES = DEPLOY / "fping-exporter.rules.yml"
CASES = sorted((Path(__file__).parent / "rules").glob("*.test.yml"))


def promtool(*arguments: object) -> None:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@functools.cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


ALERTS = {
    rule["alert"]: rule for group in load(RULES)["groups"] for rule in group["rules"] if "alert" in rule
}


def cases(alert: str) -> Iterator[bool]:
    """Yield, for each case of the alert in any test, whether it fires there."""
    for path in CASES:
        for group in load(path)["tests"]:
            for case in group.get("alert_rule_test", ()):
                if case["alertname"] == alert:
                    yield bool(case.get("exp_alerts"))


@pytest.mark.e2e  # as are all that run promtool
def test_the_rules_are_valid_and_lint_free() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.e2e
def test_the_configuration_is_valid() -> None:
    promtool("check", "config", DEPLOY / "prometheus.yml")


@pytest.mark.e2e
@pytest.mark.parametrize("path", CASES, ids=lambda path: path.name)
def test_the_rules_do_as_their_tests_say(path: Path) -> None:
    promtool("test", "rules", path)


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_is_seen_firing_and_silent(alert: str) -> None:
    assert set(cases(alert)) == {True, False}


@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_says_what_it_means_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "resolved", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == (
        f"https://runbooks.example.org/fping-exporter/runbook.md#{alert.lower()}"
    )


def test_the_runbook_has_a_section_for_every_alert_and_for_no_other() -> None:
    runbook = (ROOT / "deploy" / "runbook.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^### (\w+)$", runbook, re.MULTILINE)) == sorted(ALERTS)


def test_a_list_as_old_as_is_recommended_raises_no_alert() -> None:
    vantages = (ROOT / "deploy" / "vantages.md").read_text(encoding="utf-8")
    recommended = re.findall(r"`cache\.inventory: (\w+)`", vantages)
    assert recommended
    (job,) = load(DEPLOY / "prometheus.yml")["scrape_configs"]
    oldest = max(map(Duration.parse, recommended)) + Duration.parse(job["scrape_interval"])
    assert oldest < Duration.parse(ALERTS["InstanceStuckBuilding"]["for"])
    stale = re.fullmatch(r"time\(\) - \w+ > (\d+)", ALERTS["FpingExporterInventoryStale"]["expr"])
    assert stale
    assert oldest < int(stale[1]) < Cache().max_stale


def test_every_rule_joins_the_job_that_is_scraped() -> None:
    jobs = {job["job_name"] for job in load(DEPLOY / "prometheus.yml")["scrape_configs"]}
    assert set(re.findall(r'job="([^"]+)"', RULES.read_text(encoding="utf-8"))) == jobs
