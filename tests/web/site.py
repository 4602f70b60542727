"""A whole site on werkzeug's test client: the front and one application for each of some clouds."""

from collections.abc import Mapping
from typing import NamedTuple

from flask import Flask
from werkzeug.test import Client

from fping_exporter import config
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.lister import InventorySource
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.probe import Prober
from fping_exporter.web import create_app, inventory
from fping_exporter.web.front import create_front
from fping_exporter.web.lifecycle import Controls
from fping_exporter.web.origin import Origin
from fping_exporter.web.router import CloudRouter
from tests.os_fping.anonymous import anonymous_os_fping

__all__ = ["FakeCloud", "make_app", "make_cloud", "make_front", "make_router", "open_site"]


class FakeCloud(NamedTuple):
    """A cloud whose list and pings a test chooses."""

    name: str
    monitor: Monitor
    telemetry: Telemetry
    prober: Prober

    @property
    def whole(self) -> Snapshots:
        return self.monitor

    @property
    def is_tried(self) -> bool:
        return bool(self.monitor.latest or self.telemetry.inventory.error)


def make_cloud(
    name: str, source: InventorySource, prober: Prober, *, settings: config.Config | None = None
) -> FakeCloud:
    """Make a cloud; nothing is listed before somebody asks."""
    telemetry = Telemetry()
    setup = Setup(settings or config.Config(), source, prober)
    return FakeCloud(name, Monitor(setup, telemetry=telemetry), telemetry, prober)


def make_front(
    clouds: Mapping[str, FakeCloud],
    *,
    path: str = "/metrics",
    controls: Controls | None = None,
    settings: config.Config | None = None,
    max_wait: float = 0.5,
) -> Flask:
    """Make the application of the process."""
    return create_front(
        lambda: clouds,
        settings=lambda: settings or config.Config(),
        process=ProcessTelemetry(),
        telemetry_path=path,
        controls=controls,
        max_wait=max_wait,
    )


def make_app(cloud: FakeCloud, *, path: str = "/metrics") -> Flask:
    """Make the application of a cloud."""

    def origin() -> Origin:
        return Origin(cloud.name, "RegionOne", "mon-1")

    return create_app(
        lambda: cloud.monitor,
        telemetry=cloud.telemetry,
        telemetry_path=path,
        origin=origin,
        others=[
            anonymous_os_fping(cloud.monitor, prober=cloud.prober, telemetry=cloud.telemetry),
            inventory.blueprint(lambda: cloud.monitor, origin=origin, local=True),
        ],
    )


def make_router(
    clouds: Mapping[str, FakeCloud], front: Flask, *, path: str = "/metrics"
) -> CloudRouter[FakeCloud]:
    """Make the WSGI application of the whole site; a test may change the mapping meanwhile."""
    return CloudRouter(
        front,
        clouds=lambda: clouds,
        make_app=lambda cloud: make_app(cloud, path=path),
        telemetry_path=path,
    )


def open_site(*clouds: FakeCloud, path: str = "/metrics") -> Client:
    """Return a client of a site with these clouds."""
    by_name = {cloud.name: cloud for cloud in clouds}
    return Client(make_router(by_name, make_front(by_name, path=path), path=path))
