"""``/-/reload`` and ``/-/quit``: what they do, and when they are allowed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from fping_exporter import config
from fping_exporter.cloud import Cloud
from fping_exporter.config import Config, strict_yaml
from fping_exporter.config.duration import Duration
from fping_exporter.demo import Demo
from fping_exporter.errors import ConfigError, FpingExporterError
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.service import Service
from fping_exporter.web.lifecycle import Controls
from tests.build import Source, inventory
from tests.units import only
from tests.web.pages import Pinger
from tests.web.site import make_cloud, make_front, open_site


class Recorder:
    """Controls that record their calls."""

    def __init__(self, error: Exception | None = None) -> None:
        self.done: list[str] = []
        self.error = error
        self.controls = Controls(reload=self.reload, quit=lambda: self.done.append("quit"))

    def reload(self) -> None:
        self.done.append("reload")
        if self.error:
            raise self.error


def client_of(controls: Controls | None, settings: Config | None = None) -> FlaskClient:
    cloud = make_cloud("default", Source(inventory), Pinger({}))
    return make_front({cloud.name: cloud}, controls=controls, settings=settings).test_client()


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("path", ["/-/reload", "/-/quit"])
def test_nothing_can_be_done_unless_it_is_enabled(method: str, path: str) -> None:
    answer = client_of(None).open(path, method=method)
    assert answer.status_code == 403
    assert answer.text == "Lifecycle API is not enabled.\n"


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("action", ["reload", "quit"])
def test_what_can_be_done_when_it_is(method: str, action: str) -> None:
    recorder = Recorder()
    answer = client_of(recorder.controls).open(f"/-/{action}", method=method)
    assert answer.status_code == 200
    assert recorder.done == [action]


@pytest.mark.parametrize("action", ["reload", "quit"])
def test_a_cloud_cannot_be_reloaded_by_itself(action: str) -> None:
    cloud = make_cloud("lon1", Source(inventory), Pinger({}))
    assert open_site(cloud).post(f"/clouds/lon1/-/{action}").status_code == 404


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("action", ["reload", "quit"])
def test_a_link_does_nothing(method: str, action: str) -> None:
    recorder = Recorder()
    answer = client_of(recorder.controls).open(f"/-/{action}", method=method)
    assert answer.status_code == 405
    assert recorder.done == []


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200),
        ("https://evil.example", 403),
        ("http://localhost:81", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
def test_another_sites_form_is_refused(origin: str, status: int) -> None:
    recorder = Recorder()
    client = client_of(recorder.controls)
    answer = client.post("/-/reload", headers={"Origin": origin}, base_url="http://localhost")
    assert answer.status_code == status
    assert recorder.done == (["reload"] if status == 200 else [])


def test_a_bad_configuration_is_told_in_one_line() -> None:
    recorder = Recorder(ConfigError('c.yml: probe.tiemout: unknown key; did you mean "timeout"?'))
    answer = client_of(recorder.controls).post("/-/reload")
    assert answer.status_code == 500
    assert answer.text == (
        'failed to reload config: c.yml: probe.tiemout: unknown key; did you mean "timeout"?\n'
    )


CONFIGS = [
    "{}",
    "cloud: ä",
    "instances: {include: [{project: [a, b], metadata: {k: '*'}}], exclude: [{address: 10.0.0.0/8}]}",
    "cache: {sweep: 1m30s, inventory: 500ms, max_stale: 1d}\nprobe: {families: [6], rate: 5}",
]


@pytest.mark.parametrize("text", CONFIGS)
def test_the_configuration_shown_is_the_one_in_use(text: str) -> None:
    settings = config.parse(text, source="test")
    answer = client_of(None, settings).get("/config")
    assert answer.content_type == "text/plain; charset=utf-8"
    assert config.parse(answer.text, source="shown") == settings


def test_the_configuration_is_shown_with_its_defaults_and_without_empty_keys_of_rules() -> None:
    settings = config.parse("instances: {include: [{name: 'a*'}]}", source="test")
    shown = strict_yaml.dump(settings)
    assert "cloud: null\n" in shown
    assert "  timeout: 1s\n" in shown
    assert "  include:\n  - name: a*\n  exclude: []\n" in shown


class Running:
    """A service of the demo's cloud, with a configuration file."""

    def __init__(self, demo: Demo, file: Path) -> None:
        self.file = file
        self.telemetry = ProcessTelemetry()
        self.service = Service(
            config.load(file),
            read=lambda: config.load(file),
            check=self.check,
            connect=lambda settings, _observe: Cloud(settings, region=demo.region()),
            telemetry=self.telemetry,
        )

    @staticmethod
    def check(settings: Config) -> None:
        if settings.os_fping.auth == "none":
            raise ConfigError("not with this command line")
        if settings.cloud == "bug":
            raise RuntimeError

    def metric(self, name: str) -> float:
        value = self.telemetry.registry.get_sample_value(f"fping_exporter_config_last_reload_{name}")
        assert value is not None
        return value


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    file = tmp_path / "c.yml"
    file.write_text("cache: {sweep: 20s}")
    with Demo() as demo:
        yield Running(demo, file)


def test_a_good_configuration_is_taken_up(running: Running) -> None:
    api, before = only(running.service).api, running.metric("success_timestamp_seconds")
    running.file.write_text("cache: {sweep: 30s}")
    running.service.reload()
    assert only(running.service).monitor.settings.cache.sweep == Duration(30)
    assert only(running.service).api is not api
    assert running.metric("successful") == 1
    assert running.metric("success_timestamp_seconds") > before


@pytest.mark.parametrize("text", ["cache: {swep: 1s}", "{", "os_fping: {auth: none}", None])
def test_a_bad_configuration_is_refused_whole(
    running: Running, text: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    before = only(running.service).monitor.settings, only(running.service).api
    timestamp = running.metric("success_timestamp_seconds")
    running.file.unlink() if text is None else running.file.write_text(text)
    with pytest.raises(FpingExporterError) as refused:
        running.service.reload()
    assert (only(running.service).monitor.settings, only(running.service).api) == before
    assert running.metric("successful") == 0
    assert running.metric("success_timestamp_seconds") == timestamp
    [record] = caplog.records
    assert record.getMessage() == f"the configuration stays as it was: {refused.value}"

    running.file.write_text("{}")
    running.service.reload()
    assert running.metric("successful") == 1


def test_a_bug_while_reading_changes_nothing_either(running: Running) -> None:
    before = only(running.service).monitor.settings
    running.file.write_text("cloud: bug")
    with pytest.raises(ConfigError, match="a bug, see the log"):
        running.service.reload()
    assert only(running.service).monitor.settings is before
    assert running.metric("successful") == 0
