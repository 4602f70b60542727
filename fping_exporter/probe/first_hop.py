"""Whether the first hop towards a silent target was there: if not, its packets never left this machine.

The kernel takes packets for a link without carrier, or behind a gateway that does not answer ARP or
NDP, and drops them without a word. So the targets that have not answered are looked up in the routing
and neighbour tables (rtnetlink(7)) when a sweep ends.
"""

import errno
import socket
import struct
import sys
from collections.abc import Collection, Mapping, Sequence

from fping_exporter.model import Family
from fping_exporter.probe.netlink import (
    HEADER,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    ROUTE,
    RTM_GETROUTE,
    attribute,
    attributes,
    open_netlink,
)

__all__ = ["broken_first_hops"]

# From Linux's linux/rtnetlink.h and linux/neighbour.h; the socket module lacks them.
_RTM_NEWROUTE = 24
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_RTM_F_FIB_MATCH = 0x2000
_RTNH_F_DEAD, _RTNH_F_LINKDOWN = 1, 16
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH = 1, 4, 5, 9
_NDA_DST = 1
_NUD_INCOMPLETE, _NUD_FAILED = 0x01, 0x20
_NEIGHBOUR = struct.Struct("=BBHiHBB")
"""Family, padding, interface, state, flags, type."""
_KIND = struct.Struct("=H")

_FAMILY: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6}
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES})
_BATCH = 64
"""Requests in one message. Their answers fit into the default receive buffer."""
_ANSWER_BYTES = 8192


def broken_first_hops(family: Family, ips: Collection[str]) -> Mapping[str, int]:
    """Return those of `ips` whose first hop is not there, each with an errno that says why.

    That is seen from the network namespace of the thread that calls.

    ENETDOWN: the link has no carrier. EHOSTUNREACH: the gateway does not answer ARP or NDP. Another one is
    the kernel's own: there is no route any more. Where the kernel may not be asked, there are none. Of a
    route with several next hops nothing is said: it is not known which one a packet took.
    """
    try:
        sock = open_netlink()
    except OSError:
        return {}
    with sock:
        return _look_up(sock, family, list(ips))


def _look_up(sock: socket.socket, family: Family, ips: Sequence[str]) -> dict[str, int]:
    described: dict[str, bytes] = {}
    faults: dict[bytes, int] = {}
    """By the kernel's description of a route, which is the same for all its targets; 0 if it is well."""
    try:
        for start in range(0, len(ips), _BATCH):
            batch = ips[start : start + _BATCH]
            answers = _ask(sock, [_route_request(family, ip) for ip in batch])
            described.update(zip(batch, answers, strict=True))
        for answer in set(described.values()):
            faults[answer] = _fault(sock, answer)
    except (OSError, struct.error, IndexError):  # a kernel that answers in another way says nothing
        return {}
    return {ip: faults[answer] for ip, answer in described.items() if faults[answer]}


def _fault(sock: socket.socket, answer: bytes) -> int:
    """Return an errno for what is wrong with a route as the kernel described it; 0 if nothing is."""
    kind, body = _split(answer)
    if kind == NLMSG_ERROR:
        number = -int.from_bytes(body[:4], sys.byteorder, signed=True)
        return number if number in _NO_ROUTE else 0
    if kind != _RTM_NEWROUTE:
        return 0
    family, *_, flags = ROUTE.unpack_from(body)
    details = dict(attributes(body[ROUTE.size :]))
    if flags & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN) and _RTA_MULTIPATH not in details:
        return errno.ENETDOWN
    gateway, interface = details.get(_RTA_GATEWAY), details.get(_RTA_OIF)
    if gateway is None or interface is None:
        return 0
    kind, body = _split(_ask(sock, [_neighbour_request(family, gateway, interface)])[0])
    if kind != _RTM_NEWNEIGH:  # no longer in the table
        return 0
    state = _NEIGHBOUR.unpack_from(body)[4]
    return errno.EHOSTUNREACH if state & (_NUD_INCOMPLETE | _NUD_FAILED) else 0


def _ask(sock: socket.socket, requests: Sequence[bytes]) -> list[bytes]:
    """Send requests; return the answers in the same order, each from its type on, without the sequence."""
    sock.send(
        b"".join(
            HEADER.pack(HEADER.size + len(body), kind, NLM_F_REQUEST, number, 0) + body
            for number, (kind, body) in enumerate(map(_split, requests))
        )
    )
    answers = [b""] * len(requests)
    for _ in requests:
        data = sock.recv(_ANSWER_BYTES)
        _, kind, _, number, _ = HEADER.unpack_from(data)
        answers[number] = _KIND.pack(kind) + data[HEADER.size :]
    return answers


def _split(message: bytes) -> tuple[int, bytes]:
    return _KIND.unpack_from(message)[0], message[_KIND.size :]


def _route_request(family: Family, ip: str) -> bytes:
    address = socket.inet_pton(_FAMILY[family], ip)
    route = ROUTE.pack(_FAMILY[family], 8 * len(address), 0, 0, 0, 0, 0, 0, _RTM_F_FIB_MATCH)
    return _KIND.pack(RTM_GETROUTE) + route + attribute(_RTA_DST, address)


def _neighbour_request(family: int, gateway: bytes, interface: bytes) -> bytes:
    index = int.from_bytes(interface, sys.byteorder)
    neighbour = _NEIGHBOUR.pack(family, 0, 0, index, 0, 0, 0)
    return _KIND.pack(_RTM_GETNEIGH) + neighbour + attribute(_NDA_DST, gateway)
