"""Verdicts on the servers of a caller: those of ``/metrics``, and pings on demand for what it has none of."""

import math
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

from fping_exporter.config import Config
from fping_exporter.errors import NoResultsError
from fping_exporter.model import Instance, Outcome, Reason, Snapshot, Target, Verdict
from fping_exporter.probe import Prober, check_permission
from fping_exporter.snapshot import plan_from_here
from fping_exporter.verdict.judge import judge_instance

__all__ = ["OnDemand", "why_unasked"]


class OnDemand:
    """Judges the servers that a caller asks for. Threads share it.

    A verdict of the snapshot that ``/metrics`` shows counts, so that os-fping and ``instance_alive`` never
    contradict each other. What the snapshot has no verdict on (servers that are newer than the list,
    that the selection leaves out, or that the sweep could not ask) is planned, pinged and judged by the
    same functions as in a sweep. All callers who want such a target within `cache.sweep` share one ping.
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
        verdicts = {
            verdict.instance.id: verdict
            for verdict in snapshot.verdicts
            if verdict.alive is not None and verdict.instance.id in wanted
        }
        rest = [instance for instance in instances if instance.id not in verdicts]
        return {**verdicts, **self._ping(rest, snapshot)} if rest else verdicts

    def _ping(self, instances: Collection[Instance], snapshot: Snapshot) -> Mapping[str, Verdict]:
        """Plan, ping and judge instances that the snapshot has no verdict on."""
        planned = plan_from_here(
            [*instances, *_sharing_an_address(instances, snapshot.inventory.instances)],
            snapshot.inventory.topology,
            probe=self._settings.probe,
            host=self._settings.instances.host,
        )
        asked_at = time.time()
        outcomes = self._probe(
            {each.target for instance in instances for each in planned[instance.id] if each.target}
        )
        return {
            instance.id: judge_instance(instance, planned[instance.id], outcomes, asked_at=asked_at)
            for instance in instances
        }

    def _probe(self, targets: Collection[Target]) -> Mapping[Target, Outcome]:
        """Probe each target, unless another caller does so now or has done within `cache.sweep`."""
        with self._lock:
            self._probes = {target: each for target, each in self._probes.items() if self._is_usable(each)}
            mine = {target for target in targets if target not in self._probes}
            own = _SharedProbe(time.monotonic(), Future())
            self._probes |= dict.fromkeys(mine, own)
            shared = {target: self._probes[target] for target in targets}
        if mine:
            try:
                own.outcomes.set_result(self._prober.probe(mine).outcomes)
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
    if any(each.outcome for each in verdict.probed):
        return None
    if not verdict.probed:
        if not instance.addresses and not verdict.instance.addresses:
            return None
        return "it has no address that this exporter asks (probe.addresses, probe.families)"
    if verdict.reason is Reason.AMBIGUOUS_ADDRESS:
        return "other instances have its address as well"
    if any(each.target for each in verdict.probed):
        return "no request could be sent to it"
    return "this exporter has no vantage that reaches it"


def _sharing_an_address(instances: Collection[Instance], others: Iterable[Instance]) -> Collection[Instance]:
    """Return those of `others` that have an address of `instances`, which makes it ambiguous."""
    ids = {instance.id for instance in instances}
    ips = {address.ip for instance in instances for address in instance.addresses}
    return [
        other
        for other in others
        if other.id not in ids and any(address.ip in ips for address in other.addresses)
    ]
