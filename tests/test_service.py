"""A configuration that takes over from another, and what it takes over."""

import contextlib
import gzip
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.config import Cache, Config, Instances, Probe, Rule
from fping_exporter.config.duration import Duration
from fping_exporter.demo.http import Answer
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.probe.loopback import Behaviour
from fping_exporter.service import Service
from fping_exporter.storage import StateDirectory
from fping_exporter.storage.directory import FILE, Directory, unreadable
from tests.cloud.faulty import ADMIN, BETA, SERVERS, make_servers
from tests.cloud.neutron import PORTS, NeutronCloud, port
from tests.permission import need_ping
from tests.units import only

SOON = 5.0
DEAD = f"{Behaviour.DEAD.value}0.1"
PROJECTS = "/identity/v3/projects"
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
        connect=lambda settings, _observe: Cloud(
            settings, region=standin.region(ADMIN), sleep=lambda _seconds: None
        ),
        telemetry=ProcessTelemetry(),
    )
    before = only(service).monitor.snapshot(timeout=SOON)
    assert before
    assert set(before.inventory.topology.ports) == {"alpha-0000"}

    standin.fail(PORTS, *[Answer(503, b"")] * 100)
    service.reload()

    deadline = time.monotonic() + SOON
    while (after := only(service).monitor.snapshot(timeout=SOON)) is None or after.inventory.parts["ports"]:
        assert time.monotonic() < deadline
    assert set(after.inventory.topology.ports) == known


def test_a_reload_to_another_keystone_under_the_same_name_takes_nothing_over(standin: NeutronCloud) -> None:
    need_ping()
    with NeutronCloud(*make_servers(1, project=BETA)) as other:
        regions = [standin.region(ADMIN), other.region(ADMIN)]
        service = Service(
            Config(cache=CACHE),
            read=lambda: Config(cache=CACHE),
            check=lambda _settings: None,
            connect=lambda settings, _observe: Cloud(settings, region=regions.pop(0)),
            telemetry=ProcessTelemetry(),
        )
        assert only(service).monitor.snapshot(timeout=SOON)
        service.reload()
        assert only(service).monitor.latest is None
        after = only(service).monitor.snapshot(timeout=SOON)
        assert after
        assert [verdict.instance.id for verdict in after.verdicts] == ["beta-0000"]


class Restarts:
    """Services one after the other, in one directory, of a cloud that can be away."""

    def __init__(self, standin: NeutronCloud, path: Path) -> None:
        self._standin, self._path = standin, path
        self.service_now: Service | None = None
        self.settings = Config(cache=CACHE, probe=Probe(timeout=Duration(0.1), retries=0))

    @contextlib.contextmanager
    def service(self) -> Iterator[Service]:
        state = StateDirectory(Directory(self._path), interval=0)
        self.service_now = service = Service(
            self.settings,
            read=lambda: self.settings,
            check=lambda _settings: None,
            connect=lambda settings, _observe: Cloud(
                settings, region=self._standin.region(ADMIN), sleep=lambda _seconds: None
            ),
            telemetry=ProcessTelemetry(),
            state=state,
        )
        yield service
        state.close(SOON)

    def sample(self, name: str) -> float | None:
        assert self.service_now
        return only(self.service_now).telemetry.registry.get_sample_value(f"fping_exporter_inventory_{name}")

    def nova_is_away(self) -> None:
        self._standin.fail(SERVERS, *[Answer(503, b"")] * 1000)


@pytest.fixture
def restarts(standin: NeutronCloud, tmp_path: Path) -> Restarts:
    need_ping()
    return Restarts(standin, tmp_path)


def test_a_restart_pings_at_once_and_says_how_old_the_list_is(restarts: Restarts) -> None:
    with restarts.service() as service:
        before = only(service).monitor.snapshot(timeout=SOON)
        assert before
    restarts.nova_is_away()
    begun = time.time()
    with restarts.service() as service:
        listed_at = restarts.sample("last_success_timestamp_seconds")
        assert listed_at == pytest.approx(before.inventory.listed_at, abs=1)
        assert listed_at
        assert listed_at < begun
        assert (restarts.sample("instances"), restarts.sample("success")) == (1, 0)
        after = only(service).monitor.snapshot(timeout=SOON)
    assert after
    assert after.sweep.started_at >= begun
    assert [verdict.alive for verdict in after.verdicts] == [True]
    assert after.inventory.topology == before.inventory.topology


def test_after_a_restart_a_guest_that_died_meanwhile_is_known_to_have_answered(
    standin: NeutronCloud, restarts: Restarts
) -> None:
    with restarts.service() as service:
        before = only(service).monitor.snapshot(timeout=SOON)
        assert before
        [alive] = before.verdicts
    [server] = standin.servers
    address = msgspec.structs.replace(server.addresses[0], ip=DEAD)
    standin.servers[:] = [msgspec.structs.replace(server, addresses=(address,))]
    standin.network["ports"][:] = [port("1", DEAD, device=server.id)]
    with restarts.service() as service:
        deadline = time.monotonic() + SOON
        while (after := only(service).monitor.snapshot(timeout=SOON)) is None or after.verdicts[0].alive:
            assert time.monotonic() < deadline
    assert after.verdicts[0].silent
    assert after.verdicts[0].last_reply_at
    assert alive.last_reply_at
    assert alive.last_reply_at <= after.verdicts[0].last_reply_at < after.sweep.started_at


def test_a_restart_keeps_what_neutron_and_keystone_do_not_tell(
    standin: NeutronCloud, restarts: Restarts
) -> None:
    with restarts.service() as service:
        before = only(service).monitor.snapshot(timeout=SOON)
        assert before
    for path in (PORTS, PROJECTS):
        standin.fail(path, *[Answer(503, b"")] * 1000)
    with restarts.service() as service:
        deadline = time.monotonic() + SOON
        while (after := only(service).monitor.snapshot(timeout=SOON)) is None or after.inventory.parts[
            "ports"
        ]:
            assert time.monotonic() < deadline
    assert after.inventory.parts == {"hypervisors": True} | dict.fromkeys(
        ("projects", "ports", "floating_ips", "security_groups"), False
    )
    assert after.inventory.topology == before.inventory.topology
    assert after.inventory.projects == before.inventory.projects


def test_a_list_older_than_max_stale_is_not_used(
    restarts: Restarts, caplog: pytest.LogCaptureFixture
) -> None:
    with restarts.service() as service:
        assert only(service).monitor.snapshot(timeout=SOON)
    restarts.nova_is_away()
    restarts.settings = Config(
        cache=Cache(inventory=Duration(0.001), sweep=Duration(0.001), max_stale=Duration(0.01))
    )
    time.sleep(0.02)
    with restarts.service() as service, caplog.at_level(logging.INFO):
        assert restarts.sample("last_success_timestamp_seconds") == 0
        assert only(service).monitor.snapshot(timeout=SOON) is None


def test_a_restart_with_another_scope_begins_with_nothing(
    restarts: Restarts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with restarts.service() as service:
        assert only(service).monitor.snapshot(timeout=SOON)
    restarts.nova_is_away()
    restarts.settings = Config(cache=CACHE, projects=("alpha",))
    with restarts.service() as service:
        assert "(changed: projects). It is state.jsonl.gz.unreadable now" in caplog.text
        assert only(service).monitor.snapshot(timeout=SOON) is None
    assert {path.name for path in tmp_path.iterdir()} == {"lock", unreadable(FILE)}


def test_after_a_reload_the_list_of_the_new_scope_is_stored(restarts: Restarts, tmp_path: Path) -> None:
    with restarts.service() as service:
        assert only(service).monitor.snapshot(timeout=SOON)
        restarts.settings = Config(cache=CACHE, projects=("alpha",))
        service.reload()
        assert only(service).monitor.snapshot(timeout=SOON)
    with restarts.service() as service:
        assert restarts.sample("instances") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"lock", FILE}


def test_a_changed_selection_holds_for_the_stored_list(restarts: Restarts) -> None:
    with restarts.service() as service:
        assert only(service).monitor.snapshot(timeout=SOON)
    restarts.nova_is_away()
    restarts.settings = Config(cache=CACHE, instances=Instances(exclude=(Rule(id="alpha-*"),)))
    with restarts.service() as service:
        after = only(service).monitor.snapshot(timeout=SOON)
    assert after
    assert after.verdicts == ()


def test_no_secret_is_stored(restarts: Restarts, tmp_path: Path) -> None:
    with restarts.service() as service:
        assert only(service).monitor.snapshot(timeout=SOON)
        session = only(service).runtime.cloud.session
        assert session
        token = session.connection.session.get_token()
    stored = gzip.decompress((tmp_path / FILE).read_bytes()).decode()
    assert "alpha-0000" in stored
    assert token
    for secret in (ADMIN.password, token):
        assert secret not in stored


def test_a_scrape_does_not_wait_for_the_disk(standin: NeutronCloud, tmp_path: Path) -> None:
    need_ping()
    released = threading.Event()

    class SlowDirectory(Directory):
        def replace(self, file: str, write: Callable[[BinaryIO], object]) -> None:
            assert released.wait(SOON)
            super().replace(file, write)

    state = StateDirectory(SlowDirectory(tmp_path), interval=0)
    service = Service(
        Config(cache=CACHE),
        read=Config,
        check=lambda _settings: None,
        connect=lambda settings, _observe: Cloud(settings, region=standin.region(ADMIN)),
        telemetry=ProcessTelemetry(),
        state=state,
    )
    sweeps = [only(service).monitor.snapshot(timeout=SOON) for _ in range(3)]
    assert len({sweep.sweep.started_at for sweep in sweeps if sweep}) == 3
    assert not (tmp_path / FILE).exists()
    released.set()
    state.close(SOON)
    assert (tmp_path / FILE).exists()
