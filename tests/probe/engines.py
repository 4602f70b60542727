"""The engines that the contract is tested on, and what icmplib keeps one of them from holding."""

import socket
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from fping_exporter.model import LOCAL, Family, Sweep, Target
from fping_exporter.probe import Prober
from fping_exporter.probe.batches import Batches
from fping_exporter.probe.multiping import MultipingProber
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
from fping_exporter.probe.sockets import IcmpSocket, Kind, open_socket
from fping_exporter.probe.sweep import SweepProber, choose_transport
from fping_exporter.probe.transport import OneByOne, Transport
from tests.netns import Namespace

__all__ = ["ENGINES", "SWEEPS", "Engine", "open_datagram", "targets"]


def open_datagram(family: Family) -> IcmpSocket:
    """Open a datagram socket even where a raw one is permitted."""
    protocol = socket.IPPROTO_ICMP if family == 4 else socket.IPPROTO_ICMPV6
    address_family = socket.AF_INET if family == 4 else socket.AF_INET6
    sock = socket.socket(address_family, socket.SOCK_DGRAM, protocol)
    return IcmpSocket(sock, family=family, kind=Kind.DATAGRAM)


def targets(ips: Iterable[str]) -> list[Target]:
    return [Target(LOCAL, ip) for ip in ips]


class Engine(NamedTuple):
    """An engine on one kind of socket, and for the engine `sweep` how it sends and receives."""

    name: str
    kind: Kind
    transport: Callable[[], Transport] = choose_transport

    def __str__(self) -> str:
        ways = {Batches: "-batches", OneByOne: "-one_by_one"}
        return f"{self.name}-{self.kind}{ways.get(self.transport, '')}"  # type: ignore[call-overload]

    def prepare(self, namespace: Namespace) -> None:
        """Permit the kind of socket that is meant."""
        allowed = "0 2147483647" if self.kind is Kind.DATAGRAM else "1 0"
        namespace.sysctl(ipv4__ping_group_range=allowed)

    def make(self, *, timeout: float = 0.4, count: int = 1, retries: int = 0, rate: int = 20_000) -> Prober:
        pacer = Pacer(rate=rate)
        if self.name == "multiping":
            return MultipingProber(timeout=timeout, count=count, retries=retries, pacer=pacer)
        opener = open_socket if self.kind is Kind.RAW else open_datagram
        return SweepProber(
            timeout=timeout,
            count=count,
            retries=retries,
            pacer=pacer,
            sockets=SocketBudget(10),
            opener=opener,
            transport=self.transport,
        )

    def probe(self, ips: Iterable[str], *, timeout: float = 0.4, count: int = 1, retries: int = 0) -> Sweep:
        return self.make(timeout=timeout, count=count, retries=retries).probe(targets(ips))

    def multiping_fails(self, request: pytest.FixtureRequest, why: str, *, only: Kind | None = None) -> None:
        """Expect the test to fail on multiping, and to be told should icmplib ever mend it."""
        if self.name == "multiping" and only in {None, self.kind}:
            request.applymarker(pytest.mark.xfail(reason=f"icmplib {why}", strict=True))


SWEEPS = [
    Engine("sweep", kind, transport)
    for kind in (Kind.RAW, Kind.DATAGRAM)
    for transport in (Batches, OneByOne)
]
ENGINES = [*SWEEPS, *(Engine("multiping", kind) for kind in (Kind.RAW, Kind.DATAGRAM))]
