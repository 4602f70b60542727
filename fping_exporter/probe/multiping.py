"""The engine `multiping`: icmplib's, one socket for each packet in flight."""

import asyncio
import contextlib
import errno
import logging
import resource
import threading
import time
from collections import Counter
from collections.abc import Collection
from pathlib import Path

import icmplib  # type: ignore[import-untyped]
import msgspec

from fping_exporter.errors import ProbeError
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import LOCAL, NOT_ASKED, Outcome, Sweep, Target
from fping_exporter.probe import addresses
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.send_errors import errno_name, explain
from fping_exporter.probe.sockets import permission_error

__all__ = ["MultipingProber"]

logger = logging.getLogger(__name__)

_DATAGRAM_TASKS = 500
"""Each holds a file descriptor, of which a process has 1024 by default."""
_RAW_TASKS = 50
"""Each raw socket receives the replies to all: more would overflow, and so would two sweeps at once."""
_PAUSE = 0.05
"""Seconds before a socket that could not be opened, or not sent from, is tried again."""


class MultipingProber:
    """Pings each target through a socket of its own, as ``icmplib.multiping`` does.

    What icmplib does not do, this engine cannot do: a reply from any address counts if its identifier
    and sequence fit, its checksum is not looked at, rejected packets are not counted, and ICMP errors
    are dropped, so that no target is ever unreachable. A target for which there is no socket, or
    to which the kernel refuses to send, is tried again for `timeout` seconds, and was not asked after
    that.
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
        self._log_limit = LogLimit()

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round, as Prober says. Safe to call from several threads."""
        started_at, start = time.time(), time.monotonic()
        asked = {
            target: addresses.unpack(address)
            for target in targets
            if target.vantage == LOCAL and (address := addresses.pack(target.ip))
        }
        answers: dict[str, Outcome] = {}
        refused: Counter[int] = Counter()
        if asked:
            distinct = list(dict.fromkeys(asked.values()))
            privileged = _needs_raw_sockets()
            with self._raw if privileged else contextlib.nullcontext():
                try:
                    answers = asyncio.run(self._rounds(distinct, refused, privileged=privileged))
                except OSError as error:  # the event loop needs descriptors too
                    raise ProbeError(f"multiping cannot run: {error.strerror}") from error
            self._log_refusals(refused)
        return Sweep(
            outcomes={target: answers[asked[target]] if target in asked else NOT_ASKED for target in targets},
            sent=sum(answer.sent for answer in answers.values()),
            received=sum(answer.received for answer in answers.values()),
            refused={errno_name(number): count for number, count in refused.items()},
            started_at=started_at,
            duration=time.monotonic() - start,
        )

    def _log_refusals(self, refused: Counter[int]) -> None:
        for number, count in refused.items():
            if self._log_limit.allows(number):
                logger.warning("%d packets could not be sent: %s", count, explain(number))

    async def _rounds(
        self, addresses: list[str], refused: Counter[int], *, privileged: bool
    ) -> dict[str, Outcome]:
        tasks = _RAW_TASKS if privileged else _DATAGRAM_TASKS
        slots = asyncio.Semaphore(max(1, min(tasks, _free_descriptors() // 2)))
        answers = await self._round(addresses, slots, refused, count=self._count, privileged=privileged)
        for _ in range(self._retries):
            silent = [ip for ip, answer in answers.items() if not answer.alive]
            if not silent:
                break
            again = await self._round(silent, slots, refused, count=1, privileged=privileged)
            for ip, answer in again.items():
                answers[ip] = msgspec.structs.replace(answer, sent=answers[ip].sent + answer.sent)
        return answers

    async def _round(
        self,
        addresses: list[str],
        slots: asyncio.Semaphore,
        refused: Counter[int],
        *,
        count: int,
        privileged: bool,
    ) -> dict[str, Outcome]:
        """Do what icmplib.async_multiping does, within the rate and with an error for each address."""
        failures: list[Exception] = []

        async def ask(ip: str) -> Outcome:
            async with slots:
                give_up_at = time.monotonic() + self._timeout
                while True:
                    await asyncio.sleep(self._pacer.reserve(count))
                    failure: Exception | None = None
                    try:
                        host = await icmplib.async_ping(
                            ip,
                            count=count,
                            interval=self._timeout / count,
                            timeout=self._timeout,
                            privileged=privileged,
                        )
                    except (icmplib.ICMPLibError, OSError) as error:  # no socket, such as without IPv6
                        failure = error
                    else:
                        if host.packets_sent:
                            break
                    if time.monotonic() >= give_up_at:
                        if failure:
                            failures.append(failure)
                        refused[_errno(failure)] += count
                        return NOT_ASKED
                    await asyncio.sleep(_PAUSE)
            if self._progress:
                self._progress(host.packets_received)
            return Outcome(
                sent=host.packets_sent,
                received=host.packets_received,
                rtt=host.min_rtt / 1000 if host.is_alive else None,
            )

        outcomes = await asyncio.gather(*map(ask, addresses))
        if len(failures) == len(addresses):
            raise ProbeError(f"icmplib cannot open a socket: {failures[0]}")
        return dict(zip(addresses, outcomes, strict=True))


def _errno(failure: Exception | None) -> int:
    """Return the errno behind an error of icmplib; 0 if it keeps it to itself, as it does where it sends."""
    cause = failure.__context__ if isinstance(failure, icmplib.ICMPLibError) else failure
    return (cause.errno or 0) if isinstance(cause, OSError) else 0


def _free_descriptors() -> int:
    """Return how many file descriptors this process may still open."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        return limit - sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError as error:
        return 0 if error.errno in {errno.EMFILE, errno.ENFILE} else limit


def _needs_raw_sockets() -> bool:
    """Return whether only raw sockets are permitted. Raises SocketPermissionError or ProbeError."""
    for privileged in (False, True):
        try:
            icmplib.ICMPv4Socket(privileged=privileged).close()
        except icmplib.SocketPermissionError:
            continue
        except icmplib.ICMPLibError as error:
            raise ProbeError(f"icmplib cannot open a socket: {error}") from None
        return privileged
    raise permission_error()
