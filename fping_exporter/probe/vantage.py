"""Vantages: the network namespaces of this host from which Neutron's networks are reached."""

import ctypes
import errno
import logging
import os
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from functools import lru_cache, partial
from pathlib import Path
from typing import TypeVar

from fping_exporter.errors import ProbeError
from fping_exporter.model import LOCAL, Family, Target
from fping_exporter.probe.netlink import open_netlink
from fping_exporter.probe.routing import RoutingTable, read_routing_table
from fping_exporter.probe.sockets import IcmpSocket, open_socket

__all__ = ["find_namespaces", "open_from", "run_in_namespace", "source_addresses", "survey"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_DIRECTORY = Path("/run/netns")
"""Where ip-netns(8), which Neutron's agents use, keeps the names of network namespaces."""
_NAME = re.compile(r"(qdhcp|ovnmeta|qrouter|snat)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLONE_NEWNET = 0x40000000
_DISCARD = 9
"""A UDP port. Connecting a UDP socket makes the kernel choose a source address; nothing is sent."""
_libc = ctypes.CDLL(None, use_errno=True)


def find_namespaces(kinds: Collection[str]) -> frozenset[str]:
    """Return the names of the namespaces that Neutron has on this host now, of these kinds."""
    try:
        names = [entry.name for entry in _DIRECTORY.iterdir()]
    except OSError:  # there is no directory before the first namespace
        return frozenset()
    return frozenset(
        name for name in names if (found := _NAME.fullmatch(name)) is not None and found[1] in kinds
    )


def survey(kinds: Collection[str]) -> dict[str, RoutingTable | None]:
    """Return what each vantage of these kinds has that is on this host, by its name.

    None stands for a namespace that cannot be entered, be it for want of the right or because its file is a
    stale one. Where the kernel does not tell what a vantage has, nothing is held against it.
    """
    return {name: _routing_table(name) for name in [LOCAL, *sorted(find_namespaces(kinds))]}


def _routing_table(vantage: str) -> RoutingTable | None:
    try:
        with run_in_namespace(vantage, open_netlink) as sock:
            return read_routing_table(sock, routes=vantage != LOCAL, macs=vantage.startswith("ovnmeta-"))
    except ProbeError as error:
        _log_once(f"passed over as a vantage: {error}")
        return None
    except OSError as error:
        _log_once(
            f"the kernel does not tell the addresses of {vantage} ({error}), so that its own may be taken "
            "for a guest's; a systemd unit needs AF_NETLINK in RestrictAddressFamilies"
        )
        return RoutingTable()


@lru_cache(maxsize=1024)
def _log_once(warning: str) -> None:
    logger.warning(warning)


def open_from(vantage: str, family: Family) -> IcmpSocket:
    """Open a socket in the vantage's namespace; any thread may use it. Raises ProbeError."""
    return run_in_namespace(vantage, lambda: open_socket(family))


def source_addresses(targets: Iterable[Target]) -> dict[Target, str]:
    """Return the source address that the kernel uses for each target; nothing is sent.

    Targets without a route, or whose vantage is gone, are left out.
    """
    groups: dict[tuple[str, Family], list[Target]] = {}
    for target in targets:
        groups.setdefault((target.vantage, target.family), []).append(target)
    found: dict[Target, str] = {}
    for (vantage, family), group in groups.items():
        try:
            sock = run_in_namespace(vantage, partial(socket.socket, _FAMILY[family], socket.SOCK_DGRAM))
        except (ProbeError, OSError):
            continue
        with sock:
            for target in group:
                try:
                    sock.connect((target.ip, _DISCARD))
                except (OSError, ValueError):
                    continue
                found[target] = sock.getsockname()[0]
    return found


_FAMILY: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6}


def run_in_namespace(vantage: str, call: Callable[[], T]) -> T:
    """Run `call` in the network namespace of the vantage, and return its result. Raises ProbeError.

    A network namespace belongs to a thread: a new thread enters it, and ends there.
    """
    if vantage == LOCAL:
        return call()
    if not _NAME.fullmatch(vantage):
        raise ProbeError(f"not a vantage: {vantage!r:.60}")
    result: Future[T] = Future()

    def run() -> None:
        try:
            _enter(vantage)
            result.set_result(call())
        except BaseException as error:  # noqa: BLE001, the calling thread raises it
            result.set_exception(error)

    thread = threading.Thread(target=run, name=vantage)
    thread.start()
    thread.join()
    return result.result()


def _enter(name: str) -> None:
    """Move this thread into the namespace; os.setns is there from Python 3.12 on only."""
    try:
        descriptor = os.open(_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ProbeError(f"the network namespace {name} is gone") from None
    except OSError as error:
        raise ProbeError(f"{_DIRECTORY / name} cannot be opened: {error.strerror}") from None
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            if number == errno.EPERM:
                raise ProbeError(
                    "this process may not enter network namespaces, so that no vantage but local can be "
                    "used: it needs the capability CAP_SYS_ADMIN (and CAP_NET_RAW), or root"
                )
            raise ProbeError(f"the network namespace {name} cannot be entered: {os.strerror(number)}")
    finally:
        os.close(descriptor)
