"""Whether servers that a caller asks for are alive: from the last sweep, or asked for the call."""

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from fping_exporter.model import LOCAL, Instance, Outcome, Snapshot, Target
from fping_exporter.probe import Prober, check_permission

__all__ = ["OnDemand"]


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
        self._lock = threading.Lock()
        self._rounds: dict[Target, _Round] = {}

    def alive(self, instances: Collection[Instance]) -> set[str]:
        """Return the ids of those of which any address answers, whatever the configuration would probe.

        Raises ProbeError where nothing can be asked.
        """
        snapshot = self._fresh()
        known = snapshot.sweep.outcomes if snapshot else {}
        found = {instance.id for instance in instances if _answers(instance, known)}
        wanted = {
            target
            for instance in instances
            if instance.id not in found
            for target in _targets(instance)
            if target not in known
        }
        asked = self._ask(wanted)
        return found | {instance.id for instance in instances if _answers(instance, asked)}

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


def _targets(instance: Instance) -> Iterable[Target]:
    return (Target(LOCAL, address.ip) for address in instance.addresses)


def _answers(instance: Instance, outcomes: Mapping[Target, Outcome]) -> bool:
    return any(target in outcomes and outcomes[target].alive for target in _targets(instance))
