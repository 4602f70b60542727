"""Scrapes of a large cloud while it is listed and swept: ``python -m tests.benchmarks.large``, as root.

10,000 and then 100,000 instances, of which every tenth is silent, with the default settings. For five minutes
Prometheus's scrapes come every 15 s, and wait for the refresh that they meet. Beside them a scrape every
quarter of a second takes what is in memory. ``python -m tests.benchmarks.large 10000 60`` is one run, of so
many instances and seconds.

Everything is in a network namespace, whose firewall drops the pings to the silent ones.
"""

import gzip
import math
import statistics
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from tests.benchmarks.exporter import Exporter, running, verdict
from tests.benchmarks.large_cloud import SILENT
from tests.netns import Namespace

SECONDS = 300
INTERVAL = 15.0
TIMEOUT = 10.0
"""Prometheus's, in seconds. Its default for an interval of 15 s."""
PAUSE = 0.25


class Marks(NamedTuple):
    """What a cloud of a certain size may take."""

    p99: float
    """Of a scrape from memory, in seconds."""
    mib: int
    """Resident memory at its peak."""


MARKS = {10_000: Marks(0.020, 100), 100_000: Marks(0.100, 450)}


class Measured(NamedTuple):
    """Seconds that each scrape took, and what the exporter took meanwhile."""

    waiting: list[float]
    from_memory: list[float]
    body: int
    """Bytes, gzipped."""
    cpu: float
    """Seconds of CPU a minute."""
    mib: float
    """Resident memory at its peak."""


@contextmanager
def cloud(instances: int) -> Iterator[Exporter]:
    """Run an exporter of a cloud of so many instances."""
    with Namespace("large") as namespace, namespace.entered():
        namespace.nft(
            f"table ip silent {{ chain input {{ type filter hook input priority 0; "
            f"ip daddr {SILENT} icmp type echo-request drop\n}}\n}}"
        )
        arguments = ["-m", "tests.benchmarks.large_cloud", str(instances)]
        with running("", cloud=arguments, instances=instances) as exporter:
            yield exporter


def measure(instances: int, seconds: float) -> Measured:
    """Scrape for so many seconds."""
    waiting: list[float] = []
    from_memory: list[float] = []
    done = threading.Event()

    def scrape(walls: list[float], *, timeout: float, interval: float) -> None:
        due = time.monotonic() + interval / 3  # of those that wait, amid a sweep
        while not done.wait(max(due - time.monotonic(), 0)):
            begun = time.perf_counter()
            exporter.scrape(timeout=timeout)
            walls.append(time.perf_counter() - begun)
            due = max(due + interval, time.monotonic())

    with cloud(instances) as exporter:
        body = exporter.scrape()
        assert gzip.decompress(body).count(b"\ninstance_alive{") == instances, "not all are asked"
        threads = [
            threading.Thread(target=scrape, args=(walls,), kwargs={"timeout": timeout, "interval": interval})
            for walls, timeout, interval in ((waiting, TIMEOUT, INTERVAL), (from_memory, 0.5, PAUSE))
        ]
        cpu = exporter.cpu()
        for thread in threads:
            thread.start()
        time.sleep(seconds)
        done.set()
        for thread in threads:
            thread.join()
        cpu = (exporter.cpu() - cpu) / seconds * 60
        return Measured(waiting, from_memory, len(body), cpu, exporter.resident(peak=True))


def percentile(walls: list[float]) -> float:
    """Return the 99th percentile, by the nearest rank."""
    return sorted(walls)[math.ceil(len(walls) * 0.99) - 1]


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    sizes, seconds = list(MARKS), float(SECONDS)
    if len(sys.argv) > 1:
        sizes, seconds = [int(sys.argv[1])], float(sys.argv[2])
    marks = {}
    print(f"{'instances':>9}{'scrapes':>20}{'number':>8}{'p50 ms':>9}{'p99 ms':>9}{'max ms':>9}")
    for instances in sizes:
        found = measure(instances, seconds)
        for name, walls in (("from memory", found.from_memory), ("every 15 s", found.waiting)):
            figures = (statistics.median(walls), percentile(walls), max(walls))
            print(
                f"{instances:9}{name:>20}{len(walls):8}"
                + "".join(f"{figure * 1e3:9.1f}" for figure in figures)
            )
        print(
            f"{instances:9}  {found.body / 1e6:.1f} MB gzipped, {found.cpu:.1f} s of CPU a minute, "
            f"at most {found.mib:.0f} MiB resident",
            flush=True,
        )
        marks[f"{instances}: every scrape within {TIMEOUT:g} s"] = max(found.waiting) <= TIMEOUT
        if instances in MARKS:
            mark = MARKS[instances]
            marks[f"{instances}: p99 from memory <= {mark.p99 * 1e3:.0f} ms"] = (
                percentile(found.from_memory) <= mark.p99
            )
            marks[f"{instances}: at most {mark.mib} MiB"] = found.mib <= mark.mib
    return verdict(marks)


if __name__ == "__main__":
    sys.exit(main())
