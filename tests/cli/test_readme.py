"""The README's examples are what the program prints."""

import re
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from fping_exporter.cli import main
from fping_exporter.config import Metrics
from fping_exporter.metrics.exposition import render
from tests.metrics.test_exposition import example

README = (Path(__file__).parents[2] / "README.md").read_text()


def block(heading: str) -> str:
    """The text block that begins with this line, without it."""
    found = re.search(rf"```text\n{re.escape(heading)}\n(.*?)```", README, re.DOTALL)
    assert found, heading
    return found[1]


def test_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    assert block("$ fping-exporter --help") == capsys.readouterr().out


def test_the_table_of_metrics_is_complete() -> None:
    rows = dict(re.findall(r"(?m)^\| `(\w+)` \| ([\w, ]+) \|", README))
    text = b"".join(render(example(), metrics=Metrics(counters=True)).plain()).decode()
    for metric in text_string_to_metric_families(text):
        assert metric.samples
        names = {name for sample in metric.samples for name in sample.labels}
        name = metric.name + "_total" * (metric.type == "counter")
        assert set(rows.pop(name).split(", ")) == names
    assert rows == {}
