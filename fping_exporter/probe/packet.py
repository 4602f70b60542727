"""ICMP and ICMPv6 echo messages as bytes: what is sent, and what may come back."""

import os
import socket
import struct
from collections.abc import Collection, Iterable, Iterator

import msgspec

from fping_exporter.model import Family

__all__ = [
    "COOKIE_BYTES",
    "ERROR_TYPES",
    "IPV4",
    "REPLY_TYPE",
    "REQUEST_BYTES",
    "EchoError",
    "EchoReply",
    "checksum_is_right",
    "echo_reply",
    "echo_request",
    "echo_requests",
    "ipv4_header_length",
    "make_cookies",
    "parse",
    "parse_request",
]

IPV4: Family = 4
REPLY_TYPE: dict[Family, int] = {4: 0, 6: 129}
ERROR_TYPES: dict[Family, frozenset[int]] = {4: frozenset({3, 11, 12}), 6: frozenset({1, 3, 4})}
"""Destination unreachable, time exceeded and parameter problem: the packet did not get there."""

_REQUEST_TYPE: dict[Family, int] = {4: 8, 6: 128}
_HEADER = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence: RFC 792, RFC 4443
COOKIE_BYTES = 16
"""The payload of every echo request, which a reply has to repeat."""
_CHANCE = struct.Struct("8s")
_COMPLEMENT = bytes(255 - byte for byte in range(256))
REQUEST_BYTES = _HEADER.size + COOKIE_BYTES
_IPV4_HEADER = 20
"""Bytes without options, RFC 791."""
_IPV6_HEADER = 40
"""Bytes without extension headers, RFC 8200."""


class EchoReply(msgspec.Struct, frozen=True, gc=False):
    """An answer to an echo request."""

    ident: int
    sequence: int
    payload: bytes


class EchoError(msgspec.Struct, frozen=True, gc=False):
    """A report that an echo request was not delivered, from a router or a kernel on the way."""

    destination: str
    """The address that the request was sent to, as text."""
    ident: int
    sequence: int
    payload: bytes
    """As much as was quoted of the request's payload and of what the reporter put behind it."""
    icmp_type: int = 0
    code: int = 0
    sender: str = ""
    """The address of the reporter; empty if it is not known."""


def echo_request(family: Family, ident: int, sequence: int, payload: bytes) -> bytes:
    """Build an echo request, `payload` of even length.

    The checksum of ICMPv6 covers addresses that only the kernel knows: it fills it in.
    """
    return _message(family, _REQUEST_TYPE[family], ident, sequence, payload)


def echo_reply(family: Family, ident: int, sequence: int, payload: bytes) -> bytes:
    """Build the right answer to :func:`echo_request`, without the checksum of ICMPv6."""
    return _message(family, REPLY_TYPE[family], ident, sequence, payload)


def _message(family: Family, kind: int, ident: int, sequence: int, payload: bytes) -> bytes:
    checksum = 0
    if family == IPV4:
        # RFC 1071 adds 16-bit words with end-around carry: that is the whole number that the bytes
        # make, modulo 0xffff, in one operation. The sum is above 0, so a remainder of 0 is 0xffff.
        total = (kind << 8) + ident + sequence + int.from_bytes(payload, "big")
        checksum = 0xFFFF - (total % 0xFFFF or 0xFFFF)
    return _HEADER.pack(kind, 0, checksum, ident, sequence) + payload


def echo_requests(
    family: Family, ident: int, sequences: Collection[int], cookies: Iterable[bytes]
) -> list[bytes]:
    """Build an echo request for each sequence and cookie, as :func:`echo_request` does."""
    headers = {sequence: echo_request(family, ident, sequence, b"") for sequence in set(sequences)}
    return [headers[sequence] + cookie for sequence, cookie in zip(sequences, cookies, strict=True)]


def make_cookies(count: int) -> Iterator[bytes]:
    """Yield so many cookies, which nobody can guess.

    Each is eight random bytes and their complement. So every cookie adds nothing to a checksum (its sum is a
    multiple of 0xffff), and the requests of one sequence have the same header.
    """
    chance = os.urandom(_CHANCE.size * count)
    halves = zip(_CHANCE.iter_unpack(chance), _CHANCE.iter_unpack(chance.translate(_COMPLEMENT)), strict=True)
    return (some + complement for (some,), (complement,) in halves)


def checksum_is_right(data: bytes, start: int = 0) -> bool:
    """Whether the ICMP message that begins at `start` adds up (RFC 1071), as :func:`echo_request` does.

    Linux hands ICMP of IPv4 to raw sockets before it looks at the checksum. All others it checks.
    """
    message = data[start:]
    if len(message) % 2:
        message += b"\0"
    return int.from_bytes(message, "big") % 0xFFFF == 0


def ipv4_header_length(packet: bytes) -> int:
    """Return the bytes of the IPv4 header that raw sockets deliver before the ICMP message."""
    return (packet[0] & 0xF) * 4 if packet else 0


def parse(family: Family, data: bytes, start: int = 0) -> EchoReply | EchoError | None:
    """Read the ICMP message that begins at `start`.

    None for all but an echo reply and an error that quotes an echo request.
    """
    if len(data) < start + _HEADER.size:
        return None
    kind, code, _, ident, sequence = _HEADER.unpack_from(data, start)
    start += _HEADER.size
    if kind == REPLY_TYPE[family]:
        return EchoReply(ident, sequence, data[start:])
    if kind in ERROR_TYPES[family]:
        quoted = _quoted_ipv4(data[start:]) if family == IPV4 else _quoted_ipv6(data[start:])
        return quoted and msgspec.structs.replace(quoted, icmp_type=kind, code=code)
    return None


def parse_request(family: Family, data: bytes, *, destination: str, start: int = 0) -> EchoError | None:
    """Read an echo request that came back, quoted or in a socket's error queue; else None."""
    if len(data) < start + _HEADER.size:
        return None
    kind, _, _, ident, sequence = _HEADER.unpack_from(data, start)
    if kind != _REQUEST_TYPE[family]:
        return None
    return EchoError(destination, ident, sequence, data[start + _HEADER.size :])


def _quoted_ipv4(quote: bytes) -> EchoError | None:
    if len(quote) < _IPV4_HEADER or quote[9] != socket.IPPROTO_ICMP:
        return None
    destination = socket.inet_ntop(socket.AF_INET, quote[16:20])
    return parse_request(4, quote, destination=destination, start=ipv4_header_length(quote))


def _quoted_ipv6(quote: bytes) -> EchoError | None:
    if len(quote) < _IPV6_HEADER or quote[6] != socket.IPPROTO_ICMPV6:
        return None
    destination = socket.inet_ntop(socket.AF_INET6, quote[24:40])
    return parse_request(6, quote, destination=destination, start=_IPV6_HEADER)
