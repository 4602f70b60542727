"""The engine `sweep`: one socket for each vantage and family pings all its targets."""

import io
import logging
import os
import time
from collections.abc import Collection, Mapping

from fping_exporter.errors import ProbeError
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import LOCAL, NOT_ASKED, Family, Sweep, Target
from fping_exporter.probe.exchange import COOKIE_BYTES, Channel, Exchange, Ping
from fping_exporter.probe.first_hop import broken_first_hops
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.send_errors import errno_name, explain
from fping_exporter.probe.sockets import Opener, open_local, socket_address
from fping_exporter.probe.timestamps import timestamping_is_on

__all__ = ["SweepProber"]

logger = logging.getLogger(__name__)


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
    - A target that is silent and whose first hop is not there (a link without carrier, a gateway that does
      not answer ARP or NDP) was not asked: the kernel dropped its packets.
    - A text that is not an address, or one with a scope (``fe80::1%eth0``), which means nothing beyond
      one host, is not asked either.
    - A vantage or family for which no socket can be opened costs only its own targets; nothing is
      sent to them.
    - A reply without a trustworthy time of arrival counts, but gives no round trip.
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
        self._log_limit = LogLimit()

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round, as Prober says. Safe to call from several threads."""
        started_at, start = time.time(), time.monotonic()
        with Exchange(
            pacer=self._pacer,
            timeout=self._timeout,
            progress=self._progress,
            timestamps=timestamping_is_on(),
        ) as exchange:
            pings = self._prepare(targets, exchange)
            distinct = exchange.pings()
            self._run_rounds(distinct, exchange)
            _disregard_the_lost(exchange)
        self._log_refusals(pings)
        return Sweep(
            outcomes={target: ping.outcome() if ping else NOT_ASKED for target, ping in pings.items()},
            sent=sum(len(ping.sent_at) for ping in distinct),
            received=sum(ping.answered.bit_count() for ping in distinct),
            rejected=dict(exchange.rejected),
            refused=dict(exchange.refused),
            started_at=started_at,
            duration=time.monotonic() - start,
        )

    def _prepare(self, targets: Collection[Target], exchange: Exchange) -> dict[Target, Ping | None]:
        """Open the sockets; None stands for a target that cannot be asked.

        Several notations of one address share one state.
        """
        channels: dict[tuple[str, Family], Channel | ProbeError] = {}
        pings: dict[Target, Ping | None] = dict.fromkeys(targets)
        cookies = io.BytesIO(os.urandom(COOKIE_BYTES * len(pings)))
        for target in pings:
            address = socket_address(target.ip)
            if address is None:
                continue
            key = target.vantage, target.family
            if key not in channels:
                try:
                    channels[key] = exchange.open(self._opener, *key)
                except ProbeError as error:
                    channels[key] = error
            channel = channels[key]
            if isinstance(channel, Channel):
                pings[target] = channel.ping(address, cookies.read(COOKIE_BYTES))
        failures = {key: channel for key, channel in channels.items() if isinstance(channel, ProbeError)}
        self._report_failures(failures, all_failed=len(failures) == len(channels))
        return pings

    def _report_failures(self, failures: dict[tuple[str, Family], ProbeError], *, all_failed: bool) -> None:
        """Log why sockets could not be opened; raise the error of ``local`` if all failed."""
        if all_failed:
            for (vantage, _), failure in failures.items():
                if vantage == LOCAL:  # other vantages come and go
                    raise failure
        for text in dict.fromkeys(map(str, failures.values())):
            if self._log_limit.allows(text):
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

    def _log_refusals(self, pings: Mapping[Target, Ping | None]) -> None:
        """Log why targets were not asked: a line for each errno, with an example, cause and remedy."""
        refused: dict[int, list[Target]] = {}
        for target, ping in pings.items():
            if ping and not ping.sent_at:
                refused.setdefault(ping.send_error, []).append(target)
        for number, targets in refused.items():
            if self._log_limit.allows(errno_name(number)):
                logger.warning(
                    "%d of %d targets were not asked, such as %s from %s: %s",
                    len(targets),
                    len(pings),
                    targets[0].ip,
                    targets[0].vantage,
                    explain(number),
                )


def _disregard_the_lost(exchange: Exchange) -> None:
    """Take back what was sent to silent targets whose first hop is not there."""
    for channel in exchange.channels:
        silent = {
            ping.address[0]: ping for ping in channel.pings.values() if ping.sent_at and not ping.answered
        }
        if silent:
            broken = broken_first_hops(channel.vantage, channel.sock.family, silent)
            for ip, number in broken.items():
                exchange.disregard(silent[ip], number)
