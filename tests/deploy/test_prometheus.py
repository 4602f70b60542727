"""The rules are valid and pass their tests; each alert has tests and a section in the runbook."""

import functools
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from fping_exporter.config import Cache
from fping_exporter.config.duration import Duration
from tests.grafana.promql import kept

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy" / "prometheus"
RULES = DEPLOY / "fping-exporter.rules.yml"
RUNBOOK = "https://runbooks.example.org/fping-exporter/runbook.md"
CASES = sorted((Path(__file__).parent / "rules").glob("*.test.yml"))


def promtool(*arguments: object) -> str:
    done = subprocess.run(
        ["promtool", *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@functools.cache
def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


ALERTS = {
    rule["alert"]: rule for group in load(RULES)["groups"] for rule in group["rules"] if "alert" in rule
}


def cases(alert: str) -> Iterator[bool]:
    """Yield whether the alert fires, for each of its cases in all rule tests."""
    for path in CASES:
        for group in load(path)["tests"]:
            for case in group.get("alert_rule_test", ()):
                if case["alertname"] == alert:
                    yield bool(case.get("exp_alerts"))


@pytest.mark.e2e  # as are all that run promtool
def test_the_rules_are_valid_and_lint_free() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", RULES)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["prometheus.yml", "shards.yml", "clouds.yml"])
def test_the_configuration_is_valid(name: str) -> None:
    promtool("check", "config", DEPLOY / name)


@pytest.mark.e2e
@pytest.mark.parametrize("name", ["shards.yml", "clouds.yml"])
def test_vmagent_takes_the_configuration(name: str) -> None:
    command = ["vmagent", "-dryRun", f"-promscrape.config={DEPLOY / name}"]
    command.append("-remoteWrite.url=http://127.0.0.1:9/")
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
def test_the_shards_of_an_exporter_are_one_instance() -> None:
    command = ("check", "service-discovery", "--timeout=6s", DEPLOY / "shards.yml", "fping-exporter")
    found = [each["labels"] for each in json.loads(promtool(*command))]
    assert {labels["__param_shard"]: labels["shard"] for labels in found} == {
        "0/4": "0",
        "1/4": "1",
        "2/4": "2",
        "3/4": "3",
    }
    assert {labels["instance"] for labels in found} == {"localhost:10605"}


@pytest.mark.e2e
def test_the_pods_get_names_that_last(tmp_path: Path) -> None:
    """Relabelling is tested with pods given as a file: Debian's Prometheus has no Kubernetes discovery."""
    config = load(DEPLOY / "kubernetes.yml")
    (job,) = config["scrape_configs"]
    assert job["kubernetes_sd_configs"][0]["role"] == "pod"
    given = [pod("10.0.0.1"), pod("10.0.0.2", phase="Failed"), pod("10.0.0.3", port="other")]
    given += [pod("192.0.2.7", name="fping-exporter-node", node="c7")]
    replaced = {key: value for key, value in job.items() if key != "kubernetes_sd_configs"}
    replaced["static_configs"] = given
    path = tmp_path / "prometheus.yml"
    path.write_text(yaml.safe_dump(config | {"scrape_configs": [replaced]}), encoding="utf-8")
    promtool("check", "config", path)
    found = json.loads(promtool("check", "service-discovery", "--timeout=6s", path, "fping-exporter"))
    kept = {(each["labels"]["job"], each["labels"]["instance"]) for each in found if each["labels"]}
    assert kept == {("fping-exporter", "fping-exporter:10605"), ("fping-exporter", "c7:10605")}


def pod(
    ip: str, *, name: str = "fping-exporter", node: str = "n1", phase: str = "Running", port: str = "http"
) -> dict[str, Any]:
    """Return a pod as Prometheus's Kubernetes discovery does: a target and its meta labels."""
    meta = {
        "label_app_kubernetes_io_name": name,
        "node_name": node,
        "phase": phase,
        "container_port_name": port,
    }
    labels = {f"__meta_kubernetes_pod_{key}": value for key, value in meta.items()}
    return {"targets": [f"{ip}:10605"], "labels": labels}


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
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert set(rule["annotations"]) == {"summary", "description", "resolved", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == RUNBOOK


def test_the_address_of_the_runbook_is_in_one_place() -> None:
    assert RULES.read_text(encoding="utf-8").count("runbooks.example.org") == 1
    (first, *_), *_ = (group["rules"] for group in load(RULES)["groups"])
    assert first == {
        "record": "fping_exporter:runbook:info",
        "expr": "vector(1)",
        "labels": {"url": RUNBOOK},
    }
    elsewhere = [*(ROOT / "grafana").rglob("*.json"), *(ROOT / "deploy" / "alertmanager").rglob("*.*")]
    assert not [path for path in elsewhere if "runbooks.example.org" in path.read_text(encoding="utf-8")]


def test_the_runbook_has_a_section_for_every_alert_and_for_no_other() -> None:
    runbook = (ROOT / "deploy" / "runbook.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^### ([A-Z]\w+)$", runbook, re.MULTILINE)) == sorted(ALERTS)


def test_a_list_as_old_as_is_recommended_raises_no_alert() -> None:
    vantages = (ROOT / "deploy" / "vantages.md").read_text(encoding="utf-8")
    recommended = re.findall(r"`cache\.inventory: (\w+)`", vantages)
    assert recommended
    job = load(DEPLOY / "prometheus.yml")["scrape_configs"][0]
    oldest = max(map(Duration.parse, recommended)) + Duration.parse(job["scrape_interval"])
    assert oldest < Duration.parse(ALERTS["InstanceStuckBuilding"]["for"])
    stale = re.fullmatch(r"time\(\) - \w+ > (\d+)", ALERTS["FpingExporterInventoryStale"]["expr"])
    assert stale
    assert oldest < int(stale[1]) < Cache().max_stale


@pytest.mark.parametrize("name", ["prometheus.yml", "shards.yml", "kubernetes.yml", "clouds.yml"])
def test_every_rule_joins_the_job_that_is_scraped(name: str) -> None:
    jobs = {job["job_name"] for job in load(DEPLOY / name)["scrape_configs"]}
    joined = set(re.findall(r'job="([^"]+)"', RULES.read_text(encoding="utf-8")))
    assert joined == {"fping-exporter", "fping-exporter-process"}
    assert joined <= jobs or joined - jobs == {"fping-exporter-process"}, "which only several clouds need"


def test_what_two_clouds_may_have_in_common_is_joined_by_cloud() -> None:
    for rule in (rule for group in load(RULES)["groups"] for rule in group["rules"]):
        for labels in kept(rule["expr"]):
            assert "cloud" in labels or not labels & {"job", "project_id", "hypervisor"}, rule


@pytest.mark.e2e
def test_the_readme_joins_what_two_exporters_show(tmp_path: Path) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"^instance_silent \* .+$", readme, re.MULTILINE)
    series = [
        {"series": f'{metric}{{instance="{exporter}",id="a",{labels}}}', "values": "1"}
        for exporter in ("x1", "x2")
        for metric, labels in (
            ("instance_silent", 'reason="no_reply"'),
            ("instance_info", 'name="web-1",hypervisor="c1"'),
        )
    ]
    joined = '{id="a",reason="no_reply",name="web-1",hypervisor="c1"}'
    expected = {
        "expr": f"count without (instance) ({query})",
        "eval_time": "0m",
        "exp_samples": [{"labels": joined, "value": 2}],
    }
    path = tmp_path / "readme.test.yml"
    path.write_text(yaml.safe_dump({"tests": [{"input_series": series, "promql_expr_test": [expected]}]}))
    promtool("test", "rules", path)
