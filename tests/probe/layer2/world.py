"""A vantage, and scripted guests on the same link: two network namespaces joined by a veth."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path
from typing import Self

import msgspec

from fping_exporter.model import Layer2Sweep, Layer2Target
from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.layer2.trust import Trust
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
from tests.netns import Namespace
from tests.probe.layer2.guests import Script, ip4, ip6, mac

__all__ = ["GuestKernel", "ScriptedGuests", "World", "ask"]

_GUESTS = f"{__package__}.guests"
ADDRESSES = ("10.0.0.1/8", "fd00::1/64")


class World(Namespace):
    """A vantage named as Neutron's are, with the interface tap0; `far` is on its link, behind eth0."""

    def __init__(self, kind: str = "qdhcp", *, addresses: tuple[str, ...] = ADDRESSES) -> None:
        super().__init__("")
        self.name = f"{kind}-{uuid.uuid4()}"
        self.far = Namespace("")
        self.far.name = f"guests-{self.name[-12:]}"
        self._addresses = addresses
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            super().__enter__()
            stack.callback(self._leave)
            stack.enter_context(self.far)
            self.sysctl(ipv6__conf__default__accept_dad="0")
            self.ip(
                f"link add tap0 type veth peer name eth0 netns {self.far.name}",
                "link set tap0 up",
                *(f"addr add {each} dev tap0{' nodad' if ':' in each else ''}" for each in self._addresses),
            )
            self.prepare_far()
            self._stack = stack.pop_all()
        return self

    def prepare_far(self) -> None:
        """Set up the other end."""
        self.far.ip("link set eth0 up")

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _leave(self) -> None:
        with contextlib.suppress(RuntimeError):  # a test deletes it
            super().__exit__()


class ScriptedGuests(World):
    """A vantage, and guests that follow a script."""

    def __init__(
        self, script: Script, kind: str = "qdhcp", *, addresses: tuple[str, ...] = ADDRESSES
    ) -> None:
        super().__init__(kind, addresses=addresses)
        self._script = script
        self.seen: dict[str, int] = {}
        """What the guests saw, when all is over."""

    def prepare_far(self) -> None:
        self.far.sysctl(ipv6__conf__default__disable_ipv6="1", ipv6__conf__eth0__disable_ipv6="1")
        super().prepare_far()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            super().__enter__()
            stack.callback(super().__exit__)
            stack.callback(self._stop, self._start())
            self._all = stack.pop_all()
        return self

    def _start(self) -> "subprocess.Popen[str]":
        with tempfile.NamedTemporaryFile() as file:
            file.write(msgspec.json.encode(self._script))
            file.flush()
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.far.name, sys.executable, "-m", _GUESTS, "eth0", file.name],
                stdout=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[3],
            )
            assert process.stdout
            if process.stdout.readline() != "ready\n":
                process.communicate()
                raise RuntimeError("the guests did not start")
        return process

    def _stop(self, process: "subprocess.Popen[str]") -> None:
        process.send_signal(signal.SIGTERM)
        self.seen = json.loads(process.communicate(timeout=20)[0] or "{}")

    def __exit__(self, *_: object) -> None:
        self._all.close()

    def targets(self, *numbers: int, six: bool = False) -> list[Layer2Target]:
        """Return some guests as targets, or all."""
        family, address = (socket.AF_INET6, ip6) if six else (socket.AF_INET, ip4)
        return [
            Layer2Target(self.name, socket.inet_ntop(family, address(n)), mac(n).hex(":"))
            for n in numbers or range(self._script.count)
        ]


class GuestKernel(World):
    """A vantage, and one real kernel that has 10.0.0.9 and fd00::9, behind eth0 on the same link."""

    IPS = ("10.0.0.9", "fd00::9")

    def prepare_far(self) -> None:
        super().prepare_far()
        self.far.ip("addr add 10.0.0.9/8 dev eth0", "addr add fd00::9/64 dev eth0 nodad")

    def targets(self, device: str = "eth0") -> list[Layer2Target]:
        """Return its addresses as targets, at the MAC of a device."""
        (link,) = json.loads(self.far.run("ip", "-j", "link", "show", device).stdout)
        return [Layer2Target(self.name, ip, link["address"]) for ip in self.IPS]


def ask(
    targets: list[Layer2Target],
    *,
    timeout: float = 0.5,
    rate: float = 20_000,
    decoys: bool = False,
    trust: Trust | None = None,
    suspects: list[Layer2Target] | None = None,
) -> Layer2Sweep:
    """Sweep once."""
    prober = Layer2Prober(
        timeout=timeout, pacer=Pacer(rate=rate), sockets=SocketBudget(100), decoys=decoys, trust=trust
    )
    return prober.probe(targets, suspects=frozenset(suspects or ()))
