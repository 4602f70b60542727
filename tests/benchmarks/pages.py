"""The status page and ``/sd`` at 100,000 instances: ``python -m tests.benchmarks.pages [INSTANCES]``.

On Flask's test client, so that the figures are those of the pages. CPU time of the thread that answers: the
machine may be shared, and the next list be under way.
"""

import statistics
import sys
import time
from collections.abc import Callable

from tests.benchmarks.exporter import verdict
from tests.browser.scene import Cloud, watch

INSTANCES = 100_000
ROUNDS = 3
MOST_PAGE_MS, MOST_SD_MS = 100.0, 10.0
_SWEEP_SECONDS = 20.0
"""Results stay fresh for so long, which is enough to measure all that comes from memory."""


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    cloud = Cloud(int(sys.argv[1]) if len(sys.argv) > 1 else INSTANCES)
    client = watch(cloud, sweep=_SWEEP_SECONDS).test_client()
    client.get("/")  # which compiles the templates

    def cpu_ms(path: str, encoding: str = "gzip") -> Callable[[], float]:
        def ask() -> float:
            begun = time.thread_time()
            answer = client.get(path, headers={"Accept-Encoding": encoding})
            assert answer.status_code == 200
            bytes_of[path, encoding] = len(answer.data)
            return (time.thread_time() - begun) * 1e3

        return ask

    bytes_of: dict[tuple[str, str], int] = {}
    asked = {
        "/, first view of a snapshot": cpu_ms("/"),
        "/, later views": cpu_ms("/"),
        "/?page=500": cpu_ms("/?page=500"),
        "/?q=vm-0123": cpu_ms("/?q=vm-0123"),
        "/?ping=silent&project=team-010": cpu_ms("/?ping=silent&project=team-010"),
        "/?sort=-rtt": cpu_ms("/?sort=-rtt"),
        "/sd?alive=1, first": cpu_ms("/sd?alive=1"),
        "/sd?alive=1, later, gzip": cpu_ms("/sd?alive=1"),
        "/sd?alive=1, later, plain": cpu_ms("/sd?alive=1", ""),
    }
    times: dict[str, list[float]] = {name: [] for name in asked}
    for _ in range(ROUNDS):
        time.sleep(_SWEEP_SECONDS)
        client.get("/metrics", headers={"X-Prometheus-Scrape-Timeout-Seconds": "120"})  # which makes a sweep
        for name, ask in asked.items():
            times[name].append(ask())
    median = {name: statistics.median(each) for name, each in times.items()}
    for name, milliseconds in median.items():
        print(f"{name:32} {milliseconds:7.1f} ms of CPU")
    for (path, encoding), size in bytes_of.items():
        print(f"{path:32} {size / 1e3:9.1f} KB {encoding or 'plain'}")
    return verdict(
        {
            f"/ within {MOST_PAGE_MS:.0f} ms": median["/, first view of a snapshot"] <= MOST_PAGE_MS,
            f"/sd from memory within {MOST_SD_MS:.0f} ms": median["/sd?alive=1, later, gzip"] <= MOST_SD_MS,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
