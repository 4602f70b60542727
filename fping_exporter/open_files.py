"""Open files are a budget of the process (RLIMIT_NOFILE, see getrlimit(2)).

At least half of them are for ICMP sockets, one for each network namespace and IP version, and then for packet
sockets, one for each interface that is asked from at layer 2. If these are more, they are opened in turns.
A quarter, and no more than 256, is for clients. A quarter, and no more than 320, is for the cloud, which is
asked for callers of os-fping as well, and for everything else.
"""

import contextlib
import resource
from typing import NamedTuple

__all__ = ["Shares", "raise_limit", "shares"]

_MOST_CONNECTIONS = 256
_MOST_OTHERS = 320


class Shares(NamedTuple):
    """How many files may be open, by purpose."""

    icmp_sockets: int
    connections: int


def raise_limit() -> int:
    """Raise the soft limit to the hard one, as any process may; return the limit then."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # a hard limit above the kernel's fs.nr_open
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return _limit()


def shares() -> Shares:
    """Divide the files that this process may open; each share is at least one."""
    limit = _limit()
    connections = max(1, min(_MOST_CONNECTIONS, limit // 4))
    return Shares(max(1, limit - connections - min(_MOST_OTHERS, limit // 4)), connections)


def _limit() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _UNLIMITED if soft == resource.RLIM_INFINITY else soft


_UNLIMITED = 1 << 20
"""Files that a process without a limit may open by default (fs.nr_open)."""
