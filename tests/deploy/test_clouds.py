"""Debian's Prometheus scrapes an exporter of several clouds, as deploy/prometheus/clouds.yml has it."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from fping_exporter.demo.http import Answer, Request
from fping_exporter.model import Project
from tests.cloud.faulty import ALPHA, FaultyCloud, make_servers
from tests.deploy.stack import prometheus, query
from tests.integration.exporter import Exporter, write_config
from tests.integration.process import eventually

pytestmark = pytest.mark.e2e

SETTINGS = {
    "probe": {"timeout": "200ms", "retries": 0},
    "cache": {"inventory": "500ms", "sweep": "500ms", "max_stale": "3s"},
}


class TroubledCloud(FaultyCloud):
    """Three instances of a project that each cloud has, by name and id; Nova hangs or refuses if told so."""

    def __init__(self, name: str) -> None:
        super().__init__(*make_servers(3, project=Project(ALPHA.id, name, "default")))
        self.hangs = self.refuses = False

    def answer(self, request: Request) -> Answer:
        if self.refuses:
            return Answer(503)
        while self.hangs:
            time.sleep(0.05)
        return super().answer(request)


class Stack:
    """A Prometheus, and the exporter and the clouds `eu`, `us` and `ap`."""

    def __init__(self, address: str, exporter: Exporter, clouds: dict[str, TroubledCloud]) -> None:
        self.address = address
        self.exporter = exporter
        self.clouds = clouds

    def values(self, expr: str, label: str = "cloud") -> dict[str, float]:
        """Return the values of a query by a label; that of series without it is empty."""
        found = query(self.address, expr)
        return {each["metric"].get(label, ""): float(each["value"][1]) for each in found}

    def await_values(self, expr: str, expected: dict[str, float]) -> None:
        def check() -> None:
            assert self.values(expr) == expected, self.exporter.log

        eventually(check)


def configure(directory: Path, *names: str, **clouds: str) -> Path:
    """Write a configuration of clouds with the names that the entries of clouds.yaml have, or other ones."""
    entries = {name: name for name in names} | clouds
    return write_config(
        directory, **SETTINGS, clouds={name: {"cloud": entry} for name, entry in entries.items()}
    )


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    with contextlib.ExitStack() as running:
        clouds = {name: running.enter_context(TroubledCloud(name)) for name in ("eu", "us", "ap")}
        file = tmp_path / "clouds.yaml"
        file.write_text(yaml.safe_dump({"clouds": {name: each.cloud() for name, each in clouds.items()}}))
        config = configure(tmp_path, *clouds)
        exporter = running.enter_context(Exporter(config, clouds=file, log=tmp_path / "log"))
        address = running.enter_context(
            prometheus(
                tmp_path / "prometheus",
                target=exporter.address,
                alertmanager="127.0.0.1:9",
                jobs="clouds.yml",
            )
        )
        try:
            yield Stack(address, exporter, clouds)
        finally:
            for cloud in clouds.values():
                cloud.hangs = False


def test_each_cloud_is_scraped_by_itself(stack: Stack, tmp_path: Path) -> None:
    stack.await_values("count by (cloud) (instance_alive)", {"eu": 3, "us": 3, "ap": 3})
    stack.await_values('up{job="fping-exporter"}', {"eu": 1, "us": 1, "ap": 1})
    targets = stack.values('up{job=~"fping-exporter.*"}', "instance")
    assert targets == {stack.exporter.address: 1}, "one label for the exporter, however it is scraped"
    stack.await_values("process_resident_memory_bytes > bool 0", {"": 1})

    # Of one that hangs and one that refuses, nothing is shown soon, and an alert tells so; the third goes on.
    stack.clouds["eu"].hangs = stack.clouds["ap"].refuses = True
    stack.await_values('ALERTS{alertname="FpingExporterNoResults",alertstate="firing"}', {"eu": 1, "ap": 1})
    stack.await_values('fping_exporter_up{job="fping-exporter"}', {"eu": 0, "us": 1, "ap": 0})
    stack.await_values('fping_exporter_up{job="fping-exporter-process"}', {"eu": 0, "us": 1, "ap": 0})
    stack.await_values("count by (cloud) (instance_alive)", {"us": 3})
    stack.await_values('up{job=~"fping-exporter.*"} == 0', {})

    # One gets another name, another one goes.
    stack.clouds["eu"].hangs = stack.clouds["ap"].refuses = False
    configure(tmp_path, "us", europe="eu")
    stack.exporter.reload()
    stack.await_values("count by (cloud) (instance_alive)", {"europe": 3, "us": 3})
    stack.await_values('up{job="fping-exporter"}', {"europe": 1, "us": 1})
    assert not stack.values('ALERTS{alertname="FpingExporterCloudNotScraped"}')
