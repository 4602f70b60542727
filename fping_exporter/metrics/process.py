"""What the exporter says of its process: version, memory, CPU and reloads."""

import platform
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.registry import Collector

from fping_exporter import __version__
from fping_exporter.metrics.telemetry import gauge

__all__ = ["ProcessTelemetry"]


class ProcessTelemetry(Collector):
    """The metrics of the process, whichever clouds it has."""

    def __init__(self) -> None:
        """Register everything."""
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._read_at: float | None = None
        self._read = True
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the gauges."""
        yield gauge(
            "build_info",
            "The version that runs, always 1.",
            {(__version__, platform.python_version()): 1},
            "version",
            "python",
        )
        yield gauge(
            "config_last_reload_successful",
            "1 if the configuration was last read with success.",
            {(): self._read},
        )
        yield gauge(
            "config_last_reload_success_timestamp_seconds",
            "Unix time at which the configuration was last read with success.",
            {(): self._read_at or 0},
        )

    def observe_reload(self, *, success: bool) -> None:
        """Record that the configuration was read."""
        self._read = success
        if success:
            self._read_at = time.time()
