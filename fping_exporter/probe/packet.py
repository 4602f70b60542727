"""ICMP and ICMPv6 echo messages as bytes: what is sent, and what may come back."""

import socket
import struct
from typing import NamedTuple

from fping_exporter.model import Family

__all__ = [
    "ERROR_TYPES",
    "IPV4",
    "REPLY_TYPE",
    "EchoError",
    "EchoReply",
    "echo_request",
    "parse",
    "parse_request",
    "strip_ipv4",
]

IPV4: Family = 4
REPLY_TYPE: dict[Family, int] = {4: 0, 6: 129}
ERROR_TYPES: dict[Family, frozenset[int]] = {4: frozenset({3, 11, 12}), 6: frozenset({1, 3, 4})}
"""Destination unreachable, time exceeded and parameter problem: the packet did not get there."""

_REQUEST_TYPE: dict[Family, int] = {4: 8, 6: 128}
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence: RFC 792, RFC 4443
_IPV4_HEADER = 20
"""Bytes without options, RFC 791."""
_IPV6_HEADER = 40
"""Bytes without extension headers, RFC 8200."""


class EchoReply(NamedTuple):
    """An answer to an echo request."""

    ident: int
    sequence: int
    payload: bytes


class EchoError(NamedTuple):
    """A report that an echo request was not delivered, from a router or a kernel on the way."""

    destination: str
    """The address that the request was sent to, as text."""
    ident: int
    sequence: int
    payload: bytes
    """As much as was quoted of the request's payload and of what the reporter put behind it."""


def echo_request(family: Family, *, ident: int, sequence: int, payload: bytes) -> bytes:
    """Build an echo request, `payload` of even length.

    The checksum of ICMPv6 covers addresses that only the kernel knows: it fills it in.
    """
    kind = _REQUEST_TYPE[family]
    packet = _HEADER.pack(kind, 0, 0, ident, sequence) + payload
    if family != IPV4:
        return packet
    # The sum with end-around carry of RFC 1071 is the number that the bytes are, modulo 0xffff:
    # one operation in C. The sum of a request is never 0, so 0 can only stand for 0xffff.
    checksum = 0xFFFF - (int.from_bytes(packet, "big") % 0xFFFF or 0xFFFF)
    return _HEADER.pack(kind, 0, checksum, ident, sequence) + payload


def strip_ipv4(packet: memoryview) -> memoryview:
    """Take off the IPv4 header that raw sockets deliver; what has none becomes empty."""
    return packet[(packet[0] & 0xF) * 4 :] if packet else packet


def parse(family: Family, message: memoryview) -> EchoReply | EchoError | None:
    """Read an ICMP message; None for all but an echo reply and an error that quotes an echo request."""
    if len(message) < _HEADER.size:
        return None
    if message[0] == REPLY_TYPE[family]:
        _, _, _, ident, sequence = _HEADER.unpack_from(message)
        return EchoReply(ident, sequence, bytes(message[_HEADER.size :]))
    if message[0] in ERROR_TYPES[family]:
        quote = message[_HEADER.size :]
        return _quoted_ipv4(quote) if family == IPV4 else _quoted_ipv6(quote)
    return None


def parse_request(family: Family, message: memoryview, *, destination: str) -> EchoError | None:
    """Read an echo request that came back in a socket's error queue; None for anything else."""
    if len(message) < _HEADER.size:
        return None
    kind, _, _, ident, sequence = _HEADER.unpack_from(message)
    if kind != _REQUEST_TYPE[family]:
        return None
    return EchoError(destination, ident, sequence, bytes(message[_HEADER.size :]))


def _quoted_ipv4(quote: memoryview) -> EchoError | None:
    if len(quote) < _IPV4_HEADER or quote[9] != socket.IPPROTO_ICMP:
        return None
    destination = socket.inet_ntop(socket.AF_INET, quote[16:20])
    return parse_request(4, strip_ipv4(quote), destination=destination)


def _quoted_ipv6(quote: memoryview) -> EchoError | None:
    if len(quote) < _IPV6_HEADER or quote[6] != socket.IPPROTO_ICMPV6:
        return None
    destination = socket.inet_ntop(socket.AF_INET6, quote[24:40])
    return parse_request(6, quote[_IPV6_HEADER:], destination=destination)
