"""IP packets built and read in the plainest way, as the tests' own word on what is on the wire."""

import ipaddress
import socket
import struct
from typing import NamedTuple, Self

__all__ = ["Request", "checksum"]


class Request(NamedTuple):
    """An echo request as a host receives it."""

    packet: bytes
    family: int
    source: str
    destination: str
    ident: int
    sequence: int
    payload: bytes

    @classmethod
    def read(cls, packet: bytes) -> Self | None:
        """Read an IP packet; None if it is no echo request."""
        if packet[0] >> 4 == 4:
            family, start, source, destination, wanted = 4, 20, packet[12:16], packet[16:20], (1, 8)
            protocol = packet[9]
        else:
            family, start, source, destination, wanted = 6, 40, packet[8:24], packet[24:40], (58, 128)
            protocol = packet[6]
        if (protocol, packet[start]) != wanted:
            return None
        ident, sequence = struct.unpack_from("!HH", packet, start + 4)
        ends = str(ipaddress.ip_address(source)), str(ipaddress.ip_address(destination))
        return cls(packet, family, *ends, ident, sequence, packet[start + 8 :])

    @property
    def number(self) -> int:
        """The last byte of the destination, by which scripts tell their roles apart."""
        return ipaddress.ip_address(self.destination).packed[-1]

    def reply(
        self,
        *,
        source: str | None = None,
        ident: int | None = None,
        sequence: int | None = None,
        payload: bytes | None = None,
        checksum_fault: int = 0,
    ) -> bytes:
        """Build the answer, true but for what is given."""
        header = struct.pack(
            "!BBHHH",
            0 if self.family == 4 else 129,
            0,
            0,
            self.ident if ident is None else ident,
            self.sequence if sequence is None else sequence,
        )
        data = self.payload if payload is None else payload
        return self._datagram(header + data, source=source or self.destination, fault=checksum_fault)

    def error(
        self, *, quote: bytes | None = None, source: str | None = None, checksum_fault: int = 0
    ) -> bytes:
        """Build a host unreachable that quotes this request, or else `quote`."""
        header = struct.pack("!BBHI", *((3, 1) if self.family == 4 else (1, 3)), 0, 0)
        body = self.packet if quote is None else quote
        return self._datagram(header + body, source=source or self.destination, fault=checksum_fault)

    def _datagram(self, message: bytes, *, source: str, fault: int) -> bytes:
        ends = ipaddress.ip_address(source).packed + ipaddress.ip_address(self.source).packed
        if self.family == 4:
            message = message[:2] + struct.pack("!H", checksum(message) ^ fault) + message[4:]
            header = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(message), 0, 0, 64, 1, 0)
            header = header[:10] + struct.pack("!H", checksum(header + ends))
            return header + ends + message
        pseudo = ends + struct.pack("!II", len(message), socket.IPPROTO_ICMPV6)
        message = message[:2] + struct.pack("!H", checksum(pseudo + message) ^ fault) + message[4:]
        return struct.pack("!IHBB", 6 << 28, len(message), socket.IPPROTO_ICMPV6, 64) + ends + message


def checksum(data: bytes) -> int:
    """Add it up as RFC 1071 section 4.1 does."""
    total = 0
    for high, low in zip(data[::2], data[1::2] + bytes(len(data) % 2), strict=True):
        total += (high << 8) + low
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
