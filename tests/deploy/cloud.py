"""An exporter of six guests, some of which a test lets die, for a real Prometheus to scrape."""

import contextlib
import time
from collections.abc import Iterator

import msgspec
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fping_exporter import config
from fping_exporter.history import History
from fping_exporter.model import Project
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, instance, inventory, sweep
from tests.exposition import metrics

CONTACT = "ops@alpha.example"
NASTY = '<script>alert("x")</script>\r\nBcc: everyone@example.com'


class Cloud(Collector):
    """The metrics of an exporter for six guests, some of which a test lets die."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.contact = CONTACT
        self._history = History()
        self._inventory = inventory(
            instance("a1", "10.0.0.1", name="web-1", project_id="alpha", hypervisor="c1"),
            instance("a2", "10.0.0.2", name="web-2", project_id="alpha", hypervisor="c2"),
            instance("a3", "10.0.0.3", name="web-3", project_id="alpha", hypervisor="c3"),
            instance("b1", "10.0.0.4", name=NASTY, project_id="beta", hypervisor="c1"),
            instance("b2", "10.0.0.5", name="db-2", project_id="beta", hypervisor="c2"),
            instance("b3", "10.0.0.6", name="db-3", project_id="beta", hypervisor="c3"),
            projects=(Project("alpha", "Alpha Shop", "default"), Project("beta", "Beta", "default")),
        )

    def collect(self) -> Iterator[Metric]:
        outcomes = {
            each.addresses[0].ip: SILENT if each.id in self.dead else ALIVE
            for each in self._inventory.instances
        }
        snapshot = judge(
            self._inventory,
            targets=plan(self._inventory.instances, self._inventory.topology, config.Probe()),
            sweep=msgspec.structs.replace(sweep(outcomes), started_at=time.time()),
            last_replies=self._history.last_replies,
        )
        snapshot = find_missed(snapshot, self._history)
        self._history = self._history.after(snapshot)
        yield from metrics(snapshot)
        for name, value in (("blind", snapshot.blind), ("inventory_success", True)):
            yield GaugeMetricFamily(f"fping_exporter_{name}", "Of the exporter itself.", value=value)
        contacts = GaugeMetricFamily(
            "project_contact_info", "Whom to write to.", labels=["project_id", "email"]
        )
        contacts.add_metric(["alpha", self.contact], 1)
        yield contacts


@contextlib.contextmanager
def serving(cloud: Cloud, *, port: int) -> Iterator[None]:
    registry = CollectorRegistry()
    registry.register(cloud)
    server, thread = start_http_server(port, "127.0.0.1", registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
