"""A configuration that takes over from another, and what it takes over."""

import time
from collections.abc import Iterator

import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.config import Cache, Config
from fping_exporter.config.duration import Duration
from fping_exporter.demo.http import Answer
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.service import Service
from tests.cloud.faulty import ADMIN, make_servers
from tests.cloud.neutron import PORTS, NeutronCloud, port
from tests.permission import need_ping

SOON = 5.0
CACHE = Cache(inventory=Duration(0.001), sweep=Duration(0.001), max_stale=Duration(600))


@pytest.fixture
def standin() -> Iterator[NeutronCloud]:
    with NeutronCloud(*make_servers(1)) as standin:
        standin.network["ports"].append(port("1", "127.1.0.0", device="alpha-0000"))
        yield standin


@pytest.mark.parametrize(("projects", "known"), [((), {"alpha-0000"}), (("alpha",), set())])
def test_a_reload_knows_what_was_known_of_the_same_instances(
    standin: NeutronCloud, projects: tuple[str, ...], known: set[str]
) -> None:
    need_ping()
    service = Service(
        Config(cache=CACHE),
        read=lambda: Config(cache=CACHE, projects=projects),
        check=lambda _settings: None,
        connect=lambda settings: Cloud(settings, region=standin.region(ADMIN), sleep=lambda _seconds: None),
        telemetry=Telemetry(),
    )
    before = service.monitor.snapshot(timeout=SOON)
    assert before
    assert set(before.inventory.topology.ports) == {"alpha-0000"}

    standin.fail(PORTS, *[Answer(503, b"")] * 100)
    service.reload()

    deadline = time.monotonic() + SOON
    while (after := service.monitor.snapshot(timeout=SOON)) is None or after.inventory.parts["ports"]:
        assert time.monotonic() < deadline
    assert set(after.inventory.topology.ports) == known
