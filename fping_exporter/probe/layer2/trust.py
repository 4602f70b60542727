"""Whose answers are believed. Some switches answer for guests; a decoy tells them apart.

OVN before 24.09 (24.03.7 for IPv4, 23.09.6 and 24.03.4 for IPv6) answers unicast questions itself, for a
guest whose kernel has crashed as well. It looks at nothing but the address that is asked for. So the guest's
address is asked at a decoy first, a MAC that nobody has: a kernel does not take such a frame, and whoever
answers it is no guest. A port that is switched off would not do as a control: Neutron tells OVN not to answer
for it.
"""

import math
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from fping_exporter.model import Family, Layer2Target
from fping_exporter.probe.layer2.segment import ParsedTarget

__all__ = ["Trust", "decoy"]

_MEMORY = 3600.0
"""Seconds for which nobody believes what was unmasked: one decoy may get lost."""
_SUSPICION = 86_400.0
"""Seconds for which what was unmasked gets a decoy in each sweep, when it is believed again."""
_SAMPLE = 3
"""Decoys of a sweep for each vantage and family that nothing is known against. On ML2/OVS, a frame to a MAC
that nobody has goes to all ports of its network."""

_Port = tuple[str, str, Family]
"""Vantage, MAC and family. The responders of the two families are different ones."""


class Trust:
    """Remembers what decoys have unmasked. Threads may share it."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with trust in everybody; `clock` is in seconds and never goes back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._unmasked: dict[_Port, float] = {}
        """When each was."""
        self._suspected: dict[tuple[str, Family], float] = {}
        """The vantages, family by family, in which something was unmasked."""
        self._turns: Counter[tuple[str, Family]] = Counter()

    def believed(self, targets: Iterable[Layer2Target]) -> list[Layer2Target]:
        """Return those targets against which nothing is known."""
        with self._lock:
            since = self._clock() - _MEMORY
            return [target for target in targets if self._unmasked.get(_port(target), -math.inf) <= since]

    def choose(
        self, targets: Iterable[Layer2Target], suspects: Collection[Layer2Target]
    ) -> set[Layer2Target]:
        """Return for which of these targets a decoy is sent in this sweep.

        These are all `suspects`, those that were unmasked within a day, all in a vantage where something was
        unmasked within the hour, and of the others a few, which are not the same in each sweep.
        """
        chosen: set[Layer2Target] = set()
        sampled: dict[tuple[str, Family], list[Layer2Target]] = {}
        with self._lock:
            self._forget()
            for target in targets:
                key = target.place
                if target in suspects or key in self._suspected or _port(target) in self._unmasked:
                    chosen.add(target)
                else:
                    sampled.setdefault(key, []).append(target)
            for key, some in sampled.items():
                some.sort()  # so that the turn comes to each of them
                start = self._turns[key] % len(some)
                chosen.update([*some[start:], *some[:start]][:_SAMPLE])
                self._turns[key] += _SAMPLE
        return chosen

    def unmask(self, targets: Iterable[Layer2Target]) -> None:
        """Believe no answer for these targets any more, and suspect the others of their vantage."""
        now = self._clock()
        with self._lock:
            for target in targets:
                self._unmasked[_port(target)] = now
                self._suspected[target.place] = now

    def _forget(self) -> None:
        now = self._clock()
        self._unmasked = {port: at for port, at in self._unmasked.items() if now - at < _SUSPICION}
        self._suspected = {key: at for key, at in self._suspected.items() if now - at < _MEMORY}


def _port(target: Layer2Target) -> _Port:
    return target.vantage, target.mac, target.family


def decoy(target: ParsedTarget) -> ParsedTarget:
    """Return the same address at a random unicast MAC that is administered locally, of 2^46."""
    mac = bytes((secrets.randbits(8) & 0xFC | 0x02, *secrets.token_bytes(5)))
    return ParsedTarget(target.target, target.ip, mac)
