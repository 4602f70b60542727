"""The whole application on Flask's test client, with a source and ping outcomes that a test chooses."""

import time
from collections.abc import Callable, Collection, Mapping

from flask.testing import FlaskClient

from fping_exporter import config
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Inventory, Outcome, Sweep, Target
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.web import create_app
from tests.build import ALIVE, ORIGIN, Source
from tests.os_fping.anonymous import anonymous_os_fping
from tests.os_fping.explaining import make_asker

__all__ = ["Exporter", "Pinger"]


class Pinger:
    """A prober with the outcomes that a test gives by IP address; all other targets answer."""

    def __init__(self, outcomes: Mapping[str, Outcome], *, age: float = 0) -> None:
        """Return `outcomes` by IP address, in sweeps that started `age` seconds ago."""
        self.outcomes = outcomes
        self.age = age
        self.sweeps = 0
        self.targets: list[set[Target]] = []
        """Those of each sweep."""
        self.error: Exception | None = None
        """What is raised instead."""

    def probe(self, targets: Collection[Target]) -> Sweep:
        if self.error:
            raise self.error
        self.sweeps += 1
        self.targets.append(set(targets))
        return Sweep(
            outcomes={target: self.outcomes.get(target.ip, ALIVE) for target in targets},
            sent=len(targets),
            received=len(targets),
            started_at=time.time() - self.age,
            duration=0,
        )


class Exporter:
    """The web application and its monitor; there is no sweep before a test calls `sweep`."""

    def __init__(
        self,
        cloud: Callable[[], Inventory],
        pinger: Pinger,
        *,
        settings: config.Config | None = None,
    ) -> None:
        """Build the application with default settings, unless others are given."""
        telemetry = Telemetry()
        self.pinger = pinger
        self.monitor = Monitor(Setup(settings or config.Config(), Source(cloud), pinger), telemetry=telemetry)
        self.asker = make_asker(self.monitor.settings, pinger)
        self.app = create_app(
            lambda: self.monitor,
            telemetry=telemetry,
            telemetry_path="/metrics",
            origin=lambda: ORIGIN,
            asker=lambda: self.asker,
            others=[anonymous_os_fping(self.monitor, prober=pinger, telemetry=telemetry)],
        )
        self.client: FlaskClient = self.app.test_client()

    def sweep(self) -> None:
        """List the instances and ping them, as a scrape does."""
        self.monitor.snapshot(timeout=None)
