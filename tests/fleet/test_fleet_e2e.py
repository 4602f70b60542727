"""Two exporters, a Prometheus and a VictoriaMetrics that scrape them, and centrals that answer for all."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.demo.standin import NovaServer
from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer
from fping_exporter.model import Address, AddressKind, Inventory
from tests.build import SILENT, instance, inventory
from tests.cloud.faulty import ALPHA, FaultyCloud
from tests.integration.exporter import Exporter as CentralProcess
from tests.integration.exporter import write_config
from tests.integration.process import ROOT, Process, eventually, free_port
from tests.permission import need_ping
from tests.web.pages import Exporter, Pinger

pytestmark = pytest.mark.e2e

GUESTS = ("here", "dead", "off", "there", "both", "nobody")
HERE, THERE = ("here", "dead", "off", "both"), ("there", "both")
"""Which guests each of the two exporters lists."""
BEGINNING = {"here": True, "dead": False, "off": False, "there": True, "both": True}
MAX_AGE = 6
SERVERS = {
    "prometheus": (
        "--config.file={directory}/config.yml",
        "--storage.tsdb.path={directory}/data",
        "--web.listen-address=127.0.0.1:{port}",
    ),
    "victoria-metrics": (
        "-promscrape.config={directory}/config.yml",
        "-storageDataPath={directory}/data",
        "-httpListenAddr=127.0.0.1:{port}",
    ),
}


class Agent:
    """An exporter that answers scrapes, and lists and pings what a test says."""

    def __init__(self, guests: tuple[str, ...], silent: tuple[str, ...]) -> None:
        ips = {id_: f"198.51.100.{number}" for number, id_ in enumerate(guests, 1)}
        listed = inventory(*(instance(id_, ip, status=status_of(id_)) for id_, ip in ips.items()))

        def listing() -> Inventory:
            return listed

        short = Duration(0.2)
        cache = config.Cache(inventory=Duration(60), sweep=short, max_stale=Duration(120))
        exporter = Exporter(
            listing, Pinger({ips[id_]: SILENT for id_ in silent}), settings=config.Config(cache=cache)
        )
        self._server = HttpServer(exporter.app, listen=[TcpAddress("127.0.0.1", 0)])
        self._server.start()
        self.address = str(self._server.addresses[0])

    def stop(self) -> None:
        self._server.stop(5)


def guest(id_: str) -> NovaServer:
    """Return a server as Nova lists it."""
    addresses = (Address("198.51.100.1", 4, AddressKind.FIXED, "net"),)
    return NovaServer(id=id_, name=id_, project_id=ALPHA.id, status=status_of(id_), addresses=addresses)


def status_of(id_: str) -> str:
    """Return what Nova says of a guest."""
    return "SHUTOFF" if id_ == "off" else "ACTIVE"


class Fleet(NamedTuple):
    """Everything that runs."""

    here: Agent
    there: Agent
    servers: dict[str, Process]
    """What scrapes the two, by its name."""
    centrals: dict[str, CentralProcess]
    """What reads from each of these."""
    config: Path
    """Of one of the centrals."""
    clouds: Path


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[Fleet]:
    """Start everything; the centrals have no vantage, so that all that they know is the agents'."""
    need_ping()
    with contextlib.ExitStack() as running:
        here, there = Agent(HERE, silent=("dead", "off", "both")), Agent(THERE, silent=())
        for agent in (here, there):
            running.callback(agent.stop)
        cloud = running.enter_context(FaultyCloud(*map(guest, GUESTS)))
        clouds = tmp_path / "clouds.yaml"
        clouds.write_text(yaml.safe_dump({"clouds": {"mine": cloud.cloud()}}), encoding="utf-8")
        servers, centrals = {}, {}
        for name, flags in SERVERS.items():
            directory = tmp_path / name
            directory.mkdir()
            (tmp_path / f"{name}-central").mkdir()
            port = free_port()
            job = {
                "job_name": "fping-exporter",
                "scrape_interval": "1s",
                "scrape_timeout": "1s",
                "static_configs": [{"targets": [here.address, there.address]}],
            }
            (directory / "config.yml").write_text(yaml.safe_dump({"scrape_configs": [job]}))
            command = [f"/usr/bin/{name}", *(flag.format(directory=directory, port=port) for flag in flags)]
            server = running.enter_context(Process(command, log=directory / "log"))
            running.callback(server.send_signal, signal.SIGKILL)  # what it has stored need not be written
            servers[name] = server
            settings = write_config(
                tmp_path / f"{name}-central",
                cloud="mine",
                probe={"vantages": ["qdhcp"]},
                cache={"sweep": "200ms"},
                os_fping={"auth": "none", "rate_limit": "unlimited"},
                fleet={"prometheus": f"http://127.0.0.1:{port}", "max_age": f"{MAX_AGE}s"},
            )
            central = CentralProcess(settings, clouds=clouds, log=directory / "central.log")
            centrals[name] = running.enter_context(central)
        yield Fleet(here, there, servers, centrals, settings, clouds)


def get(central: CentralProcess, path: str) -> str:
    with urllib.request.urlopen(f"http://{central.address}{path}", timeout=20) as answer:
        text: str = answer.read().decode()
        return text


def verdicts(central: CentralProcess) -> dict[str, bool]:
    """Return what os-fping says, of those of which it says anything."""
    return {each["id"]: each["alive"] for each in json.loads(get(central, "/os-fping"))["servers"]}


def list_instances(fleet: Fleet) -> dict[str, bool | None]:
    """Return what the command ``list`` says."""
    done = subprocess.run(
        [sys.executable, "-m", "fping_exporter", "list", "--json", "--config.file", fleet.config],
        cwd=ROOT,
        env=os.environ | {"OS_CLIENT_CONFIG_FILE": str(fleet.clouds)},
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1, done.stderr
    return {each["id"]: each["alive"] for each in json.loads(done.stdout)}


def check_list(fleet: Fleet) -> None:
    assert list_instances(fleet) == BEGINNING | {"nobody": None}


def check_pages(fleet: Fleet, central: CentralProcess) -> None:
    """Look at what a central says of exporters."""
    page = get(central, "/instance/both")
    for agent in (fleet.here, fleet.there):
        assert f"{agent.address}</bdi>" in page
    assert "Other exporters" not in get(central, "/instance/nobody")
    metrics = get(central, "/metrics")
    assert "fping_exporter_fleet_success 1.0" in metrics
    assert 'fping_exporter_fleet_exporters{state="heard"} 2.0' in metrics
    assert not re.search("^instance_alive{", metrics, re.MULTILINE)


def test_the_whole_is_known_and_never_is_anybody_called_dead_who_is_not(fleet: Fleet) -> None:
    seen: list[dict[str, bool]] = []

    def become(expected: dict[str, bool], *, timeout: float = 30) -> None:
        """Wait until all centrals say what is expected; what they say meanwhile is kept."""

        def all_say_it() -> None:
            for central in fleet.centrals.values():
                seen.append(verdicts(central))
                assert seen[-1] == expected

        eventually(all_say_it, timeout=timeout)

    become(BEGINNING)
    for central in fleet.centrals.values():
        eventually(partial(check_pages, fleet, central))
    eventually(partial(check_list, fleet))

    fleet.there.stop()
    become({"here": True, "dead": False, "off": False, "both": False})
    assert not any(each.get("there") is False for each in seen), "its exporter is gone, it is not dead"

    for server in fleet.servers.values():
        server.stop()
    become({})
    assert all(each.get("here", True) for each in seen)
    for central in fleet.centrals.values():
        with pytest.raises(urllib.error.HTTPError, match="503"):
            get(central, "/os-fping/here")
        assert "What the other exporters say could not be read: " in get(central, "/")
        assert "fping_exporter_fleet_success 0.0" in get(central, "/metrics")
