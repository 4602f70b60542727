"""The wire of the demo's cloud, whose guests are loopback addresses of this machine.

The cloud is made up; the verdicts are not. Selection, plan, pings, judge and metrics are those of any cloud.

This machine answers at every loopback address. What is sent to a guest that must be silent goes to the
loopback broadcast address instead, which Linux does not answer (net.ipv4.icmp_echo_ignore_broadcasts):
packets, retries and timeouts are real. What loopback lacks is played: ICMP errors, missing routes, layer 2.

The address says how a guest behaves, and the wall clock says when. So every process that pings the demo's
cloud finds the same, be it the exporter or ``fping-exporter list`` in another terminal.
"""

import errno
import time
from collections.abc import Callable, Collection, Mapping
from enum import Enum

import msgspec

from fping_exporter.hosts import is_loopback
from fping_exporter.model import (
    LOCAL,
    NOT_ASKED,
    IcmpError,
    Layer2Sweep,
    Layer2Target,
    Outcome,
    Sweep,
    Target,
)
from fping_exporter.probe import Layer2Witness, Prober
from fping_exporter.probe.send_errors import explain
from fping_exporter.probe.sockets import LOOPBACK_BROADCAST

__all__ = ["DEAD_SECONDS", "PERIOD_SECONDS", "Behaviour", "LoopbackLayer2", "LoopbackProber"]

PERIOD_SECONDS, DEAD_SECONDS = 120, 40
"""A guest that comes and goes is dead in the first 40 seconds of every even minute of the hour.

That is longer than two sweeps are apart (`cache.sweep`, or a page that loads itself again), so that one of
them finds it dead.
"""


class Behaviour(Enum):
    """How a guest behaves; the value is the beginning of its address, a /16. All others answer."""

    DEAD = "127.250."
    DROPS_PINGS = "127.251."
    """It is alive, and something drops the pings: the guest's own firewall, or a security group."""
    REJECTED = "127.252."
    """A router returns an ICMP error: host unreachable."""
    NO_ROUTE = "127.253."
    """The kernel refuses to send: network unreachable."""
    COMES_AND_GOES = "127.254."

    @classmethod
    def find(cls, ip: str) -> "Behaviour | None":
        """Return the behaviour of the guest at an address; None if it answers."""
        return _BY_PREFIX.get(ip[:_PREFIX_LENGTH])

    def answers_pings(self, now: float) -> bool:
        """Whether it answers pings at the Unix time `now`."""
        return self is Behaviour.COMES_AND_GOES and now % PERIOD_SECONDS >= DEAD_SECONDS

    def answers_at_layer2(self, now: float) -> bool | None:
        """Whether its kernel answers at layer 2; None if it is on no link of this machine."""
        if self is Behaviour.NO_ROUTE:
            return None
        return self is Behaviour.DROPS_PINGS or self.answers_pings(now)


_BY_PREFIX: Mapping[str, Behaviour] = {behaviour.value: behaviour for behaviour in Behaviour}
_PREFIX_LENGTH = len(Behaviour.DEAD.value)
_NOWHERE = Target(LOCAL, LOOPBACK_BROADCAST)
_REJECTION = IcmpError("127.252.255.254", 3, 1)
"""What the router says: host unreachable."""


class LoopbackProber:
    """Pings the demo's guests through another prober, which sends the packets and receives the replies."""

    def __init__(self, prober: Prober, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns the Unix time."""
        self._prober = prober
        self._clock = clock

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, as any prober does; raises ProbeError where nothing at all can be sent."""
        now = self._clock()
        silent = {
            target: behaviour
            for target in targets
            if (behaviour := Behaviour.find(target.ip)) and not behaviour.answers_pings(now)
        }
        if not silent:
            return self._prober.probe(targets)
        sweep = self._prober.probe({target for target in targets if target not in silent} | {_NOWHERE})
        outcomes = dict(sweep.outcomes)
        nowhere = outcomes[_NOWHERE] if _NOWHERE in targets else outcomes.pop(_NOWHERE)
        for target, behaviour in silent.items():
            outcomes[target] = _silence(behaviour, sent=nowhere.sent)
        refused = {target for target, behaviour in silent.items() if behaviour is Behaviour.NO_ROUTE}
        unsent = {**sweep.unsent, **dict.fromkeys(refused, explain(errno.ENETUNREACH))}
        return msgspec.structs.replace(sweep, outcomes=outcomes, unsent=unsent)


def _silence(behaviour: Behaviour, *, sent: int) -> Outcome:
    if behaviour is Behaviour.NO_ROUTE or not sent:
        return NOT_ASKED
    error = _REJECTION if behaviour is Behaviour.REJECTED else None
    return Outcome(sent=sent, received=0, rtt=None, unreachable=error is not None, error=error)


class LoopbackLayer2:
    """Plays layer 2 of the demo's guests, which loopback has not; nothing is sent to them."""

    def __init__(self, prober: Layer2Witness, *, clock: Callable[[], float] = time.time) -> None:
        """`prober` asks what is not on loopback. `clock` returns the Unix time."""
        self._prober = prober
        self._clock = clock

    def probe(
        self, targets: Collection[Layer2Target], *, suspects: Collection[Layer2Target] = ()
    ) -> Layer2Sweep:
        """Return whose kernel answers; of `suspects` no more is asked than of others."""
        now = self._clock()
        here = [target for target in targets if is_loopback(target.ip)]
        others = set(targets).difference(here)
        sweep = Layer2Sweep()
        if others:
            sweep = self._prober.probe(others, suspects=others.intersection(suspects))
        played = {target: answer for target in here if (answer := _layer2(target.ip, now)) is not None}
        return msgspec.structs.replace(sweep, alive={**sweep.alive, **played})


def _layer2(ip: str, now: float) -> bool | None:
    behaviour = Behaviour.find(ip)
    return behaviour.answers_at_layer2(now) if behaviour else True
