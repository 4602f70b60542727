"""A sweep at layer 2: from targets in several namespaces to who is alive there."""

import errno
import logging
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

from fping_exporter.errors import ProbeError
from fping_exporter.model import Layer2Rejection, Layer2Sweep, Layer2Target
from fping_exporter.probe.layer2.exchange import Exchange
from fping_exporter.probe.layer2.interfaces import read_neighbourhood
from fping_exporter.probe.layer2.link import Link
from fping_exporter.probe.layer2.segment import ParsedTarget, Segment, parse_target
from fping_exporter.probe.layer2.trust import Trust, decoy
from fping_exporter.probe.log_limit import LogLimit
from fping_exporter.probe.netlink import open_netlink
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.vantage import run_in_namespace

__all__ = ["Layer2Prober"]

logger = logging.getLogger(__name__)

_ROUNDS = 2
"""The second one goes to those who are silent: frames get lost."""
_LINKS_AT_ONCE = 64
"""Sockets that are open at the same time. Links beyond these have their turn afterwards."""


Links = Sequence[tuple[Link, Sequence[ParsedTarget]]]
"""Links, and who is asked over each."""


class Layer2Prober:
    """Asks guests whether their kernels live, in two rounds; the second one goes to those who are silent.

    - Targets are asked over the interface of their vantage that is on the same link, if there is one.
    - An answer counts if it comes in time from the MAC that was asked, for the address that was asked for, to
      the address that asked: see :mod:`fping_exporter.probe.layer2.segment`. What does not count is
      counted in ``Layer2Sweep.rejected`` by kind.
    - With `decoys`, a round of decoys goes first; see :mod:`fping_exporter.probe.layer2.trust`.
    - Where a link has no carrier, goes down, is replaced or takes no frames, those who have answered are
      alive, and of the others nothing is known. Nothing is known in a namespace that cannot be entered.
    """

    def __init__(
        self,
        *,
        timeout: float,
        pacer: Pacer,
        decoys: bool = True,
        trust: Trust | None = None,
        rounds: int = _ROUNDS,
    ) -> None:
        """Wait `timeout` seconds for each answer; `trust` remembers what earlier sweeps have unmasked."""
        self._timeout = timeout
        self._pacer = pacer
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
        tally = _Tally()
        by_vantage: dict[str, list[Layer2Target]] = {}
        for target in targets:
            by_vantage.setdefault(target.vantage, []).append(target)
        waiting = list(by_vantage.items())
        while waiting:
            with self._open_some(waiting) as links:
                self._ask(links, suspects, tally)
        return Layer2Sweep(
            alive=tally.alive,
            sent=tally.sent,
            received=sum(tally.alive.values()),
            rejected=dict(tally.rejected),
            trusted=tally.trusted(),
            duration=time.monotonic() - start,
        )

    @contextmanager
    def _open_some(self, waiting: list[tuple[str, list[Layer2Target]]]) -> Iterator[Links]:
        """Open the links of as many of the vantages as have room, and take these from `waiting`."""
        links: list[tuple[Link, list[ParsedTarget]]] = []
        with ExitStack() as stack:
            while waiting and len(links) < _LINKS_AT_ONCE:
                vantage, targets = waiting.pop()
                try:
                    opened = run_in_namespace(vantage, partial(_open_links, vantage, targets))
                except (ProbeError, OSError) as error:
                    self._report(vantage, error)
                    continue
                for link, _ in opened:
                    stack.enter_context(link)
                links += opened
            yield links

    def _report(self, vantage: str, error: ProbeError | OSError) -> None:
        """Log why a vantage cannot be asked; the want of a right, which concerns all of them, once."""
        if isinstance(error, PermissionError):
            text = (
                "nothing is asked at layer 2, for want of the right to open packet sockets: give the process "
                "CAP_NET_RAW, or set probe.layer2: off"
            )
        else:
            text = f"nothing is asked at layer 2 from {vantage}: {error}"
        if self._log_limit.allows(text):
            logger.warning(text)

    def _ask(self, links: Links, suspects: Collection[Layer2Target], tally: "_Tally") -> None:
        tally.kinds.update(link.vantage.partition("-")[0] for link, _ in links)
        if self._decoys:
            links = self._leave_out_the_unmasked(links, suspects, tally)
        segments = [Segment(link, targets, timeout=self._timeout) for link, targets in links]
        self._exchange(segments, tally, rounds=self._rounds)
        for segment in segments:
            if segment.fault and self._log_limit.allows((segment.link.vantage, segment.fault)):
                logger.warning(
                    "not everybody could be asked at layer 2 from %s over %s: %s",
                    segment.link.vantage,
                    segment.link.name,
                    segment.fault,
                )
            tally.rejected.update(segment.rejected)
            for guest in segment.guests:
                alive = segment.verdict(guest, rounds=self._rounds)
                if alive is not None:
                    tally.alive[guest.target] = alive

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
        while chosen:
            found, unclear = self._send_decoys(_only(links, chosen), tally)
            trust.unmask(found)
            unmasked |= found
            left -= chosen
            tally.tested.update(chosen)
            tally.unclear |= unclear
            suspected = {(each.vantage, each.family) for each in found}
            chosen = {each for each in left if (each.vantage, each.family) in suspected}
        tally.unmasked |= unmasked
        self._report_unmasked(unmasked)
        believed = set(trust.believed(each.target for _, targets in links for each in targets))
        return _only(links, believed - tally.unclear)

    def _send_decoys(self, links: Links, tally: "_Tally") -> tuple[set[Layer2Target], set[Layer2Target]]:
        """Return for which targets somebody answered at a decoy, and for which that is not clear."""
        segments = [Segment(link, map(decoy, targets), timeout=self._timeout) for link, targets in links]
        self._exchange(segments, tally, rounds=1)
        results = [
            (guest.target, segment.unmasked(guest)) for segment in segments for guest in segment.guests
        ]
        return {each for each, found in results if found}, {each for each, found in results if found is None}

    def _report_unmasked(self, unmasked: Collection[Layer2Target]) -> None:
        """Log it, once a day for each vantage and family."""
        counts = Counter((each.vantage, each.family) for each in unmasked)
        examples = {(each.vantage, each.family): each.ip for each in unmasked}
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
        self.unmasked: set[Layer2Target] = set()
        self.unclear: set[Layer2Target] = set()
        """Those whose decoy said nothing, as something was wrong with the link."""

    def trusted(self) -> dict[str, bool]:
        """Return by the kind of vantage whether most of those that were tested are believed."""
        tested = Counter(each.kind for each in self.tested)
        unmasked = Counter(each.kind for each in self.unmasked)
        return {kind: 2 * unmasked[kind] <= tested[kind] for kind in self.kinds}


def _open_links(vantage: str, targets: Iterable[Layer2Target]) -> list[tuple[Link, list[ParsedTarget]]]:
    """Open a socket on each interface of the current network namespace whose link some targets are on.

    Targets on no link are left out, as are those on one that is not Ethernet or is just being removed. Raises
    OSError where the kernel tells nothing, or permits nothing.
    """
    with open_netlink() as sock:
        around = read_neighbourhood(sock)
    by_interface: dict[int, list[ParsedTarget]] = {}
    for target in targets:
        parsed = parse_target(target)
        if parsed and (index := around.interface(parsed.ip)):
            by_interface.setdefault(index, []).append(parsed)
    links = []
    with ExitStack() as stack:
        for index, some in by_interface.items():
            try:
                link = stack.enter_context(Link(vantage, index, around.addresses.get(index, ())))
            except OSError as error:
                if error.errno in _GONE:
                    continue
                raise
            links.append((link, some))
        stack.pop_all()
    return links


_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENETDOWN, errno.EPROTONOSUPPORT})
