"""A scrape from the cache beside prometheus_client: ``python -m tests.benchmarks.scrape``.

10,000 instances, gzipped, over HTTP on loopback. The anchor renders and compresses the very same
samples, in this process and without HTTP.
"""

import gzip
import statistics
import sys
import time
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from tests.benchmarks.exporter import INSTANCES, running, verdict

SCRAPES = 300
RENDERINGS = 3
MOST_SECONDS = 0.020
LEAST_RATIO = 20


class Same(Collector):
    """The samples of a scrape, given back."""

    def __init__(self, text: str) -> None:
        """Parse the text once, so that only rendering is measured."""
        self._metrics = list(text_string_to_metric_families(text))

    def collect(self) -> Iterable[Metric]:
        """Return what was parsed."""
        return self._metrics


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    with running("cache: {sweep: 5m, inventory: 5m}") as exporter:
        body = exporter.scrape()
        walls = []
        before = exporter.cpu()
        for _ in range(SCRAPES):
            begun = time.perf_counter()
            exporter.scrape()
            walls.append(time.perf_counter() - begun)
        ours = (exporter.cpu() - before) / SCRAPES
    text = gzip.decompress(body).decode()
    registry = CollectorRegistry()
    registry.register(Same(text))
    costs = []
    for _ in range(RENDERINGS):
        begun = time.process_time()
        gzip.compress(generate_latest(registry))
        costs.append(time.process_time() - begun)
    anchor = statistics.median(costs)
    p99 = statistics.quantiles(walls, n=100)[-1]
    print(f"{INSTANCES} instances, {text.count(chr(10))} lines, {len(body) / 1e6:.1f} MB gzipped")
    print(f"{'scrape from cache':20} p50 {statistics.median(walls) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms")
    print(f"{'CPU a scrape':20} {ours * 1e3:.2f} ms, prometheus_client {anchor * 1e3:.0f} ms")
    print(f"{'ratio':20} {anchor / ours:.0f} x")
    return verdict(
        {
            "p99 <= 20 ms": p99 <= MOST_SECONDS,
            "prometheus_client takes >= 20 x the CPU": anchor / ours >= LEAST_RATIO,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
