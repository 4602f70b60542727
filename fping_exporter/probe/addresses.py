"""Addresses as bytes in network order.

These key what is known of a target, so that no reply is turned into text first.
"""

import socket
import struct

from fping_exporter.model import Family

__all__ = ["FAMILY", "NAME_BYTES", "NAME_HEAD", "NAME_TAIL", "pack", "unpack"]

_INET, _INET6 = int(socket.AF_INET), int(socket.AF_INET6)
_ADDRESS_FAMILY = {4: _INET, 16: _INET6}
FAMILY: dict[int, Family] = {4: 4, 16: 6}
"""The IP version of an address, by its length in bytes."""

# A struct sockaddr_in or sockaddr_in6 is these bytes before and behind the address.
NAME_HEAD: dict[Family, bytes] = {4: struct.pack("=HH", _INET, 0), 6: struct.pack("=HHI", _INET6, 0, 0)}
"""Address family, port, which ICMP has none of, and for IPv6 the flow information."""
NAME_TAIL: dict[Family, bytes] = {4: bytes(8), 6: bytes(4)}
"""For IPv6 the scope, which an address without interface has none of."""
NAME_BYTES: dict[Family, int] = {4: 16, 6: 28}


def pack(ip: str) -> bytes | None:
    """Return the 4 or 16 bytes of an address in any notation; None if `ip` is not an address."""
    try:
        return socket.inet_pton(_INET6 if ":" in ip else _INET, ip)  # which accepts one notation of IPv4
    except (OSError, ValueError):  # ValueError: a null character
        return None


def unpack(address: bytes) -> str:
    """Return an address as text, in the notation of the kernel."""
    return socket.inet_ntop(_ADDRESS_FAMILY[len(address)], address)
