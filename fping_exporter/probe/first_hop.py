"""Whether the first hop towards a silent target was there: if not, its packets never left this machine.

The kernel takes packets for a link without carrier, or behind a gateway that does not answer ARP or
NDP, and drops them without a word. So the targets that have not answered are looked up in the routing
and neighbour tables (rtnetlink(7)) when a sweep ends. A link that was without carrier for a part of the
sweep only is known by the kernel's count of changes. Links behind this one, such as that of a bridge's
port, are not seen.
"""

import errno
import socket
import struct
import sys
from collections.abc import Collection, Mapping, Sequence

from fping_exporter.model import Family
from fping_exporter.probe.netlink import (
    HEADER,
    LINK,
    NLM_F_REQUEST,
    NLMSG_ERROR,
    ROUTE,
    RTM_GETLINK,
    RTM_GETROUTE,
    attribute,
    attributes,
    dump,
    open_netlink,
)

__all__ = ["broken_first_hops", "count_carrier_changes"]

# From Linux's linux/rtnetlink.h, linux/if_link.h and linux/neighbour.h; the socket module lacks them.
_RTM_NEWROUTE = 24
_RTM_NEWNEIGH, _RTM_GETNEIGH = 28, 30
_RTM_F_FIB_MATCH = 0x2000
_RTNH_F_DEAD, _RTNH_F_LINKDOWN = 1, 16
_RTA_DST, _RTA_OIF, _RTA_GATEWAY, _RTA_MULTIPATH = 1, 4, 5, 9
_IFLA_EXT_MASK, _IFLA_CARRIER_CHANGES = 29, 35
_RTEXT_FILTER_SKIP_STATS = 1 << 3
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


def count_carrier_changes() -> Mapping[int, int]:
    """Return how often each interface has lost or found its carrier, by its index.

    The interfaces are those of the network namespace of the thread that calls. Where the kernel may not be
    asked, there are none.
    """
    try:
        with open_netlink() as sock:
            return _count_carrier_changes(sock)
    except OSError:
        return {}


def broken_first_hops(
    family: Family, ips: Collection[str], *, changes_before: Mapping[int, int]
) -> Mapping[str, int]:
    """Return those of `ips` whose first hop is not there, each with an errno that says why.

    That is seen from the network namespace of the thread that calls; `changes_before` is what
    :func:`count_carrier_changes` returned there before anything was sent.

    ENETDOWN: the link has no carrier, or had none for a while. EHOSTUNREACH: the gateway does not answer ARP
    or NDP. Another one is the kernel's own: there is no route any more. Where the kernel may not be asked,
    there are none. Of a route with several next hops nothing is said: it is not known which one a packet
    took.
    """
    try:
        with open_netlink() as sock:
            changes = _count_carrier_changes(sock)
            flapped = {index for index, count in changes.items() if changes_before.get(index, count) != count}
            return _look_up(sock, family, list(ips), flapped)
    except (OSError, struct.error, IndexError):  # a kernel that answers in another way says nothing
        return {}


def _count_carrier_changes(sock: socket.socket) -> dict[int, int]:
    request = LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
    request += attribute(_IFLA_EXT_MASK, _RTEXT_FILTER_SKIP_STATS.to_bytes(4, sys.byteorder))
    changes = {}
    for message in dump(sock, RTM_GETLINK, request):
        _, _, index, _, _ = LINK.unpack_from(message)
        for kind, value in attributes(message[LINK.size :]):
            if kind == _IFLA_CARRIER_CHANGES:
                changes[index] = int.from_bytes(value, sys.byteorder)
    return changes


def _look_up(
    sock: socket.socket, family: Family, ips: Sequence[str], flapped: Collection[int]
) -> dict[str, int]:
    described: dict[str, bytes] = {}
    for start in range(0, len(ips), _BATCH):
        batch = ips[start : start + _BATCH]
        answers = _ask(sock, [_route_request(family, ip) for ip in batch])
        described.update(zip(batch, answers, strict=True))
    # The kernel's description of a route is the same for all its targets.
    faults = {answer: _fault(sock, answer, flapped) for answer in set(described.values())}
    return {ip: faults[answer] for ip, answer in described.items() if faults[answer]}


def _fault(sock: socket.socket, answer: bytes, flapped: Collection[int]) -> int:
    """Return an errno for what is wrong with a route as the kernel described it; 0 if nothing is."""
    kind, body = _split(answer)
    if kind == NLMSG_ERROR:
        number = -int.from_bytes(body[:4], sys.byteorder, signed=True)
        return number if number in _NO_ROUTE else 0
    if kind != _RTM_NEWROUTE:
        return 0
    family, *_, flags = ROUTE.unpack_from(body)
    details = dict(attributes(body[ROUTE.size :]))
    index = int.from_bytes(details.get(_RTA_OIF, b""), sys.byteorder)
    down = flags & (_RTNH_F_DEAD | _RTNH_F_LINKDOWN) and _RTA_MULTIPATH not in details
    if down or index in flapped:
        return errno.ENETDOWN
    gateway = details.get(_RTA_GATEWAY)
    return errno.EHOSTUNREACH if gateway and index and _is_mute(sock, family, gateway, index) else 0


def _is_mute(sock: socket.socket, family: int, gateway: bytes, index: int) -> bool:
    """Return whether a gateway does not answer ARP or NDP."""
    kind, body = _split(_ask(sock, [_neighbour_request(family, gateway, index)])[0])
    if kind != _RTM_NEWNEIGH:  # no longer in the table
        return False
    return bool(_NEIGHBOUR.unpack_from(body)[4] & (_NUD_INCOMPLETE | _NUD_FAILED))


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


def _neighbour_request(family: int, gateway: bytes, interface: int) -> bytes:
    neighbour = _NEIGHBOUR.pack(family, 0, 0, interface, 0, 0, 0)
    return _KIND.pack(_RTM_GETNEIGH) + neighbour + attribute(_NDA_DST, gateway)
