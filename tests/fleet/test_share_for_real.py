"""Three exporters share 2,000 guests through a real Redis or etcd, while they and it go away."""

import signal
import urllib.parse
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import yaml

from fping_exporter.demo import Demo
from tests.integration.exporter import Exporter, Scrape, write_config
from tests.integration.process import Process, eventually, free_port

pytestmark = pytest.mark.e2e

INSTANCES = 2000
LEASE = 4
"""Seconds; 30 by default. A member that a busy machine holds up for longer is no member for a while."""
LONG = 120
"""Seconds after which what has not happened does not happen."""


class Coordinator:
    """A Redis or an etcd that a test stops and starts."""

    def __init__(self, kind: str, home: Path) -> None:
        self._kind, self._home, self._port, self._peers = kind, home, free_port(), free_port()
        self._running = ExitStack()

    @property
    def url(self) -> str:
        scheme = {"redis": "redis", "etcd": "etcd3+http"}[self._kind]
        options = urllib.parse.urlencode({"membership_timeout": LEASE, "timeout": 2})
        return f"{scheme}://127.0.0.1:{self._port}?{options}"

    def start(self) -> None:
        here, peers = (f"http://127.0.0.1:{port}" for port in (self._port, self._peers))
        command = {
            "redis": [
                *("/usr/bin/redis-server", "--bind", "127.0.0.1", "--port", self._port),
                *("--save", "", "--dir", self._home),
            ],
            "etcd": [
                *("/usr/bin/etcd", "--data-dir", self._home / "etcd"),
                *("--listen-client-urls", here, "--advertise-client-urls", here),
                *("--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers),
                *("--initial-cluster", f"default={peers}"),
            ],
        }[self._kind]
        log = self._home / "coordinator.log"
        self._running.enter_context(Process([str(part) for part in command], log=log))

    def stop(self) -> None:
        self._running.close()


@pytest.fixture(params=["redis", "etcd"])
def coordinator(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Coordinator]:
    coordinator = Coordinator(request.param, tmp_path)
    coordinator.start()
    yield coordinator
    coordinator.stop()


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with Demo(instances=INSTANCES) as demo:
        yield demo


class Members:
    """Exporters with the same configuration."""

    def __init__(self, config: Path, clouds: Path, home: Path) -> None:
        self._config, self._clouds, self._home = config, clouds, home
        self.running: list[Exporter] = []

    def add(self, stack: ExitStack) -> None:
        log = self._home / f"exporter-{len(self.running)}.log"
        self.running.append(stack.enter_context(Exporter(self._config, clouds=self._clouds, log=log)))

    def scrape(self) -> list[Scrape]:
        return [exporter.scrape() for exporter in self.running]


def pinged(scrape: Scrape) -> set[str]:
    """Return the ids of the instances of which a scrape speaks."""
    return {id_ for id_, _ in scrape.by("instance_hypervisor_active", "id", "project_id")}


def shared_out(members: Members, *, up: bool = True) -> None:
    """Assert that each instance is one member's, and that all are somebody's."""
    parts = [pinged(scrape) for scrape in members.scrape()]
    assert [len(part) for part in parts if not part] == []
    assert sum(map(len, parts)) == len(set.union(*parts)) == INSTANCES
    for scrape, part in zip(members.scrape(), parts, strict=True):
        assert scrape.value("fping_exporter_share_members") == len(members.running)
        assert scrape.value("fping_exporter_share_owned_instances") == len(part)
        assert scrape.value("fping_exporter_share_coordinator_up") == up


def test_each_guest_is_always_somebodys(coordinator: Coordinator, demo: Demo, tmp_path: Path) -> None:
    clouds = tmp_path / "clouds.yaml"
    clouds.write_text(yaml.safe_dump({"clouds": {"demo": demo.cloud()}}))
    config = write_config(
        tmp_path,
        cloud="demo",
        share={"url": coordinator.url},
        cache={"sweep": "500ms"},
        probe={"timeout": "200ms", "retries": 0},
    )
    members = Members(config, clouds, tmp_path)
    with ExitStack() as stack:
        for _ in range(3):
            members.add(stack)
        eventually(lambda: shared_out(members), timeout=LONG)

        members.running.pop().send_signal(signal.SIGKILL)
        eventually(lambda: shared_out(members), timeout=LONG)

        coordinator.stop()
        eventually(lambda: shared_out(members, up=False), timeout=LONG)
        coordinator.start()
        eventually(lambda: shared_out(members), timeout=LONG)

        assert members.running.pop().stop() == 0
        eventually(lambda: shared_out(members), timeout=LONG)
