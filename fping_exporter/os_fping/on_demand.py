"""Verdicts on the servers of a caller: those of ``/metrics``, and pings on demand for what it has none of."""

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from fping_exporter.config import Config
from fping_exporter.errors import NoResultsError
from fping_exporter.model import Instance, Outcome, Probed, Snapshot, Target, Verdict
from fping_exporter.probe import Prober, check_permission
from fping_exporter.probe.loopback import LoopbackProber
from fping_exporter.snapshot import plan_from_here
from fping_exporter.verdict.judge import judge_instance
from fping_exporter.verdict.plan import Plan

__all__ = ["OnDemand", "why_unasked"]


class OnDemand:
    """Judges the servers that a caller asks for. Threads share it.

    A verdict of the snapshot that ``/metrics`` shows counts, so that os-fping and ``instance_alive`` never
    contradict each other. A server that its sweep could not ask is pinged again, as it was planned then. A
    server that the sweep left out, because it is newer than the list, the selection leaves it out, or another
    member of a share asks it, is planned, pinged and judged by the same functions as in a sweep. All callers
    who want a target within `cache.sweep` share one ping.
    """

    def __init__(
        self,
        settings: Config,
        *,
        prober: Prober,
        snapshot: Callable[[], Snapshot | None],
        check_permission: Callable[[], object] = check_permission,
    ) -> None:
        """Ping through `prober`, which the sweeps use as well: its rate limit holds for both together.

        `snapshot` returns what ``/metrics`` would show. `check_permission` raises ProbeError where this
        process may not ping at all.
        """
        self.check_permission = check_permission
        self._settings = settings
        self._prober = prober
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._probes: dict[Target, _SharedProbe] = {}

    @property
    def retry_after(self) -> int:
        """Seconds after which a server that could not be asked is asked again."""
        return max(1, math.ceil(self._settings.cache.sweep))

    def judge(self, instances: Collection[Instance]) -> Mapping[str, Verdict]:
        """Return the verdict on each of `instances`, by id; waits for the snapshot and for replies.

        Raises NoResultsError where there is no snapshot: without one, nothing tells which other instance
        may answer at an address. Raises ProbeError where nothing can be sent.
        """
        if not instances:
            return {}
        snapshot = self._snapshot()
        if snapshot is None:
            raise NoResultsError("there is no recent sweep of a recent list of instances")
        wanted = {instance.id for instance in instances}
        verdicts = {each.instance.id: each for each in snapshot.verdicts if each.instance.id in wanted}
        unasked = [each for each in verdicts.values() if each.alive is None and not each.asked]
        open_ones = [(verdict.instance, verdict.probed) for verdict in unasked if verdict.probed]
        unplanned = [verdict.instance for verdict in unasked if not verdict.probed]
        unplanned += [instance for instance in instances if instance.id not in verdicts]
        if unplanned:
            plan = self._plan(unplanned, snapshot)
            open_ones += [(instance, plan[instance.id]) for instance in unplanned]
        prober = LoopbackProber(self._prober) if snapshot.inventory.topology.loopback else self._prober
        return verdicts | self._ping(open_ones, prober)

    def _plan(self, unplanned: Collection[Instance], snapshot: Snapshot) -> Plan:
        """Plan instances that the sweep did not, beside those that have one of their addresses."""
        ips = {address.ip for instance in unplanned for address in instance.addresses}
        listed = snapshot.inventory.instances
        return plan_from_here(
            [*unplanned, *(each for each in listed if any(address.ip in ips for address in each.addresses))],
            snapshot.inventory.topology,
            probe=self._settings.probe,
            host=self._settings.host,
        )

    def _ping(
        self, planned: Collection[tuple[Instance, tuple[Probed, ...]]], prober: Prober
    ) -> dict[str, Verdict]:
        """Ping the targets that are planned for each instance, and judge it."""
        asked_at = time.time()
        outcomes = self._probe(
            {each.target for _, probed in planned for each in probed if each.target}, prober
        )
        return {
            instance.id: judge_instance(instance, probed, outcomes, asked_at=asked_at)
            for instance, probed in planned
        }

    def _probe(self, targets: Collection[Target], prober: Prober) -> Mapping[Target, Outcome]:
        """Probe each target, unless another caller does so now or has done within `cache.sweep`."""
        with self._lock:
            self._probes = {target: each for target, each in self._probes.items() if self._is_usable(each)}
            mine = {target for target in targets if target not in self._probes}
            own = _SharedProbe(time.monotonic(), Future())
            self._probes |= dict.fromkeys(mine, own)
            shared = {target: self._probes[target] for target in targets}
        if mine:
            try:
                own.outcomes.set_result(prober.probe(mine).outcomes)
            except BaseException as error:
                own.outcomes.set_exception(error)  # for those who wait
                raise
        return {target: each.outcomes.result()[target] for target, each in shared.items()}

    def _is_usable(self, probe: "_SharedProbe") -> bool:
        """Whether the probe is under way, or has recent outcomes."""
        if not probe.outcomes.done():
            return True
        age = time.monotonic() - probe.began
        return not probe.outcomes.exception() and age < self._settings.cache.sweep


class _SharedProbe(NamedTuple):
    """One call of the prober, whose outcomes several callers wait for."""

    began: float
    """By the monotonic clock."""
    outcomes: Future[Mapping[Target, Outcome]]


def why_unasked(instance: Instance, verdict: Verdict) -> str | None:
    """Return why nobody knows whether a server is alive; None where it was asked, or has no address.

    `instance` is the server as Nova shows it to the caller; that of the verdict may be a minute older.
    """
    if verdict.asked:
        return None if verdict.alive is not None else "this exporter has lost its way to most instances"
    if not verdict.probed:
        if not instance.addresses and not verdict.instance.addresses:
            return None
        return "it has no address that this exporter asks (probe.addresses, probe.families)"
    if any(each.ambiguous for each in verdict.probed):
        return "its address may be somebody else's as well"
    if any(each.target for each in verdict.probed):
        return "no request could be sent to it"
    return "this exporter has no vantage that reaches it"
