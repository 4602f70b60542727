"""Network namespaces for tests: a prober's one, a far one behind a veth, and a scripted network behind a TUN.

Everything needs root. Nothing here has a default route: no packet leaves the machine.
"""

import contextlib
import ctypes
import fcntl
import heapq
import os
import select
import socket
import struct
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self

import pytest

from fping_exporter.probe.vantage import visit

__all__ = ["ALIVE_NETWORKS", "Namespace", "Network", "Tun", "many_namespaces", "need_root"]

ALIVE_NETWORKS = ("10.64.0.0/16", "fd64::/64")
"""Every address in these is the far namespace's own and answers, unless told otherwise."""

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def need_root() -> None:
    """Skip the test without root; fail instead where CI promises root."""
    if os.geteuid() == 0:
        return
    if "CI" in os.environ:
        pytest.fail("the tests marked netns need root, and this is CI")
    pytest.skip("needs root")


@contextlib.contextmanager
def many_namespaces(number: int) -> Iterator[list[str]]:
    """Make so many namespaces named as those of Neutron's DHCP agents; yield their names.

    All there is in them is loopback, whose addresses answer in each.
    """
    names = [f"qdhcp-{uuid.uuid4()}" for _ in range(number)]
    try:
        _run("ip", "-batch", "-", text="\n".join(f"netns add {name}" for name in names) + "\n")
        for result in visit(names, _set_loopback_up).values():
            assert result is None
        yield names
    finally:
        batch = "\n".join(f"netns del {name}" for name in names) + "\n"
        subprocess.run(
            ["ip", "-force", "-batch", "-"], input=batch, text=True, capture_output=True, check=False
        )


def _set_loopback_up(_name: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", _IFF_UP))


_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1


class Namespace:
    """A network namespace that vanishes with its context."""

    def __init__(self, name: str) -> None:
        self.name = f"{name}-{os.getpid()}"

    def __enter__(self) -> Self:
        _run("ip", "netns", "add", self.name)
        self.ip("link set lo up")
        return self

    def __exit__(self, *_: object) -> None:
        _run("ip", "netns", "del", self.name)

    def ip(self, *commands: str) -> None:
        """Run commands of iproute2, one a line."""
        _run("ip", "-n", self.name, "-batch", "-", text="\n".join(commands) + "\n")

    def nft(self, rules: str) -> None:
        """Load rules of nftables."""
        _run("ip", "netns", "exec", self.name, "nft", "-f", "-", text=rules)

    def sysctl(self, **settings: str) -> None:
        """Set entries below net; a double underscore stands for a dot."""
        with self.entered():
            for key, value in settings.items():
                Path("/proc/sys/net", *key.split("__")).write_text(value)

    @contextlib.contextmanager
    def entered(self) -> Iterator[None]:
        """Move this thread, and those that it starts, into the namespace for a while."""
        with (
            Path("/proc/thread-self/ns/net").open() as home,
            Path("/run/netns", self.name).open() as there,
        ):
            _setns(there.fileno())
            try:
                yield
            finally:
                _setns(home.fileno())

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program inside."""
        return subprocess.run(
            ["ip", "netns", "exec", self.name, *command], check=check, capture_output=True, text=True
        )


class Network:
    """A prober's namespace, and a far one that answers for all of ALIVE_NETWORKS.

    Between them is a veth: 10.63.0.1 and fd63::1 on the near side, .2 and ::2 on the far.
    """

    def __init__(self, name: str = "fpx") -> None:
        self.near = Namespace(f"{name}-near")
        self.far = Namespace(f"{name}-far")
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(self.near)
            stack.enter_context(self.far)
            self.near.ip(f"link add veth0 type veth peer name veth0 netns {self.far.name}")
            for side, number in ((self.near, 1), (self.far, 2)):
                side.ip(
                    "link set veth0 up",
                    f"addr add 10.63.0.{number}/24 dev veth0",
                    f"addr add fd63::{number}/64 dev veth0 nodad",
                )
                side.sysctl(
                    ipv4__icmp_ratelimit="0",
                    ipv4__icmp_msgs_per_sec="1000000",
                    ipv4__icmp_msgs_burst="1000000",
                    ipv6__icmp__ratelimit="0",
                    ipv4__ping_group_range="0 2147483647",
                )
            for network in ALIVE_NETWORKS:
                via = "fd63::2" if ":" in network else "10.63.0.2"
                self.near.ip(f"route add {network} via {via}")
                self.far.ip(f"route add local {network} dev lo")
            self.far.nft(_RULES)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def silence(self, addresses: Iterable[str]) -> None:
        """Let these drop what comes, as a security group without ICMP does."""
        self._put("silent", addresses)

    def reject(self, addresses: Iterable[str]) -> None:
        """Let a router say of these that the host is unreachable."""
        self._put("rejected", addresses)

    def _put(self, what: str, addresses: Iterable[str]) -> None:
        for suffix, members in _by_family(addresses):
            self.far.nft(f"add element inet fpx {what}{suffix} {{ {', '.join(members)} }}\n")


_RULES = """
table inet fpx {
    set silent4 { type ipv4_addr; }
    set silent6 { type ipv6_addr; }
    set rejected4 { type ipv4_addr; }
    set rejected6 { type ipv6_addr; }
    chain input {
        type filter hook input priority 0;
        ip daddr @silent4 drop
        ip6 daddr @silent6 drop
        ip daddr @rejected4 reject with icmp host-unreachable
        ip6 daddr @rejected6 reject with icmpv6 addr-unreachable
    }
}
"""


class Tun:
    """A network of which Python is every host: `answer` gets each packet and says what comes back.

    It returns pairs of a delay in seconds and an IP packet. It is called in one thread.
    """

    _TUNSETIFF = 0x400454CA
    _IFF_TUN_NO_PI = 0x0001 | 0x1000

    def __init__(
        self,
        namespace: Namespace,
        answer: Callable[[bytes], Iterable[tuple[float, bytes]]],
        *,
        networks: Iterable[str],
        name: str = "tun0",
    ) -> None:
        self._namespace = namespace
        self._answer = answer
        self._networks = networks
        self._name = name
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Self:
        with self._namespace.entered():
            self._fd = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(
                self._fd, self._TUNSETIFF, struct.pack("16sH22x", self._name.encode(), self._IFF_TUN_NO_PI)
            )
        self._stop, self._stopper = os.pipe()
        self._namespace.ip(
            f"link set {self._name} txqueuelen 10000 up",
            *(f"route add {network} dev {self._name}" for network in self._networks),
        )
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopper)
        self._thread.join()
        os.close(self._stop)
        os.close(self._fd)

    def _serve(self) -> None:
        due: list[tuple[float, int, bytes]] = []
        number = 0
        while True:
            timeout = max(0.0, due[0][0] - time.monotonic()) if due else None
            ready, _, _ = select.select([self._fd, self._stop], [], [], timeout)
            if self._stop in ready:
                return
            if self._fd in ready:
                for delay, packet in self._answer(os.read(self._fd, 65536)):
                    number += 1
                    heapq.heappush(due, (time.monotonic() + delay, number, packet))
            while due and due[0][0] <= time.monotonic():
                os.write(self._fd, heapq.heappop(due)[2])


def _by_family(addresses: Iterable[str]) -> list[tuple[str, list[str]]]:
    addresses = list(addresses)
    families = (
        ("4", [address for address in addresses if ":" not in address]),
        ("6", [address for address in addresses if ":" in address]),
    )
    return [(suffix, members) for suffix, members in families if members]


def _run(*command: str, text: str = "") -> None:
    done = subprocess.run(command, check=False, input=text, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
