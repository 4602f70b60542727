"""The kernel's neighbour tables (ARP and NDP): whether they are too small for this many targets.

There is one table for each family, and all network namespaces of the machine share it.
"""

from pathlib import Path

__all__ = ["count_overflows", "size_limit"]

_STATISTICS = Path("/proc/net/stat")
_SIZE_LIMIT = Path("/proc/sys/net/ipv4/neigh/default/gc_thresh3")


def count_overflows() -> int:
    """Return how often a table was full since the machine was started; 0 where the kernel does not say."""
    count = 0
    for table in ("arp_cache", "ndisc_cache"):
        try:
            heading, *processors = (_STATISTICS / table).read_text().splitlines()
        except OSError:  # only the machine's first network namespace has these files
            continue
        column = heading.split().index("table_fulls")
        count += sum(int(line.split()[column], 16) for line in processors)
    return count


def size_limit() -> str:
    """Return how many neighbours the table of IPv4 may hold; ``?`` where the kernel does not say."""
    try:
        return _SIZE_LIMIT.read_text().strip()
    except OSError:
        return "?"
