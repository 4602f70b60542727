"""The kernel's neighbour tables, one for each family and shared by all namespaces, which can be too small."""

from pathlib import Path

__all__ = ["count_overflows", "limit"]

_STATISTICS = Path("/proc/net/stat")
_LIMIT = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")


def count_overflows() -> int:
    """Return how often a neighbour found no room since the machine was started; 0 where it is not told."""
    count = 0
    for table in ("arp_cache", "ndisc_cache"):
        try:
            heading, *processors = (_STATISTICS / table).read_text().splitlines()
        except OSError:  # only the first namespace of the machine has them
            continue
        column = heading.split().index("table_fulls")
        count += sum(int(line.split()[column], 16) for line in processors)
    return count


def limit() -> str:
    """Return how many neighbours of IPv4 there may be; ``?`` where it is not told."""
    try:
        return _LIMIT.read_text().strip()
    except OSError:
        return "?"
