"""Whether servers that a caller asks for are alive: from the last sweep, or asked for the call."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from fping_exporter.config import Config
from fping_exporter.hosts import own_host
from fping_exporter.model import LOCAL, Instance, Outcome, Snapshot, Target, Topology
from fping_exporter.probe import Prober, check_permission
from fping_exporter.probe.vantage import survey
from fping_exporter.verdict.plan import plan

__all__ = ["Aim", "OnDemand", "aim_as"]

Aim = Callable[[Collection[Instance]], Mapping[str, Collection[Target]]]
"""Returns the targets of each instance, by its id."""


def aim_from_here(instances: Collection[Instance]) -> Mapping[str, Collection[Target]]:
    """Aim at every address from the exporter's own network namespace."""
    return {each.id: [Target(LOCAL, address.ip) for address in each.addresses] for each in instances}


def aim_as(settings: Config, latest: Callable[[], Snapshot | None]) -> Aim:
    """Aim at every address from where `settings` would have it pinged, whichever kinds they choose.

    Where it is reached from, the newest snapshot tells, which is what `latest` returns.
    """
    probe = msgspec.structs.replace(settings.probe, addresses="all", families=(4, 6))

    def aim(instances: Collection[Instance]) -> Mapping[str, Collection[Target]]:
        snapshot = latest()
        topology = snapshot.inventory.topology if snapshot else Topology()
        host = own_host(settings.instances.host)
        planned = plan(instances, topology, probe, vantages=survey(probe.kinds), host=host)
        return {id_: [each.target for each in probed if each.target] for id_, probed in planned.items()}

    return aim


class OnDemand:
    """Answers callers with outcomes younger than `max_age` seconds. Threads share it.

    What the last sweep has learned is taken over. The other targets are asked at once, each by one
    caller only: whoever wants the same ones meanwhile waits for that caller's answer, and
    whoever comes within `max_age` is given it again.
    """

    def __init__(
        self,
        *,
        prober: Prober,
        fresh: Callable[[], Snapshot | None],
        max_age: float,
        aim: Aim = aim_from_here,
        check: Callable[[], object] = check_permission,
    ) -> None:
        """Ask through `prober`, which sweeps as well, so that its limit holds for both together.

        `fresh` returns the last snapshot if it is younger than `max_age`. `check` raises
        ProbeError where this process may not ping at all.
        """
        self.check = check
        self._prober = prober
        self._fresh = fresh
        self._max_age = max_age
        self._aim = aim
        self._lock = threading.Lock()
        self._rounds: dict[Target, _Round] = {}

    def alive(self, instances: Collection[Instance]) -> set[str]:
        """Return the ids of those of which any address answers.

        Raises ProbeError where nothing can be asked.
        """
        snapshot = self._fresh()
        known = snapshot.sweep.outcomes if snapshot else {}
        targets = self._aim(instances)
        found = {id_ for id_, aimed in targets.items() if _any_answers(aimed, known)}
        asked = self._ask(
            {
                target
                for id_, aimed in targets.items()
                if id_ not in found
                for target in aimed
                if target not in known or not known[target].asked
            }
        )
        return found | {id_ for id_, aimed in targets.items() if _any_answers(aimed, asked)}

    def _ask(self, targets: Collection[Target]) -> Mapping[Target, Outcome]:
        with self._lock:
            self._rounds = {target: each for target, each in self._rounds.items() if self._counts(each)}
            mine = {target for target in targets if target not in self._rounds}
            own = _Round(time.monotonic(), Future())
            self._rounds |= dict.fromkeys(mine, own)
            joined = {target: self._rounds[target] for target in targets}
        if mine:
            try:
                own.outcomes.set_result(self._prober.probe(mine).outcomes)
            except BaseException as error:
                own.outcomes.set_exception(error)  # for those who wait
                raise
        return {target: each.outcomes.result()[target] for target, each in joined.items()}

    def _counts(self, asked: "_Round") -> bool:
        """Whether it is under way, or had an answer that is still young."""
        if not asked.outcomes.done():
            return True
        return not asked.outcomes.exception() and time.monotonic() - asked.begun < self._max_age


class _Round(NamedTuple):
    """One caller's question: when it began, on the monotonic clock, and what came of it."""

    begun: float
    outcomes: Future[Mapping[Target, Outcome]]


def _any_answers(targets: Iterable[Target], outcomes: Mapping[Target, Outcome]) -> bool:
    return any(target in outcomes and outcomes[target].alive for target in targets)
