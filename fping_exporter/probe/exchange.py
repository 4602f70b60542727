"""The packets of one sweep: sends echo requests, and tells which replies and errors belong to them."""

import contextlib
import itertools
import selectors
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Self

import msgspec

from fping_exporter.errors import OpenFilesError
from fping_exporter.model import IcmpError, Outcome, Rejection
from fping_exporter.probe import addresses, packet
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.send_errors import errno_name, is_temporary
from fping_exporter.probe.sockets import IcmpSocket
from fping_exporter.probe.transport import Reply, Transport

__all__ = ["Channel", "Exchange", "Ping"]

_READ_INTERVAL = 0.1
"""Seconds between two readings of the sockets while packets are sent, at most."""
_READ_AFTER = 512
"""Packets sent between two readings, at most: their replies are in the processor's cache still."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 0.005, 0.1
"""Seconds before refused packets are tried again; the pause doubles while all of them are refused."""
_PATIENCE = 5.0
"""Seconds that one sweep spends in all on trying refused packets again."""
_CLOCK_NOISE = 1_000_000
"""Nanoseconds by which two readings of the clocks may contradict each other."""


class Ping(msgspec.Struct, gc=False):
    """What was sent to one address and came back. Bit n of a mask stands for the packet of sequence n."""

    address: bytes
    sock: IcmpSocket
    cookie: bytes
    sent_at: tuple[int, ...] = ()
    """Of each packet that the kernel took, by the monotonic clock, in nanoseconds."""
    send_error: int = 0
    """The errno with which the kernel refused the last packet; 0 if it took it."""
    answered: int = 0
    """The packets that were answered."""
    failed: int = 0
    """The packets about which an ICMP error came."""
    error: IcmpError | None = None
    """The first of these errors."""
    rtt: int | None = None
    """The best round trip, in nanoseconds."""

    def outcome(self) -> Outcome:
        """Return what is known now."""
        answered, rtt = self.answered, self.rtt
        return Outcome(
            len(self.sent_at),
            answered.bit_count(),
            None if rtt is None else rtt / 1e9,
            not answered and self.failed > 0,
            self.error,
        )


class Channel:
    """A socket in a vantage's namespace, and the addresses that are pinged through it."""

    def __init__(self, sock: IcmpSocket, vantage: str) -> None:
        """Begin without addresses."""
        self.sock = sock
        self.vantage = vantage
        self.pings: dict[bytes, Ping] = {}

    def assign(self, addresses: Sequence[bytes]) -> list[Ping]:
        """Take these addresses, the only ones; return the state of each. Equal ones share it."""
        cookies = packet.make_cookies(len(addresses))
        pings = list(map(Ping, addresses, itertools.repeat(self.sock), cookies))
        self.pings = dict(zip(addresses, pings, strict=True))
        return pings if len(pings) == len(self.pings) else [self.pings[address] for address in addresses]


class Exchange:
    """Sends packets through all sockets of a sweep and books what comes in. Closes the sockets in the end."""

    def __init__(
        self,
        *,
        pacer: Pacer,
        timeout: float,
        transport: Transport,
        progress: Progress | None = None,
        timestamps: bool = True,
    ) -> None:
        """Wait `timeout` seconds for a reply. Without reliable `timestamps` no round trip is measured.

        Raises OpenFilesError where even this needs a file too many.
        """
        self.sent = self.received = 0
        """Packets that left, and replies that count."""
        self.rejected: Counter[Rejection] = Counter()
        self.refused: Counter[str] = Counter()
        """Packets that were not sent after all, by the name of the errno."""
        self._pacer = pacer
        self._timeout = timeout
        self._transport = transport
        self._progress = progress
        self._timestamps = timestamps
        self._patience = _PATIENCE
        try:
            self._selector = selectors.DefaultSelector()
        except OSError as error:
            raise OpenFilesError from error
        self._sockets = contextlib.ExitStack()
        self.channels: list[Channel] = []
        self._room = _READ_AFTER
        """Packets that may go before the sockets are read: no more than the smallest buffer holds replies."""
        self._unread = 0
        """Packets sent since the sockets were last read: so many replies may wait in a buffer."""
        self._read_at = 0.0
        self._pending: list[Ping] = []
        """To whom packets were sent, in the order of sending: the last one is the last to expire."""
        self._sequences: list[int] = []
        """The sequences of these packets."""
        self._reports: dict[IcmpError, IcmpError] = {}
        """Each once: a router reports the same of thousands, and they are kept as long as the snapshot."""

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

        Those whose turn does not come `until` that time count as refused as before. Replies are read after
        _READ_AFTER packets, when the receive buffers could run full, or every _READ_INTERVAL seconds: as
        their arrival is stamped, the rest is read while there is nothing to do but wait.
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
        before = len(self._pending)
        for sock, group in _by_socket(batch):
            pings, sequences = group, [len(ping.sent_at) for ping in group]
            requests = packet.echo_requests(
                sock.family, sock.ident, sequences, [ping.cookie for ping in pings]
            )
            times, refusals = self._transport.send(sock, requests, [ping.address for ping in pings])
            for place, number in refusals.items():
                pings[place].send_error = number
                refused.append(pings[place])
            if refusals:
                taken = [place not in refusals for place in range(len(pings))]
                pings = list(itertools.compress(pings, taken))
                sequences = list(itertools.compress(sequences, taken))
                times = list(itertools.compress(times, taken))
            for ping, sent_at in zip(pings, times, strict=True):
                ping.send_error = 0
                ping.sent_at += sent_at
            self._pending += pings
            self._sequences += sequences
        sent = len(self._pending) - before
        self.sent += sent
        return sent

    def disregard(self, ping: Ping, number: int) -> None:
        """Take the packets to an address that is silent as refused with this errno: they never left."""
        self.refused[errno_name(number)] += len(ping.sent_at)
        self.sent -= len(ping.sent_at)
        ping.sent_at = ()
        ping.send_error, ping.failed, ping.error = number, 0, None

    def wait(self) -> None:
        """Read replies until every packet was answered or has had its time."""
        while self._pending:
            ping, sequence = self._pending[-1], self._sequences[-1]
            if (ping.answered | ping.failed) >> sequence & 1:
                self._pending.pop()
                self._sequences.pop()
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
            for received in self._transport.receive(channel.sock):
                booked += self._book_replies(channel, received.replies)
                booked += sum(self._book_error(channel, error) for error in received.errors)
                if received.damaged:
                    self.rejected[Rejection.CHECKSUM] += received.damaged
        if booked and self._progress:
            self._progress(booked)

    def _book_replies(self, channel: Channel, replies: Sequence[Reply]) -> int:
        """Book replies; return how many of them count."""
        pings, rejected, counted = channel.pings, self.rejected, 0
        # A time before the sending or after now is that of a wall clock that was set meanwhile.
        latest = time.monotonic_ns() + _CLOCK_NOISE if self._timestamps else 0
        for sender, sequence, payload, arrived_at in replies:
            ping = pings.get(sender)
            if ping is None:
                rejected[Rejection.SOURCE] += 1
                continue
            if payload != ping.cookie:
                rejected[Rejection.COOKIE] += 1
                continue
            sent_at, answered, bit = ping.sent_at, ping.answered, 1 << sequence
            if sequence >= len(sent_at):
                rejected[Rejection.SEQUENCE] += 1
                continue
            if answered & bit:
                rejected[Rejection.DUPLICATE] += 1
                continue
            ping.answered = answered | bit
            counted += 1
            if arrived_at is not None and arrived_at <= latest:
                rtt = arrived_at - sent_at[sequence]
                if rtt >= -_CLOCK_NOISE and (ping.rtt is None or rtt < ping.rtt):
                    ping.rtt = max(0, rtt)
        self.received += counted
        return counted

    def _book_error(self, channel: Channel, error: packet.EchoError) -> bool:
        """Book an ICMP error; return whether it counts."""
        ping = channel.pings.get(addresses.pack(error.destination) or b"")
        # An error of IPv4 need not quote more than the ICMP header: then there is no cookie to compare.
        quoted = error.payload[: packet.COOKIE_BYTES]
        if ping is None or error.sequence >= len(ping.sent_at) or quoted != ping.cookie[: len(quoted)]:
            self.rejected[Rejection.ERROR] += 1
            return False
        ping.failed |= 1 << error.sequence
        if ping.error is None:
            report = IcmpError(error.sender, error.icmp_type, error.code)
            ping.error = self._reports.setdefault(report, report)
        return True


def _by_socket(batch: Sequence[Ping]) -> Iterable[tuple[IcmpSocket, Sequence[Ping]]]:
    """Divide pings, which are in the order of their sockets."""
    if batch[0].sock is batch[-1].sock:
        return [(batch[0].sock, batch)]
    return [(sock, list(group)) for sock, group in itertools.groupby(batch, lambda ping: ping.sock)]
