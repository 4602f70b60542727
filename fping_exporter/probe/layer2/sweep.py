"""A sweep at layer 2: from targets in several namespaces to who is alive there."""

import logging
import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack

from fping_exporter.errors import ProbeError, VantageError
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Layer2Doubt, Layer2Rejection, Layer2Sweep, Layer2Target, kind_of
from fping_exporter.probe.layer2.exchange import Exchange
from fping_exporter.probe.layer2.opening import Links, Queue, unsteady
from fping_exporter.probe.layer2.segment import Segment
from fping_exporter.probe.layer2.trust import Trust, decoy
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
from fping_exporter.probe.vantage import describe_failures

__all__ = ["Layer2Prober"]

logger = logging.getLogger(__name__)

_ROUNDS = 2
"""The second one goes to those who are silent: frames get lost."""


class Layer2Prober:
    """Asks guests whether their kernels live, in two rounds; the second one goes to those who are silent.

    - Targets are asked over the interface of their vantage that is on the same link, if there is one.
    - An answer counts if it comes in time from the MAC that was asked, for the address that was asked for, to
      the address that asked: see :mod:`fping_exporter.probe.layer2.segment`. What does not count is
      counted in ``Layer2Sweep.rejected`` by kind. Of a guest whose answer comes too late, or for which
      another MAC answers, nothing is known.
    - With `decoys`, a round of decoys goes first; see :mod:`fping_exporter.probe.layer2.trust`.
    - Where a link has no carrier, loses an address, goes down, is replaced or takes no frames, those who have
      answered are alive, and of the others nothing is known. Nothing is known in a namespace that cannot be
      entered.
    """

    def __init__(
        self,
        *,
        timeout: float,
        pacer: Pacer,
        sockets: SocketBudget,
        decoys: bool = True,
        trust: Trust | None = None,
        rounds: int = _ROUNDS,
    ) -> None:
        """Wait `timeout` seconds for each answer; `trust` remembers what earlier sweeps have unmasked.

        Probers of all kinds may share `pacer` and `sockets`.
        """
        self._timeout = timeout
        self._pacer = pacer
        self._sockets = sockets
        self._decoys = decoys
        self._trust = trust or Trust()
        self._rounds = rounds
        self._log_limit = LogLimit(interval=24 * 3600)

    def probe(
        self, targets: Collection[Layer2Target], *, suspects: Collection[Layer2Target] = frozenset()
    ) -> Layer2Sweep:
        """Ask every target; each of the `suspects` only after a decoy for it got no answer.

        Raises nothing: where nothing can be asked, nothing is known. Safe to call from several threads.
        """
        start = time.monotonic()
        tally, queue = _Tally(), Queue(targets)
        while queue.waiting:
            with self._sockets.turn() as turn, ExitStack() as stack:
                links = queue.open(at_most=turn.free)
                for link, _ in links:
                    stack.callback(link.close)
                turn.take(len(links))  # a vantage may have several, or none
                try:
                    self._ask(links, suspects, tally)
                except ProbeError as error:
                    queue.failures |= dict.fromkeys((link.vantage for link, _ in links), error)
        self._report_failures(queue.failures)
        return Layer2Sweep(
            alive=tally.alive,
            doubtful=tally.doubtful,
            sent=tally.sent,
            received=sum(tally.alive.values()),
            rejected=dict(tally.rejected),
            trusted=tally.trusted(),
            duration=time.monotonic() - start,
        )

    def _report_failures(self, failures: Mapping[str, ProbeError | OSError]) -> None:
        """Log why vantages cannot be asked: a cause that concerns many of them once."""
        errors: list[ProbeError] = []
        for vantage, error in failures.items():
            if isinstance(error, PermissionError):
                errors.append(ProbeError(_NO_RIGHT))
            elif isinstance(error, OSError):
                why = f"has links that cannot be read or used: {error.strerror}"
                errors.append(VantageError(vantage, why))
            else:
                errors.append(error)
        for text in describe_failures(errors, self._log_limit):
            logger.warning("part of the targets cannot be asked at layer 2: %s", text)

    def _ask(self, links: Links, suspects: Collection[Layer2Target], tally: "_Tally") -> None:
        tally.kinds.update(kind_of(link.vantage) for link, _ in links)
        if self._decoys:
            links = self._leave_out_the_unmasked(links, suspects, tally)
        segments = [Segment(link, targets, timeout=self._timeout) for link, targets in links]
        self._exchange(segments, tally, rounds=self._rounds)
        shaken = unsteady([link for link, _ in links])
        for segment in segments:
            if segment.link in shaken:
                segment.fault = segment.fault or _SHAKEN
            if segment.fault and self._log_limit.allows((segment.link.vantage, segment.fault)):
                logger.warning(
                    "not everybody could be asked at layer 2 from %s over %s: %s",
                    segment.link.vantage,
                    segment.link.name,
                    segment.fault,
                )
            tally.rejected.update(segment.rejected)
            for guest in segment.guests:
                doubt = None if guest.answered else segment.doubt(guest, rounds=self._rounds)
                if doubt:
                    tally.doubtful[guest.target] = doubt
                else:
                    tally.alive[guest.target] = guest.answered

    def _exchange(self, segments: Sequence[Segment], tally: "_Tally", *, rounds: int) -> None:
        with Exchange(segments, pacer=self._pacer, timeout=self._timeout) as exchange:
            for _ in range(rounds):
                if any(not guest.answered for segment in segments for guest in segment.guests):
                    exchange.ask()
        tally.sent += exchange.sent

    def _leave_out_the_unmasked(
        self, links: Links, suspects: Collection[Layer2Target], tally: "_Tally"
    ) -> Links:
        """Send decoys, and return the links without the targets that are not believed in this sweep.

        Where a decoy unmasks somebody, the others of the vantage have theirs in a second round.
        """
        trust = self._trust
        left = {each.target for _, targets in links for each in targets}
        unmasked = left.difference(trust.believed(left))
        tally.tested.update(unmasked)
        left -= unmasked
        chosen = trust.choose(left, suspects)
        unclear: set[Layer2Target] = set()
        while chosen:
            found, without_result = self._send_decoys(_only(links, chosen), suspects, tally)
            trust.unmask(found)
            unmasked |= found
            left -= chosen
            tally.tested.update(chosen)
            unclear |= without_result
            suspected = {each.place for each in found}
            chosen = {each for each in left if each.place in suspected}
        tally.unmasked |= unmasked
        self._report_unmasked(unmasked)
        there = {each.target for _, targets in links for each in targets}
        believed = set(trust.believed(there)) - unclear
        for each in there - believed:
            tally.doubtful[each] = Layer2Doubt.UNTESTED if each in unclear else Layer2Doubt.IMPERSONATED
        return _only(links, believed)

    def _send_decoys(
        self, links: Links, suspects: Collection[Layer2Target], tally: "_Tally"
    ) -> tuple[set[Layer2Target], set[Layer2Target]]:
        """Return for which targets somebody answered at a decoy, and for which that is not clear.

        Where there are suspects, it is not clear over a link that was not steady: decoys may have been lost.
        """
        segments = [Segment(link, map(decoy, targets), timeout=self._timeout) for link, targets in links]
        self._exchange(segments, tally, rounds=1)
        suspected = [link for link, targets in links if any(each.target in suspects for each in targets)]
        shaken = unsteady(suspected)
        for segment in segments:
            if segment.link in shaken:
                segment.fault = segment.fault or _SHAKEN
        results = [
            (guest.target, segment.unmasked(guest)) for segment in segments for guest in segment.guests
        ]
        return {each for each, found in results if found}, {each for each, found in results if found is None}

    def _report_unmasked(self, unmasked: Collection[Layer2Target]) -> None:
        """Log it, once a day for each vantage and family."""
        counts = Counter(each.place for each in unmasked)
        examples = {each.place: each.ip for each in unmasked}
        for (vantage, family), count in counts.items():
            if self._log_limit.allows((vantage, family)):
                logger.warning(
                    "layer 2 is not believed for %d guests in %s (IPv%d), such as %s: somebody else answers "
                    "for them, even at a MAC that nobody has. OVN before 24.09 does that",
                    count,
                    vantage,
                    family,
                    examples[vantage, family],
                )


def _only(links: Links, targets: Collection[Layer2Target]) -> Links:
    return [(link, [each for each in some if each.target in targets]) for link, some in links]


_SHAKEN = "the interface has lost its carrier or an address meanwhile"
_NO_RIGHT = (
    "this process may not open packet sockets: give it the capability CAP_NET_RAW, or set probe.layer2: off"
)


class _Tally:
    """What a sweep finds out, turn by turn."""

    def __init__(self) -> None:
        self.alive: dict[Layer2Target, bool] = {}
        self.sent = 0
        self.rejected: Counter[Layer2Rejection] = Counter()
        self.kinds: set[str] = set()
        """The kinds of vantages from which anybody could be asked."""
        self.tested: set[Layer2Target] = set()
        """Those for which a decoy was sent, now or before."""
        self.doubtful: dict[Layer2Target, Layer2Doubt] = {}
        self.unmasked: set[Layer2Target] = set()

    def trusted(self) -> dict[str, bool]:
        """Return by the kind of vantage whether most of those that were tested are believed."""
        tested = Counter(each.kind for each in self.tested)
        unmasked = Counter(each.kind for each in self.unmasked)
        return {kind: 2 * unmasked[kind] <= tested[kind] for kind in self.kinds}
