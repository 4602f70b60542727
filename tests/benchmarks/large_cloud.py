"""A stand-in cloud of so many instances, all ACTIVE: ``python -m tests.benchmarks.large_cloud 100000``.

It prints its credentials and runs until its standard input ends. Every tenth instance is in SILENT.
A page of servers is made once, as the machine is the exporter's.
"""

import json
import os
import sys
from ipaddress import IPv4Address
from itertools import chain

import msgspec

from fping_exporter.demo import Demo
from fping_exporter.demo.http import Answer, Request
from fping_exporter.model import Address, AddressKind

SILENT = "127.64.0.0/10"
_ALIVE_BEGIN, _SILENT_BEGIN = IPv4Address("127.10.0.0"), IPv4Address("127.64.0.0")


class LargeCloud(Demo):
    """The demo's cloud, in which every tenth instance has an address in SILENT."""

    def __init__(self, *, instances: int) -> None:
        """Make a cloud with this number of instances."""
        super().__init__(instances=instances)
        self.neutron = None  # it would know the demo's addresses, so that those below were ambiguous
        self._pages: dict[tuple[tuple[str, str], ...], bytes] = {}
        for number, server in enumerate(self.servers):
            ip = (_ALIVE_BEGIN if number % 10 else _SILENT_BEGIN) + 1 + number
            server.addresses = (Address(str(ip), 4, AddressKind.FIXED, "private"),)
            server.status = "ACTIVE"
            server.task_state = None
            server.hypervisor = self.hypervisors[number % len(self.hypervisors)].name

    def answer(self, request: Request) -> Answer:
        """Answer as the demo's cloud does, with each page of servers encoded once."""
        if not request.path.endswith("/servers/detail"):
            return super().answer(request)
        key = tuple(sorted(request.query.items()))
        if key not in self._pages:
            body = super().answer(request).body
            for address in chain.from_iterable(
                addresses for server in body["servers"] for addresses in server["addresses"].values()
            ):
                del address["OS-EXT-IPS-MAC:mac_addr"]  # or the demo's layer 2 answers for the silent ones
            self._pages[key] = msgspec.json.encode(body)
        return Answer(200, self._pages[key])


def main() -> None:
    """Be the cloud."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # whatever the exporter's is
    os.nice(5)
    with LargeCloud(instances=int(sys.argv[1])) as cloud:
        auth = cloud.region().get_auth_args()
        print(json.dumps({f"OS_{key.upper()}": value for key, value in auth.items()}), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
