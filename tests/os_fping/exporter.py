"""An exporter whose os-fping API is asked over HTTP, as clients do."""

import contextlib
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from openstack.config.cloud_region import CloudRegion

from fping_exporter import config
from fping_exporter.cloud import Cloud
from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Snapshot
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.os_fping.api import OsFpingApi
from fping_exporter.os_fping.callers import AnonymousAccess
from fping_exporter.os_fping.keystone import KeystoneCallers
from fping_exporter.os_fping.on_demand import OnDemand
from fping_exporter.os_fping.rate_limit import RateLimits
from fping_exporter.os_fping.views import blueprint
from fping_exporter.probe import Prober
from fping_exporter.web import create_app
from tests.build import ORIGIN
from tests.os_fping.explaining import make_explainer

__all__ = ["Api", "Reply", "serving"]


class Reply(NamedTuple):
    """An answer of the API."""

    status: int
    headers: http.client.HTTPMessage
    body: Any
    """What the JSON says; None where there is none."""

    def fault(self) -> tuple[int, str, str]:
        """Return status, name and message of a fault in Nova's form."""
        [(name, content)] = self.body.items()
        assert content["code"] == self.status
        return self.status, name, content["message"]


class Api:
    """What a test asks."""

    def __init__(self, server: HttpServer, monitor: Monitor, telemetry: Telemetry) -> None:
        address = server.addresses[0]
        assert isinstance(address, TcpAddress)
        self.host, self.port = address
        self.monitor = monitor
        self.telemetry = telemetry

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def get(self, path: str, token: str | None = None, *, method: str = "GET", **headers: str) -> Reply:
        """Ask for `path`, sent as it is; in the names of `headers` underscores are hyphens."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            given["X-Auth-Token"] = token
        with contextlib.closing(connection):
            connection.request(method, path, headers=given)
            response = connection.getresponse()
            content = response.read()
        in_json = response.headers["Content-Type"] == "application/json" and content
        return Reply(response.status, response.headers, json.loads(content) if in_json else None)

    def answers(self, code: int) -> float:
        """Return how many answers with that status are counted."""
        name = "fping_exporter_os_fping_requests_total"
        return self.telemetry.registry.get_sample_value(name, {"code": str(code)}) or 0

    @property
    def unasked(self) -> float:
        """How many servers were left out or answered 503 for."""
        value = self.telemetry.registry.get_sample_value("fping_exporter_os_fping_unasked_total")
        assert value is not None
        return value


def may_ping() -> None:
    """Stand for a process that may."""


@contextlib.contextmanager
def serving(
    region: CloudRegion,
    *,
    prober: Prober,
    check: Callable[[], object] = may_ping,
    settings: Mapping[str, Any] | None = None,
    probe: config.Probe = config.Probe(),  # noqa: B008, it is frozen
) -> Iterator[Api]:
    """Serve the exporter on loopback; `settings` are those of the section ``os_fping``."""
    os_fping = config.OsFping(**{"rate_limit": "unlimited", **(settings or {})})
    configured = config.Config(os_fping=os_fping, probe=probe)
    telemetry = Telemetry()
    cloud = Cloud(configured, region=region)
    monitor = Monitor(Setup(configured, cloud, prober), telemetry=telemetry)
    rate_limits = RateLimits()

    def snapshot() -> Snapshot | None:
        return monitor.snapshot(timeout=30)

    api = OsFpingApi(
        configured.os_fping,
        callers=AnonymousAccess(snapshot)
        if configured.os_fping.auth == "none"
        else KeystoneCallers(cloud.session, rate_limits=rate_limits),
        on_demand=OnDemand(configured, prober=prober, snapshot=snapshot, check_permission=check),
        explainer=make_explainer(configured, prober, snapshot),
        rate_limits=rate_limits,
        telemetry=telemetry,
    )
    app = create_app(
        lambda: monitor,
        telemetry=telemetry,
        telemetry_path="/metrics",
        origin=lambda: ORIGIN,
        others=[blueprint(lambda: api, telemetry=telemetry)],
    )
    server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)])
    server.start()
    try:
        yield Api(server, monitor, telemetry)
    finally:
        server.stop(5)
