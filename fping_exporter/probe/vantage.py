"""Vantages: the network namespaces of this host from which Neutron's networks are reached."""

import ctypes
import errno
import logging
import os
import re
import socket
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

from fping_exporter.errors import OpenFilesError, ProbeError, ResourceError, VantageError
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import LOCAL, Family, Target
from fping_exporter.probe.netlink import open_netlink
from fping_exporter.probe.routing import RoutingTable, read_routing_table
from fping_exporter.probe.sockets import OUT_OF_FILES
from fping_exporter.single_flight import start_daemon_thread

__all__ = ["describe_failures", "find_namespaces", "source_addresses", "survey", "visit"]

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
    found = visit([LOCAL, *sorted(find_namespaces(kinds))], _routing_table)
    failures = [table for table in found.values() if isinstance(table, ProbeError)]
    for text in describe_failures(failures, _log_limit):
        logger.warning("passed over as a vantage: %s", text)
    return {name: None if isinstance(table, ProbeError) else table for name, table in found.items()}


_log_limit = LogLimit(interval=24 * 3600)


def _routing_table(vantage: str) -> RoutingTable:
    """Read what this thread's namespace has, which is that of the vantage."""
    try:
        with open_netlink() as sock:
            return read_routing_table(sock, routes=vantage != LOCAL, macs=vantage.startswith("ovnmeta-"))
    except OSError as error:
        if _log_limit.allows(("netlink", error.errno)):
            logger.warning(
                "the kernel does not tell the addresses of %s (%s), so that its own may be taken "
                "for a guest's; a systemd unit needs AF_NETLINK in RestrictAddressFamilies",
                vantage,
                error,
            )
        return RoutingTable()


def describe_failures(failures: Iterable[ProbeError], log_limit: LogLimit) -> Iterator[str]:
    """Yield a line for each cause that `log_limit` allows to log, with the first vantage that has it."""
    by_cause: dict[str, dict[str, None]] = {}
    for error in failures:
        cause = error.why if isinstance(error, VantageError) else str(error)
        by_cause.setdefault(cause, {})[str(error)] = None
    for cause, (first, *others) in by_cause.items():
        if log_limit.allows(cause):
            yield f"{first} (and {len(others)} others likewise)" if others else first


def source_addresses(targets: Iterable[Target]) -> dict[Target, str]:
    """Return the source address that the kernel uses for each target; nothing is sent.

    Targets without a route, or whose vantage is gone, are left out.
    """
    groups: dict[str, dict[Family, list[Target]]] = {}
    for target in targets:
        groups.setdefault(target.vantage, {}).setdefault(target.family, []).append(target)
    found: dict[Target, str] = {}

    def look_up(vantage: str) -> None:
        for family, group in groups[vantage].items():
            found.update(_sources(family, group))

    visit(groups, look_up)
    return found


def _sources(family: Family, targets: Iterable[Target]) -> Iterator[tuple[Target, str]]:
    try:
        sock = socket.socket(_FAMILY[family], socket.SOCK_DGRAM)
    except OSError:
        return
    with sock:
        for target in targets:
            try:
                sock.connect((target.ip, _DISCARD))
            except (OSError, ValueError):
                continue
            yield target, sock.getsockname()[0]


_FAMILY: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6}


def visit(vantages: Collection[str], call: Callable[[str], T]) -> dict[str, T | ProbeError]:
    """Call `call` in the network namespace of each vantage; return its results or ProbeErrors, by vantage.

    A network namespace belongs to a thread: one new thread enters them one after the other, and ends there.
    Other errors of `call` are raised here.
    """
    results: dict[str, T | ProbeError] = {}

    def visit_in_turn(names: Iterable[str]) -> None:
        for name in names:
            try:
                if name != LOCAL:
                    _enter(name)
                results[name] = call(name)
            except ProbeError as error:
                results[name] = error

    if LOCAL in vantages:
        visit_in_turn([LOCAL])
    if elsewhere := [name for name in vantages if name != LOCAL]:
        finished: Future[None] = Future()

        def run() -> None:
            try:
                visit_in_turn(elsewhere)
                finished.set_result(None)
            except BaseException as error:  # noqa: BLE001, the calling thread raises it
                finished.set_exception(error)

        try:
            start_daemon_thread(run, name="vantages").join()
        except ResourceError as error:
            return results | dict.fromkeys(elsewhere, ProbeError(str(error)))
        finished.result()
    return results


def _enter(name: str) -> None:
    """Move this thread into the namespace; os.setns is there from Python 3.12 on only."""
    if not _NAME.fullmatch(name):
        raise ProbeError(f"not a vantage: {name!r:.60}")
    try:
        descriptor = os.open(_DIRECTORY / name, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise VantageError(name, "is gone") from None
    except OSError as error:
        if error.errno in OUT_OF_FILES:
            raise OpenFilesError from None
        raise VantageError(name, f"cannot be opened in {_DIRECTORY}: {error.strerror}") from None
    try:
        if _libc.setns(descriptor, _CLONE_NEWNET):
            number = ctypes.get_errno()
            if number == errno.EPERM:
                raise ProbeError(
                    "this process may not enter network namespaces, so that no vantage but local can be "
                    "used: it needs the capability CAP_SYS_ADMIN (and CAP_NET_RAW), or root"
                )
            raise VantageError(name, f"cannot be entered: {os.strerror(number)}")
    finally:
        os.close(descriptor)
