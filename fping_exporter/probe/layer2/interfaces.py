"""Which interface of a namespace is on a guest's link, and the addresses it has there (rtnetlink(7))."""

import socket
import struct
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from fping_exporter.probe.netlink import ROUTE, RTM_GETROUTE, attributes, dump

__all__ = ["Neighbourhood", "Subnet", "read_addresses", "read_neighbourhood"]

# From Linux's linux/rtnetlink.h and linux/if_addr.h; the socket module lacks them.
_RTM_GETADDR = 22
_ADDRESS = struct.Struct("=BBBBI")
"""Family, length of the prefix, flags, scope, interface."""
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_IFA_F_DADFAILED, _IFA_F_TENTATIVE = 0x08, 0x40
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_TABLE, _RTA_VIA = 1, 4, 5, 15, 18
_TABLE_MAIN = 254
_RTN_UNICAST = 1
_BYTES = {socket.AF_INET: 4, socket.AF_INET6: 16}


class Subnet(NamedTuple):
    """An address with the length of its prefix, in bits: of an interface, or where a route leads to."""

    address: bytes
    length: int


class Neighbourhood:
    """The links of a network namespace."""

    def __init__(
        self, routes: Iterable[tuple[Subnet, int]], addresses: Mapping[int, Sequence[Subnet]]
    ) -> None:
        """`routes` have the index of the interface on whose link they end; 0 if a router comes first."""
        self.addresses = addresses
        """By the index of the interface; without those that are not sure to be its own yet."""
        by_length: dict[tuple[int, int], dict[int, int]] = {}
        for (address, length), index in routes:
            shift = 8 * len(address) - length
            there = by_length.setdefault((length, len(address)), {})
            there.setdefault(int.from_bytes(address, "big") >> shift, index)
        self._tables = [
            (size, 8 * size - length, by_length[length, size])
            for length, size in sorted(by_length, reverse=True)
        ]

    def interface(self, ip: bytes) -> int:
        """Return the index of the interface on whose link an address is; 0 if it is on none."""
        number = int.from_bytes(ip, "big")
        for size, shift, table in self._tables:
            if size == len(ip) and (index := table.get(number >> shift)) is not None:
                return index
        return 0


def read_neighbourhood(sock: socket.socket) -> Neighbourhood:
    """Read the links of the namespace of `sock`, a netlink socket; raises OSError.

    A default route counts for none: nothing says that what it leads to is on the link.
    """
    routes: list[tuple[Subnet, int]] = []
    for family, size in _BYTES.items():
        for message in dump(sock, RTM_GETROUTE, ROUTE.pack(family, 0, 0, 0, _TABLE_MAIN, 0, 0, 0, 0)):
            answered, length, _, _, table, _, _, kind, _ = ROUTE.unpack_from(message)
            details = dict(attributes(message[ROUTE.size :]))
            table = _number(details.get(_RTA_TABLE)) or table
            if (answered, table) != (family, _TABLE_MAIN) or not length:
                continue
            direct = kind == _RTN_UNICAST and details.keys().isdisjoint({_RTA_GATEWAY, _RTA_VIA})
            subnet = Subnet(details.get(_RTA_DST, bytes(size)), length)
            routes.append((subnet, _number(details.get(_RTA_OIF)) if direct else 0))
    return Neighbourhood(routes, read_addresses(sock))


def read_addresses(sock: socket.socket) -> dict[int, list[Subnet]]:
    """Read the addresses of each interface, by its index, in the namespace of `sock`; raises OSError.

    Those that are not sure to be its own yet are left out.
    """
    addresses: dict[int, list[Subnet]] = {}
    for family, size in _BYTES.items():
        for message in dump(sock, _RTM_GETADDR, _ADDRESS.pack(family, 0, 0, 0, 0)):
            answered, length, flags, _, index = _ADDRESS.unpack_from(message)
            details = dict(attributes(message[_ADDRESS.size :]))
            flags = _number(details.get(_IFA_FLAGS)) or flags
            address = details.get(_IFA_LOCAL, details.get(_IFA_ADDRESS, b""))
            if answered == family and len(address) == size and not flags & _NOT_OURS_YET:
                addresses.setdefault(index, []).append(Subnet(address, length))
    return addresses


_NOT_OURS_YET = _IFA_F_DADFAILED | _IFA_F_TENTATIVE


def _number(value: bytes | None) -> int:
    return int.from_bytes(value or b"", sys.byteorder)
