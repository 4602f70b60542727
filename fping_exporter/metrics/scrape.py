"""The exporter's own metrics of one scrape, which is of the process, of a cloud, or of both."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Metric
from prometheus_client.registry import Collector

from fping_exporter.metrics.telemetry import gauge

__all__ = ["TRUST", "Up", "collect_scrape"]

TRUST = (
    "fping_exporter_up",
    "fping_exporter_blind",
    "fping_exporter_sweep_last_success_timestamp_seconds",
)
"""The metrics that say how far to believe the instances' metrics of the same scrape."""


def collect_scrape(parts: Iterable[Collector], *, names: Sequence[str] | None = None) -> Collector:
    """Return the metrics of one scrape, which are those of the `parts`; with `names`, only these samples."""
    registry = CollectorRegistry(auto_describe=names is not None)
    for part in parts:
        registry.register(part)
    return registry if names is None else registry.restricted_registry(names)


class Up(Collector):
    """``fping_exporter_up`` of one scrape."""

    def __init__(self, up: bool | Mapping[str, bool]) -> None:  # noqa: FBT001, it is the value itself
        """Say whether the scrape carries results of instances, or of which clouds, by name, there are any."""
        self._up = up

    def collect(self) -> Iterator[Metric]:
        """Yield the one gauge."""
        if isinstance(self._up, Mapping):
            yield gauge(
                "up",
                "1 if there are results of this cloud's instances that are young enough, else 0.",
                {(name,): up for name, up in self._up.items()},
                "cloud",
            )
        else:
            yield gauge(
                "up",
                "1 if this scrape carries results of instances, 0 if there are none young enough.",
                {(): self._up},
            )
