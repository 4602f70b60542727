"""What is served over HTTP: the pages and interfaces of each cloud, and those of the process."""

import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from fping_exporter.cloud_unit import CloudUnit
from fping_exporter.config import DEFAULT_CLOUD
from fping_exporter.httpd.listen import ListenAddress, is_local
from fping_exporter.log_context import log_as
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.os_fping.paths import is_os_fping
from fping_exporter.os_fping.views import blueprint as os_fping_blueprint
from fping_exporter.service import Service
from fping_exporter.web import create_app, inventory
from fping_exporter.web.front import create_front
from fping_exporter.web.lifecycle import Controls
from fping_exporter.web.origin import Origin
from fping_exporter.web.router import CloudRouter, split_cloud_path

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["Site", "make_site"]


class Site(NamedTuple):
    """A WSGI application, and which of its paths need no password."""

    app: "WSGIApplication"
    is_public: Callable[[str], bool]


def make_site(
    service: Service,
    *,
    process: ProcessTelemetry,
    telemetry_path: str,
    controls: Controls | None,
    listen: Iterable[ListenAddress],
) -> Site:
    """Make what is served of the clouds of `service`, whichever these are at the time of a request.

    `telemetry_path` is the path of the metrics. `controls` are the functions behind ``/-/reload`` and
    ``/-/quit``; None disables both. `listen` are the addresses of the server.
    """
    local = all(map(is_local, listen))
    front = create_front(
        lambda: service.units,
        settings=lambda: service.settings,
        process=process,
        telemetry_path=telemetry_path,
        controls=controls,
    )
    router = CloudRouter(
        front,
        clouds=lambda: service.units,
        make_app=lambda unit: _make_app(unit, telemetry_path=telemetry_path, local=local),
        telemetry_path=telemetry_path,
    )
    return Site(router, lambda path: _is_public(path, service))


def _make_app(unit: CloudUnit, *, telemetry_path: str, local: bool) -> "WSGIApplication":
    """Make the application of one cloud; `local`: none but this machine's users can reach the server."""

    def origin() -> Origin:
        cloud = unit.cloud.name if unit.name == DEFAULT_CLOUD else unit.name
        return Origin(cloud, unit.cloud.region, socket.gethostname())

    app = create_app(
        lambda: unit.monitor,
        whole=lambda: unit.whole,
        telemetry=unit.telemetry,
        telemetry_path=telemetry_path,
        origin=origin,
        asker=lambda: unit.asker,
        others=[
            os_fping_blueprint(lambda: unit.api, telemetry=unit.telemetry),
            inventory.blueprint(lambda: unit.monitor, origin=origin, local=local),
        ],
    )

    def logged(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        with log_as(unit.log_name):
            return app(environ, start_response)

    return logged


def _is_public(path: str, service: Service) -> bool:
    """Return whether `path`, without the prefix, needs no password.

    Health checks have none, and os-fping checks tokens itself.
    """
    if found := split_cloud_path(path):
        name, rest = found
        return name in service.units and is_os_fping(rest)
    return path == "/-/healthy" or (len(service.units) == 1 and is_os_fping(path))
