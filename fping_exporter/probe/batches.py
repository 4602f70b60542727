"""Many echo requests or replies with one system call: the usual transport of a sweep."""

import socket
import struct
import time
from collections.abc import Iterator, Sequence

from fping_exporter.model import Family
from fping_exporter.probe import packet
from fping_exporter.probe.addresses import NAME_BYTES, NAME_HEAD, NAME_TAIL
from fping_exporter.probe.mmsg import (
    MessageReceiver,
    MessageSender,
    SystemCall,
    recvmmsg,
    sendmmsg,
)
from fping_exporter.probe.send_errors import PENDING
from fping_exporter.probe.sockets import IcmpSocket
from fping_exporter.probe.transport import CHUNK, READ_LIMIT, Received, Sent, has_ip_header

__all__ = ["Batches"]

_SENT_TOGETHER = 64
"""Messages in a call to send. More save hardly any time, and make it less known when each one left."""
_SAME_TIME = 8
"""Messages of a call that count as sent at once: a few microseconds."""
_QUICK = 2_000
"""Nanoseconds for a message, as long as nothing has been measured."""
_SLOWEST = 20_000
"""Nanoseconds for a message. If a call took longer, the thread lost the processor, nobody knows when."""
_MESSAGE_BYTES = 576
"""What is kept of a message: an ICMP error has no more (RFC 1812, section 4.3.2.3), a true reply has less."""
_USUAL_SEQUENCES = 8
"""Replies to a target's packets beyond these are read as what is not usual: hardly a target gets as many."""
_IPV4_HEADER = 20
"""Bytes without options, RFC 791."""

_CONTROL = struct.Struct(f"@{socket.CMSG_LEN(0)}xll")
"""SO_TIMESTAMPNS's control message, the only one that comes with a packet: seconds and nanoseconds."""


class Batches:
    """Sends and receives with sendmmsg and recvmmsg.

    A batch is the quick way for what is usual. What is not goes the way of single messages: one that the
    kernel does not take is sent alone if a pending error may be to blame, and what came in and does not look
    like a reply with a stamp is read as :class:`OneByOne` reads it.
    """

    def __init__(self, *, send: SystemCall = sendmmsg, receive: SystemCall = recvmmsg) -> None:
        """Begin without arrays: they are laid out when they are needed, once for all sockets."""
        self._send, self._receive = send, receive
        self._senders: dict[Family, MessageSender] = {}
        self._receivers: dict[Family, MessageReceiver] = {}
        self._readers: dict[IcmpSocket, _Reader] = {}
        self._quickest: dict[IcmpSocket, int] = {}
        """Nanoseconds for a message in the quickest call."""

    def send(self, sock: IcmpSocket, messages: Sequence[bytes], addresses: Sequence[bytes]) -> Sent:
        """As Transport says; all messages have the same length."""
        sender = self._sender(sock.family, count=len(messages), size=len(messages[0]))
        head, tail = NAME_HEAD[sock.family], NAME_TAIL[sock.family]
        sender.load(b"".join(messages), head + (tail + head).join(addresses) + tail)
        times: list[tuple[int]] = []
        refused: dict[int, int] = {}
        descriptor, count, place = sock.fileno(), len(messages), 0
        while place < count:
            began = time.monotonic_ns()
            try:
                taken = sender.send(descriptor, place, min(place + _SENT_TOGETHER, count))
            except OSError as error:
                number = error.errno or 0
                if number in PENDING:
                    began = time.monotonic_ns()
                    try:
                        sock.send_again(messages[place], addresses[place])
                    except OSError as again:
                        refused[place] = again.errno or 0
                else:
                    refused[place] = number
                times.append((began,))
                place += 1
            else:
                each = self._time_for_each(sock, (time.monotonic_ns() - began) // taken)
                times += _spread(began, each, taken)
                place += taken
        return Sent(times, refused)

    def _time_for_each(self, sock: IcmpSocket, took: int) -> int:
        """Return how long the kernel was at work on each message of a call that `took` so long for each.

        Before the call returns, the thread may wait for a processor, and for the interpreter's lock: a few
        hundred microseconds beside a list that is read. So no message counts as sent later than if the call
        had been as quick as the quickest one before it: that would make its round trip shorter than it was.
        """
        known = self._quickest.get(sock)
        if took > _SLOWEST:
            return known or 0
        self._quickest[sock] = min(took, known or took)
        return min(took, known or _QUICK)

    def receive(self, sock: IcmpSocket) -> Iterator[Received]:
        """As Transport says."""
        receiver = self._receiver(sock.family)
        reader = self._readers.get(sock)
        if reader is None:
            reader = self._readers[sock] = _Reader(sock, receiver)
        reader.begin()
        for _ in range(READ_LIMIT // CHUNK):
            try:
                count = receiver.receive(sock.fileno())
            except BlockingIOError:
                break
            except OSError:  # an ICMP error waits in the error queue
                continue
            yield reader.read(count)
        yield Received(errors=sock.fetch_errors())

    def _sender(self, family: Family, *, count: int, size: int) -> MessageSender:
        sender = self._senders.get(family)
        if sender is None or sender.count < count or sender.size != size:
            sender = self._senders[family] = MessageSender(
                count=count, size=size, name_bytes=NAME_BYTES[family], system_call=self._send
            )
        return sender

    def _receiver(self, family: Family) -> MessageReceiver:
        if family not in self._receivers:
            self._receivers[family] = MessageReceiver(
                count=CHUNK,
                size=_MESSAGE_BYTES,
                name_bytes=NAME_BYTES[family],
                control_bytes=_CONTROL.size,
                system_call=self._receive,
            )
        return self._receivers[family]


def _spread(began: int, each: int, count: int) -> list[tuple[int]]:
    """Return when each of the messages of a call left; a few share the time of the first of them."""
    times: list[tuple[int]] = []
    for first in range(0, count, _SAME_TIME):
        times += [(began + first * each,)] * min(_SAME_TIME, count - first)
    return times


class _Reader:
    """Reads what comes in on one socket."""

    def __init__(self, sock: IcmpSocket, receiver: MessageReceiver) -> None:
        self._sock = sock
        self._receiver = receiver
        self._offset: int | None = None
        family = sock.family
        start = _IPV4_HEADER if has_ip_header(family, sock.kind) else 0
        self._length = start + packet.REQUEST_BYTES
        # The checksum of ICMPv6 covers the addresses, and is the kernel's business.
        checked = "4s" if family == packet.IPV4 else "2s2x"
        head, tail = len(NAME_HEAD[family]), len(NAME_TAIL[family])
        slot = (
            f"{_CONTROL.format}{head}x{receiver.name_bytes - head - tail}s{tail}x"
            f"{start}x{checked}4s{packet.COOKIE_BYTES}s"
        )
        self._slot = struct.Struct(f"{slot}{receiver.stride - struct.calcsize(slot)}x")
        self._usual: dict[bytes, int] = {}
        """The sequence of a reply, by its header as far as it is checked."""
        for sequence in range(_USUAL_SEQUENCES):
            header = packet.echo_reply(family, sock.ident, sequence, b"")
            self._usual[header if family == packet.IPV4 else header[:2] + header[4:]] = sequence

    def begin(self) -> None:
        """Note that messages are about to be read."""
        self._offset = self._sock.begin_reading()

    def read(self, count: int) -> Received:
        """Read the first `count` messages in the receiver."""
        received = Received()
        if self._offset is None or not self._receiver.are_complete(count):
            for place in range(count):
                self._add_unusual(received, place)
        else:
            self._add(received, count, self._offset)
        return received

    def _add(self, received: Received, count: int, offset: int) -> None:
        """Read messages that all have an address and a stamp.

        The usual one is known by its length and its header, which is the same for all cookies, as they add
        nothing to the checksum. If its IP header has options, there is no such header at that place.
        """
        receiver, usual_length, find = self._receiver, self._length, self._usual.get
        append = received.replies.append
        slots = self._slot.iter_unpack(receiver.memory[: count * receiver.stride])
        for place, (length, slot) in enumerate(zip(receiver.lengths(count), slots, strict=True)):
            seconds, nanoseconds, sender, head, tail, payload = slot
            sequence = find(head + tail)
            if sequence is None or length != usual_length:
                self._add_unusual(received, place)
            else:
                append((sender, sequence, payload, seconds * 1_000_000_000 + nanoseconds - offset))

    def _add_unusual(self, received: Received, place: int) -> None:
        """Read any message."""
        data, name, control = self._receiver.message(place)
        stamp = None
        if len(control) == _CONTROL.size:
            seconds, nanoseconds = _CONTROL.unpack(control)
            stamp = seconds * 1_000_000_000 + nanoseconds
        head, tail = len(NAME_HEAD[self._sock.family]), len(NAME_TAIL[self._sock.family])
        received.add(
            self._sock,
            data,
            name[head:-tail],
            None if stamp is None or self._offset is None else stamp - self._offset,
        )
