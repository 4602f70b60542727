"""Several clouds in one process: each keeps to itself, and a reload touches only what has changed."""

import gc
import gzip
import logging
import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import Client

from fping_exporter.cli.site import make_site
from fping_exporter.cloud import Cloud
from fping_exporter.cloud.tokens import SharedTokens
from fping_exporter.config import Config, parse, strict_yaml
from fping_exporter.config.duration import Duration
from fping_exporter.demo.http import Answer, Request
from fping_exporter.errors import ConfigError
from fping_exporter.lister import Upstream
from fping_exporter.log_context import current_cloud
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.model import Project
from fping_exporter.service import Service
from fping_exporter.storage import NOTHING_STORED, StateDirectory
from fping_exporter.storage.directory import Directory
from tests.cloud.faulty import ADMIN, SERVERS, TOKENS, FaultyCloud, make_servers
from tests.permission import need_ping

SOON = 10.0
QUICK = {
    "probe": {"timeout": "100ms", "retries": 0},
    "cache": {"inventory": "1ms", "sweep": "1ms", "max_stale": "10m"},
}


class Clouds:
    """A service of stand-ins: ``cloud`` in the settings of each names one of them."""

    def __init__(self, standins: Mapping[str, FaultyCloud], state: StateDirectory = NOTHING_STORED) -> None:
        self.settings: dict[str, Any] = {name: {"cloud": name} for name in standins}
        self.connected: list[str | None] = []
        tokens = SharedTokens()

        def connect(settings: Config, observe: Any) -> Upstream:
            self.connected.append(settings.cloud)
            if settings.cloud is None or settings.cloud not in standins:
                raise ConfigError(f'cloud: "{settings.cloud}" is not an entry of clouds.yaml')
            region = standins[settings.cloud].region(ADMIN)
            return Cloud(settings, observe=observe, region=region, tokens=tokens, sleep=lambda _: None)

        self.telemetry = ProcessTelemetry()
        self.service = Service(
            self.read(),
            read=self.read,
            check=lambda _settings: None,
            connect=connect,
            telemetry=self.telemetry,
            state=state,
        )

    def read(self) -> Config:
        try:
            return strict_yaml.convert(QUICK | {"clouds": self.settings}, Config)
        except ValueError as error:
            raise ConfigError(f"c.yml: {error}") from None

    def ids(self, name: str, *, timeout: float = SOON) -> list[str] | None:
        """The instances of a cloud; None without results."""
        snapshot = self.service.units[name].monitor.snapshot(timeout=timeout)
        return sorted(each.instance.id for each in snapshot.verdicts) if snapshot else None

    def sample(self, name: str, metric: str, labels: dict[str, str] | None = None) -> float | None:
        registry = self.service.units[name].telemetry.registry
        return registry.get_sample_value(f"fping_exporter_{metric}", labels or {})


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    need_ping()
    with ExitStack() as stack:
        yield stack


def serve(stack: ExitStack, name: str, count: int = 1) -> FaultyCloud:
    """Serve a stand-in with servers whose ids begin with `name`."""
    project = Project(f"{name:0<32}", name, "default")
    return stack.enter_context(FaultyCloud(*make_servers(count, project=project)))


def test_a_cloud_that_hangs_and_one_that_refuses_cost_only_their_own_results(stack: ExitStack) -> None:
    standins = {name: serve(stack, name) for name in ("lon1", "hangs", "gone")}
    released = threading.Event()
    stack.callback(released.set)

    def hang(_request: Request) -> None:
        assert released.wait(30)

    standins["hangs"].fail(SERVERS, *[hang] * 100)
    standins["gone"].fail(SERVERS, *[Answer(403, b"")] * 1000)
    clouds = Clouds(standins)
    clouds.service.start()
    for _ in range(3):
        assert clouds.ids("lon1") == ["lon1-0000"]
        assert clouds.ids("hangs", timeout=0.01) is None
        assert clouds.ids("gone") is None
    assert clouds.sample("lon1", "inventory_success") == 1
    assert clouds.sample("lon1", "packets_sent_total") == 3
    assert clouds.sample("gone", "inventory_success") == 0
    assert clouds.sample("gone", "openstack_requests_total", {"service": "compute", "code": "403"})
    assert clouds.sample("lon1", "openstack_requests_total", {"service": "compute", "code": "403"}) is None
    assert [clouds.service.units[name].is_tried for name in ("lon1", "hangs", "gone")] == [True, False, True]

    released.set()
    assert clouds.ids("hangs") == ["hangs-0000"]


def test_log_lines_name_the_cloud_whoever_asks_for_the_refresh(stack: ExitStack) -> None:
    lines: list[tuple[str | None, str]] = []

    class Noting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append((current_cloud(), record.getMessage()))

    handler = Noting()
    logging.getLogger("fping_exporter").addHandler(handler)
    stack.callback(logging.getLogger("fping_exporter").removeHandler, handler)
    standins = {name: serve(stack, name) for name in ("lon1", "default", "lon2")}
    for standin in standins.values():
        standin.fail(SERVERS, *[Answer(403, b"")] * 1000)
    clouds = Clouds(standins)
    clouds.service.start()
    for name in standins:
        clouds.ids(name)
    told = {cloud for cloud, text in lines if text.startswith("listing the instances failed: ")}
    assert told == {"lon1", None, "lon2"}

    lines.clear()
    site = make_site(
        clouds.service, process=clouds.telemetry, telemetry_path="/metrics", controls=None, listen=[]
    )
    Client(site.app).get("/probe?cloud=lon2")
    told = {cloud for cloud, text in lines if text.startswith("listing the instances failed: ")}
    assert told == {"lon2"}
    assert current_cloud() is None


@contextmanager
def failing(standin: FaultyCloud) -> Iterator[None]:
    """Have Nova answer that it is not available."""
    standin.fail(SERVERS, *[Answer(503, b"")] * 1000)
    yield
    standin.fail(SERVERS)


@pytest.mark.parametrize(
    ("away", "error"), [(failing, "HTTP 503"), (FaultyCloud.stopped, "Connection refused")]
)
def test_a_cloud_that_is_stopped_and_started_comes_back_by_itself(
    stack: ExitStack, away: Callable[[FaultyCloud], AbstractContextManager[None]], error: str
) -> None:
    standins = {name: serve(stack, name) for name in ("lon1", "lon2")}
    clouds = Clouds(standins)
    assert (clouds.ids("lon1"), clouds.ids("lon2")) == (["lon1-0000"], ["lon2-0000"])
    with away(standins["lon2"]):
        told = clouds.service.units["lon2"].telemetry.inventory
        eventually(lambda: clouds.ids("lon2") and error in str(told.error))
        assert clouds.sample("lon2", "inventory_success") == 0
        assert clouds.ids("lon2") == ["lon2-0000"], "what was listed last is pinged still"
        listed = len(standins["lon1"].asked(SERVERS))
        eventually(lambda: clouds.ids("lon1") and len(standins["lon1"].asked(SERVERS)) > listed)
        assert clouds.sample("lon1", "inventory_success") == 1
    eventually(lambda: clouds.ids("lon2") and clouds.sample("lon2", "inventory_success") == 1)
    assert clouds.sample("lon1", "inventory_success") == 1


def test_a_reload_touches_only_the_clouds_that_have_changed(stack: ExitStack) -> None:
    standins = {name: serve(stack, name) for name in ("same", "changed", "removed", "added")}
    clouds = Clouds(standins)
    added = clouds.settings.pop("added")
    clouds.service.reload()
    assert list(clouds.service.units) == ["same", "changed", "removed"]
    clouds.service.start()
    before = dict(clouds.service.units)
    for name in before:
        assert clouds.ids(name) == [f"{name}-0000"]
    runtime, listing = before["same"].runtime, before["same"].monitor.listing
    asked = len(standins["same"].requests)

    del clouds.settings["removed"]
    clouds.settings["changed"] |= {"cache": {"full_inventory": "1h"}}
    clouds.settings["added"] = added
    clouds.service.reload()

    units = clouds.service.units
    assert list(units) == ["same", "changed", "added"]
    assert units["same"] is before["same"]
    assert units["same"].runtime is runtime
    assert units["same"].monitor.listing is listing
    assert len(standins["same"].requests) == asked
    assert units["changed"] is before["changed"]
    assert units["changed"].monitor is not runtime.monitor
    assert units["changed"].monitor.settings.cache.full_inventory == Duration(3600)
    assert units["changed"].monitor.latest, "it lists the same instances"
    assert clouds.ids("added") == ["added-0000"]
    assert clouds.ids("same") == ["same-0000"]


def test_a_cloud_that_a_reload_adds_keeps_the_process_ready(stack: ExitStack) -> None:
    standins = {name: serve(stack, name) for name in ("lon1", "hangs", "too")}
    released = threading.Event()
    stack.callback(released.set)

    def hang(_request: Request) -> None:
        assert released.wait(30)

    for name in ("hangs", "too"):
        standins[name].fail(SERVERS, *[hang] * 100)
    clouds = Clouds(standins)
    too = clouds.settings.pop("too")
    hangs = clouds.settings.pop("hangs")
    clouds.service.reload()
    clouds.service.start()
    assert clouds.ids("lon1") == ["lon1-0000"]
    clouds.settings["hangs"] = hangs
    clouds.service.reload()
    assert clouds.service.units["hangs"].monitor.latest is None
    assert clouds.service.units["hangs"].is_tried
    clouds.settings = {"too": too}
    clouds.service.reload()
    assert not clouds.service.units["too"].is_tried, "there is nothing else to be reached for"


def test_a_reload_while_the_process_ends_begins_nothing(stack: ExitStack) -> None:
    clouds = Clouds({name: serve(stack, name) for name in ("lon1", "lon2")})
    added = clouds.settings.pop("lon2")
    clouds.service.reload()
    clouds.service.start()
    clouds.service.close()
    clouds.settings["lon2"] = added
    clouds.service.reload()
    assert not clouds.service.units["lon2"].is_tried, "it was not started"


def test_a_cloud_that_is_renamed_is_a_removal_and_an_addition(stack: ExitStack) -> None:
    standins = {name: serve(stack, name) for name in ("lon1", "lon2")}
    clouds = Clouds(standins)
    for name in standins:
        clouds.ids(name)
        clouds.service.units[name].monitor.refresh_list().wait(SOON)
    before = dict(clouds.service.units)
    clouds.settings["new"] = clouds.settings.pop("lon2")
    clouds.service.reload()
    assert list(clouds.service.units) == ["lon1", "new"]
    assert clouds.service.units["lon1"] is before["lon1"]
    assert clouds.service.units["new"].monitor.latest is None
    assert clouds.ids("new") == ["lon2-0000"]
    clouds.service.units["new"].monitor.refresh_list().wait(SOON)
    swept, asked = clouds.sample("new", "packets_sent_total"), len(standins["lon2"].requests)
    before["lon2"].monitor.snapshot(timeout=SOON)
    before["lon2"].monitor.refresh_list().wait(SOON)
    assert clouds.sample("new", "packets_sent_total") == swept
    assert len(standins["lon2"].requests) == asked


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"cloud": "nowhere"}, 'clouds.bad.cloud: "nowhere" is not an entry of clouds.yaml'),
        ({"probe": {"rate": 1}}, "c.yml: clouds.bad.probe.rate: the rate limit is of the process"),
    ],
)
def test_a_configuration_with_one_wrong_cloud_is_refused_whole(
    stack: ExitStack, settings: dict[str, Any], error: str
) -> None:
    clouds = Clouds({"lon1": serve(stack, "lon1")})
    assert clouds.ids("lon1") == ["lon1-0000"]
    units, runtime = clouds.service.units, clouds.service.units["lon1"].runtime
    clouds.settings = {"lon1": {"cloud": "lon1", "cache": {"full_inventory": "1h"}}, "bad": settings}
    with pytest.raises(ConfigError, match=f"^{re.escape(error)}"):
        clouds.service.reload()
    assert clouds.service.units is units
    assert units["lon1"].runtime is runtime
    value = clouds.telemetry.registry.get_sample_value("fping_exporter_config_last_reload_successful")
    assert value == 0


def test_each_cloud_has_a_state_file_of_its_own(stack: ExitStack, tmp_path: Path) -> None:
    standins = {name: serve(stack, name) for name in ("default", "lon1", "lon2")}
    state = StateDirectory(Directory(tmp_path), interval=0)
    clouds = Clouds(standins, state)
    for name in standins:
        clouds.ids(name)
    state.close(SOON)
    files = {path.name for path in tmp_path.iterdir()}
    assert files == {"lock", "state.jsonl.gz", "state-lon1.jsonl.gz", "state-lon2.jsonl.gz"}
    assert b"lon1-0000" in gzip.decompress((tmp_path / "state-lon1.jsonl.gz").read_bytes())
    assert b"lon1-0000" not in gzip.decompress((tmp_path / "state-lon2.jsonl.gz").read_bytes())

    for standin in standins.values():
        standin.fail(SERVERS, *[Answer(503, b"")] * 1000)
    standins["lon3"] = standins.pop("lon2")
    day_old = time.time() - 90_000
    os.utime(tmp_path / "state.jsonl.gz", (day_old, day_old))
    os.utime(tmp_path / "state-lon1.jsonl.gz", (day_old, day_old))
    del standins["default"]
    state = StateDirectory(Directory(tmp_path), interval=0)
    again = Clouds(standins, state)
    assert again.ids("lon1") == ["lon1-0000"], "what an earlier process knew"
    assert again.ids("lon3", timeout=1) is None, "nothing of another name is read"
    state.close(SOON)
    assert {path.name for path in tmp_path.iterdir()} == {
        "lock",
        "state-lon1.jsonl.gz",
        "state-lon2.jsonl.gz",  # which may come back within a day
    }


def test_what_is_known_of_a_cloud_that_is_removed_is_written_and_no_longer_in_memory(
    stack: ExitStack, tmp_path: Path
) -> None:
    standins = {name: serve(stack, name, count=2) for name in ("lon1", "lon2")}
    standins["lon2"].fail(SERVERS, Answer(200, {"servers": []}))
    clouds = Clouds(standins, StateDirectory(Directory(tmp_path), interval=3600))
    assert clouds.ids("lon2") == []
    eventually((tmp_path / "state-lon2.jsonl.gz").exists)
    eventually(lambda: clouds.ids("lon2"))
    listing = clouds.service.units["lon2"].monitor.listing
    assert listing
    listed = weakref.ref(listing.complete)
    del listing

    removed = clouds.settings.pop("lon2")
    clouds.service.reload()

    def is_forgotten() -> bool:
        gc.collect()
        return listed() is None

    eventually(is_forgotten)
    standins["lon2"].fail(SERVERS, *[Answer(503, b"")] * 1000)
    clouds.settings["lon2"] = removed
    clouds.service.reload()
    assert clouds.ids("lon2") == ["lon2-0000", "lon2-0001"], "as it was when it was removed"


def test_a_cloud_that_is_removed_or_changed_leaves_no_connection_open(stack: ExitStack) -> None:
    gc.disable()
    stack.callback(gc.enable)
    standins = {name: serve(stack, name) for name in ("lon1", "lon2", "lon3")}
    clouds = Clouds(standins)
    for name, standin in standins.items():
        assert clouds.ids(name)
        assert standin.connections()

    del clouds.settings["lon2"]
    clouds.settings["lon3"] = {"cloud": "lon1"}
    clouds.service.reload()
    assert clouds.ids("lon3") == ["lon1-0000"]
    eventually(lambda: standins["lon2"].connections() == 0)
    eventually(lambda: standins["lon3"].connections() == 0)


def test_a_cloud_that_is_removed_leaves_no_thread_that_waits_for_its_next_list(stack: ExitStack) -> None:
    clouds = Clouds({name: serve(stack, name) for name in ("lon1", "lon2")})
    clouds.settings["lon2"] = {"cloud": "lon2", "cache": {"inventory": "5m"}}
    clouds.service.reload()
    clouds.ids("lon2")
    others = set(threading.enumerate())
    clouds.service.units["lon2"].monitor.refresh_list_when_due()
    waiting = {each for each in threading.enumerate() if each.name == "list due"} - others
    assert waiting
    del clouds.settings["lon2"]
    clouds.service.reload()
    eventually(lambda: not any(each.is_alive() for each in waiting))


def test_entries_with_the_same_credentials_share_a_token(stack: ExitStack) -> None:
    standin = serve(stack, "lon")
    clouds = Clouds({"lon1": standin, "lon2": standin})
    for name in ("lon1", "lon2"):
        assert clouds.ids(name) == ["lon-0000"]
    assert len(standin.asked(TOKENS)) == 1


def eventually(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_which_paths_need_no_password(stack: ExitStack) -> None:
    clouds = Clouds({name: serve(stack, name) for name in ("lon1", "lon2")})
    site = make_site(
        clouds.service, process=clouds.telemetry, telemetry_path="/metrics", controls=None, listen=[]
    )
    public = (
        "/-/healthy",
        "/clouds/lon1/os-fping",
        "/clouds/lon2/v2.1/os-fping/id",
        "/clouds/lon1/v1/explain/id",
    )
    private = (
        *(
            "/",
            "/metrics",
            "/probe",
            "/-/ready",
            "/os-fping",
            "/v2.1/os-fping",
            "/clouds/lon1",
            "/clouds/lon1/",
        ),
        *("/clouds/par1/os-fping", "/clouds/lon1/-/healthy", "/clouds/lon1/clouds/lon1/os-fping"),
    )
    assert [path for path in public if not site.is_public(path)] == []
    assert [path for path in private if site.is_public(path)] == []
    del clouds.settings["lon2"]
    clouds.service.reload()
    assert site.is_public("/os-fping")
    assert site.is_public("/clouds/lon1/os-fping")
    assert not site.is_public("/clouds/lon2/os-fping")


def test_the_site_has_the_clouds_of_the_configuration_in_use(stack: ExitStack) -> None:
    clouds = Clouds({name: serve(stack, name) for name in ("lon1", "lon2")})
    site = make_site(
        clouds.service, process=clouds.telemetry, telemetry_path="/metrics", controls=None, listen=[]
    )
    client = Client(site.app)
    assert 'instance_alive{id="lon2-0000"' in client.get("/probe?cloud=lon2").text
    assert ">lon2</bdi>" in client.get("/clouds/lon2/").text
    assert "lon1" in parse(client.get("/config").text, source="shown").clouds
    assert parse(client.get("/clouds/lon2/config").text, source="shown").cloud == "lon2"
    refused = client.get("/clouds/lon2/os-fping", headers={"X-Auth-Token": "none"})
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Keystone uri=")
    del clouds.settings["lon2"]
    clouds.service.reload()
    assert client.get("/probe?cloud=lon2").status_code == 400
    assert 'instance_alive{id="lon1-0000"' in client.get("/metrics").text
    assert "process_cpu_seconds_total" in client.get("/metrics").text
