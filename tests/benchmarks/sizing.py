"""What a cloud of each size takes, for the README's table: ``python -m tests.benchmarks.sizing``, as root.

1,000, 10,000 and 100,000 instances, of which every tenth is silent, with a port each at Neutron. The settings
are the defaults, and a scrape comes every minute as in deploy/prometheus. Only the exporter counts: its cloud
is a process of its own. ``python -m tests.benchmarks.sizing 1000`` is one size.
"""

import gzip
import json
import os
import re
import sys
import time
from collections import Counter
from ipaddress import IPv4Address
from typing import NamedTuple

import msgspec

from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.scene import make_hypervisors, make_projects, make_servers, make_users
from fping_exporter.model import Address, AddressKind
from tests.benchmarks.exporter import running
from tests.cloud.neutron import NeutronCloud, group, port, rule
from tests.netns import Namespace

SIZES = ("1000", "10000", "100000")
MINUTES = 2
AT_ONCE = 0.5
"""The timeout of a scrape, in seconds, with which it waits for nothing. It begins a refresh all the same."""
SILENT = "127.64.0.0/10"
"""The addresses of those that do not answer."""
_CHANGES = {"changes-since", "changed_since"}


class LargeCloud(NeutronCloud):
    """A Nova and a Neutron. A page of a full list is encoded once, as the machine is the exporter's."""

    def __init__(self, instances: int) -> None:
        super().__init__()
        self.projects, self.hypervisors = make_projects(instances), make_hypervisors(instances)
        self.users = make_users(self.projects)
        self.servers[:] = make_servers(instances, self.projects, self.hypervisors)
        for number, server in enumerate(self.servers):
            begin = "127.10.0.1" if number % 10 else "127.64.0.1"
            ip = str(IPv4Address(begin) + number)
            server.addresses = (Address(ip, 4, AddressKind.FIXED, "private"),)
            server.status, server.task_state = "ACTIVE", None
            server.hypervisor = self.hypervisors[number % len(self.hypervisors)].name
            self.network["ports"].append(port(f"port-{number}", ip, device=server.id))
        self.update_times.look(self.servers, now=0)  # nothing changes
        self.network["networks"] = [{"id": "net", "name": "private", "shared": False}]
        self.network["security_groups"] = [group("default", rule())]
        self.tell_changes()
        self._pages: dict[tuple[str, str], Answer] = {}

    def answer(self, request: Request) -> Answer:
        self.requests.clear()
        if request.method != "GET" or "limit" not in request.query or _CHANGES & request.query.keys():
            return super().answer(request)
        page = request.path, request.query_string
        if page not in self._pages:
            answer = super().answer(request)
            body = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
            self._pages[page] = answer._replace(body=body)
        return self._pages[page]


class Scrape(NamedTuple):
    """What a scrape says."""

    plain: int
    """Bytes, and those compressed."""
    packed: int
    samples: int
    requests: Counter[str]
    """To each service of OpenStack since the start."""

    @classmethod
    def read(cls, packed: bytes) -> "Scrape":
        text = gzip.decompress(packed).decode()
        requests: Counter[str] = Counter()
        for service, count in re.findall(
            r'^fping_exporter_openstack_requests_total\{.*service="(\w+)"\} (\S+)', text, re.MULTILINE
        ):
            requests[service] += int(float(count))
        return cls(len(text), len(packed), len(re.findall("^[a-z]", text, re.MULTILINE)), requests)


def measure(instances: int) -> None:
    """Print what a cloud of so many instances takes."""
    with Namespace("sizing") as namespace, namespace.entered():
        namespace.nft(
            f"table ip silent {{ chain input {{ type filter hook input priority 0; "
            f"ip daddr {SILENT} icmp type echo-request drop\n}}\n}}"
        )
        cloud = ["-m", "tests.benchmarks.sizing", "cloud", str(instances)]
        with running("", cloud=cloud, instances=instances) as exporter:
            time.sleep(62)  # the first list and what it took are over
            scrapes, cpu = [Scrape.read(exporter.scrape(timeout=AT_ONCE))], exporter.cpu()
            for _ in range(MINUTES):
                time.sleep(62)
                scrapes.append(Scrape.read(exporter.scrape(timeout=AT_ONCE)))
            cpu = (exporter.cpu() - cpu) / MINUTES
            resident, peak = exporter.resident(), exporter.resident(peak=True)
    *_, before, last = scrapes
    print(f"{instances} instances")
    print(f"  memory: {resident:.0f} MiB, {peak:.0f} at its peak")
    print(f"  CPU: {cpu:.2f} s a minute between full lists")
    print(f"  /metrics: {last.plain / 1e6:.1f} MB, {last.packed / 1e6:.2f} MB compressed")
    print(f"  series: {last.samples}, {last.samples / instances:.2f} an instance")
    print(f"  requests of a refresh: {dict(last.requests - before.requests)}", flush=True)


def main() -> None:
    """Measure, or be the cloud of another process."""
    if sys.argv[1:2] != ["cloud"]:
        for size in map(int, sys.argv[1:] or SIZES):
            measure(size)
        return
    os.nice(5)
    with LargeCloud(int(sys.argv[2])) as cloud:
        auth = cloud.region().get_auth_args()
        print(json.dumps({f"OS_{key.upper()}": value for key, value in auth.items()}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
