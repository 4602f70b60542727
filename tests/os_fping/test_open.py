"""``os_fping.auth: none``: for a closed network, and nowhere else."""

from collections.abc import Iterator

import pytest

from fping_exporter.config import Config, OsFping
from fping_exporter.errors import ConfigError
from fping_exporter.httpd.listen import parse_listen_address
from fping_exporter.service import check_exposure
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import GONE, Recorder, StandinWorld, uuid

OPEN = OsFping(auth="none")


@pytest.fixture
def world(standin: Recorder) -> StandinWorld:
    return StandinWorld(standin)


@pytest.fixture
def api(world: StandinWorld) -> Iterator[Api]:
    with serving(world.region(), prober=world.prober, settings={"auth": "none"}) as api:
        yield api


def test_everybody_sees_the_exporters_inventory(world: StandinWorld, api: Api) -> None:
    for path in ("/os-fping", "/v2/os-fping?all_tenants", "/v2.1/any/os-fping", "/v2.1/os-fping?exclude=x"):
        reply = api.get(path)
        assert reply.status == 200
        assert {server["id"]: server for server in reply.body["servers"]} == world.servers("admin")
    server = world.servers("beta")[uuid(9)]
    assert api.get(f"/os-fping/{uuid(9)}", "any token").body == {"server": server}
    assert api.get(f"/os-fping/{GONE}").status == 404


def test_the_sweep_is_not_repeated(world: StandinWorld, api: Api) -> None:
    for _ in range(2):
        assert api.get("/os-fping").status == 200
    prober = world.prober
    assert len(prober.asked) == 1  # type: ignore[attr-defined]  # it is Guests


def test_before_there_is_an_inventory(world: StandinWorld, api: Api) -> None:
    world.standin.forget_tokens()
    world.standin.users.clear()
    assert api.get("/os-fping").status == 503


@pytest.mark.parametrize(
    "addresses",
    [
        [],
        ["127.0.0.1:1"],
        ["127.9.9.9:1", "[::1]:2"],
        ["unix:/run/x.sock"],
        ["localhost:1", "unix:/x"],
    ],
)
def test_closed_places(addresses: list[str]) -> None:
    check_exposure(Config(os_fping=OPEN), map(parse_listen_address, addresses))


@pytest.mark.parametrize(
    "address", [":1", "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "[fe80::1]:1", "host:1", "localhost.example:1"]
)
def test_open_places(address: str) -> None:
    addresses = [parse_listen_address(text) for text in ("127.0.0.1:1", address)]
    check_exposure(Config(), addresses)
    with pytest.raises(ConfigError, match=r"os_fping\.auth: none shows every instance to whoever can reach"):
        check_exposure(Config(os_fping=OPEN), addresses)
