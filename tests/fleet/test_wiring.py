"""The configuration of a fleet in the service and on the command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trustme
import yaml
from tooz import coordination

from fping_exporter.cli import main
from fping_exporter.cli.list import EXIT_SILENT, list_instances
from fping_exporter.cloud import Cloud
from fping_exporter.config import Config, Fleet, Probe, Share, strict_yaml
from fping_exporter.config.duration import Duration
from fping_exporter.demo import Demo
from fping_exporter.demo.http import Answer
from fping_exporter.errors import ConfigError
from fping_exporter.fleet_monitor import FleetMonitor
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.service import Service
from tests.cloud.faulty import ADMIN, SERVERS, FaultyCloud, make_servers
from tests.fleet.api import FakePrometheus
from tests.integration.process import eventually
from tests.permission import need_ping
from tests.units import only

SOON = 10.0
PROBE = Probe(timeout=Duration(0.1), retries=0)


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with FakePrometheus() as server:
        yield server


def make_service(
    settings: Config, standin: FaultyCloud, *, read: Callable[[], Config] | None = None
) -> Service:
    """Make a service of the stand-in's clouds; it is not started. A reload takes what `read` returns."""
    return Service(
        settings,
        read=read or (lambda: settings),
        check=lambda _settings: None,
        connect=lambda settings, _observe: Cloud(settings, region=standin.region(ADMIN)),
        telemetry=ProcessTelemetry(),
    )


def test_a_reload_takes_up_another_fleet_or_none(prometheus: FakePrometheus, tmp_path: Path) -> None:
    need_ping()
    prometheus.scrape("e1", {"alpha-0000": True})
    fleet = Fleet(prometheus=prometheus.url)
    configs = [
        Config(fleet=fleet, probe=PROBE),
        Config(fleet=Fleet(prometheus=prometheus.url, bearer_token_file=str(tmp_path / "none")), probe=PROBE),
        Config(fleet=Fleet(prometheus=f"{prometheus.url}/other"), probe=PROBE),
        Config(probe=PROBE),
    ]
    with FaultyCloud(*make_servers(1)) as standin:
        service = make_service(Config(fleet=fleet, probe=PROBE), standin, read=lambda: configs.pop(0))
        telemetry = only(service).telemetry

        def witnesses() -> list[str]:
            snapshot = only(service).whole.snapshot(timeout=SOON)
            assert snapshot
            return [word.exporter.name for word in snapshot.verdicts[0].witnesses]

        assert witnesses() == ["e1"]
        service.reload()
        asked = len(prometheus.expressions)
        assert isinstance(only(service).whole, FleetMonitor)
        assert only(service).whole.latest
        assert telemetry.fleet
        assert telemetry.fleet.success
        assert asked == 11
        assert witnesses() == ["e1"]

        with pytest.raises(ConfigError, match=r"fleet.bearer_token_file: .* cannot be read"):
            service.reload()
        assert witnesses() == ["e1"]

        service.reload()
        assert not telemetry.fleet.success
        assert witnesses() == ["e1"]
        assert telemetry.fleet.success

        service.reload()
        assert not isinstance(only(service).whole, FleetMonitor)
        assert telemetry.fleet is None
        assert witnesses() == []


CLOUDS = {"lon1": True, "lon2": False}
"""Whether the instance of each cloud answers; both have one id, and are asked by exporters of one name."""


@pytest.fixture
def clouds(prometheus: FakePrometheus) -> Iterator[tuple[Config, FaultyCloud]]:
    """Two clouds, whose words are told apart by a label alone."""
    need_ping()
    for name, alive in CLOUDS.items():
        prometheus.external_labels = {"cloud": name}
        prometheus.scrape("e1:10605", {"alpha-0000": alive})
    settings = {
        "fleet": {"prometheus": prometheus.url, "match": {"job": "fping-exporter"}},
        "probe": {"timeout": "100ms", "retries": 0, "vantages": ["qdhcp"]},
        "clouds": {name: {"fleet": {"match": {"cloud": name}}} for name in CLOUDS},
    }
    with FaultyCloud(*make_servers(1)) as standin:
        yield strict_yaml.convert(settings, Config), standin


def test_each_of_several_clouds_hears_its_own_exporters_alone(
    clouds: tuple[Config, FaultyCloud], prometheus: FakePrometheus
) -> None:
    settings, standin = clouds
    service = make_service(settings, standin)
    for name, alive in CLOUDS.items():
        unit = service.units[name]
        snapshot = unit.whole.snapshot(timeout=SOON)
        assert snapshot
        [verdict] = snapshot.verdicts
        assert verdict.alive is alive
        [word] = verdict.witnesses
        assert word.alive is alive
        assert (
            unit.telemetry.registry.get_sample_value("fping_exporter_fleet_exporters", {"state": "heard"})
            == 1
        )
        before = len(prometheus.expressions)
        unit.whole.last_day("alpha-0000")
        [day] = prometheus.expressions[before:]
        assert day.count("{") == day.count(f'cloud="{name}"')


def test_a_reload_reads_the_files_of_a_fleet_and_of_a_share_again(
    clouds: tuple[Config, FaultyCloud], tmp_path: Path
) -> None:
    password, authority = tmp_path / "password", tmp_path / "ca.pem"
    password.write_text("old")
    trustme.CA().cert_pem.write_to_path(str(authority))
    fleet = {"prometheus": "https://localhost", "ca_file": str(authority)}
    share = {"url": "redis://localhost:1", "password_file": str(password)}
    settings = strict_yaml.convert({"clouds": {"shared": {"share": share}, "read": {"fleet": fleet}}}, Config)
    service = make_service(settings, clouds[1])

    def changed() -> list[str]:
        before = {name: unit.runtime for name, unit in service.units.items()}
        service.reload()
        return [name for name, unit in service.units.items() if unit.runtime is not before[name]]

    assert changed() == []
    password.write_text("new")
    assert changed() == ["shared"]
    trustme.CA().cert_pem.write_to_path(str(authority))
    assert changed() == ["read"]
    assert changed() == []


def test_an_exporter_takes_a_share_once_it_has_a_list(tmp_path: Path) -> None:
    need_ping()
    share = Share(f"file://{tmp_path}")
    settings = Config(share=share, probe=PROBE)
    watcher = coordination.get_coordinator(share.url, b"watcher")
    watcher.start()

    def members() -> int:
        return len(watcher.get_members(share.group.encode()).get())

    with FaultyCloud(*make_servers(1)) as standin:
        standin.fail(SERVERS, *[Answer(403, b"")] * 9)
        service = make_service(settings, standin)
        unit = only(service)

        def has_looked() -> None:
            up = unit.telemetry.registry.get_sample_value("fping_exporter_share_coordinator_up")
            assert up == 1

        def has_joined() -> None:
            assert unit.monitor.snapshot(timeout=SOON)
            assert members() == 1

        service.start()
        try:
            eventually(has_looked, timeout=SOON)
            assert members() == 0
            eventually(has_joined, timeout=SOON)
        finally:
            service.close()
        assert members() == 0


@pytest.fixture
def ids(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The guests of a demo that the OS_* variables name; two answer, one comes and goes."""
    need_ping()
    with Demo() as demo:
        for name, value in demo.region().get_auth_args().items():
            monkeypatch.setenv(f"OS_{name.upper()}", value)
        yield [server.id for server in demo.servers]


def test_list_speaks_of_the_whole(
    prometheus: FakePrometheus, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    prometheus.scrape("e1", dict.fromkeys(ids, True))
    settings = Config(fleet=Fleet(prometheus=prometheus.url), probe=PROBE)
    assert list_instances(settings.by_cloud(), as_json=True, only_silent=False) == 0
    whole = capsys.readouterr()
    assert whole.err == ""
    assert [each["alive"] for each in json.loads(whole.out)] == [True] * len(ids)

    prometheus.extra = {"warnings": ["a store is away"]}
    assert list_instances(settings.by_cloud(), as_json=True, only_silent=False) == 0
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("fping-exporter: Prometheus warns that something may be missing of what the other")

    prometheus.faults = iter([Answer(503, b"")])
    assert list_instances(settings.by_cloud(), as_json=True, only_silent=False) == EXIT_SILENT
    alone = capsys.readouterr()
    assert "what the other exporters say could not be read: " in alone.err
    assert [each["alive"] for each in json.loads(alone.out)].count(True) in {2, 3}


@pytest.mark.usefixtures("ids")
def test_a_check_of_the_configuration_reads_the_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yml"
    path.write_text(yaml.safe_dump({"fleet": {"prometheus": "http://[::1]", "bearer_token_file": "none"}}))
    assert main(["--config.check", f"--config.file={path}"]) == 2
    assert "fleet.bearer_token_file: none: cannot be read: No such file" in capsys.readouterr().err
