"""Why the kernel refuses to send an echo request: every errno of sendto(2), its cause and its remedy.

A refused packet never left this machine, so no errno says anything about a guest: its target was
not asked. What a router or a neighbour lookup says of a packet that was sent comes as an ICMP
error instead, which :mod:`fping_exporter.probe.sockets` tells apart.

One refusal is not seen: where an ICMPv6 datagram socket sends, Linux does not report that a packet filter
or a full queue of this machine drops the packet (``ping_v6_sendmsg``). Raw sockets are told.

The causes were seen on Linux 6.18 (tests/probe/test_refusals.py) or are those of ip(7), raw(7) and
the kernel's sources (net/ipv4/icmp.c and net/ipv6/icmp.c for what ICMP errors are converted to).
"""

import errno
import os
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from typing import NamedTuple

__all__ = ["PENDING", "SEND_ERRORS", "Fault", "SendError", "errno_name", "explain", "is_temporary"]


class Fault(StrEnum):
    """Where the reason for a refusal lies."""

    TARGET = "target"
    """The address is no destination for an echo request: trying again does not help."""
    ROUTE = "route"
    """The way there: routes, links and interfaces come and go."""
    MACHINE = "machine"
    """This machine: a firewall, a full table, a full queue."""


class SendError(NamedTuple):
    """One errno of sendto(2)."""

    fault: Fault
    cause: str
    remedy: str


_SHORTAGE = SendError(
    Fault.MACHINE,
    "a queue of this machine is full: that of a network interface, the send buffer or the neighbour table",
    "lower probe.rate, or raise net.ipv4.neigh.default.gc_thresh3, and net.ipv6's, to more than the "
    "addresses pinged",
)
_NO_ROUTE = SendError(
    Fault.ROUTE,
    "there is no route, because a route is missing or the link is down",
    "see `ip route get ADDRESS` and `ip link`; addresses that this host never reaches are left out by "
    "probe.families, probe.addresses, probe.local_networks or instances.exclude",
)
_NO_LINK = SendError(
    Fault.ROUTE,
    "the network interface is gone or down, or it is or was without carrier",
    "see `ip link` and `ip route get ADDRESS`",
)
_NO_DESCRIPTOR = SendError(
    Fault.MACHINE,
    "there is no file descriptor left for a socket",
    "raise LimitNOFILE= of the systemd unit (`ulimit -n`), or use probe.engine: sweep",
)
_OF_ANOTHER_PACKET = SendError(
    Fault.MACHINE,
    "ICMP errors about earlier packets came faster than they could be read",
    "lower probe.rate",
)
_NO_DESTINATION = SendError(
    Fault.TARGET,
    "the address is no destination for an echo request, or a blackhole route covers it",
    "see `ip route get ADDRESS`, or leave the address out (instances.exclude)",
)

SEND_ERRORS: Mapping[int, SendError] = {
    errno.EPERM: SendError(
        Fault.MACHINE,
        "a packet filter of this machine drops echo requests, or its connection tracking table is full",
        "see `nft list ruleset`, IPAddressDeny= of the systemd unit, and net.netfilter.nf_conntrack_count "
        "beside nf_conntrack_max; an nftables rule `icmp type echo-request notrack` keeps pings out of "
        "that table",
    ),
    errno.EAGAIN: _SHORTAGE,
    errno.ENOBUFS: _SHORTAGE,
    errno.ENOMEM: _SHORTAGE,
    errno.EADDRNOTAVAIL: SendError(
        Fault.MACHINE,
        "this machine has no address to send from, or IPv6 is disabled",
        "see `ip address` and net.ipv6.conf.all.disable_ipv6, or set probe.families: [4]",
    ),
    errno.EMFILE: _NO_DESCRIPTOR,
    errno.ENFILE: _NO_DESCRIPTOR,
    errno.ENETUNREACH: _NO_ROUTE,
    errno.EHOSTUNREACH: SendError(
        Fault.ROUTE,
        "the gateway does not answer ARP or NDP, or a route of type unreachable covers the address",
        "see `ip route get ADDRESS` and `ip neigh`, or leave the address out (instances.exclude)",
    ),
    errno.EACCES: SendError(
        Fault.ROUTE,
        "a route of type prohibit covers the address, or it is a broadcast address",
        "see `ip route get ADDRESS`, or leave the address out (instances.exclude)",
    ),
    errno.ENETDOWN: _NO_LINK,
    errno.ENODEV: _NO_LINK,
    errno.ENXIO: _NO_LINK,
    errno.EMSGSIZE: SendError(
        Fault.ROUTE,
        "the MTU of the route is smaller than an echo request (44 bytes, IPv6: 64)",
        "see `ip route get ADDRESS`",
    ),
    errno.EINVAL: _NO_DESTINATION,
    errno.EAFNOSUPPORT: _NO_DESTINATION,
    errno.EDESTADDRREQ: _NO_DESTINATION,
    errno.ECONNREFUSED: _OF_ANOTHER_PACKET,
    errno.EHOSTDOWN: _OF_ANOTHER_PACKET,
    errno.ENONET: _OF_ANOTHER_PACKET,
    errno.ENOPROTOOPT: _OF_ANOTHER_PACKET,
    errno.EOPNOTSUPP: _OF_ANOTHER_PACKET,
    errno.EPROTO: _OF_ANOTHER_PACKET,
}
"""By errno. What is not here counts as the machine's."""

PENDING = frozenset(
    {number for number, error in SEND_ERRORS.items() if error is _OF_ANOTHER_PACKET}
    | {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EMSGSIZE}
)
"""What an ICMP error is converted to. Linux reports it on the next call, whomever that is for."""

_UNKNOWN = SendError(Fault.MACHINE, "the kernel refuses to send", "see the kernel's log")


def is_temporary(number: int) -> bool:
    """Whether it makes sense to try again within the same sweep."""
    return SEND_ERRORS.get(number, _UNKNOWN).fault is not Fault.TARGET


def errno_name(number: int) -> str:
    """Return the symbolic name, such as ``EPERM``, for the label of a metric."""
    return errno.errorcode.get(number, "unknown")


@cache
def explain(number: int) -> str:
    """Return a line for the log: the kernel's word, the cause, the remedy.

    It is the same object each time: a sweep without a route keeps one for each target.
    """
    error = SEND_ERRORS.get(number, _UNKNOWN)
    said = f"{os.strerror(number)} ({errno_name(number)})" if number else "no reason given"
    return f"{said}: {error.cause}; {error.remedy}"
