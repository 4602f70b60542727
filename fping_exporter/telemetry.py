"""What the exporter says of itself: ``fping_exporter_*`` and its process."""

import platform
from collections import Counter as Counts

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector

from fping_exporter import __version__
from fping_exporter.model import Inventory, Rejection, Sweep

__all__ = ["Part", "Telemetry"]

prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]


class Telemetry:
    """The exporter's own metrics, in a registry of their own.

    Written to by whoever does the work, read by the metrics face. The gauges of a
    part that has not run yet have no sample, except its success, which is 0.
    """

    def __init__(self) -> None:
        """Register everything."""
        self.registry = registry = CollectorRegistry()
        self._kinds: set[str] = set()
        ProcessCollector(registry=registry)
        Gauge(
            "fping_exporter_build_info",
            "The version that runs, always 1.",
            ["version", "python"],
            registry=registry,
        ).labels(__version__, platform.python_version()).set(1)
        self.up = Gauge(
            "fping_exporter_up",
            "1 if this scrape carries results of instances, 0 if there are none young enough.",
            registry=registry,
        )
        self.inventory = Part("inventory", "list of instances", "instances", registry=registry)
        self.sweep = Part("sweep", "sweep", "targets", registry=registry)
        self._part_success = Gauge(
            "fping_exporter_part_success",
            "1 if this optional part of the last list of instances could be had, 0 if not.",
            ["part"],
            registry=registry,
        )
        self._packets_sent = Counter("fping_exporter_packets_sent", "Echo requests sent.", registry=registry)
        self._packets_received = Counter(
            "fping_exporter_packets_received", "Echo replies counted.", registry=registry
        )
        self._packets_rejected = Counter(
            "fping_exporter_packets_rejected",
            "Packets that came in and were not counted as replies, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in Rejection:
            self._packets_rejected.labels(reason)
        self._vantage_targets = Gauge(
            "fping_exporter_vantage_targets",
            "Targets of the newest complete sweep, by the kind of vantage.",
            ["vantage"],
            registry=registry,
        )
        self._vantages = Gauge(
            "fping_exporter_vantages",
            "Vantages that the newest complete sweep had targets for, by kind.",
            ["vantage"],
            registry=registry,
        )
        self._vantage_up = Gauge(
            "fping_exporter_vantage_up",
            "How many of these could send to at least one of their targets, by kind.",
            ["vantage"],
            registry=registry,
        )
        self._overflows = Counter(
            "fping_exporter_neighbour_table_overflows",
            "How often the kernel's neighbour table had no room during a sweep.",
            registry=registry,
        )
        self._requests = Counter(
            "fping_exporter_openstack_requests",
            "Answers of OpenStack's APIs, by service and HTTP status.",
            ["service", "code"],
            registry=registry,
        )
        self._os_fping_requests = Counter(
            "fping_exporter_os_fping_requests",
            "Answers of this exporter's os-fping API, by HTTP status.",
            ["code"],
            registry=registry,
        )
        self._reload_successful = Gauge(
            "fping_exporter_config_last_reload_successful",
            "1 if the configuration was last read with success.",
            registry=registry,
        )
        self._reload_success_timestamp = Gauge(
            "fping_exporter_config_last_reload_success_timestamp_seconds",
            "Unix time at which the configuration was last read with success.",
            registry=registry,
        )

    def observe_os_fping(self, code: int) -> None:
        """Count one answer of the os-fping API."""
        self._os_fping_requests.labels(str(code)).inc()

    def observe_inventory(self, inventory: Inventory) -> None:
        """Record a complete list of instances."""
        self.inventory.succeeded(
            started_at=inventory.listed_at, duration=inventory.duration, size=len(inventory.instances)
        )
        for part, success in inventory.parts.items():
            self._part_success.labels(part).set(success)

    def observe_sweep(self, sweep: Sweep) -> None:
        """Record a complete sweep."""
        self.sweep.succeeded(started_at=sweep.started_at, duration=sweep.duration, size=len(sweep.outcomes))
        self._packets_sent.inc(sweep.sent)
        self._packets_received.inc(sweep.received)
        for reason, count in sweep.rejected.items():
            self._packets_rejected.labels(reason).inc(count)
        self._overflows.inc(sweep.overflows)
        self._observe_vantages(sweep)

    def _observe_vantages(self, sweep: Sweep) -> None:
        targets = Counts(target.kind for target in sweep.outcomes)
        there = {target.vantage: target.kind for target in sweep.outcomes}
        up = {target.vantage: target.kind for target, outcome in sweep.outcomes.items() if outcome.sent}
        for gauge, counts in (
            (self._vantage_targets, targets),
            (self._vantages, Counts(there.values())),
            (self._vantage_up, Counts(up.values())),
        ):
            for kind in self._kinds | counts.keys():  # what is no longer there is 0
                gauge.labels(kind).set(counts[kind])
        self._kinds |= targets.keys()

    def observe_reload(self, *, success: bool) -> None:
        """Record that the configuration was read."""
        self._reload_successful.set(success)
        if success:
            self._reload_success_timestamp.set_to_current_time()

    def observe_request(self, service: str, code: int) -> None:
        """Count one answer of an OpenStack API."""
        self._requests.labels(service, str(code)).inc()


class Part:
    """Success, time, duration and size of one thing that is done over and over."""

    def __init__(self, name: str, what: str, unit: str, *, registry: CollectorRegistry) -> None:
        """Register its four gauges."""
        prefix = f"fping_exporter_{name}"
        self._success = Gauge(
            f"{prefix}_success", f"1 if the last {what} was completed, else 0.", registry=registry
        )
        self._timestamp = Gauge(
            f"{prefix}_last_success_timestamp_seconds",
            f"Unix time at which the newest complete {what} was begun.",
            registry=registry,
        )
        self._duration = Gauge(
            f"{prefix}_duration_seconds", f"How long the newest complete {what} took.", registry=registry
        )
        self._size = Gauge(
            f"{prefix}_{unit}", f"How many {unit} the newest complete {what} had.", registry=registry
        )
        self.error: str | None = None
        """Why the last run failed, in one line; None if it did not."""

    def succeeded(self, *, started_at: float, duration: float, size: int) -> None:
        """Record a completed run; `started_at` in Unix seconds, `duration` in seconds."""
        self._success.set(1)
        self._timestamp.set(started_at)
        self._duration.set(duration)
        self._size.set(size)
        self.error = None

    def failed(self, error: str) -> None:
        """Record a failed run; what is known of the last complete one stays."""
        self._success.set(0)
        self.error = error
