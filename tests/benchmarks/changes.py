"""A refresh that asks for what changed, beside a full list: ``python -m tests.benchmarks.changes``.

100,000 servers, of which 0.1 % change between two refreshes: a third are renamed, a third stopped or
started, the others deleted and replaced. The cloud runs in a process of its own, so that what it costs does
not count. Measured is what the exporter does with the list, selection included.
"""

import ipaddress
import multiprocessing
import os
import resource
import statistics
import sys
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import msgspec
from openstack.config import OpenStackConfig

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config, Instances
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.scene import make_hypervisors, make_projects, make_servers, make_users
from fping_exporter.demo.standin import NovaServer
from fping_exporter.model import Address, AddressKind
from fping_exporter.verdict.selection import Selector
from tests.cloud.faulty import SERVERS
from tests.cloud.neutron import PORTS, NeutronCloud, group, port, rule

INSTANCES = int(os.environ.get("INSTANCES", "100000"))
_BEGIN = datetime(2027, 1, 1, tzinfo=UTC)
CHANGED = max(3, INSTANCES // 1000)
ROUNDS = 7
MOST_REQUESTS = 3
MOST_CPU = 0.02


class BenchmarkCloud(NeutronCloud):
    """The demo's cloud, with a Neutron."""

    def __init__(self) -> None:
        super().__init__()
        self.projects, self.hypervisors = make_projects(INSTANCES), make_hypervisors(INSTANCES)
        self.servers[:] = [
            msgspec.structs.replace(server, addresses=(_address(number),))
            for number, server in enumerate(make_servers(INSTANCES, self.projects, self.hypervisors))
        ]
        self.users = make_users(self.projects)
        self.update_times.look(self.servers, now=0)
        self.tell_changes()
        self.network["networks"] = [
            {"id": "net", "name": "private", "router:external": False, "shared": True}
        ]
        self.network["security_groups"] = [group("default", rule())]
        self.network["ports"] = [_port(server) for server in self.servers]
        self.asked_for: Counter[str] = Counter()
        self._step = 0
        self._places: dict[str, int] = {}

    def answer(self, request: Request) -> Answer:
        """Answer as the stand-in does, but for a later page look at no more servers than are on it."""
        self.asked_for[request.path] += 1
        self.requests.clear()
        marker = request.query.get("marker")
        if request.path == PORTS and marker:
            return self._later_ports(request)
        if request.path != SERVERS or "changes-since" in request.query:
            return super().answer(request)
        if marker is None:
            self._places = {server.id: place for place, server in enumerate(self.servers)}
            return super().answer(request)
        whole, place = self.servers, self._places[marker]
        self.servers = whole[place : place + 1 + self.max_limit]
        try:
            return super().answer(request)
        finally:
            self.servers = whole

    def _later_ports(self, request: Request) -> Answer:
        whole = self.network["ports"]
        place = next(n for n, each in enumerate(whole) if each["id"] == request.query["marker"])
        self.network["ports"] = whole[place : place + 1 + self.network_api.page]
        try:
            return super().answer(request)
        finally:
            self.network["ports"] = whole

    def change(self) -> None:
        """Change as many servers as do in a minute."""
        for number in range(CHANGED):
            self._step += 1
            place = self._step * 7919 % len(self.servers)
            server = self.servers[place]
            if number % 3 == 0:
                self.servers[place] = msgspec.structs.replace(server, name=f"renamed-{self._step}")
            elif number % 3 == 1:
                status = "SHUTOFF" if server.status == "ACTIVE" else "ACTIVE"
                self.servers[place] = msgspec.structs.replace(server, status=status)
            else:
                created = (_BEGIN + timedelta(seconds=self._step)).strftime("%Y-%m-%dT%H:%M:%SZ")
                new = msgspec.structs.replace(server, id=str(uuid.uuid4()), created=created)
                self.servers.append(new)
                del self.servers[place]
                self.network["ports"].append(_port(new, updated_at=self.clock()))


def _address(number: int) -> Address:
    return Address(str(ipaddress.IPv4Address("127.10.0.1") + number), 4, AddressKind.FIXED, "private")


def _port(server: NovaServer, **changes: Any) -> dict[str, Any]:
    fixed = [each.ip for each in server.addresses if each.kind is AddressKind.FIXED]
    return port(f"port-{server.id}", *fixed, device=server.id, **changes)


def serve(told: Connection) -> None:
    """Be the cloud: ``change`` changes it, ``asked`` tells what it was asked for since; None ends it."""
    with BenchmarkCloud() as cloud:
        told.send(cloud.cloud())
        while order := told.recv():
            if order == "change":
                cloud.change()
            told.send(cloud.asked_for.copy())
            cloud.asked_for.clear()


class Cost(NamedTuple):
    """What a refresh took."""

    cpu: float
    """Seconds of this process, all threads."""
    servers: int
    """Requests for servers."""
    nova: int
    """Requests to Nova."""
    neutron: int
    """Requests to Neutron."""


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    ours, theirs = multiprocessing.Pipe()
    multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True).start()
    settings = OpenStackConfig(load_yaml_config=False, load_envvars=False)
    cloud = Cloud(Config(), region=settings.get_one(**ours.recv()))
    selector = Selector(Instances())

    def order(what: str) -> Counter[str]:
        ours.send(what)
        counts: Counter[str] = ours.recv()
        return counts

    def refresh(*, full: bool) -> Cost:
        order("change")
        before = resource.getrusage(resource.RUSAGE_SELF)
        listed = cloud.inventory(full=full)
        selected = selector(listed)
        after = resource.getrusage(resource.RUSAGE_SELF)
        if (listed.full, len(selected.instances)) != (full, INSTANCES):
            sys.exit(f"{len(selected.instances)} instances, {INSTANCES} expected: no figure counts")
        asked = order("asked")
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        nova = sum(count for path, count in asked.items() if path.startswith("/compute"))
        neutron = sum(count for path, count in asked.items() if path.startswith("/network"))
        return Cost(cpu, asked[SERVERS], nova, neutron)

    first, full = refresh(full=True), refresh(full=True)
    merged = [refresh(full=False) for _ in range(ROUNDS)]
    again = refresh(full=True)
    cpu = statistics.median(each.cpu for each in merged)
    print(f"{INSTANCES} instances, {CHANGED} of them changed before each refresh")
    print(f"{'':30}{'CPU s':>9}{'servers':>9}{'Nova':>9}{'Neutron':>9}")
    for name, cost in (
        ("full list, the first", first),
        ("full list", full),
        (f"changes, median of {ROUNDS}", merged[0]._replace(cpu=cpu)),
        ("full list after them", again),
    ):
        print(f"{name:30}{cost.cpu:9.3f}{cost.servers:9}{cost.nova:9}{cost.neutron:9}")
    ours.send(None)
    print(f"changes / full list: {cpu / full.cpu:.4f}")
    marks = {
        f"CPU <= {MOST_CPU} of a full list": cpu <= MOST_CPU * full.cpu,
        f"at most {MOST_REQUESTS} requests to Nova": max(each.nova for each in merged) <= MOST_REQUESTS,
        f"at most {MOST_REQUESTS} requests to Neutron": max(each.neutron for each in merged) <= MOST_REQUESTS,
    }
    for mark, reached in marks.items():
        print(f"{'reached' if reached else 'MISSED ':8} {mark}")
    return 0 if all(marks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
