"""The dashboards are up to date, valid and documented, and read only metrics that are exported."""

import json
import re
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from grafana.__main__ import DASHBOARDS, render
from grafana.queries import EXPORTERS_HEALTHY
from tests.grafana import contract
from tests.grafana.promql import concrete, joined, kept, matched, metrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "fping-exporter.rules.yml"
TEXTS = render()
VARIABLES = {
    "job": "fping-exporter",
    "cloud": ".*",
    "project": "p",
    "hypervisor": "c1",
    "id": "a",
    "exporter": "x1",
    "__rate_interval": "4m",
    "__range": "6h",
}


def load(name: str) -> Any:
    return json.loads(TEXTS[name])


def panels(name: str) -> list[Any]:
    return [panel for panel in load(name)["panels"] if panel["type"] != "row"]


def variables(name: str) -> dict[str, Any]:
    return {variable["name"]: variable for variable in load(name)["templating"]["list"]}


def queries(name: str) -> Iterator[str]:
    for panel in panels(name):
        for target in panel["targets"]:
            yield target["expr"]
    for variable in variables(name).values():
        if variable["type"] == "query":
            query = variable["query"]["query"]
            found = re.fullmatch(r"(?:query_result|label_values)\((.*?)(?:, \w+)?\)", query, re.DOTALL)
            assert found, query
            yield found[1]
    for annotation in load(name)["annotations"]["list"]:
        yield annotation["expr"]


def rules() -> list[Any]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_the_files_are_what_the_code_writes() -> None:
    """To update the files: ``python -m grafana``."""
    assert {path.name: path.read_text(encoding="utf-8") for path in DASHBOARDS.iterdir()} == TEXTS


@pytest.mark.parametrize("name", TEXTS)
class TestDashboard:
    def test_has_the_name_of_its_uid(self, name: str) -> None:
        assert load(name)["uid"] + ".json" == name

    def test_is_in_the_schema_of_grafana(self, name: str) -> None:
        """The types of Grafana's foundation SDK, generated from its schema, have every field."""
        again = json.loads(json.dumps(Dashboard.from_json(load(name)), cls=JSONEncoder))
        assert again == load(name)

    def test_explains_every_panel(self, name: str) -> None:
        for panel in panels(name):
            assert panel["title"]
            assert panel["description"].endswith("."), panel["title"]

    def test_gives_every_number_a_unit(self, name: str) -> None:
        for panel in panels(name):
            if panel["type"] == "state-timeline":
                assert panel["fieldConfig"]["defaults"]["mappings"], panel["title"]
            elif panel["type"] == "table":
                columns = set(panel["transformations"][1]["options"]["renameByName"].values())
                with_unit = {
                    override["matcher"]["options"]
                    for override in panel["fieldConfig"]["overrides"]
                    if any(each["id"] == "unit" for each in override["properties"])
                }
                assert with_unit == columns, panel["title"]
            else:
                assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]

    def test_lays_its_panels_side_by_side(self, name: str) -> None:
        places = [panel["gridPos"] for panel in load(name)["panels"]]
        for place in places:
            assert place["x"] + place["w"] <= 24
        for one, other in combinations(places, 2):
            assert (
                one["x"] + one["w"] <= other["x"]
                or other["x"] + other["w"] <= one["x"]
                or one["y"] + one["h"] <= other["y"]
                or other["y"] + other["h"] <= one["y"]
            ), (one, other)

    def test_asks_the_chosen_data_source(self, name: str) -> None:
        assert variables(name)["datasource"]["query"] == "prometheus"
        for panel in panels(name):
            for asking in [panel, *panel["targets"]]:
                assert asking["datasource"] == {"type": "prometheus", "uid": "${datasource}"}

    def test_lets_the_reader_choose_what_it_uses(self, name: str) -> None:
        used = {found for query in queries(name) for found in re.findall(r"\$([a-z_]\w*)", query)}
        assert {each for each in used if not each.startswith("__")} <= set(variables(name))

    def test_leads_only_to_dashboards_and_variables_that_exist(self, name: str) -> None:
        for uid, parameters in re.findall(r'"url": "/d/([\w-]+)\?([^"]*)"', TEXTS[name]):
            there = variables(f"{uid}.json")
            assert set(re.findall(r"var-(\w+)=", parameters)) <= set(there)
            assert set(re.findall(r"\$\{(\w+):queryparam\}", parameters)) <= set(variables(name)) & set(there)

    def test_tells_apart_what_two_clouds_may_have_in_common(self, name: str) -> None:
        for query in set(queries(name)) - {'fping_exporter_up{job=~"$job"}'}:  # that of the variable itself
            for labels in kept(query):
                assert labels & {"cloud", "id"} or not labels & {"job", "project_id", "hypervisor"}, query
            for metric, labels in matched(query):
                assert labels & {"cloud", "id"} or metric.startswith(OF_THE_PROCESS), query

    def test_reads_only_metrics_that_are_exported(self, name: str) -> None:
        for query in queries(name):
            read = metrics(query)
            assert read
            assert read <= contract.names() | {"fping_exporter:runbook:info"}, query

    @pytest.mark.e2e  # promtool
    def test_asks_what_prometheus_understands(self, name: str, tmp_path: Path) -> None:
        path = tmp_path / "queries.yml"
        recorded = [
            {"record": f"query:{index}", "expr": concrete(query, VARIABLES)}
            for index, query in enumerate(queries(name))
        ]
        path.write_text(yaml.safe_dump({"groups": [{"name": "q", "rules": recorded}]}), encoding="utf-8")
        done = subprocess.run(
            ["promtool", "check", "rules", path], capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr


OF_THE_PROCESS = ("process_", "fping_exporter_config_", "fping_exporter_build_info")
HEALTH = {"Exporters", "Oldest sweep"}
"""Panels that tell of the exporters themselves."""


@pytest.mark.e2e  # promtool
@pytest.mark.parametrize("fault", ["there is no exporter", "it is not scraped", "it has no results"])
def test_no_panel_has_a_value_while_the_exporter_is_away(fault: str, tmp_path: Path) -> None:
    """A green 0 would look as if all instances were well."""
    exporter = 'job="fping-exporter",instance="x1"'
    series = {
        "there is no exporter": {},
        "it is not scraped": {f"up{{{exporter}}}": "0x9"},
        "it has no results": {f"up{{{exporter}}}": "1x9", f"fping_exporter_up{{{exporter}}}": "0x9"},
    }[fault]
    expressions = {
        target["expr"]
        for name in TEXTS
        for panel in panels(name)
        for target in panel["targets"]
        if name != "fping-exporter.json" and panel["title"] not in HEALTH
    }
    case = {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {
                "expr": concrete(expr, VARIABLES).replace(" @ end()", ""),  # which promtool has not
                "eval_time": "9m",
                "exp_samples": [],
            }
            for expr in sorted(expressions)
        ],
    }
    path = tmp_path / "away.test.yml"
    path.write_text(yaml.safe_dump({"tests": [case]}), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_dashboard_tells_whether_its_exporters_are_well() -> None:
    for name in TEXTS:
        assert {panel["title"] for panel in panels(name)} & HEALTH, name


@pytest.mark.e2e  # promtool
def test_the_tile_of_the_exporters_health(tmp_path: Path) -> None:
    healthy = {
        "up": 1,
        "fping_exporter_up": 1,
        "fping_exporter_inventory_success": 1,
        "fping_exporter_sweep_success": 1,
        "fping_exporter_blind": 0,
    }
    cases = []
    for broken in (None, *healthy):
        series = [
            {
                "series": f'{metric}{{job="fping-exporter",instance="{exporter}"}}',
                "values": str(1 - value if (metric, exporter) == (broken, "x2") else value),
            }
            for metric, value in healthy.items()
            for exporter in ("x1", "x2")
        ]
        expected = [{"labels": "{}", "value": 0 if broken else 1}]
        query = concrete(EXPORTERS_HEALTHY, VARIABLES)
        asked = {"expr": query, "eval_time": "0m", "exp_samples": expected}
        cases.append({"input_series": series, "promql_expr_test": [asked]})
    path = tmp_path / "health.test.yml"
    path.write_text(yaml.safe_dump({"tests": cases}), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.e2e  # promtool
@pytest.mark.parametrize(("cloud", "down"), [(".*", 1), ("eu", 1), ("us", 0)])
def test_hypervisors_of_one_name_are_those_of_two_clouds(cloud: str, down: int, tmp_path: Path) -> None:
    (panel,) = [panel for panel in panels("fping-cloud.json") if panel["title"] == "Hypervisors down"]
    asked = concrete(panel["targets"][0]["expr"], VARIABLES | {"cloud": cloud})
    series = {f'hypervisor_up{{job="fping-exporter",cloud="{each}",hypervisor="c1"}}': up for each, up in UP}
    run_promtool(tmp_path, series, asked, [{"labels": "{}", "value": down}])


UP = (("eu", "0"), ("us", "1"))


@pytest.mark.e2e  # promtool
@pytest.mark.parametrize(
    ("cloud", "page"), [("", "x1:10605"), (',cloud="eu"', "x1:10605/clouds/eu")], ids=["one", "several"]
)
def test_an_exporters_name_leads_to_the_page_of_its_cloud(cloud: str, page: str, tmp_path: Path) -> None:
    (panel,) = [panel for panel in panels("fping-instance.json") if panel["title"] == "Instance"]
    series = {f'instance_info{{job="fping-exporter",instance="x1:10605"{cloud},id="a",project_id="p"}}': "1"}
    labels = f'{{instance="{page}"{cloud}}}'
    asked = concrete(panel["targets"][0]["expr"], VARIABLES)
    run_promtool(tmp_path, series, asked, [{"labels": labels, "value": 1}])


@pytest.mark.e2e  # promtool
@pytest.mark.parametrize(
    ("cloud", "joined_name", "text"),
    [("", "shop, ", "shop"), ('cloud="eu",', "shop, eu", "shop, eu")],
    ids=["one", "several"],
)
def test_projects_are_told_apart_by_cloud(cloud: str, joined_name: str, text: str, tmp_path: Path) -> None:
    variable = variables("fping-project.json")["project"]
    asked = concrete(variable["query"]["query"].removeprefix("query_result(").removesuffix(")"), VARIABLES)
    found = f'{{{cloud}name="{joined_name}",project_id="p"}}'
    series = {f'project_info{{job="fping-exporter",{cloud}project_id="p",name="shop"}}': "1"}
    run_promtool(tmp_path, series, asked, [{"labels": found, "value": 1}])
    regex = variable["regex"].strip("/").replace("(?<", "(?P<")
    choice = re.search(regex, found)
    assert choice
    assert choice.groupdict() == {"text": text, "value": "p"}


def run_promtool(directory: Path, series: dict[str, str], expr: str, expected: list[Any]) -> None:
    """Assert that the query gives the `expected` samples if the `series` have these values."""
    case = {
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [{"expr": expr, "eval_time": "0m", "exp_samples": expected}],
    }
    path = directory / "query.test.yml"
    path.write_text(yaml.safe_dump({"tests": [case]}), encoding="utf-8")
    done = subprocess.run(
        ["promtool", "test", "rules", path], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


NOTED = {
    "job",
    "instance",
    "cloud",
    "id",
    "project_id",
    "name",
    "status",
    "hypervisor",
    "project",
    "email",
}
"""The labels of ``id:instance:noted``. Two rules read its value of the evaluation before."""


def test_the_rules_read_only_metrics_that_are_exported_or_recorded_before() -> None:
    there = contract.names() | {"id:instance:noted"}
    for rule in rules():
        if "record" in rule:
            there.add(rule["record"])
        assert metrics(rule["expr"]) <= there, rule


def test_the_rules_use_only_labels_that_their_metrics_have() -> None:
    there = contract.labels() | {"id:instance:noted": NOTED}
    for rule in rules():
        expr = rule["expr"]
        made = set(re.findall(r'label_replace\(\w+, "(\w+)"', expr))
        has = made.union(*(there.get(metric, ()) for metric in metrics(expr)))
        if "record" in rule:
            there[rule["record"]] = NOTED if rule["record"] == "id:instance:noted" else has
        assert joined(expr) <= has, rule
        for metric, labels in matched(expr):
            assert labels <= there[metric], rule


def test_the_series_of_the_rules_tests_are_such_as_are_exported() -> None:
    """Otherwise a rule and its test could use a label that is not exported."""
    there = contract.labels()
    for path in (ROOT / "tests" / "deploy" / "rules").iterdir():
        for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
            for each in test["input_series"]:
                ((metric, labels),) = matched(each["series"])
                assert metric == "ALERTS" or labels <= there[metric], each


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("up", {"up"}),
        ('sum by (job) (rate(a_total{x="}b", y=~"[c]"}[5m] offset 1m)) > 0.5e3', {"a_total"}),
        ("a:b:c and on (id) d unless e * on (id) group_left (name) f", {"a:b:c", "d", "e", "f"}),
        ('label_replace(a, "b", "$1", "c", "(.*)") or vector(0)', {"a"}),
        ("time() - a{} > bool 3 == 1", {"a"}),
    ],
)
def test_metrics_of_a_query(query: str, read: set[str]) -> None:
    assert metrics(query) == read


def test_labels_of_a_query() -> None:
    query = 'sum by (a, b) (m{c="}d=", e!~"f"} * on (g) group_left (h) n:o{i!="j"})'
    assert matched(query) == [("m", {"c", "e"}), ("n:o", {"i"})]
    assert joined(query) == {"a", "b", "g", "h"}


def test_a_wrong_name_is_noticed() -> None:
    assert metrics("count(instance_alive == 1) or vector(0)") <= contract.names()
    assert not metrics("count(instance_alife == 1) or vector(0)") <= contract.names()


def test_grafana_finds_them() -> None:
    for path in (ROOT / "grafana" / "provisioning").rglob("*.yml"):
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["apiVersion"] == 1
