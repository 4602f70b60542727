"""A real Prometheus scrapes the exporter of a real cloud."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fping_exporter.nova_status import contradicts
from tests.integration.conftest import Start
from tests.integration.lab import Fate, Lab
from tests.integration.process import eventually
from tests.integration.prometheus import Prometheus

pytestmark = pytest.mark.lab


@pytest.fixture
def prometheus(start: Start, tmp_path: Path) -> Iterator[Prometheus]:
    exporter = start(cloud="admin", cache={"sweep": "1s"}, probe={"timeout": "500ms", "retries": 1})
    with Prometheus(tmp_path, exporter.address) as running:
        yield running


def ids(prometheus: Prometheus, expression: str) -> set[str]:
    return {labels["id"] for labels, _ in prometheus.query(expression)}


def test_queries_give_the_expected_instances(lab: Lab, prometheus: Prometheus) -> None:
    servers = lab.servers()

    def check() -> None:
        truth = lab.truth(servers)
        assert [value for _, value in prometheus.query("up")] == [1]
        assert [value for _, value in prometheus.query("fping_exporter_up")] == [1]
        assert ids(prometheus, "instance_alive == 1") == {id_ for id_, t in truth.items() if t.alive}
        asked = {id_: t.alive for id_, t in truth.items() if t.alive is not None}
        mismatched = {id_ for id_, alive in asked.items() if contradicts(servers[id_].status, alive=alive)}
        assert ids(prometheus, "instance_state_mismatch == 1") == mismatched
        named = "instance_state_mismatch == 1 and on (id) instance_info{name=~'alpha-.*'}"
        assert ids(prometheus, named) == {id_ for id_ in mismatched if servers[id_].name.startswith("alpha-")}
        joined = prometheus.query("instance_alive == 0 and on (id) instance_hypervisor_active == 1")
        assert {labels["id"] for labels, _ in joined} == {id_ for id_ in mismatched if servers[id_].active}

    eventually(check)
    server = lab.guests("beta-shared")[0]
    lab.set_fate(Fate.SILENT, server.id)
    try:
        eventually(check)
    finally:
        lab.set_fate(Fate.ALIVE, server.id)
    eventually(check)
