"""The addresses and routes of a network namespace, read from the kernel over rtnetlink(7)."""

import ipaddress
import socket
import sys
from collections.abc import Iterator

import msgspec

from fping_exporter.probe.netlink import (
    LINK,
    ROUTE,
    RTM_GETLINK,
    RTM_GETROUTE,
    attributes,
    dump,
)

__all__ = ["IPNetwork", "RoutingTable", "read_routing_table"]

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

# From Linux's linux/rtnetlink.h and linux/if_link.h; the socket module lacks them.
_IFLA_ADDRESS = 1
_RTA_DST, _RTA_TABLE = 1, 15
_TABLE_MAIN, _TABLE_LOCAL = 254, 255
_RTN_UNICAST, _RTN_LOCAL, _RTN_BROADCAST, _RTN_ANYCAST = 1, 2, 3, 4
_OWN_TYPES = frozenset({_RTN_LOCAL, _RTN_BROADCAST, _RTN_ANYCAST})

_LOOPBACK = 127
"""The first byte of 127.0.0.0/8."""


class RoutingTable(msgspec.Struct, frozen=True):
    """Which addresses a network namespace has itself, and which networks it has a route to."""

    own: frozenset[str] = frozenset()
    """Its own addresses, and the broadcast addresses of its networks."""
    own_networks: tuple[IPNetwork, ...] = ()
    """Networks of which every address is its own; loopback is left out."""
    routes: tuple[tuple[IPNetwork, bool], ...] | None = None
    """Networks, the longest prefix first, and whether packets to them are sent; without default routes. None:
    not known."""
    macs: frozenset[str] = frozenset()
    """The MAC addresses of its interfaces, as far as they were asked for."""

    def is_own(self, ip: str) -> bool:
        """Whether the namespace itself would answer for an address, or it is a broadcast address there."""
        if ip in self.own:
            return True
        return bool(self.own_networks) and any(ipaddress.ip_address(ip) in each for each in self.own_networks)

    def has_route(self, ip: str) -> bool:
        """Whether there is an interface with the subnet of an address, or a route to it.

        A default route leads everywhere, and so is no sign that it leads to this network: what answers behind
        it may be somebody else. Where routes are not known, there may be one.
        """
        if self.routes is None:
            return True
        address = ipaddress.ip_address(ip)
        return next((sends for network, sends in self.routes if address in network), False)


def read_routing_table(sock: socket.socket, *, routes: bool, macs: bool) -> RoutingTable:
    """Read what the namespace of `sock` has; raises OSError.

    Its own addresses are always read. `routes` and `macs` say whether to read these too.
    """
    own: set[str] = set()
    own_networks: list[IPNetwork] = []
    found: list[tuple[IPNetwork, bool]] = []
    for family, bits in ((socket.AF_INET, 32), (socket.AF_INET6, 128)):
        for table in (_TABLE_LOCAL, _TABLE_MAIN) if routes else (_TABLE_LOCAL,):
            for kind, length, destination in _dump_routes(sock, family, table):
                if kind in _OWN_TYPES:
                    if length == bits:
                        own.add(socket.inet_ntop(family, destination))
                    elif destination[0] != _LOOPBACK:  # which no guest has, and every host
                        own_networks.append(_network(destination, length))
                elif table == _TABLE_MAIN and length:
                    found.append((_network(destination, length), kind == _RTN_UNICAST))
    found.sort(key=lambda route: route[0].prefixlen, reverse=True)
    return RoutingTable(
        own=frozenset(own),
        own_networks=tuple(own_networks),
        routes=tuple(found) if routes else None,
        macs=frozenset(_dump_macs(sock)) if macs else frozenset(),
    )


def _network(address: bytes, length: int) -> IPNetwork:
    return ipaddress.ip_network((address, length))


def _dump_routes(sock: socket.socket, family: int, table: int) -> Iterator[tuple[int, int, bytes]]:
    """Yield the type, the prefix length and the destination of each route of a table."""
    request = ROUTE.pack(family, 0, 0, 0, table, 0, 0, 0, 0)
    for message in dump(sock, RTM_GETROUTE, request):
        answered, length, _, _, in_table, _, _, kind, _ = ROUTE.unpack_from(message)
        details = dict(attributes(message[ROUTE.size :]))
        if _RTA_TABLE in details:
            in_table = int.from_bytes(details[_RTA_TABLE], sys.byteorder)
        if (answered, in_table) == (family, table):  # a kernel without IPv6 answers with what else it has
            size = 4 if family == socket.AF_INET else 16
            yield kind, length, details.get(_RTA_DST, bytes(size))


def _dump_macs(sock: socket.socket) -> Iterator[str]:
    for message in dump(sock, RTM_GETLINK, LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)):
        for kind, value in attributes(message[LINK.size :]):
            if kind == _IFLA_ADDRESS and any(value):
                yield value.hex(":")
