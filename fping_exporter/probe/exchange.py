"""The packets of one sweep: sends echo requests, and tells which replies and errors belong to them."""

import contextlib
import selectors
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

import msgspec

from fping_exporter.errors import OpenFilesError
from fping_exporter.model import Outcome, Rejection
from fping_exporter.probe import packet
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.send_errors import errno_name, is_temporary
from fping_exporter.probe.sockets import IcmpSocket, SocketAddress, socket_address

__all__ = ["COOKIE_BYTES", "Channel", "Exchange", "Ping"]

COOKIE_BYTES = 16
"""Random bytes in every echo request, which a reply has to repeat."""
_READ_INTERVAL = 0.1
"""Seconds between two readings of the sockets while packets are sent."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
"""Seconds before refused packets are tried again; the pause doubles while all of them are refused."""
_PATIENCE = 5.0
"""Seconds that one sweep spends in all on trying refused packets again."""
_CLOCK_NOISE = 1_000_000
"""Nanoseconds by which two readings of the clocks may contradict each other."""


class Ping(msgspec.Struct, gc=False):
    """What was sent to one address and came back. Bit n of a mask stands for the packet of sequence n."""

    address: SocketAddress
    sock: IcmpSocket
    cookie: bytes
    sent_at: list[int] = []
    """Of each packet that the kernel took, by the monotonic clock, in nanoseconds."""
    send_error: int = 0
    """The errno with which the kernel refused the last packet; 0 if it took it."""
    answered: int = 0
    """The packets that were answered."""
    settled: int = 0
    """The packets that were answered, or about which an ICMP error came: nobody waits for these."""
    rtt: int | None = None
    """The best round trip, in nanoseconds."""
    unreachable: bool = False

    def outcome(self) -> Outcome:
        """Return what is known now."""
        return Outcome(
            sent=len(self.sent_at),
            received=self.answered.bit_count(),
            rtt=None if self.rtt is None else self.rtt / 1e9,
            unreachable=self.unreachable and not self.answered,
        )


class Channel:
    """A socket in a vantage's namespace, and the addresses that are pinged through it."""

    def __init__(self, sock: IcmpSocket, vantage: str) -> None:
        """Begin without addresses."""
        self.sock = sock
        self.vantage = vantage
        self.pings: dict[SocketAddress, Ping] = {}

    def ping(self, address: SocketAddress, cookie: bytes) -> Ping:
        """Return the state of this address; `cookie` is for an address that has none yet."""
        return self.pings.setdefault(address, Ping(address, self.sock, cookie))


class Exchange:
    """Sends packets through all sockets of a sweep and books what comes in. Closes the sockets in the end."""

    def __init__(
        self, *, pacer: Pacer, timeout: float, progress: Progress | None = None, timestamps: bool = True
    ) -> None:
        """Wait `timeout` seconds for a reply. Without reliable `timestamps` no round trip is measured.

        Raises OpenFilesError where even this needs a file too many.
        """
        self.rejected: Counter[Rejection] = Counter()
        self.refused: Counter[str] = Counter()
        """Packets that were not sent after all, by the name of the errno."""
        self._pacer = pacer
        self._timeout = timeout
        self._progress = progress
        self._timestamps = timestamps
        self._patience = _PATIENCE
        try:
            self._selector = selectors.DefaultSelector()
        except OSError as error:
            raise OpenFilesError from error
        self._sockets = contextlib.ExitStack()
        self.channels: list[Channel] = []
        self._room = sys.maxsize
        self._unread = 0
        """Packets sent since the sockets were last read: so many replies may wait in a buffer."""
        self._read_at = 0.0
        self._pending: list[tuple[Ping, int]] = []
        """Packets with their sequence, in the order of sending; the last is the last to expire."""

    def __enter__(self) -> Self:
        """Return itself."""
        self._sockets.callback(self._selector.close)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the sockets."""
        self._sockets.close()

    def add(self, sock: IcmpSocket, vantage: str) -> Channel:
        """Take over a socket in a vantage's namespace, to close it in the end."""
        channel = Channel(self._sockets.enter_context(sock), vantage)
        self.channels.append(channel)
        self._selector.register(channel.sock, selectors.EVENT_READ, channel)
        self._room = min(self._room, channel.sock.room)
        return channel

    def pings(self) -> list[Ping]:
        """Return the state of every address, each once."""
        return [ping for channel in self.channels for ping in channel.pings.values()]

    def send(self, pings: Sequence[Ping], *, patience: float) -> None:
        """Send a packet to each address, as fast as the pacer allows.

        What the kernel refuses is tried again, until it has taken none of it for `patience` seconds, or
        the sweep has spent _PATIENCE seconds on it. The rest is counted in ``refused``.
        """
        refused = self._send_once(pings)
        pause, now = _SHORTEST_PAUSE, time.monotonic()
        give_up_at = now + patience
        while any(is_temporary(ping.send_error) for ping in refused):
            left = min(give_up_at - now, self._patience)
            if left <= 0:
                break
            self.receive_until(now + min(pause, left))
            still_refused = self._send_once(refused, until=now + left)
            spent = time.monotonic() - now
            self._patience -= spent
            now += spent
            if len(still_refused) < len(refused):
                pause, give_up_at = _SHORTEST_PAUSE, now + patience
            else:
                pause = min(2 * pause, _LONGEST_PAUSE)
            refused = still_refused
        self.refused.update(errno_name(ping.send_error) for ping in refused)

    def _send_once(self, pings: Sequence[Ping], *, until: float = float("inf")) -> list[Ping]:
        """Try to send a packet to each; return those that the kernel refused.

        Those whose turn does not come `until` that time count as refused as before. Replies are read when the
        receive buffers could run full, or every _READ_INTERVAL seconds: as their arrival is stamped,
        the rest is read while there is nothing to do but wait.
        """
        refused: list[Ping] = []
        size = min(self._pacer.batch, self._room)
        for start in range(0, len(pings), size):
            batch = pings[start : start + size]
            if delay := self._pacer.reserve(len(batch)):
                time.sleep(delay)
            self._unread += self._send_batch(batch, refused)
            now = time.monotonic()
            if self._unread + size > self._room or now - self._read_at > _READ_INTERVAL:
                self._receive(0)
            if now > until:
                refused += pings[start + size :]
                break
        return refused

    def _send_batch(self, batch: Sequence[Ping], refused: list[Ping]) -> int:
        """Send a packet to each; return how many were sent, and append the others to `refused`."""
        echo_request, monotonic_ns, pending = packet.echo_request, time.monotonic_ns, self._pending
        before = len(pending)
        for ping in batch:
            sock, sequence = ping.sock, len(ping.sent_at)
            data = echo_request(sock.family, sock.ident, sequence, ping.cookie)
            sent_at = monotonic_ns()
            try:
                sock.send(data, ping.address)
            except OSError as error:
                ping.send_error = error.errno or 0
                refused.append(ping)
                continue
            ping.send_error = 0
            ping.sent_at.append(sent_at)
            pending.append((ping, sequence))
        return len(pending) - before

    def disregard(self, ping: Ping, number: int) -> None:
        """Take the packets to an address that is silent as refused with this errno: they never left."""
        self.refused[errno_name(number)] += len(ping.sent_at)
        ping.sent_at.clear()
        ping.send_error, ping.unreachable = number, False

    def wait(self) -> None:
        """Read replies until every packet was answered or has had its time."""
        while self._pending:
            ping, sequence = self._pending[-1]
            if ping.settled >> sequence & 1:
                self._pending.pop()
                continue
            left = ping.sent_at[sequence] / 1e9 + self._timeout - time.monotonic()
            self._receive(max(left, 0))
            if left <= 0:
                return

    def receive_until(self, end: float) -> None:
        """Read replies until `end` of the monotonic clock."""
        while (left := end - time.monotonic()) > 0:
            self._receive(left)

    def _receive(self, timeout: float) -> None:
        """Read all that has come in; wait for it up to `timeout` seconds if nothing has."""
        booked = 0
        ready = self._selector.select(timeout)
        self._unread, self._read_at = 0, time.monotonic()
        for key, _ in ready:
            channel: Channel = key.data
            for message, address, arrived_at in channel.sock.receive():
                if isinstance(message, packet.EchoReply):
                    rejection = _book_reply(
                        channel, message, address, arrived_at if self._timestamps else None
                    )
                elif message:
                    rejection = _book_error(channel, message)
                else:
                    rejection = Rejection.CHECKSUM
                if rejection:
                    self.rejected[rejection] += 1
                else:
                    booked += 1
        if booked and self._progress:
            self._progress(booked)


def _book_reply(
    channel: Channel, reply: packet.EchoReply, address: SocketAddress, arrived_at: int | None
) -> Rejection | None:
    """Book a reply; return why it does not count if it does not."""
    ping = channel.pings.get(address)
    if ping is None:
        return Rejection.SOURCE
    if reply.payload != ping.cookie:
        return Rejection.COOKIE
    sequence = reply.sequence
    if sequence >= len(ping.sent_at):
        return Rejection.SEQUENCE
    bit = 1 << sequence
    if ping.answered & bit:
        return Rejection.DUPLICATE
    ping.answered |= bit
    ping.settled |= bit
    if arrived_at is not None:
        rtt = arrived_at - ping.sent_at[sequence]
        # A time before the sending or after now is that of a wall clock that was set meanwhile.
        if rtt >= -_CLOCK_NOISE and arrived_at <= time.monotonic_ns() + _CLOCK_NOISE:
            rtt = max(0, rtt)
            if ping.rtt is None or rtt < ping.rtt:
                ping.rtt = rtt
    return None


def _book_error(channel: Channel, error: packet.EchoError) -> Rejection | None:
    """Book an ICMP error; return why it does not count if it does not."""
    address = socket_address(error.destination)
    ping = channel.pings.get(address) if address else None
    # An error of IPv4 need not quote more than the ICMP header: then there is no cookie to compare.
    quoted = error.payload[:COOKIE_BYTES]
    if ping is None or error.sequence >= len(ping.sent_at) or quoted != ping.cookie[: len(quoted)]:
        return Rejection.ERROR
    ping.settled |= 1 << error.sequence
    ping.unreachable = True
    return None
