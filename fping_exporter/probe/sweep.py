"""The engine `sweep`: one socket for each vantage and family asks all its targets."""

import contextlib
import errno
import io
import logging
import os
import selectors
import sys
import time
from collections import Counter, deque
from collections.abc import Collection

import msgspec

from fping_exporter.errors import ProbeError
from fping_exporter.model import LOCAL, Family, Outcome, Rejection, Sweep, Target
from fping_exporter.probe import packet
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.sockets import IcmpSocket, Opener, SocketAddress, open_local, socket_address

__all__ = ["SweepProber"]

logger = logging.getLogger(__name__)

_COOKIE_BYTES = 16
_SHORTAGES = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
"""The machine has no room for a packet just now; the target has nothing to do with it."""
_CANNOT_BE_ASKED = Outcome(sent=0, received=0, rtt=None, unreachable=True)
_LISTEN_EVERY = 0.1
_SHORTAGE_PAUSE = 0.005
_SHORTAGE_PATIENCE = 5.0
"""Seconds without a single packet sent, after which a round goes on without the rest.

The kernel throws entries out of a full neighbour table once they are 5 seconds old.
"""


class SweepProber:
    """Asks all targets at once over as few sockets as possible.

    - A reply counts if it comes from the address that was asked, with this sweep's identifier,
      the target's cookie, and the sequence of a packet that was sent and not answered before. What
      fails one of these, and an error that quotes what was never sent, is counted in
      ``Sweep.rejected``. Packets with another identifier belong to other programs and are not looked at.
      A reply that comes after its packet's time counts as long as the sweep goes on: it is a proof of
      life.
    - An ICMP error that quotes one of our packets ends the wait for that packet at once. The target is
      asked again in the retries all the same, since routes flap, and is unreachable if it never replies.
    - Every packet carries a sequence of its own target, so ``received`` is never above ``sent``. Packets
      of the retries count as sent: loss is what was really lost. The `count` packets to one target
      are spread over `timeout`: packets in a row would be lost together.
    - A target that the kernel will not send to is unreachable, and so is one whose address is none, or
      has a scope (``fe80::1%eth0``), which means nothing beyond one host. Out of buffers, the round
      goes on with the others and comes back.
    - A vantage or family for which no socket can be opened costs only its own targets; nothing is
      sent to them.
    """

    def __init__(
        self,
        *,
        timeout: float,
        count: int,
        retries: int,
        pacer: Pacer,
        opener: Opener = open_local,
        progress: Progress | None = None,
    ) -> None:
        """Wait `timeout` seconds for each reply; `retries` are rounds beyond the `count` packets."""
        self._timeout = timeout
        self._count = count
        self._retries = retries
        self._pacer = pacer
        self._opener = opener
        self._progress = progress
        self._told: set[str] = set()

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round, as Prober says. Safe to call from several threads."""
        started_at, start = time.time(), time.monotonic()
        conversation = _Conversation(pacer=self._pacer, timeout=self._timeout, progress=self._progress)
        with conversation:
            asks = self._prepare(targets, conversation)
            distinct = conversation.asks()
            self._ask(distinct, conversation)
        outcomes = {target: ask.outcome() if ask else _CANNOT_BE_ASKED for target, ask in asks.items()}
        return Sweep(
            outcomes=outcomes,
            sent=sum(len(ask.sent_at) for ask in distinct),
            received=sum(ask.answered.bit_count() for ask in distinct),
            rejected=dict(conversation.rejected),
            started_at=started_at,
            duration=time.monotonic() - start,
        )

    def _prepare(
        self, targets: Collection[Target], conversation: "_Conversation"
    ) -> dict[Target, "_Ask | None"]:
        """Open the sockets; None stands for a target that cannot be asked.

        Several texts of one address share what is asked of it.
        """
        lanes: dict[tuple[str, Family], _Lane | ProbeError] = {}
        asks: dict[Target, _Ask | None] = dict.fromkeys(targets)
        cookies = io.BytesIO(os.urandom(_COOKIE_BYTES * len(asks)))
        for target in asks:
            address = socket_address(target.ip)
            if address is None:
                continue
            key: tuple[str, Family] = target.vantage, 6 if ":" in target.ip else 4
            if key not in lanes:
                try:
                    lanes[key] = conversation.open(self._opener, *key)
                except ProbeError as error:
                    lanes[key] = error
            lane = lanes[key]
            if isinstance(lane, _Lane):
                asks[target] = lane.ask(address, cookies.read(_COOKIE_BYTES))
        self._tell({key: lane for key, lane in lanes.items() if isinstance(lane, ProbeError)}, len(lanes))
        return asks

    def _tell(self, refusals: dict[tuple[str, Family], ProbeError], lanes: int) -> None:
        """Log each refusal once; raise that of this machine's own vantage if no lane is left."""
        if len(refusals) == lanes:
            for (vantage, _), refusal in refusals.items():
                if vantage == LOCAL:  # another may come and go
                    raise refusal
        for text in {str(refusal) for refusal in refusals.values()} - self._told:
            self._told.add(text)
            logger.warning("part of the targets cannot be asked: %s", text)

    def _ask(self, asks: list["_Ask"], conversation: "_Conversation") -> None:
        for number in range(self._count):
            next_at = time.monotonic() + self._timeout / self._count
            conversation.send(asks)
            if number < self._count - 1:
                conversation.receive_until(next_at)
        conversation.wait()
        for _ in range(self._retries):
            silent = [ask for ask in asks if not ask.answered]
            if not silent:
                break
            conversation.send(silent)
            conversation.wait()


class _Lane:
    """A socket and those who are asked through it."""

    def __init__(self, sock: IcmpSocket) -> None:
        self.sock = sock
        self.asked: dict[SocketAddress, _Ask] = {}

    def ask(self, address: SocketAddress, cookie: bytes) -> "_Ask":
        return self.asked.setdefault(address, _Ask(address, self.sock, cookie))


class _Ask(msgspec.Struct, gc=False):
    """What was sent to one target and came back. Bit n of a mask stands for the packet of sequence n."""

    address: SocketAddress
    sock: IcmpSocket
    cookie: bytes
    sent_at: list[int] = []
    """Of each packet, by the monotonic clock, in nanoseconds."""
    answered: int = 0
    settled: int = 0
    rtt: int | None = None
    unreachable: bool = False

    def outcome(self) -> Outcome:
        return Outcome(
            sent=len(self.sent_at),
            received=self.answered.bit_count(),
            rtt=None if self.rtt is None else self.rtt / 1e9,
            unreachable=self.unreachable and not self.answered,
        )


class _Conversation:
    """The packets of one sweep, out and in."""

    def __init__(self, *, pacer: Pacer, timeout: float, progress: Progress | None) -> None:
        self.rejected: Counter[Rejection] = Counter()
        self._pacer = pacer
        self._timeout = timeout
        self._progress = progress
        self._selector = selectors.DefaultSelector()
        self._sockets = contextlib.ExitStack()
        self._lanes: list[_Lane] = []
        self._room = sys.maxsize
        self._unheard = 0
        """Packets sent since the sockets were last read."""
        self._pending: list[tuple[_Ask, int]] = []
        """Packets with their sequence, in the order of sending; the last is the last to expire."""

    def __enter__(self) -> None:
        self._sockets.callback(self._selector.close)

    def __exit__(self, *_: object) -> None:
        self._sockets.close()

    def open(self, opener: Opener, vantage: str, family: Family) -> _Lane:
        lane = _Lane(self._sockets.enter_context(opener(vantage, family)))
        self._lanes.append(lane)
        self._selector.register(lane.sock, selectors.EVENT_READ, lane)
        self._room = min(self._room, lane.sock.room)
        return lane

    def asks(self) -> list[_Ask]:
        return [ask for lane in self._lanes for ask in lane.asked.values()]

    def send(self, asks: list[_Ask]) -> None:
        """Send each a packet, as fast as the pacer allows.

        Replies are taken in when the receive buffers could run full, or every _LISTEN_EVERY
        seconds: the rest is read while there is nothing to do but wait, its arrival stamped.
        """
        waiting = deque(asks)
        progress_at = listened_at = time.monotonic()
        while waiting:
            size = min(len(waiting), self._pacer.batch, self._room)
            if delay := self._pacer.reserve(size):
                time.sleep(delay)
            done = self._send_batch(waiting, size)
            self._unheard += done
            now = time.monotonic()
            if done:
                progress_at = now
            if done < size:
                if now - progress_at > _SHORTAGE_PATIENCE:
                    logger.warning("no buffers for %d packets: not sent", len(waiting))
                    return
                self.receive_until(now + _SHORTAGE_PAUSE)
            if self._unheard + size > self._room or now - listened_at > _LISTEN_EVERY:
                self._receive(0)
                listened_at = now

    def _send_batch(self, waiting: deque[_Ask], size: int) -> int:
        """Send up to `size` packets; return how many it was until there was a shortage."""
        echo_request, monotonic_ns, pending = packet.echo_request, time.monotonic_ns, self._pending
        for done in range(size):
            ask = waiting.popleft()
            sock, sequence = ask.sock, len(ask.sent_at)
            data = echo_request(sock.family, sock.ident, sequence, ask.cookie)
            sent_at = monotonic_ns()
            try:
                sock.send(data, ask.address)
            except OSError as error:
                if error.errno in _SHORTAGES:
                    waiting.append(ask)
                    return done
                ask.unreachable = True
                continue
            ask.sent_at.append(sent_at)
            pending.append((ask, sequence))
        return size

    def wait(self) -> None:
        """Take in replies until every packet was answered or has had its time."""
        while self._pending:
            ask, sequence = self._pending[-1]
            if ask.settled >> sequence & 1:
                self._pending.pop()
                continue
            left = ask.sent_at[sequence] / 1e9 + self._timeout - time.monotonic()
            self._receive(max(left, 0))
            if left <= 0:
                return

    def receive_until(self, end: float) -> None:
        """Take in replies until `end` of the monotonic clock."""
        while (left := end - time.monotonic()) > 0:
            self._receive(left)

    def _receive(self, timeout: float) -> None:
        """Read all that is there, after up to `timeout` seconds if there is nothing."""
        self._unheard = booked = 0
        for key, _ in self._selector.select(timeout):
            lane: _Lane = key.data
            for answer, address, arrived in lane.sock.receive():
                if isinstance(answer, packet.EchoReply):
                    fault = _take_reply(lane, answer, address, arrived)
                else:
                    fault = _take_error(lane, answer)
                if fault:
                    self.rejected[fault] += 1
                else:
                    booked += 1
        if booked and self._progress:
            self._progress(booked)


def _take_reply(
    lane: _Lane, reply: packet.EchoReply, address: SocketAddress, arrived: int
) -> Rejection | None:
    """Book a reply; return why it does not count if it does not."""
    ask = lane.asked.get(address)
    if ask is None:
        return Rejection.SOURCE
    if reply.payload != ask.cookie:
        return Rejection.COOKIE
    sequence = reply.sequence
    if sequence >= len(ask.sent_at):
        return Rejection.SEQUENCE
    bit = 1 << sequence
    if ask.answered & bit:
        return Rejection.DUPLICATE
    ask.answered |= bit
    ask.settled |= bit
    # A clock set between the arrival and now could still make it negative.
    rtt = max(0, arrived - ask.sent_at[sequence])
    if ask.rtt is None or rtt < ask.rtt:
        ask.rtt = rtt
    return None


def _take_error(lane: _Lane, error: packet.EchoError) -> Rejection | None:
    """Book an ICMP error; return why it does not count if it does not."""
    address = socket_address(error.destination)
    ask = lane.asked.get(address) if address else None
    # Errors of IPv4 need to quote only the header of ICMP: then there is no cookie to compare.
    quoted = error.payload[:_COOKIE_BYTES]
    if ask is None or error.sequence >= len(ask.sent_at) or quoted != ask.cookie[: len(quoted)]:
        return Rejection.ERROR
    ask.settled |= 1 << error.sequence
    ask.unreachable = True
    return None
