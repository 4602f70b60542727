"""What the exporter says of its work for one cloud: ``fping_exporter_*``."""

import time
from collections import Counter as Counts
from collections import deque
from collections.abc import Collection, Iterator, Mapping

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fping_exporter.model import Inventory, Layer2Rejection, Rejection, Sweep, Target
from fping_exporter.probe.send_errors import SEND_ERRORS, errno_name

__all__ = ["RefreshStatus", "Telemetry", "gauge"]

_ANSWERS_WITHIN = 10.0
"""Seconds since its last answer for which a coordinator counts as up. It is asked every two seconds, but
redis-py tries for a minute before it says that there is no answer."""

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Telemetry(Collector):
    """The exporter's own metrics of one cloud: counters, and what was newest, read when it is scraped."""

    def __init__(self) -> None:
        """Register everything."""
        self.registry = registry = CollectorRegistry()
        self.forget_refreshes()
        self.fleet: RefreshStatus | None = None
        """The readings of the fleet; None: it is not read."""
        self._fleet_exporters: Mapping[str, int] = {}
        self.fleet_partial = False
        """Whether Prometheus warned that the newest complete reading of the fleet may lack something."""
        self._share: tuple[int, float] | None = None
        """How many exporters share the instances, and when their coordinator last answered, by the monotonic
        clock; None: this one pings all."""
        self._own_instances: int | None = None
        self._stored: tuple[bool, float] | None = None
        """Whether the last write of the state succeeded, and when one last did; None: nothing is stored."""

        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(f"fping_exporter_{name}", documentation, labels, registry=registry)

        self._packets_sent = counter("packets_sent", "Echo requests sent.")
        self._packets_received = counter("packets_received", "Echo replies counted.")
        self._packets_rejected = counter(
            "packets_rejected", "Packets that came in and were not counted as replies, by reason.", "reason"
        )
        for reason in Rejection:
            self._packets_rejected.labels(reason)
        self._packets_refused = counter(
            "packets_refused",
            "Echo requests that this machine refused to send, retries included, by errno.",
            "reason",
        )
        for number in SEND_ERRORS:
            self._packets_refused.labels(errno_name(number))
        self._frames_sent = counter("layer2_sent", "ARP requests and neighbour solicitations sent.")
        self._frames_received = counter(
            "layer2_received",
            "ARP replies and neighbour advertisements that prove a guest's kernel to be alive.",
        )
        self._frames_rejected = counter(
            "layer2_rejected",
            "ARP replies and neighbour advertisements that prove nothing, by reason.",
            "reason",
        )
        for rejection in Layer2Rejection:
            self._frames_rejected.labels(rejection)
        self._overflows = counter(
            "neighbour_table_overflows", "How often the kernel's neighbour table had no room during a sweep."
        )
        self._requests = counter(
            "openstack_requests",
            "Answers of OpenStack's APIs, or of an agent's centrals, by service and HTTP status.",
            "service",
            "code",
        )
        self._entries_skipped = counter(
            "entries_skipped",
            "Entries of OpenStack's lists, or parts of them, left out since they cannot be read, by list.",
            "part",
        )
        self._entries_skipped.labels("servers")
        self._corrections = counter(
            "inventory_corrections",
            "Instances that a full list showed otherwise than the changes merged before it. Not counted are "
            "tags, instances that come or go in BUILD, and what Nova reports as changed between the lists.",
        )
        self._instances_failed = counter(
            "instances_failed",
            "Instances of sweeps that could not be planned or judged completely, because of a bug.",
        )
        self._os_fping_requests = counter(
            "os_fping_requests", "Answers of this exporter's os-fping API, by HTTP status.", "code"
        )
        self._os_fping_unasked = counter(
            "os_fping_unasked",
            "Servers left out of a list of os-fping, or answered with 503, since they could not be asked.",
        )
        registry.register(self)

    def forget_refreshes(self) -> None:
        """Begin anew with what is reported of lists and sweeps: another cloud is listed from now on."""
        self.inventory = RefreshStatus("inventory", "list of instances", "instances")
        self.sweep = RefreshStatus("sweep", "sweep", "targets")
        self._parts: Mapping[str, bool] = {}
        self._unconfirmed = False
        self._ambiguous = 0
        self._blind = False
        self._layer2_trusted: Mapping[str, bool] = {}
        self._vantages: tuple[Counts[str], Counts[str], Counts[str]] = (Counts(), Counts(), Counts())

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        yield from self.inventory.collect()
        yield from self.sweep.collect()
        yield gauge(
            "blind",
            "1 if silence says nothing of an instance: the last sweep failed or could not send most of its "
            "packets, a vantage was lost, or most of what answered lately fell silent at once; else 0.",
            {(): self._blind or not self.sweep.success},
        )
        yield gauge(
            "part_success",
            "1 if this optional part of the last list of instances could be had, 0 if not.",
            {(part,): had for part, had in self._parts.items()},
            "part",
        )
        yield gauge(
            "inventory_unconfirmed",
            "1 if the newest list lacks most of the instances of the one before, which are kept until "
            "the next list lacks them too, else 0.",
            {(): self._unconfirmed},
        )
        for counts, name, documentation in zip(
            self._vantages,
            ("vantage_targets", "vantages", "vantage_up"),
            (
                "Targets of the newest complete sweep, by the kind of vantage.",
                "Vantages that the newest sweep had targets for, by kind.",
                "How many of these could send to at least one of their targets, by kind.",
            ),
            strict=True,
        ):
            yield gauge(name, documentation, {(kind,): counts[kind] for kind in self._vantages[0]}, "vantage")
        yield gauge(
            "layer2_trusted",
            "1 if answers at layer 2 are believed, 0 if somebody else answers for most guests, by the kind "
            "of vantage; as of the newest complete sweep.",
            {(kind,): trusted for kind, trusted in self._layer2_trusted.items()},
            "vantage",
        )
        yield gauge(
            "ambiguous_targets",
            "Addresses that the newest complete sweep did not ask, since nothing tells whose an answer is.",
            {(): self._ambiguous},
        )
        if self.fleet:
            yield from self.fleet.collect()
            yield gauge(
                "fleet_exporters",
                "Other exporters in the newest complete reading of the fleet: heard, blind (only replies "
                "count) or stale (nothing counts).",
                {(state,): count for state, count in self._fleet_exporters.items()},
                "state",
            )
            yield gauge(
                "fleet_partial",
                "1 if Prometheus warned that the newest complete reading of the fleet may lack something.",
                {(): self.fleet_partial},
            )
        if self._share:
            members, answered_at = self._share
            yield gauge(
                "share_members", "Exporters that share the instances, this one included.", {(): members}
            )
            yield gauge(
                "share_coordinator_up",
                f"1 if the coordinator has answered within the last {_ANSWERS_WITHIN:.0f} s, else 0.",
                {(): time.monotonic() - answered_at < _ANSWERS_WITHIN},
            )
            if self._own_instances is not None:
                yield gauge(
                    "share_owned_instances",
                    "Instances of the last sweep: this exporter's part, and for two minutes what has become "
                    "another's.",
                    {(): self._own_instances},
                )
        if self._stored:
            success, at = self._stored
            yield gauge(
                "state_success",
                "1 if the last write of what outlives a restart succeeded, else 0; absent if none was tried.",
                {(): success},
            )
            yield gauge(
                "state_last_success_timestamp_seconds",
                "Unix time at which what outlives a restart was last written with success, else 0.",
                {(): at},
            )

    def expect_fleet(self, *, read: bool, anew: bool = True) -> None:
        """Report readings of a fleet from now on, or report none; what was reported goes on if not `anew`."""
        if not read:
            self.fleet = None
        elif self.fleet is None or anew:
            self.fleet = RefreshStatus("fleet", "reading of the fleet", "instances")
            self._fleet_exporters, self.fleet_partial = {}, False

    def observe_fleet(
        self,
        *,
        started_at: float,
        duration: float,
        instances: int,
        exporters: Mapping[str, int],
        partial: bool,
    ) -> None:
        """Record a complete reading of the fleet; `exporters` are counted by their state."""
        self._fleet_exporters, self.fleet_partial = exporters, partial
        if self.fleet:
            self.fleet.succeeded(started_at=started_at, duration=duration, size=instances)

    def observe_failed_fleet(self, error: str) -> None:
        """Record a reading of the fleet that failed."""
        if self.fleet:
            self.fleet.failed(error)

    def observe_share(self, *, members: int, answered_at: float) -> None:
        """Record how many exporters share the instances, and when their coordinator last answered."""
        self._share = members, answered_at

    def observe_own_share(self, instances: int) -> None:
        """Record how many instances are this exporter's part."""
        self._own_instances = instances

    def forget_share(self) -> None:
        """Report nothing of shares any more: this exporter pings all instances."""
        self._share = self._own_instances = None

    def observe_state(self, *, success: bool) -> None:
        """Record that what is to outlive a restart was written, or could not be."""
        at = self._stored[1] if self._stored else 0
        self._stored = success, time.time() if success else at

    def observe_os_fping(self, code: int) -> None:
        """Count one answer of the os-fping API."""
        self._os_fping_requests.labels(str(code)).inc()

    def observe_os_fping_unasked(self) -> None:
        """Count one server of which the os-fping API does not know whether it is alive."""
        self._os_fping_unasked.inc()

    def observe_inventory(self, inventory: Inventory, *, unconfirmed: bool = False) -> None:
        """Record a complete list; `unconfirmed` if it holds instances that the cloud no longer lists."""
        self.inventory.succeeded(
            started_at=inventory.listed_at, duration=inventory.duration, size=len(inventory.instances)
        )
        self._corrections.inc(inventory.corrections)
        self._parts = inventory.parts
        for part in {*inventory.parts, *inventory.skipped}:
            self._entries_skipped.labels(part).inc(inventory.skipped.get(part, 0))
        self._unconfirmed = unconfirmed

    def observe_stored_inventory(self, inventory: Inventory, *, unconfirmed: bool) -> None:
        """Record a list of an earlier process. It is no success of this one's."""
        self.inventory.resumed(
            started_at=inventory.listed_at, duration=inventory.duration, size=len(inventory.instances)
        )
        self._parts = inventory.parts
        self._unconfirmed = unconfirmed

    def count_packets(self, sweep: Sweep) -> None:
        """Count the packets of a complete sweep."""
        self._packets_sent.inc(sweep.sent)
        self._packets_received.inc(sweep.received)
        for reason, count in sweep.rejected.items():
            self._packets_rejected.labels(reason).inc(count)
        for errno, count in sweep.refused.items():
            self._packets_refused.labels(errno).inc(count)
        self._overflows.inc(sweep.overflows)
        if layer2 := sweep.layer2:
            self._frames_sent.inc(layer2.sent)
            self._frames_received.inc(layer2.received)
            for rejection, count in layer2.rejected.items():
                self._frames_rejected.labels(rejection).inc(count)
        self._instances_failed.inc(sweep.failed)

    def observe_sweep(self, sweep: Sweep, *, blind: bool = False) -> None:
        """Record a complete sweep; `blind` if it tells nothing of silent instances."""
        self._blind = blind
        self.sweep.succeeded(started_at=sweep.started_at, duration=sweep.duration, size=len(sweep.outcomes))
        self._ambiguous = sweep.ambiguous
        self._layer2_trusted = sweep.layer2.trusted if sweep.layer2 else {}
        kinds = dict.fromkeys(self._vantages[0], 0)  # what is no longer there is 0
        there = {target.vantage: target.kind for target in sweep.outcomes}
        up = {target.vantage: target.kind for target, outcome in sweep.outcomes.items() if outcome.sent}
        targets = Counts(kinds)
        targets.update(target.kind for target in sweep.outcomes)
        self._vantages = targets, Counts(there.values()), Counts(up.values())

    def observe_failed_sweep(self, vantages: Collection[str]) -> None:
        """Record that a sweep of targets from these `vantages` could send nothing from any of them."""
        targets, _, _ = self._vantages
        there = Counts(Target(vantage, "").kind for vantage in vantages)
        self._vantages = Counts({**dict.fromkeys(there, 0), **targets}), there, Counts()

    def observe_request(self, service: str, code: int) -> None:
        """Count one answer of an OpenStack API."""
        self._requests.labels(service, str(code)).inc()


def gauge(name: str, documentation: str, samples: Mapping[tuple[str, ...], float], *labels: str) -> Metric:
    """Return a gauge ``fping_exporter_<name>`` with `samples` by the values of their `labels`."""
    family = GaugeMetricFamily(f"fping_exporter_{name}", documentation, labels=labels)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family


_RECENT = 256


class RefreshStatus:
    """Success, time, duration and size of the newest run of something that is refreshed."""

    def __init__(self, name: str, what: str, unit: str) -> None:
        """Begin with no run."""
        self._name, self._what, self._unit = name, what, unit
        self.success = False
        """Whether the last run was completed; False before the first."""
        self._newest: tuple[float, float, int] = (0, 0, 0)
        self.error: str | None = None
        """Why the last run failed, in one line; None if it did not."""
        self.recent: deque[float] = deque(maxlen=_RECENT)
        """Unix times at which the last complete runs were begun."""

    def collect(self) -> Iterator[Metric]:
        """Yield its four gauges."""
        name, what, unit = self._name, self._what, self._unit
        for kind, documentation, value in (
            ("success", f"1 if the last {what} was completed, else 0.", self.success),
            (
                "last_success_timestamp_seconds",
                f"Unix time at which the newest complete {what} was begun.",
                self._newest[0],
            ),
            ("duration_seconds", f"How long the newest complete {what} took.", self._newest[1]),
            (unit, f"How many {unit} the newest complete {what} had.", self._newest[2]),
        ):
            yield gauge(f"{name}_{kind}", documentation, {(): value})

    def succeeded(self, *, started_at: float, duration: float, size: int) -> None:
        """Record a completed run; `started_at` in Unix seconds, `duration` in seconds."""
        self._newest, self.success, self.error = (started_at, duration, size), True, None
        self.recent.append(started_at)

    def resumed(self, *, started_at: float, duration: float, size: int) -> None:
        """Take over the newest complete run of an earlier process; none of this one has ended yet."""
        self._newest = started_at, duration, size

    def failed(self, error: str) -> None:
        """Record a failed run; what is known of the last complete one stays."""
        self.success, self.error = False, error
