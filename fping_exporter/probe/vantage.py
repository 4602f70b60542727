"""Vantages: the network namespaces of this host from which Neutron's networks are reached."""

import ctypes
import errno
import os
import re
import socket
import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TypeVar

from fping_exporter.errors import ProbeError
from fping_exporter.model import LOCAL, Family, Target
from fping_exporter.probe.sockets import IcmpSocket, open_socket

__all__ = ["find_namespaces", "open_from", "source_addresses"]

T = TypeVar("T")

_DIRECTORY = Path("/run/netns")
"""Where ip-netns(8), and with it Neutron's agents, keep the names of namespaces."""
_NAME = re.compile(r"(qdhcp|ovnmeta|qrouter)-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CLONE_NEWNET = 0x40000000
_DISCARD = 9
_libc = ctypes.CDLL(None, use_errno=True)


def find_namespaces(kinds: Collection[str]) -> frozenset[str]:
    """Return the names of Neutron's namespaces of these kinds that this host has now."""
    try:
        names = [entry.name for entry in _DIRECTORY.iterdir()]
    except OSError:  # there is no directory before the first namespace
        return frozenset()
    return frozenset(
        name for name in names if (found := _NAME.fullmatch(name)) is not None and found[1] in kinds
    )


def open_from(vantage: str, family: Family) -> IcmpSocket:
    """Open a socket in the vantage's namespace, to be used from here. Raises ProbeError."""
    return _within(vantage, lambda: open_socket(family))


def source_addresses(targets: Iterable[Target]) -> dict[Target, str]:
    """Return the address that the kernel sends from to each target; nothing is sent.

    Those that have no route, or whose vantage is gone, are left out.
    """
    lanes: dict[tuple[str, Family], list[Target]] = {}
    for target in targets:
        lanes.setdefault((target.vantage, 6 if ":" in target.ip else 4), []).append(target)
    found: dict[Target, str] = {}
    for (vantage, family), wanted in lanes.items():
        try:
            sock = _within(vantage, partial(socket.socket, _FAMILY[family], socket.SOCK_DGRAM))
        except (ProbeError, OSError):
            continue
        with sock:
            for target in wanted:
                try:
                    sock.connect((target.ip, _DISCARD))
                except (OSError, ValueError):
                    continue
                found[target] = sock.getsockname()[0]
    return found


_FAMILY: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6}


def _within(vantage: str, call: Callable[[], T]) -> T:
    """Return what `call` does in the namespace of the vantage.

    A namespace is a thread's, so a thread of its own enters it and ends there.
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
        except BaseException as error:  # noqa: BLE001, it is raised where the result is asked for
            result.set_exception(error)

    thread = threading.Thread(target=run, name=vantage)
    thread.start()
    thread.join()
    return result.result()


def _enter(name: str) -> None:
    """Move this thread into the namespace. os.setns came with Python 3.12."""
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
