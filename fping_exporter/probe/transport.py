"""How echo requests leave and replies are read: many with one system call, or one with each."""

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

import msgspec

from fping_exporter.model import Family
from fping_exporter.probe import addresses, packet
from fping_exporter.probe.sockets import IcmpSocket, Kind

__all__ = ["CHUNK", "READ_LIMIT", "OneByOne", "Received", "Reply", "Sent", "Transport"]

READ_LIMIT = 1 << 16
"""Messages to read before the caller goes on: more than a buffer holds, yet a flood does not hold it up."""
CHUNK = 256
"""Messages that are handed on together."""

Reply = tuple[bytes, int, bytes, int | None]
"""Its sender, sequence, payload, and when it came in.

The time is of the monotonic clock, in nanoseconds; None if it is not known.
"""


class Sent(NamedTuple):
    """What became of some messages."""

    times: list[tuple[int]]
    """Of each message, when it was sent, by the monotonic clock, in nanoseconds.

    These are tuples of one, as such a time is kept: many messages share one, and so cost no memory.
    """
    refused: dict[int, int]
    """Which ones the kernel refused, by their place, and with which errno."""


class Received(msgspec.Struct):
    """Some of the messages that came in with a socket's identifier."""

    replies: list[Reply] = []
    errors: list[packet.EchoError] = []
    damaged: int = 0
    """How many have a wrong checksum."""

    def add(self, sock: IcmpSocket, data: bytes, sender: bytes, arrived_at: int | None) -> None:
        """Read a message, if it is an echo reply or an error for this socket."""
        raw_ipv4 = has_ip_header(sock.family, sock.kind)
        start = packet.ipv4_header_length(data) if raw_ipv4 else 0
        message = packet.parse(sock.family, data, start)
        if message is None or message.ident != sock.ident:
            return
        if raw_ipv4 and not packet.checksum_is_right(data, start):
            self.damaged += 1
        elif isinstance(message, packet.EchoReply):
            self.replies.append((sender, message.sequence, message.payload, arrived_at))
        else:
            reporter = addresses.unpack(sender) if sender else ""
            self.errors.append(msgspec.structs.replace(message, sender=reporter))


class Transport(Protocol):
    """Moves the messages of one sweep; not to be shared between threads."""

    def send(self, sock: IcmpSocket, messages: Sequence[bytes], addresses: Sequence[bytes]) -> Sent:
        """Send each message to its address without waiting. Raises nothing."""
        ...

    def receive(self, sock: IcmpSocket) -> Iterator[Received]:
        """Yield, without waiting, what came in. Raises nothing."""
        ...


class OneByOne:
    """A system call for each message."""

    def send(self, sock: IcmpSocket, messages: Sequence[bytes], addresses: Sequence[bytes]) -> Sent:
        """As Transport says."""
        times: list[tuple[int]] = []
        refused: dict[int, int] = {}
        for place, (message, address) in enumerate(zip(messages, addresses, strict=True)):
            times.append((time.monotonic_ns(),))
            try:
                sock.send(message, address)
            except OSError as error:
                refused[place] = error.errno or 0
        return Sent(times, refused)

    def receive(self, sock: IcmpSocket) -> Iterator[Received]:
        """As Transport says."""
        offset = sock.begin_reading()
        received = Received()
        for count in range(1, READ_LIMIT + 1):
            try:
                data, sender, stamp = sock.receive()
            except BlockingIOError:
                break
            except OSError:  # an ICMP error waits in the error queue
                continue
            received.add(sock, data, sender, None if stamp is None or offset is None else stamp - offset)
            if count % CHUNK == 0:
                yield received
                received = Received()
        received.errors += sock.fetch_errors()
        yield received


def has_ip_header(family: Family, kind: Kind) -> bool:
    """Whether messages come with their IP header: with that of IPv4 they do on raw sockets."""
    return family == packet.IPV4 and kind is Kind.RAW
