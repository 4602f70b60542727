"""A fleet of processes: two centrals, and an agent without credentials in a namespace of its own."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import trustme
import yaml

from fping_exporter.demo import Demo
from tests.fleet.centrals import TLS, Pki
from tests.netns import Namespace, need_root

SECONDS = 20.0
CENTRE, AGENT = "10.63.1.1", "10.63.1.2"
CACHE = {"inventory": "1s", "full_inventory": "1s", "sweep": "100ms"}


def environment(**more: str) -> dict[str, str]:
    """Nothing of this machine's OpenStack."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "PYTHONPATH": os.pathsep.join(sys.path),
    } | more


@contextlib.contextmanager
def running(
    place: Namespace, *arguments: str, log: Path, env: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run the exporter in a namespace until it listens; kill it in the end if it still runs."""
    command = ["ip", "netns", "exec", place.name, sys.executable, "-m", "fping_exporter", *arguments]
    with (
        log.open("wb") as file,
        subprocess.Popen(command, env=env or environment(), stdout=file, stderr=file) as process,
    ):
        try:
            eventually(lambda: "msg=listening" in log.read_text(), log)
            yield process
        finally:
            process.kill()


def eventually(holds: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.05)


def fetch(place: Namespace, path: str) -> str:
    with place.entered(), urllib.request.urlopen(f"http://127.0.0.1:9000{path}", timeout=SECONDS) as answer:
        return str(answer.read().decode())


def alive(place: Namespace) -> list[str]:
    return re.findall(r"(?m)^instance_alive\{.* 1\.0$", fetch(place, "/metrics"))


@pytest.fixture
def places() -> Iterator[tuple[Namespace, Namespace]]:
    need_root()
    with Namespace("fleet-centre") as centre, Namespace("fleet-agent") as agent:
        centre.ip(f"link add veth0 type veth peer name veth0 netns {agent.name}")
        for place, ip in ((centre, CENTRE), (agent, AGENT)):
            place.ip("link set veth0 up", f"addr add {ip}/24 dev veth0")
        yield centre, agent


def certificates(directory: Path) -> Pki:
    """Of the centrals, by their address, and of the agents on two hosts."""
    authority = trustme.CA()
    for name, names in (
        ("central", (CENTRE,)),
        ("agent", ("compute-2.example",)),
        ("other", ("compute-1.example",)),
    ):
        certificate = authority.issue_cert(*names)
        certificate.private_key_pem.write_to_path(directory / f"{name}.key")
        certificate.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    return Pki(directory)


@pytest.mark.netns
def test_an_agent_outlives_its_centrals_one_after_the_other(
    tmp_path: Path, places: tuple[Namespace, Namespace]
) -> None:
    centre, place = places
    pki = certificates(tmp_path)
    (tmp_path / "web.yml").write_text(TLS)
    (tmp_path / "central.yml").write_text(yaml.safe_dump({"agents": {"match_san": True}, "cache": CACHE}))
    settings = {
        "inventory": {
            "central": [f"https://{CENTRE}:9001", f"https://{CENTRE}:9002"],
            "host": "compute-2",
            "ca_file": pki.path("ca.pem"),
            "cert_file": pki.path("agent.pem"),
            "key_file": pki.path("agent.key"),
        },
        "cache": CACHE,
        "probe": {"timeout": "100ms", "retries": 0},
    }
    (tmp_path / "agent.yml").write_text(yaml.safe_dump(settings))
    wrong = settings | {"inventory": settings["inventory"] | {"host": "compute-1"}}  # type: ignore[operator]
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(wrong))
    agent_log = tmp_path / "agent.log"
    agent_flags = ["--config.file", str(tmp_path / "agent.yml"), "--storage.path", str(tmp_path / "state")]
    (tmp_path / "state").mkdir()

    def one_shot(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["ip", "netns", "exec", place.name, sys.executable, "-m", "fping_exporter", *arguments],
            env=environment(),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )

    def inventory_success() -> bool:
        return "fping_exporter_inventory_success 1.0" in fetch(place, "/metrics")

    with contextlib.ExitStack() as stack:
        with centre.entered():  # its threads stay there
            demo = stack.enter_context(Demo())
        auth = {f"OS_{name.upper()}": value for name, value in demo.region().get_auth_args().items()}
        centrals = [
            stack.enter_context(
                running(
                    centre,
                    *("--config.file", str(tmp_path / "central.yml")),
                    *("--web.config.file", str(tmp_path / "web.yml")),
                    *("--web.listen-address", f"{CENTRE}:{port}"),
                    log=tmp_path / f"central-{port}.log",
                    env=environment(**auth),
                )
            )
            for port in (9001, 9002)
        ]
        listen = ("--web.listen-address", "127.0.0.1:9000")
        with running(place, *agent_flags, *listen, log=agent_log) as process:
            eventually(lambda: len(alive(place)) == 1, agent_log)
            assert {"selenium-1", "text-1"} <= set(
                re.findall(r'[{,]name="([^"]*)"', fetch(place, "/metrics"))
            )
            assert "selenium-0" not in fetch(place, "/metrics")
            assert "selenium-1" in fetch(place, "/")

            listed = one_shot("list", "--json", "--config.file", str(tmp_path / "agent.yml"))
            assert listed.returncode == 0, listed.stderr
            assert {each["name"]: each["alive"] for each in json.loads(listed.stdout)}["selenium-1"] is True
            refused = one_shot("list", "--config.file", str(tmp_path / "wrong.yml"))
            assert refused.returncode == 3
            assert 'the client certificate does not name the host "compute-1"' in refused.stderr

            centrals[0].kill()
            # From now on, the agent can only know of a change from the other central.
            demo.servers[:] = [server for server in demo.servers if server.name != "text-1"]
            eventually(lambda: "text-1" not in fetch(place, "/metrics"), agent_log)
            assert inventory_success()
            assert len(alive(place)) == 1

            centrals[1].kill()
            eventually(lambda: not inventory_success(), agent_log)
            assert len(alive(place)) == 1
            process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0

        away = one_shot("list", "--config.file", str(tmp_path / "agent.yml"))
        assert away.returncode == 3
        assert away.stderr.count("no connection: Connection refused") == 2
        with running(place, *agent_flags, *listen, log=agent_log):
            eventually(lambda: len(alive(place)) == 1, agent_log)
            assert not inventory_success()
