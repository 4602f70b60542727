"""The exporter's memory: ``python -m tests.benchmarks.memory``.

10,000 instances, 20 scrapes, each with a new list and a new sweep.
"""

import statistics
import sys

from tests.benchmarks.exporter import INSTANCES, running, verdict

SCRAPES = 20
SETTLED = 5
SPAN = 5
"""Scrapes of which the median counts: one scrape may catch a listing in the middle."""
MOST_MIB = 130
GROWTH_MIB = 3
"""What an allocator's rounding may make; a leak of one page a scrape would be found in a day, not here."""


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    resident = []
    with running("cache: {sweep: 1ms, inventory: 1ms}") as exporter:
        for _ in range(SCRAPES):
            exporter.scrape()
            resident.append(exporter.resident())
    last, settled = statistics.median(resident[-SPAN:]), statistics.median(resident[SETTLED - 1 :][:SPAN])
    print(
        f"{INSTANCES} instances, resident MiB after each scrape: "
        + " ".join(f"{each:.0f}" for each in resident)
    )
    return verdict(
        {
            f"<= {MOST_MIB} MiB": last <= MOST_MIB,
            f"no growth from scrape {SETTLED} to {SCRAPES}": last - settled <= GROWTH_MIB,
        }
    )


if __name__ == "__main__":
    sys.exit(main())
