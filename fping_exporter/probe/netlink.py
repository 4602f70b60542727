"""rtnetlink(7): the kernel's interfaces, routes and neighbours, as messages with attributes."""

import errno
import socket
import struct
from collections.abc import Iterator

__all__ = [
    "HEADER",
    "LINK",
    "NLMSG_ERROR",
    "NLM_F_REQUEST",
    "ROUTE",
    "RTM_GETLINK",
    "RTM_GETROUTE",
    "attribute",
    "attributes",
    "dump",
    "open_netlink",
]

# From Linux's linux/netlink.h and linux/rtnetlink.h; the socket module lacks them.
_NETLINK_ROUTE = 0
_SOL_NETLINK = 270
_NETLINK_GET_STRICT_CHK = 12
NLM_F_REQUEST = 1
_NLM_F_DUMP = 0x300
NLMSG_ERROR = 2
_NLMSG_DONE = 3
RTM_GETLINK = 18
RTM_GETROUTE = 26
HEADER = struct.Struct("=IHHII")
"""Length, type, flags, sequence, port."""
ROUTE = struct.Struct("=BBBBBBBBI")
"""Family, length of the destination and of the source prefix, TOS, table, protocol, scope, type, flags."""
LINK = struct.Struct("=BxHiII")
"""Family, type, index, flags, mask of flags."""
_ATTRIBUTE = struct.Struct("=HH")

_TIMEOUT = 5.0
"""Seconds to wait for an answer, which the kernel gives at once."""

_BUFFER_BYTES = 1 << 16
"""More than the kernel puts into one message of a dump."""


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
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    """Round up to the 4 bytes at which the next part begins."""
    return (length + 3) & ~3


def dump(sock: socket.socket, kind: int, request: bytes) -> Iterator[bytes]:
    """Ask for all objects of a kind; yield the body of each message. Raises OSError."""
    size = HEADER.size + len(request)
    sock.send(HEADER.pack(size, kind, NLM_F_REQUEST | _NLM_F_DUMP, 0, 0) + request)
    while True:
        data = sock.recv(_BUFFER_BYTES)
        while data:
            length, answered, _, _, _ = HEADER.unpack_from(data)
            body = data[HEADER.size : length]
            if answered == _NLMSG_DONE:
                return
            if answered == NLMSG_ERROR:
                number = -int(struct.unpack_from("=i", body)[0])
                if number == errno.ENOENT:  # a table comes with its first route
                    return
                raise OSError(number, "rtnetlink refuses to list")
            yield body
            data = data[_aligned(length) :]
