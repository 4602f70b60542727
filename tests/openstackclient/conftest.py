"""Fixtures: python-openstackclient in this process, a cloud, and an exporter that serves os-fping."""

import logging
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import GONE, Guests, Recorder

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # osc-lib warns of its own modules
    from openstackclient.shell import OpenStackShell
    from osc_lib.clientmanager import ClientManager

__all__ = ["Catalog", "Done", "Run"]


class Done(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Run = Callable[..., Done]


class Catalog(Recorder):
    """A cloud whose catalog may have os-fping."""

    def __init__(self) -> None:
        super().__init__()
        self.fping: dict[str, str] = {}
        """URLs by service type."""

    def _token_body(self, token: Any) -> dict[str, Any]:
        body = super()._token_body(token)
        for type_, url in self.fping.items():
            endpoint = {"id": type_, "interface": "public", "region": "RegionOne", "region_id": "RegionOne"}
            entry = {"type": type_, "name": type_, "id": type_, "endpoints": [{**endpoint, "url": url}]}
            body["token"]["catalog"].append(entry)
        return body


@pytest.fixture(scope="package")
def cloud() -> Iterator[Catalog]:
    with Catalog() as cloud:
        cloud.max_limit = 1000
        cloud.servers = [server for server in cloud.servers if server.id != GONE]  # which Nova lists nowhere
        yield cloud


@pytest.fixture(scope="package")
def api(cloud: Catalog) -> Iterator[Api]:
    """An exporter of that cloud."""
    with serving(cloud.region(), prober=Guests("10.0.0.1", "192.0.2.3", "2001:db8::4", "10.0.0.9")) as api:
        yield api


@pytest.fixture
def run(cloud: Catalog, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run ``openstack`` as a user of the cloud."""

    def run(*arguments: str, user: str = "alpha", endpoint: str = "") -> Done:
        account = next(each for each in cloud.users if each.name == user)
        for name, value in cloud.cloud(account)["auth"].items():
            monkeypatch.setenv(f"OS_{name.upper()}", value)
        monkeypatch.setenv("OS_IDENTITY_API_VERSION", "3")
        monkeypatch.setenv("OS_FPING_ENDPOINT", endpoint)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # openstackclient's own
            vars(ClientManager)["fping"]._handle = None  # noqa: SLF001, kept for the process, which is one command
            logging.getLogger().handlers = []
            code = OpenStackShell().run(list(arguments))
        return Done(code, *capsys.readouterr())

    return run
