"""rtnetlink(7): the kernel's interfaces, routes and neighbours, as messages with attributes."""

import socket
import struct
from collections.abc import Iterator

__all__ = [
    "HEADER",
    "NLMSG_ERROR",
    "NLM_F_REQUEST",
    "ROUTE",
    "RTM_GETROUTE",
    "aligned",
    "attribute",
    "attributes",
    "open_netlink",
]

# From Linux's linux/netlink.h and linux/rtnetlink.h; the socket module lacks them.
_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_GET_STRICT_CHK = 12
NLM_F_REQUEST = 1
NLMSG_ERROR = 2
RTM_GETROUTE = 26
HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence, port."""
ROUTE = struct.Struct("=BBBBBBBBI")
"""Family, length of the destination and of the source prefix, TOS, table, protocol, scope, type, flags."""
_ATTRIBUTE = struct.Struct("=HH")

_TIMEOUT = 5.0
"""Seconds to wait for an answer, which the kernel gives at once."""


def open_netlink() -> socket.socket:
    """Open a socket that tells of the network namespace which this thread is in; raises OSError."""
    sock = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
    try:
        sock.settimeout(_TIMEOUT)
        sock.setsockopt(_SOL_NETLINK, _NETLINK_GET_STRICT_CHK, 1)  # or the kernel ignores the table asked for
    except OSError:
        sock.close()
        raise
    return sock


def attribute(kind: int, value: bytes) -> bytes:
    """Build an attribute, `value` of a length that is a multiple of 4."""
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the type and the value of each attribute."""
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[_ATTRIBUTE.size : length]
        data = data[aligned(length) :]


def aligned(length: int) -> int:
    """Round up to the 4 bytes at which the next part begins."""
    return (length + 3) & ~3
