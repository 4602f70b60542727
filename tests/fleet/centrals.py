"""Centrals on loopback: the real server and application, with a list and a web configuration of a test's."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from flask import Flask

from fping_exporter.config import Agents, Config
from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.middleware import WebConfigMiddleware
from fping_exporter.httpd.server import HttpServer
from fping_exporter.httpd.web_config import WebConfig
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Hypervisor, Instance, Inventory
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.web import create_app, inventory
from tests.build import ORIGIN, Source
from tests.build import inventory as make_inventory
from tests.web.pages import Pinger

__all__ = ["Central", "Pki", "serve"]


class Pki(NamedTuple):
    """A directory with ``NAME.pem`` and ``NAME.key``, and ``ca.pem``."""

    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / name)


TLS = """
tls_server_config:
  cert_file: central.pem
  key_file: central.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.pem
"""


class Central:
    """A central whose list a test changes."""

    def __init__(self, *guests: Instance, agents: Agents | bool = True) -> None:
        self.guests = list(guests)
        self.age: float | None = None
        """How old each list is when it comes; None: it is new."""
        self.url = ""
        self.requests: list[str] = []
        self.monitor = Monitor(
            Setup(Config(agents=agents), Source(self.list), Pinger({})), telemetry=Telemetry()
        )

    def list(self) -> Inventory:
        hypervisors = tuple(Hypervisor(f"cn-{number}", up=True, host=f"cn-{number}") for number in (1, 2))
        there = make_inventory(*self.guests, hypervisors=hypervisors)
        if self.age is None:
            return there
        return Inventory(
            instances=there.instances,
            hypervisors=hypervisors,
            listed_at=there.listed_at,
            duration=there.duration,
            relay_age=self.age,
        )

    def refresh(self, *, age: float | None = None) -> None:
        self.age = age
        self.monitor.refresh_list().wait()

    def app(self) -> Flask:
        return create_app(
            lambda: self.monitor,
            telemetry=Telemetry(),
            telemetry_path="/metrics",
            origin=lambda: ORIGIN,
            others=[inventory.blueprint(lambda: self.monitor, origin=lambda: ORIGIN, local=False)],
        )


@contextlib.contextmanager
def serve(central: Central, pki: Pki, web: str = TLS) -> Iterator[Central]:
    """Serve a central on a port of its own, under a web configuration."""
    path = pki.directory / f"web-{id(central)}.yml"
    path.write_text(web)
    config = WebConfig(path)
    app = WebConfigMiddleware(central.app(), settings=config.settings, is_public=lambda _path: False)
    server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)], tls=config.tls)
    server.start()
    [address] = server.addresses
    scheme = "https" if "tls_server_config" in web else "http"
    central.url = f"{scheme}://{address}"
    try:
        yield central
    finally:
        server.stop(1)
        path.unlink()
