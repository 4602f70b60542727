"""An exporter as agent and as central: what its configuration decides, and what a reload changes."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fping_exporter.cli.upstream import Observe, connect_upstream
from fping_exporter.cloud import Cloud
from fping_exporter.config import Agents, Cache, CentralInventory, Config, Probe
from fping_exporter.config.duration import Duration
from fping_exporter.demo import SCENE_SIZE, Demo
from fping_exporter.errors import ConfigError
from fping_exporter.fleet.central import Centrals
from fping_exporter.httpd.listen import parse_listen_address
from fping_exporter.httpd.tls import TlsServer
from fping_exporter.httpd.web_config import Settings
from fping_exporter.lister import Upstream
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.os_fping.nova_http import Fault
from fping_exporter.service import Service, check_exposure
from fping_exporter.storage import NOTHING_STORED, StateDirectory
from fping_exporter.storage.directory import Directory
from tests.build import instance
from tests.fleet.centrals import Central, Pki, serve
from tests.permission import need_ping
from tests.units import only

SOON = 5.0
CACHE = Cache(inventory=Duration(0.001), sweep=Duration(0.001), max_stale=Duration(600))
PROBE = Probe(timeout=Duration(0.1), retries=0)
GUEST = instance("a", "127.10.0.1", host="cn-1")


@pytest.fixture
def central(pki: Pki) -> Iterator[Central]:
    need_ping()
    with serve(Central(GUEST), pki) as central:
        central.refresh(age=30)
        yield central


def agent(pki: Pki, *urls: str) -> Config:
    names = {"ca_file": "ca.pem", "cert_file": "cn-1.pem", "key_file": "cn-1.key"}
    files = {key: pki.path(name) for key, name in names.items()}
    centrals = CentralInventory(central=urls, host="cn-1", **files)  # type: ignore[arg-type]
    return Config(inventory=centrals, cache=CACHE, probe=PROBE)


class Exporter:
    """A service whose next configuration a test decides; a cloud is the demo's."""

    def __init__(self, settings: Config, state: StateDirectory = NOTHING_STORED) -> None:
        self.settings = settings
        self._stack = contextlib.ExitStack()
        self.service = Service(
            settings,
            read=lambda: self.settings,
            check=lambda _settings: None,
            connect=self._connect,
            telemetry=ProcessTelemetry(),
            state=state,
        )

    def _connect(self, settings: Config, observe: Observe) -> Upstream:
        if settings.inventory:
            return connect_upstream(settings, observe)
        return Cloud(settings, region=self._stack.enter_context(Demo()).region())

    def close(self) -> None:
        self._stack.close()
        self.settings = Config()
        if poller := only(self.service).runtime.poller:
            poller.stop()

    def ids(self) -> list[str] | None:
        snapshot = only(self.service).monitor.snapshot(timeout=SOON)
        return [verdict.instance.id for verdict in snapshot.verdicts] if snapshot else None


def test_an_agent_judges_the_instances_of_its_host_by_a_list_of_known_age(pki: Pki, central: Central) -> None:
    exporter = Exporter(agent(pki, central.url))
    exporter.service.start()
    try:
        assert exporter.ids() == ["a"]
        listing = only(exporter.service).monitor.listing
        assert listing
        assert 30 <= listing.age < 60
        snapshot = only(exporter.service).monitor.latest
        assert snapshot
        assert snapshot.alone
        sample = only(exporter.service).telemetry.registry.get_sample_value
        listed_at = sample("fping_exporter_inventory_last_success_timestamp_seconds")
        assert listed_at == pytest.approx(time.time() - listing.age, abs=5)
        assert sample("fping_exporter_openstack_requests_total", {"service": "central", "code": "200"}) == 1
    finally:
        exporter.close()


def test_a_reload_makes_an_agent_of_an_exporter_with_a_cloud_and_the_other_way_round(
    pki: Pki, central: Central
) -> None:
    exporter = Exporter(Config(cache=CACHE, probe=PROBE))
    exporter.service.start()
    try:
        assert only(exporter.service).runtime.poller is None
        of_cloud = exporter.ids()
        assert of_cloud
        assert len(of_cloud) == SCENE_SIZE
        exporter.settings = agent(pki, central.url)
        exporter.service.reload()
        assert exporter.ids() == ["a"]
        poller = only(exporter.service).runtime.poller
        assert poller
        exporter.settings = Config(cache=CACHE, probe=PROBE)
        exporter.service.reload()
        assert only(exporter.service).runtime.poller is None
        assert exporter.ids() == of_cloud
    finally:
        exporter.close()


def test_a_reload_with_other_centrals_goes_on_with_the_list(pki: Pki, central: Central) -> None:
    exporter = Exporter(agent(pki, central.url))
    try:
        assert exporter.ids() == ["a"]
        exporter.settings = agent(pki, "https://127.0.0.1:1")
        exporter.service.reload()
        assert exporter.ids() == ["a"]
        assert only(exporter.service).cloud.name == "prod"
    finally:
        exporter.close()


def test_a_reload_with_files_that_are_not_there_changes_nothing(pki: Pki, central: Central) -> None:
    exporter = Exporter(agent(pki, central.url))
    try:
        assert exporter.ids() == ["a"]
        exporter.settings = Config(
            inventory=CentralInventory(central=(central.url,), host="cn-1", ca_file=pki.path("none"))
        )
        with pytest.raises(ConfigError, match=r"inventory\.ca_file: .* cannot be read"):
            exporter.service.reload()
        assert exporter.ids() == ["a"]
    finally:
        exporter.close()


def test_a_restart_while_the_centrals_are_away_uses_the_stored_list(
    pki: Pki, central: Central, tmp_path: Path
) -> None:
    state = StateDirectory(Directory(tmp_path), interval=0)
    exporter = Exporter(agent(pki, central.url), state)
    try:
        assert exporter.ids() == ["a"]
    finally:
        state.close(SOON)
        exporter.close()
    state = StateDirectory(Directory(tmp_path), interval=0)
    exporter = Exporter(agent(pki, "https://127.0.0.1:1"), state)
    try:
        assert exporter.ids() == ["a"]
        listing = only(exporter.service).monitor.listing
        assert listing
        assert 30 <= listing.age < 60
    finally:
        state.close(SOON)
        exporter.close()


def test_an_agent_leaves_os_fping_to_the_central(pki: Pki) -> None:
    exporter = Exporter(agent(pki, "https://127.0.0.1:1"))
    try:
        with pytest.raises(Fault) as caught:
            only(exporter.service).api.authenticate("token", client="127.0.0.1")
        assert caught.value.status == 503
        assert only(exporter.service).api.max_microversion() is None
    finally:
        exporter.close()


def test_an_agent_does_not_import_openstacksdk() -> None:
    """It would be a third of an agent's memory."""
    heavy = {"openstack", "keystoneauth1", "requests", "urllib3"}
    program = (
        f"import fping_exporter.cli.serve, fping_exporter.cli.list, sys; print({heavy!r} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
    assert isinstance(connect_upstream(Config(inventory=_anywhere())), Centrals)


def _anywhere() -> CentralInventory:
    return CentralInventory(central=("https://central",), host="self")


VERIFIED = {"cert": "x", "key": "x", "client_ca": "x", "client_auth_type": "RequireAndVerifyClientCert"}


def web(tls: dict[str, str] | None = None, *, users: bool = False) -> Settings:
    return Settings(
        tls_server_config=TlsServer(**tls) if tls else None,  # type: ignore[arg-type]
        basic_auth_users={"agent": f"$2b$04${'.' * 53}"} if users else None,
    )


@pytest.mark.parametrize(
    ("address", "settings"),
    [
        ("127.0.0.1:1", None),
        ("unix:/run/x", None),
        (":1", web(users=True)),
        (":1", web(VERIFIED)),
        (":1", web(VERIFIED | {"client_auth_type": "VerifyClientCertIfGiven"})),
    ],
)
def test_a_list_that_is_not_open(address: str, settings: Settings | None) -> None:
    check_exposure(Config(agents=True), [parse_listen_address(address)], settings)


@pytest.mark.parametrize(
    "settings",
    [
        None,
        web(),
        web({"cert": "x", "key": "x"}),
        web({"cert": "x", "key": "x", "client_auth_type": "RequireAndVerifyClientCert"}),
    ],
)
def test_a_list_that_would_be_open_is_refused(settings: Settings | None) -> None:
    """Without a CA of one's own, every certificate of a public one would do."""
    addresses = [parse_listen_address(text) for text in ("127.0.0.1:1", ":1")]
    check_exposure(Config(), addresses, settings)
    with pytest.raises(ConfigError, match="agents: the list of instances would be open to whoever can reach"):
        check_exposure(Config(agents=True), addresses, settings)


def test_names_in_certificates_need_certificates() -> None:
    settings = Config(agents=Agents(match_san=True))
    local = [parse_listen_address("127.0.0.1:1")]
    check_exposure(settings, local, web(VERIFIED))
    for other in (None, web(users=True)):
        with pytest.raises(ConfigError, match=r"agents\.match_san needs client certificates: set"):
            check_exposure(settings, local, other)
