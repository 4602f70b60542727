"""The engine `multiping`: icmplib's, one socket for each packet in flight."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Collection

import icmplib  # type: ignore[import-untyped]
import msgspec

from fping_exporter.errors import ProbeError
from fping_exporter.model import LOCAL, Outcome, Sweep, Target
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.sockets import permission_error, socket_address

__all__ = ["MultipingProber"]

_DATAGRAM_TASKS = 500
"""Each holds a file descriptor, of which a process has 1024 by default."""
_RAW_TASKS = 50
"""Each raw socket receives the replies to all of them: with more, they drown. One sweep at a time."""

_NOT_SENT = Outcome(sent=0, received=0, rtt=None, unreachable=True)


class MultipingProber:
    """Asks each target through a socket of its own, as ``icmplib.multiping`` does.

    What icmplib does not do, this engine cannot: a reply from any address counts if its identifier
    and sequence fit, what is rejected is not counted, and ICMP errors are dropped, so that only those
    are unreachable whom the kernel would not send to.
    """

    def __init__(
        self, *, timeout: float, count: int, retries: int, pacer: Pacer, progress: Progress | None = None
    ) -> None:
        """Wait `timeout` seconds for each reply; `retries` are rounds beyond the `count` packets."""
        self._timeout = timeout
        self._count = count
        self._retries = retries
        self._pacer = pacer
        self._progress = progress
        self._raw = threading.Lock()

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round, as Prober says. Safe to call from several threads."""
        started_at, start = time.time(), time.monotonic()
        addresses = {
            target: address[0]
            for target in targets
            if target.vantage == LOCAL and (address := socket_address(target.ip))
        }
        answers: dict[str, Outcome] = {}
        if addresses:
            distinct = list(dict.fromkeys(addresses.values()))
            privileged = _privileged()
            with self._raw if privileged else contextlib.nullcontext():
                answers = asyncio.run(self._rounds(distinct, privileged=privileged))
        return Sweep(
            outcomes={
                target: answers[addresses[target]] if target in addresses else _NOT_SENT for target in targets
            },
            sent=sum(answer.sent for answer in answers.values()),
            received=sum(answer.received for answer in answers.values()),
            started_at=started_at,
            duration=time.monotonic() - start,
        )

    async def _rounds(self, addresses: list[str], *, privileged: bool) -> dict[str, Outcome]:
        answers = await self._round(addresses, count=self._count, privileged=privileged)
        for _ in range(self._retries):
            silent = [ip for ip, answer in answers.items() if not answer.alive]
            if not silent:
                break
            for ip, answer in (await self._round(silent, count=1, privileged=privileged)).items():
                answers[ip] = msgspec.structs.replace(answer, sent=answers[ip].sent + answer.sent)
        return answers

    async def _round(self, addresses: list[str], *, count: int, privileged: bool) -> dict[str, Outcome]:
        """Do what icmplib.async_multiping does, within the rate and with an error for each address."""
        slots = asyncio.Semaphore(_RAW_TASKS if privileged else _DATAGRAM_TASKS)
        refusals: list[icmplib.ICMPLibError] = []

        async def ask(ip: str) -> Outcome:
            async with slots:
                await asyncio.sleep(self._pacer.reserve(count))
                try:
                    host = await icmplib.async_ping(
                        ip,
                        count=count,
                        interval=self._timeout / count,
                        timeout=self._timeout,
                        privileged=privileged,
                    )
                except icmplib.ICMPLibError as error:  # no socket, such as without IPv6
                    refusals.append(error)
                    return _NOT_SENT
            if self._progress:
                self._progress(host.packets_received)
            return Outcome(
                sent=host.packets_sent,
                received=host.packets_received,
                rtt=host.min_rtt / 1000 if host.is_alive else None,
                unreachable=host.packets_sent == 0,
            )

        outcomes = await asyncio.gather(*map(ask, addresses))
        if len(refusals) == len(addresses):
            raise ProbeError(f"icmplib cannot open a socket: {refusals[0]}")
        return dict(zip(addresses, outcomes, strict=True))


def _privileged() -> bool:
    """Return whether raw sockets must do, or raise SocketPermissionError."""
    for privileged in (False, True):
        try:
            icmplib.ICMPv4Socket(privileged=privileged).close()
        except icmplib.SocketPermissionError:
            continue
        except icmplib.ICMPLibError as error:
            raise ProbeError(f"icmplib cannot open a socket: {error}") from None
        return privileged
    raise permission_error()
