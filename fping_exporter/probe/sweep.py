"""The engine `sweep`: one socket for each vantage and family pings all its targets."""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import cache
from typing import NamedTuple

from fping_exporter.errors import OpenFilesError, ProbeError
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import LOCAL, NOT_ASKED, Family, Rejection, Sweep, Target
from fping_exporter.probe import addresses, mmsg
from fping_exporter.probe.batches import Batches
from fping_exporter.probe.exchange import Channel, Exchange, Ping
from fping_exporter.probe.first_hop import broken_first_hops, count_carrier_changes
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.send_errors import errno_name, explain
from fping_exporter.probe.socket_budget import SocketBudget
from fping_exporter.probe.sockets import IcmpSocket, open_socket
from fping_exporter.probe.timestamps import timestamping_is_on
from fping_exporter.probe.transport import OneByOne, Transport
from fping_exporter.probe.vantage import describe_failures, visit

__all__ = ["SweepProber"]

logger = logging.getLogger(__name__)

Opener = Callable[[Family], IcmpSocket]
"""Opens a socket in the network namespace of the thread that calls it; raises ProbeError."""


def choose_transport() -> Transport:
    """Return batches, or single messages where the system does not have batches or forbids them."""
    return Batches() if mmsg.is_available() else OneByOne()


class SweepProber:
    """Pings all targets at once over as few sockets as possible.

    - A reply counts if it comes from the address that was asked, with this sweep's identifier,
      the target's cookie, and the sequence of a packet that was sent and not answered before. What
      fails one of these, has a wrong checksum, or is an error that quotes what was never sent, is counted
      in ``Sweep.rejected``. Packets with another identifier belong to other programs and are not looked at.
      A reply that comes after its packet's time counts as long as the sweep goes on: it is a proof of
      life.
    - An ICMP error that quotes one of our packets ends the wait for that packet at once. The target is
      asked again in the retries all the same, since routes flap, and is unreachable if it never replies.
    - Every packet carries a sequence of its own target, so ``received`` is never above ``sent``. Packets
      of the retries count as sent: loss is what was really lost. The `count` packets to one target
      are spread over `timeout`: packets in a row would be lost together.
    - What the kernel refuses to send says nothing of the target. It is tried again for as long as a reply
      would be waited for, so that a refusal makes no sweep longer than silence does; a target to
      which nothing was sent in the end was not asked. If the kernel takes some of what it refused,
      the sweep goes on with the rest, for five seconds more at most.
    - A target that is silent and whose first hop is not there (a link that is or was without carrier, a
      gateway that does not answer ARP or NDP) was not asked: the kernel dropped its packets.
    - A text that is not an address, or one with a scope (``fe80::1%eth0``), which means nothing beyond
      one host, is not asked either.
    - A vantage or family for which no socket can be opened costs only its own targets; nothing is
      sent to them. Where there are more of them than sockets may be open, they are asked in turns.
    - A reply without a trustworthy time of arrival counts, but gives no round trip.
    """

    def __init__(
        self,
        *,
        timeout: float,
        count: int,
        retries: int,
        pacer: Pacer,
        sockets: SocketBudget,
        opener: Opener = open_socket,
        transport: Callable[[], Transport] = choose_transport,
        progress: Progress | None = None,
    ) -> None:
        """Wait `timeout` seconds for each reply; `retries` are rounds beyond the `count` packets.

        Probers may share `pacer` and `sockets`. Each sweep has a `transport` of its own.
        """
        self._timeout = timeout
        self._count = count
        self._retries = retries
        self._pacer = pacer
        self._sockets = sockets
        self._opener = opener
        self._transport = transport
        self._progress = progress
        self._log_limit = LogLimit()

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round, as Prober says. Safe to call from several threads."""
        started_at, start = time.time(), time.monotonic()
        work = _Work(targets)
        timestamps, transport = timestamping_is_on(), self._transport()
        while work.waiting:
            with (
                self._sockets.turn() as turn,
                Exchange(
                    pacer=self._pacer,
                    timeout=self._timeout,
                    transport=transport,
                    progress=self._progress,
                    timestamps=timestamps,
                ) as exchange,
            ):
                work.open(exchange, self._opener, at_most=turn.take(len(work.waiting)))
                self._run_rounds(exchange.pings(), exchange)
                _disregard_the_lost(exchange, work.carrier_changes)
                work.book(exchange)
        self._report_failures(work)
        if work.refused:
            self._log_refusals(work)
        outcomes = [ping.outcome() if ping else NOT_ASKED for ping in work.pings]
        return Sweep(
            outcomes=dict(zip(work.targets, outcomes, strict=True)),
            sent=work.sent,
            received=work.received,
            rejected=dict(work.rejected),
            refused=dict(work.refused),
            unsent=work.unsent(),
            started_at=started_at,
            duration=time.monotonic() - start,
        )

    def _report_failures(self, work: "_Work") -> None:
        """Log why sockets could not be opened; raise the error of ``local`` if all failed."""
        if work.failures and not work.opened:
            for (vantage, _), failure in work.failures.items():
                if vantage == LOCAL:  # other vantages come and go
                    raise failure
        for text in describe_failures(work.failures.values(), self._log_limit):
            logger.warning("part of the targets cannot be asked: %s", text)

    def _run_rounds(self, pings: list[Ping], exchange: Exchange) -> None:
        interval = self._timeout / self._count
        for number in range(self._count):
            next_at = time.monotonic() + interval
            exchange.send(pings, patience=interval)
            if number < self._count - 1:
                exchange.receive_until(next_at)
        exchange.wait()
        for _ in range(self._retries):
            silent = [ping for ping in pings if not ping.answered]
            if not silent:
                break
            exchange.send(silent, patience=self._timeout)
            exchange.wait()

    def _log_refusals(self, work: "_Work") -> None:
        """Log why targets were not asked: a line for each errno, with an example, cause and remedy."""
        refused: dict[int, list[Target]] = {}
        for target, ping in zip(work.targets, work.pings, strict=True):
            if ping and not ping.sent_at:
                refused.setdefault(ping.send_error, []).append(target)
        for number, targets in refused.items():
            if self._log_limit.allows(errno_name(number)):
                logger.warning(
                    "%d of %d targets were not asked, such as %s from %s: %s",
                    len(targets),
                    len(work.targets),
                    targets[0].ip,
                    targets[0].vantage,
                    explain(number),
                )


_Key = tuple[str, Family]
"""A vantage and an IP version: what has a socket of its own."""


class _Group(NamedTuple):
    """The targets of one socket."""

    places: list[int]
    """In the list of all targets."""
    addresses: list[bytes]


class _Work:
    """The targets of a sweep: those that still wait for a socket, and what came of the others."""

    def __init__(self, targets: Collection[Target]) -> None:
        self.targets = list(targets)
        self.pings: list[Ping | None] = [None] * len(self.targets)
        """One for each target; None if it was not asked. Several notations of one address share one state."""
        self.waiting = _group(self.targets)
        self.failures: dict[_Key, ProbeError] = {}
        """Why no socket could be opened."""
        self.carrier_changes: dict[str, Mapping[int, int]] = {}
        """Of each vantage, before anything was sent from there."""
        self.opened = 0
        self.sent = self.received = 0
        self.rejected: Counter[Rejection] = Counter()
        self.refused: Counter[str] = Counter()

    def open(self, exchange: Exchange, opener: "Opener", *, at_most: int) -> None:
        """Open sockets for the first of those that wait.

        What is left of them for want of open files waits for the next turn, unless no socket could be opened
        at all.
        """
        families: dict[str, list[Family]] = {}
        for vantage, family in itertools.islice(self.waiting, at_most):
            families.setdefault(vantage, []).append(family)
        opened_before, failures = self.opened, dict[_Key, ProbeError]()

        def open_here(vantage: str) -> None:
            self.carrier_changes[vantage] = count_carrier_changes()
            for family in families[vantage]:
                try:
                    channel = exchange.add(opener(family), vantage)
                except ProbeError as error:
                    failures[vantage, family] = error
                else:
                    self.opened += 1
                    self._assign(channel, self.waiting.pop((vantage, family)))

        for vantage, error in visit(families, open_here).items():
            if error:
                failures |= {(vantage, family): error for family in families[vantage]}
        for key, error in failures.items():
            if self.opened == opened_before or not isinstance(error, OpenFilesError):
                del self.waiting[key]
                self.failures[key] = error

    def _assign(self, channel: Channel, group: _Group) -> None:
        for place, ping in zip(group.places, channel.assign(group.addresses), strict=True):
            self.pings[place] = ping

    def unsent(self) -> dict[Target, str]:
        """Return why nothing was sent to those targets to which nothing could be sent."""
        if not (self.refused or self.failures):
            return {}
        reasons: dict[Target, str] = {}
        explained = cache(explain)  # one text for all: it has hundreds of characters, and is kept
        for target, ping in zip(self.targets, self.pings, strict=True):
            if ping is None:
                if failure := self.failures.get((target.vantage, target.family)):
                    reasons[target] = str(failure)
            elif not ping.sent_at:
                reasons[target] = explained(ping.send_error)
        return reasons

    def book(self, exchange: Exchange) -> None:
        """Add up the packets of a turn."""
        self.sent += exchange.sent
        self.received += exchange.received
        self.rejected += exchange.rejected
        self.refused += exchange.refused


def _group(targets: Iterable[Target]) -> dict[_Key, _Group]:
    """Sort targets by the socket that they need, and leave out what is no address."""
    groups: dict[tuple[str, int], _Group] = {}
    pack = addresses.pack
    for place, (vantage, ip) in enumerate(targets):
        if address := pack(ip):
            key = vantage, len(address)
            group = groups.get(key)
            if group is None:
                group = groups[key] = _Group([], [])
            group.places.append(place)
            group.addresses.append(address)
    return {(vantage, addresses.FAMILY[size]): group for (vantage, size), group in groups.items()}


def _disregard_the_lost(exchange: Exchange, changes_before: Mapping[str, Mapping[int, int]]) -> None:
    """Take back what was sent to silent targets whose first hop is not there."""
    silent: dict[str, list[tuple[Channel, dict[str, Ping]]]] = {}
    for channel in exchange.channels:
        pings = {
            addresses.unpack(ping.address): ping
            for ping in channel.pings.values()
            if ping.sent_at and not ping.answered
        }
        if pings:
            silent.setdefault(channel.vantage, []).append((channel, pings))

    def look_up(vantage: str) -> None:
        for channel, pings in silent[vantage]:
            broken = broken_first_hops(channel.sock.family, pings, changes_before=changes_before[vantage])
            for ip, number in broken.items():
                exchange.disregard(pings[ip], number)

    visit(silent, look_up)
