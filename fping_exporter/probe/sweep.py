"""The engine `sweep`: one socket for each vantage and family asks all its targets."""

import contextlib
import errno
import logging
import secrets
import selectors
import socket
import time
from collections import Counter, deque
from collections.abc import Collection

from fping_exporter.errors import ProbeError
from fping_exporter.model import Family, Outcome, Sweep, Target
from fping_exporter.probe import packet
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.sockets import IcmpSocket, Opener, SocketAddress, open_local

__all__ = ["SweepProber"]

_log = logging.getLogger(__name__)

_COOKIE_BYTES = 16
_SHORTAGES = frozenset({errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM})
"""The machine has no room for a packet just now; the target has nothing to do with it."""
_CANNOT_BE_ASKED = Outcome(sent=0, received=0, rtt=None, unreachable=True)
_SHORTAGE_PAUSE = 0.005
_SHORTAGE_PATIENCE = 5.0
"""Seconds without a single packet sent, after which a round goes on without the rest.

The kernel throws entries out of a full neighbour table once they are 5 seconds old.
"""


class SweepProber:
    """Asks all targets at once over as few sockets as possible.

    - A reply counts if it comes from the address that was asked, with this sweep's identifier,
      the target's cookie, and the sequence of a packet that was sent and not answered before. What
      fails one of these is counted in ``Sweep.rejected`` as ``source``, ``cookie``, ``sequence`` or
      ``duplicate``; an error that quotes what was never sent, as ``error``. Packets with another
      identifier belong to other programs and are not looked at. A reply that comes after its
      packet's time counts as long as the sweep goes on: it is a proof of life.
    - An ICMP error that quotes one of our packets ends the wait for that packet at once. The target is
      asked again in the retries all the same, since routes flap, and is unreachable if it never replies.
    - Every packet carries a sequence of its own target, so ``received`` is never above ``sent``. Packets
      of the retries count as sent: loss is what was really lost. The `count` packets to one target
      are spread over `timeout`: packets in a row would be lost together.
    - A target that the kernel will not send to is unreachable, and so is one whose address is none, or
      has a scope (``fe80::1%eth0``), which means nothing beyond one host. Out of buffers, the round
      goes on with the others and comes back.
    - A vantage or family for which no socket can be opened costs only its own targets.
    """

    def __init__(
        self, *, timeout: float, count: int, retries: int, pacer: Pacer, opener: Opener = open_local
    ) -> None:
        """Wait `timeout` seconds for each reply; `retries` are rounds beyond the `count` packets."""
        self._timeout = timeout
        self._count = count
        self._retries = retries
        self._pacer = pacer
        self._opener = opener
        self._told: set[str] = set()

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round, as Prober says. Safe to call from several threads."""
        started_at, start = time.time(), time.monotonic()
        conversation = _Conversation(pacer=self._pacer, timeout=self._timeout)
        with conversation:
            asks = self._prepare(targets, conversation)
            distinct = list({id(ask): ask for ask in asks.values() if ask}.values())
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
        for target in asks:
            family: Family = 6 if ":" in target.ip else 4
            address = _address(target.ip, family)
            if address is None:
                continue
            key = target.vantage, family
            if key not in lanes:
                try:
                    lanes[key] = conversation.open(self._opener, *key)
                except ProbeError as error:
                    lanes[key] = error
            lane = lanes[key]
            if isinstance(lane, _Lane):
                asks[target] = lane.ask(address)
        refusals = [lane for lane in lanes.values() if isinstance(lane, ProbeError)]
        if len(refusals) == len(lanes) > 0:
            raise refusals[0]
        for refusal in refusals:
            if str(refusal) not in self._told:
                self._told.add(str(refusal))
                _log.warning("part of the targets cannot be asked: %s", refusal)
        return asks

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

    def ask(self, address: SocketAddress) -> "_Ask":
        if address not in self.asked:
            self.asked[address] = _Ask(address, self)
        return self.asked[address]


class _Ask:
    """What was sent to one target and came back. Bit n of a mask stands for the packet of sequence n."""

    __slots__ = (
        "address",
        "answered",
        "cookie",
        "lane",
        "rtt",
        "sent_at",
        "settled",
        "target",
        "unreachable",
    )

    def __init__(self, address: SocketAddress, lane: _Lane) -> None:
        self.address = address
        self.lane = lane
        self.cookie = secrets.token_bytes(_COOKIE_BYTES)
        self.sent_at: list[int] = []
        self.answered = 0
        self.settled = 0
        self.rtt: int | None = None
        self.unreachable = False

    def outcome(self) -> Outcome:
        return Outcome(
            sent=len(self.sent_at),
            received=self.answered.bit_count(),
            rtt=None if self.rtt is None else self.rtt / 1e9,
            unreachable=self.unreachable and not self.answered,
        )


class _Conversation:
    """The packets of one sweep, out and in."""

    def __init__(self, *, pacer: Pacer, timeout: float) -> None:
        self.rejected: Counter[str] = Counter()
        self._pacer = pacer
        self._timeout = timeout
        self._selector = selectors.DefaultSelector()
        self._sockets = contextlib.ExitStack()
        self._pending: list[tuple[_Ask, int]] = []
        """Packets with their sequence, in the order of sending; the last is the last to expire."""

    def __enter__(self) -> None:
        self._sockets.callback(self._selector.close)

    def __exit__(self, *_: object) -> None:
        self._sockets.close()

    def open(self, opener: Opener, vantage: str, family: Family) -> _Lane:
        lane = _Lane(self._sockets.enter_context(opener(vantage, family)))
        self._selector.register(lane.sock, selectors.EVENT_READ, lane)
        return lane

    def send(self, asks: list[_Ask]) -> None:
        """Send each a packet, as fast as the pacer allows, and take in what comes meanwhile."""
        waiting = deque(asks)
        progress_at = time.monotonic()
        while waiting:
            size = min(len(waiting), self._pacer.batch)
            if delay := self._pacer.reserve(size):
                time.sleep(delay)
            if self._send_batch(waiting, size):
                progress_at = time.monotonic()
                self._receive(0)
            else:
                if time.monotonic() - progress_at > _SHORTAGE_PATIENCE:
                    _log.warning("no buffers for %d packets: not sent", len(waiting))
                    return
                self.receive_until(time.monotonic() + _SHORTAGE_PAUSE)

    def _send_batch(self, waiting: deque[_Ask], size: int) -> bool:
        """Send `size` packets; return False, and requeue the next, as soon as there is a shortage."""
        for _ in range(size):
            ask = waiting.popleft()
            sock, sequence = ask.lane.sock, len(ask.sent_at)
            data = packet.echo_request(sock.family, ident=sock.ident, sequence=sequence, payload=ask.cookie)
            sent_at = time.monotonic_ns()
            try:
                sock.send(data, ask.address)
            except OSError as error:
                if error.errno in _SHORTAGES:
                    waiting.append(ask)
                    return False
                ask.unreachable = True
                continue
            ask.sent_at.append(sent_at)
            self._pending.append((ask, sequence))
        return True

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
        for key, _ in self._selector.select(timeout):
            lane: _Lane = key.data
            for answer, address, arrived in lane.sock.receive():
                if isinstance(answer, packet.EchoReply):
                    fault = _take_reply(lane, answer, address, arrived)
                else:
                    fault = _take_error(lane, answer)
                if fault:
                    self.rejected[fault] += 1


def _take_reply(lane: _Lane, reply: packet.EchoReply, address: SocketAddress, arrived: int) -> str | None:
    """Book a reply; return why it does not count if it does not."""
    ask = lane.asked.get(address)
    if ask is None:
        return "source"
    if reply.payload != ask.cookie:
        return "cookie"
    sequence = reply.sequence
    if sequence >= len(ask.sent_at):
        return "sequence"
    bit = 1 << sequence
    if ask.answered & bit:
        return "duplicate"
    ask.answered |= bit
    ask.settled |= bit
    # A clock set between the arrival and now could still make it negative.
    rtt = max(0, arrived - ask.sent_at[sequence])
    if ask.rtt is None or rtt < ask.rtt:
        ask.rtt = rtt
    return None


def _take_error(lane: _Lane, error: packet.EchoError) -> str | None:
    """Book an ICMP error; return why it does not count if it does not."""
    address = _address(error.destination, lane.sock.family)
    ask = None if address is None else lane.asked.get(address)
    # Errors of IPv4 need to quote only the header of ICMP: then there is no cookie to compare.
    quoted = error.payload[:_COOKIE_BYTES]
    if ask is None or error.sequence >= len(ask.sent_at) or quoted != ask.cookie[: len(quoted)]:
        return "error"
    ask.settled |= 1 << error.sequence
    ask.unreachable = True
    return None


def _address(ip: str, family: Family) -> SocketAddress | None:
    """Return the address exactly as recvmsg will name it; None if it is none."""
    address_family = socket.AF_INET if family == packet.IPV4 else socket.AF_INET6
    try:
        canonical = socket.inet_ntop(address_family, socket.inet_pton(address_family, ip))
    except (OSError, ValueError):  # ValueError: a null character
        return None
    return (canonical, 0) if family == packet.IPV4 else (canonical, 0, 0, 0)
