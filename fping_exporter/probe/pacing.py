"""How fast all sweeps together may go, and how far one has come."""

import threading
import time
from collections.abc import Callable

__all__ = ["Pacer", "Progress"]

Progress = Callable[[int], object]
"""Called while a sweep goes on with the number of packets that were answered since the last call."""

_BURST = 0.01
"""Seconds of unused time that may be made up for: a sleep that took longer costs no throughput."""


class Pacer:
    """A token bucket, safe to share between threads.

    Callers reserve their packets in advance and sleep for themselves, so that nobody
    waits behind a lock and a slow sweep holds up no other.
    """

    def __init__(self, *, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Allow `rate` packets a second, by a `clock` in seconds that never goes back."""
        self._clock = clock
        self._lock = threading.Lock()
        self._free_at = clock()
        self.rate = rate
        """Packets per second; a reload may change it in mid-sweep."""

    @property
    def batch(self) -> int:
        """Packets to reserve at once: few enough that a batch stays a short burst."""
        return max(1, min(64, int(self.rate * _BURST / 4)))

    def reserve(self, packets: int) -> float:
        """Take the right to send `packets`; return the seconds to wait before the first may go."""
        with self._lock:
            now = self._clock()
            start = max(self._free_at, now - _BURST)
            self._free_at = start + packets / self.rate
        return max(0.0, start - now)
