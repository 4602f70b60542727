"""os-fping at Nova's old path: the shipped piece of configuration, in a real nginx."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.nginx import nginx
from tests.integration.process import free_port
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import Recorder, StandinWorld, uuid

pytestmark = pytest.mark.e2e

SNIPPET = Path(__file__).parents[2] / "deploy" / "nginx-os-fping.conf"


@pytest.fixture
def world(standin: Recorder) -> StandinWorld:
    return StandinWorld(standin)


@pytest.fixture
def proxy(world: StandinWorld, tmp_path: Path) -> Iterator[Api]:
    """The API as it is seen through nginx."""
    with serving(world.region(), prober=world.prober) as api:
        text = SNIPPET.read_text().replace("127.0.0.1:10605", f"{api.host}:{api.port}")
        (tmp_path / "os-fping.conf").write_text(text)
        port = free_port()
        directives = f"include {tmp_path}/os-fping.conf; location / {{ proxy_pass {world.standin.url}; }}"
        with nginx(directives, home=tmp_path, port=port):
            api.port = port
            wait_for(api)
            yield api


def wait_for(api: Api) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            api.get("/v2.1/os-fping")
        except ConnectionError:
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.05)
        else:
            return


def test_clients_need_no_new_setting(world: StandinWorld, proxy: Api) -> None:
    token = world.token("alpha")
    project = world.project("alpha")
    servers = world.servers("alpha")
    for root in (
        "/v2.1",
        "/v2",
        f"/v2.1/{project}",
        f"/v2/{project}",
        "/compute/v2.1",
        f"/compute/v2/{project}",
        "",
    ):
        listed = proxy.get(f"{root}/os-fping", token)
        assert {server["id"]: server for server in listed.body["servers"]} == servers
        assert proxy.get(f"{root}/os-fping/{uuid(1)}", token).body == {"server": servers[uuid(1)]}
        chosen = proxy.get(f"{root}/os-fping?include={uuid(1)}%2C{uuid(2)}", token)
        assert [server["id"] for server in chosen.body["servers"]] == [uuid(1), uuid(2)]
    assert proxy.get("/v2.1/os-fping", token).headers["OpenStack-API-Version"] == "compute 2.1"
    assert proxy.get("/v2.1/os-fping", "wrong").status == 401


def test_the_rest_is_novas(world: StandinWorld, proxy: Api) -> None:
    world.standin.requests.clear()
    token = world.token("alpha")
    for path in ("/compute/v2.1/servers/detail", "/v2.1/os-fping-x", "/v2.1/os-fping/a/b", "/x/os-fping/y/z"):
        proxy.get(path, token)
        assert world.standin.requests[-1].path == path
