"""ARP and neighbour discovery as Ethernet frames: the question to one guest, and what may come back."""

import socket
import struct

from fping_exporter.model import Layer2Rejection

__all__ = [
    "ARP_BYTES",
    "ETHERTYPE_ARP",
    "ETHERTYPE_IPV6",
    "FRAME_BYTES",
    "IPV4_BYTES",
    "NEIGHBOUR_ADVERTISEMENT",
    "NEIGHBOUR_SOLICITATION",
    "OPERATION_REPLY",
    "OPERATION_REQUEST",
    "Answer",
    "Asker",
    "parse_answer",
    "parse_question",
]

ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0806, 0x86DD
OPERATION_REQUEST, OPERATION_REPLY = 1, 2
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
ARP_BYTES = 42
IPV4_BYTES = 4
FRAME_BYTES = 128
"""More than any frame has that is asked or answered here."""

_ARP = {
    operation: struct.pack("!HHHBBH", ETHERTYPE_ARP, 1, 0x0800, 6, 4, operation)
    for operation in (OPERATION_REQUEST, OPERATION_REPLY)
}
"""Ethertype, Ethernet, IPv4, the lengths of their addresses, the operation."""
_ETHERTYPE_IPV6 = struct.pack("!H", ETHERTYPE_IPV6)
_IPV6 = struct.Struct("!IHBB")
"""Version with class and flow label, length of the payload, next header, hop limit."""
_ND = struct.Struct("!BBHI16s")
"""Type, code, checksum, flags, target."""
_SOLICITATION = struct.Struct("!2sH4x")
"""Its type and code, the checksum, no flags."""
_LENGTHS = struct.Struct("!II")
_TYPE = bytes((NEIGHBOUR_SOLICITATION, 0))
_NEXT_HEADER = socket.IPPROTO_ICMPV6
_HOP_LIMIT = 255
_SOLICITED = 0x40
_ADVERTISEMENT = 6, _NEXT_HEADER, NEIGHBOUR_ADVERTISEMENT, 0
"""The version of IP, the next header, type and code."""
_SOURCE_LINK_ADDRESS, _TARGET_LINK_ADDRESS = 1, 2
_IPV6_AT, _ICMP_AT, _OPTIONS_AT = 14, 54, 78
"""Where the headers begin in a frame."""
_GROUP = 1
"""The bit of a MAC's first byte that says: for several."""


Answer = tuple[bytes, bytes, bytes, bytes]
"""Who claims which address, and to whom, as bytes.

These are the IP address, the MAC that is said to have it, the MAC that the frame came from, and the IP
address that is answered.
"""


class Asker:
    """Builds questions from one MAC and one IP address of ours, and what has to come back."""

    def __init__(self, me: bytes, source: bytes) -> None:
        """Ask from the MAC `me` and the IP address `source`.

        For IPv4 `source` may be 0.0.0.0, which makes it an ARP probe (RFC 5227). A unicast solicitation from
        the unspecified address of IPv6 would be invalid (RFC 4861, 7.1.1).
        """
        self.source = source
        if len(source) == IPV4_BYTES:
            self._head = b"".join((me, _ARP[OPERATION_REQUEST], me, source, bytes(6)))
            self._reply = me, _ARP[OPERATION_REPLY], me + source
            return
        self._option = bytes((_SOURCE_LINK_ADDRESS, 1)) + me
        message = _ND.pack(NEIGHBOUR_SOLICITATION, 0, 0, 0, bytes(16)) + self._option
        self._sum = int.from_bytes(_pseudo_header(source + bytes(16), message) + message, "big")
        header = _IPV6.pack(6 << 28, len(message), _NEXT_HEADER, _HOP_LIMIT)
        self._head = b"".join((me, _ETHERTYPE_IPV6, header, source))

    def question(self, mac: bytes, ip: bytes) -> bytes:
        """Build the frame that asks the guest at `mac` for `ip`, of the same family as our own address."""
        if len(ip) == IPV4_BYTES:
            return b"".join((mac, self._head, ip))
        # The address is twice in what the checksum covers: as destination and as target.
        checksum = _complement(self._sum + 2 * int.from_bytes(ip, "big"))
        return b"".join((mac, self._head, ip, _SOLICITATION.pack(_TYPE, checksum), ip, self._option))

    def arp_reply(self, mac: bytes, ip: bytes) -> bytes:
        """Build the reply that the question for an IPv4 address has to get, without padding."""
        me, head, end = self._reply
        return b"".join((me, mac, head, mac, ip, end))


def parse_question(frame: bytes) -> tuple[bytes, bool] | None:
    """Return the address that an ARP request or a solicitation asks for, and whether all are asked.

    None for any other frame.
    """
    to_all = bool(frame[:1] and frame[0] & _GROUP)
    if frame[12:22] == _ARP[OPERATION_REQUEST] and len(frame) >= ARP_BYTES:
        return frame[38:42], to_all
    if (
        frame[12:14] == _ETHERTYPE_IPV6
        and len(frame) >= _OPTIONS_AT
        and (frame[20], frame[_ICMP_AT]) == (_NEXT_HEADER, NEIGHBOUR_SOLICITATION)
    ):
        return frame[62:78], to_all
    return None


def parse_answer(frame: bytes, *, me: bytes, summed: bool = True) -> Answer | Layer2Rejection:
    """Read a frame that came in as the answer to a question from the MAC `me`.

    The checksum of ICMPv6 is verified unless `summed` is False: a frame that never left this machine may
    not have one yet. The source address of IPv6 is not looked at: FreeBSD chooses another one than the
    address that was asked for (sys/netinet6/nd6_nbr.c, ``nd6_na_output_fib``).
    """
    if frame[:6] != me:
        to_all = frame[:1] and frame[0] & _GROUP
        return Layer2Rejection.BROADCAST if to_all else Layer2Rejection.RECIPIENT
    if frame[12:14] == _ETHERTYPE_IPV6:
        return _parse_advertisement(frame, summed=summed)
    if frame[12:22] != _ARP[OPERATION_REPLY] or len(frame) < ARP_BYTES:
        return Layer2Rejection.MALFORMED
    owner, ip, asker, recipient = frame[22:28], frame[28:32], frame[32:38], frame[38:42]
    if ip == recipient:
        return Layer2Rejection.UNSOLICITED
    if asker != me:
        return Layer2Rejection.RECIPIENT
    return ip, owner, frame[6:12], recipient


def _parse_advertisement(frame: bytes, *, summed: bool) -> Answer | Layer2Rejection:
    if len(frame) < _OPTIONS_AT:
        return Layer2Rejection.MALFORMED
    version, length, next_header, hop_limit = _IPV6.unpack_from(frame, _IPV6_AT)
    kind, code, _, flags, target = _ND.unpack_from(frame, _ICMP_AT)
    end, sender = _ICMP_AT + length, frame[6:12]
    owner = _link_address(frame[_OPTIONS_AT:end], default=sender) if end <= len(frame) else None
    if (version >> 28, next_header, kind, code) != _ADVERTISEMENT or end < _OPTIONS_AT or owner is None:
        return Layer2Rejection.MALFORMED
    if hop_limit != _HOP_LIMIT:
        return Layer2Rejection.HOP_LIMIT
    if summed and _checksum(frame[22:_ICMP_AT], frame[_ICMP_AT:end]):
        return Layer2Rejection.CHECKSUM
    if not flags >> 24 & _SOLICITED:
        return Layer2Rejection.UNSOLICITED
    return target, owner, sender, frame[38:_ICMP_AT]


def _link_address(options: bytes, *, default: bytes) -> bytes | None:
    """Return the MAC in the option for the target's; `default` without one; None for malformed options.

    It may be left out of the answer to a unicast (RFC 4861, 4.4).
    """
    found = default
    while options:
        size = 8 * options[1] if len(options) > 1 else 0
        if not 0 < size <= len(options):
            return None
        if options[0] == _TARGET_LINK_ADDRESS:
            found = options[2:8]
        options = options[size:]
    return found


def _checksum(addresses: bytes, message: bytes) -> int:
    """Return the ICMPv6 checksum (RFC 4443, 2.3): 0 for a message that carries the right one.

    `addresses` are the source and the destination.
    """
    covered = _pseudo_header(addresses, message) + message + bytes(len(message) & 1)
    return _complement(int.from_bytes(covered, "big"))


def _pseudo_header(addresses: bytes, message: bytes) -> bytes:
    return addresses + _LENGTHS.pack(len(message), _NEXT_HEADER)


def _complement(number: int) -> int:
    """Return the checksum of 16-bit words, as the number that their bytes make.

    RFC 1071 adds the words with end-around carry. That is the number modulo 0xffff, and never 0.
    """
    return 0xFFFF - (number % 0xFFFF or 0xFFFF)
