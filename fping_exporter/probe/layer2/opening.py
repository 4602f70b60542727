"""Opens packet sockets on the links that targets are on, in turns where these are more than may be open."""

import errno
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from fping_exporter.errors import OpenFilesError, ProbeError
from fping_exporter.model import Layer2Target
from fping_exporter.probe.first_hop import count_carrier_changes
from fping_exporter.probe.layer2.interfaces import Subnet, read_addresses, read_neighbourhood
from fping_exporter.probe.layer2.link import Link
from fping_exporter.probe.layer2.segment import ParsedTarget, parse_target
from fping_exporter.probe.netlink import open_netlink
from fping_exporter.probe.sockets import OUT_OF_FILES
from fping_exporter.probe.vantage import visit

__all__ = ["Links", "Queue", "unsteady"]

Links = Sequence[tuple[Link, Sequence[ParsedTarget]]]
"""Links, and who is asked over each."""

_MISSING = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EPROTONOSUPPORT})
"""The interface is just being removed, or is not Ethernet."""


class Queue:
    """The targets that wait for a socket on their link."""

    def __init__(self, targets: Iterable[Layer2Target]) -> None:
        """Begin with all of them."""
        self.waiting: dict[str, list[ParsedTarget]] = {}
        """By vantage. Those that are no unicast IP and MAC addresses are left out."""
        self.failures: dict[str, ProbeError | OSError] = {}
        """Why a vantage could not be asked; OSError is what the kernel says of its links."""
        for target in targets:
            if parsed := parse_target(target):
                self.waiting.setdefault(target.vantage, []).append(parsed)

    def open(self, *, at_most: int) -> Links:
        """Open the next links; the caller closes them. What is left waits for the next turn.

        Targets on no link are left out, and so are those of vantages for which no socket can be opened. Where
        that is for want of files, they wait if there are others.
        """
        links: list[tuple[Link, list[ParsedTarget]]] = []
        try:
            visited = visit(
                list(self.waiting)[:at_most], lambda vantage: self._open_in(vantage, links, at_most)
            )
        except BaseException:
            for link, _ in links:
                link.close()
            raise
        for vantage, failure in visited.items():
            if failure and not (links and isinstance(failure, OpenFilesError)):
                del self.waiting[vantage]
                self.failures[vantage] = failure
        return links

    def _open_in(self, vantage: str, links: list[tuple[Link, list[ParsedTarget]]], at_most: int) -> None:
        """Open links of a vantage, unless there are `at_most` already. Raises OpenFilesError."""
        if len(links) == at_most:
            return
        try:
            self._open_here(vantage, links, at_most)
        except OSError as error:
            if error.errno in OUT_OF_FILES:
                raise OpenFilesError from error
            del self.waiting[vantage]
            self.failures[vantage] = error

    def _open_here(self, vantage: str, links: list[tuple[Link, list[ParsedTarget]]], at_most: int) -> None:
        """Open links in this thread's namespace, which is that of the vantage, until there are `at_most`."""
        with open_netlink() as sock:
            around = read_neighbourhood(sock)
        changes = count_carrier_changes()
        by_interface: dict[int, list[ParsedTarget]] = {}
        for target in self.waiting[vantage]:
            if index := around.interface(target.ip):
                by_interface.setdefault(index, []).append(target)
        while by_interface and len(links) < at_most:
            index, targets = next(iter(by_interface.items()))
            try:
                own = around.addresses.get(index, ())
                links.append((Link(vantage, index, own, carrier_changes=changes.get(index)), targets))
            except OSError as error:
                if error.errno not in _MISSING:
                    raise
            del by_interface[index]
            self.waiting[vantage] = [target for some in by_interface.values() for target in some]
        if not by_interface:
            del self.waiting[vantage]


def unsteady(links: Collection[Link]) -> frozenset[Link]:
    """Return the links whose carrier or addresses are not known to have been there since they were opened.

    Frames were lost meanwhile, without a word, and the carrier may be back. Answers to an address that has
    moved to another host, as a router's when it fails over, go there.
    """
    found = visit({link.vantage for link in links}, lambda _vantage: _look_around())

    def is_steady(link: Link) -> bool:
        now = found[link.vantage]
        return (
            not isinstance(now, ProbeError)
            and now.carrier_changes.get(link.index) == link.carrier_changes
            and now.addresses.get(link.index, frozenset()).issuperset(link.addresses)
        )

    return frozenset(link for link in links if not is_steady(link))


class _Interfaces(NamedTuple):
    """What the interfaces of a network namespace have, by their index."""

    carrier_changes: Mapping[int, int]
    addresses: Mapping[int, frozenset[Subnet]]


def _look_around() -> _Interfaces:
    """Look at this thread's namespace; what the kernel does not tell is left out."""
    try:
        with open_netlink() as sock:
            addresses = {index: frozenset(some) for index, some in read_addresses(sock).items()}
    except OSError:
        addresses = {}
    return _Interfaces(count_carrier_changes(), addresses)
