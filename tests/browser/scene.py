"""A fictitious cloud for the browser tests: every kind of result, and hostile names chosen by tenants."""

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from flask import Flask

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.demo.scene import make_hypervisors, make_projects, make_servers
from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Hypervisor, Inventory, Outcome, Project, Sweep, Target, Topology
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.probe.sockets import LOOPBACK_BROADCAST
from fping_exporter.web import create_app
from tests.build import ORIGIN, address, instance
from tests.os_fping.anonymous import anonymous_os_fping

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["HOSTILE", "Cloud", "serving", "watch"]

HOSTILE = (
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "\u202egnp.exe\u2066 right to left",
    "x" * 255,
    "a\nb\0c\x1b[31m",
    "{{ config }}",
    "<plaintext>",
    "العنوان-web",
    "   ",
)
"""Hostile instance names; Nova lets a tenant choose these, or similar ones."""
_PROJECT = Project("f" * 32, "</select><b>bold", "default")


_NO_REPLY, _UNREACHABLE, _ALIVE = "192.0.2.", "2001:db8::", "198.51.100."
"""Prefixes of the hostile instances' addresses, by outcome; the number of the instance follows."""
_TWINS = {3, 5}
"""The numbers of two hostile instances with the same addresses, which are ambiguous."""


class Cloud:
    """A source and a prober of the demo's instances, and of instances with hostile names."""

    def __init__(self, instances: int = 240) -> None:
        """Build the instances; `instances` is the number of those of the demo."""
        projects, hypervisors = make_projects(instances), make_hypervisors(instances)
        self._projects = {project.id: project for project in (*projects, _PROJECT)}
        self._hypervisors = tuple(
            Hypervisor(hypervisor.name, index != 1) for index, hypervisor in enumerate(hypervisors)
        )
        self._sweeps = 0
        made = [
            instance(
                server.id,
                *server.addresses,
                name=server.name,
                project_id=server.project_id,
                status=server.status,
                task_state=server.task_state or "",
                power_state="RUNNING" if server.status == "ACTIVE" else "SHUTDOWN",
                hypervisor=server.hypervisor or "",
                availability_zone="nova",
            )
            for server in make_servers(instances, projects, hypervisors)
        ]
        hostile = [
            instance(
                f"hostile-{number}",
                *([address(f"{_NO_REPLY}{_host(number)}")] if number % 2 else []),
                address(f"{_UNREACHABLE}{_host(number)}"),
                *([address(f"{_ALIVE}{number}", kind="floating")] if number > _SILENT_ONES else []),
                name=name,
                project_id=_PROJECT.id,
                hypervisor=name,
                tags=(name, "web", "long words " * 5, "x" * 60),
                metadata={"x" * 255: "y" * 255, "note": "its owner says a lot of it " * 9},
            )
            for number, name in enumerate(HOSTILE)
        ]
        self.instances = (*made, *hostile)

    def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:  # noqa: ARG002, all lists are full
        """Return the instances, as a source does."""
        return Inventory(
            instances=self.instances,
            projects=self._projects,
            hypervisors=self._hypervisors,
            topology=Topology(loopback=True),
            parts={"hypervisors": True, "projects": True},
            listed_at=time.time() - 12,
            duration=0.31,
        )

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Return a sweep, as a prober does. The first one is two hours old, and more instances answer it."""
        self._sweeps += 1
        outcomes = {target: self._outcome(target.ip) for target in targets}
        return Sweep(
            outcomes=outcomes,
            sent=sum(outcome.sent for outcome in outcomes.values()),
            received=sum(outcome.received for outcome in outcomes.values()),
            started_at=time.time() - (7200 if self._sweeps == 1 else 4),
            duration=1.02,
        )

    def _outcome(self, ip: str) -> Outcome:
        number = sum(ip.encode())
        changes = self._sweeps > 1 and not ip.startswith(_ALIVE)
        if ip.startswith(_UNREACHABLE) or (changes and number % 40 == 0):
            return Outcome(sent=3, received=0, rtt=None, unreachable=True)
        if ip.startswith(_NO_REPLY) or ip == LOOPBACK_BROADCAST or (changes and number % 13 == 0):
            return Outcome(sent=3, received=0, rtt=None)
        return Outcome(sent=1, received=1, rtt=0.0002 + number % 97 / 40_000)


_SILENT_ONES = 6


def _host(number: int) -> int:
    return 1 + (min(_TWINS) if number in _TWINS else number)


def watch(cloud: Cloud, *, sweep: float = 0.001) -> Flask:
    """Return the exporter's application after two sweeps of the cloud.

    Results are fresh for `sweep` seconds.
    """
    telemetry = Telemetry()
    settings = config.Config(cache=config.Cache(sweep=Duration(sweep)))
    monitor = Monitor(Setup(settings, cloud, cloud), telemetry=telemetry)
    for _ in range(2):
        monitor.snapshot(timeout=None)
        time.sleep(0.002)
    return create_app(
        lambda: monitor,
        telemetry=telemetry,
        telemetry_path="/metrics",
        origin=lambda: ORIGIN,
        others=[anonymous_os_fping(monitor, prober=cloud, telemetry=telemetry)],
    )


@contextmanager
def serving(app: "WSGIApplication") -> Iterator[str]:
    """Serve an application on a free port of loopback and yield its base URL."""
    server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)])
    server.start()
    try:
        yield f"http://{server.addresses[0]}"
    finally:
        server.stop(5)
