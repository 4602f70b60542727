"""``openstack server ping`` on the lab, in a process of its own for each command."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from fping_exporter import config
from tests.integration.catalog import in_catalog
from tests.integration.lab import Lab
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import LabWorld

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def cloud(lab: Lab) -> LabWorld:
    return LabWorld(lab)


@pytest.fixture(scope="module")
def exporter(cloud: LabWorld) -> Iterator[Api]:
    with serving(cloud.region(), prober=cloud.prober, probe=config.Probe()) as api:
        yield api


def ping(lab: Lab, *arguments: str, cloud: str, endpoint: str = "") -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
    environment |= {"OS_CLIENT_CONFIG_FILE": str(lab.clouds), "OS_CLOUD": cloud}
    if endpoint:
        environment["OS_FPING_ENDPOINT"] = endpoint
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "openstackclient.shell", "server", "ping", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def listed(done: subprocess.CompletedProcess[str]) -> Mapping[str, bool | None]:
    assert done.returncode == 0, done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return {row["ID"]: row["Alive"] for row in rows}


def truth(cloud: LabWorld, user: str) -> Mapping[str, bool | None]:
    known = cloud.servers(user)
    return {id_: known[id_]["alive"] if id_ in known else None for id_ in cloud.lab.servers(cloud=user)}


def test_found_in_the_catalog(lab: Lab, cloud: LabWorld, exporter: Api) -> None:
    with in_catalog(lab, "fping", f"{exporter.url}/v2.1"):
        of_all = listed(ping(lab, "list", "--all-projects", "-f", "json", cloud="admin"))
        own = listed(ping(lab, "list", "-f", "json", cloud="alpha"))
    assert of_all == truth(cloud, "admin")
    assert own == truth(cloud, "alpha")
    assert {True, False} <= set(own.values())


def test_a_member_shows_and_waits_at_an_endpoint_of_the_environment(
    lab: Lab, cloud: LabWorld, exporter: Api
) -> None:
    servers = lab.servers(cloud="alpha")
    words = truth(cloud, "alpha")
    alive = next(id_ for id_, word in words.items() if word)
    silent = next(id_ for id_, word in words.items() if word is False)
    endpoint = f"{exporter.url}/v2.1"
    shown = ping(lab, "show", alive, "-f", "json", cloud="alpha", endpoint=endpoint)
    assert json.loads(shown.stdout) == {
        "id": alive,
        "name": servers[alive].name,
        "project_id": servers[alive].project_id,
        "status": servers[alive].status,
        "alive": True,
    }
    waited = ping(lab, "wait", alive, silent, "--timeout", "100ms", cloud="alpha", endpoint=endpoint)
    assert waited.returncode == 1
    assert [line.split()[0] for line in waited.stdout.splitlines()] == [alive, silent]
    down = ping(lab, "wait", silent, "--down", cloud="alpha", endpoint=endpoint)
    assert down.returncode == 0
