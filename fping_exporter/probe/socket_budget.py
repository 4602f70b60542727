"""How many ICMP and packet sockets may be open at once, in all sweeps together."""

import contextlib
import threading
from collections import deque
from collections.abc import Iterator

__all__ = ["SocketBudget"]


class SocketBudget:
    """A number of sockets that threads share."""

    def __init__(self, limit: int) -> None:
        """Begin with `limit` free ones."""
        self._free = limit
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        """Those that wait, the longest one first."""

    @contextlib.contextmanager
    def take(self, wanted: int) -> Iterator[int]:
        """Take `wanted` sockets, or as many as are free; wait while there is none. Yields their number.

        Every wait ends: a sweep takes its sockets at once, and gives them back after a turn, which takes as
        long as its timeouts. Its next turn comes after those that wait by then.
        """
        with self._changed:
            place = object()
            self._queue.append(place)
            self._changed.wait_for(lambda: self._free > 0 and self._queue[0] is place)
            self._queue.popleft()
            taken = min(wanted, self._free)
            self._free -= taken
            self._changed.notify_all()
        try:
            yield taken
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()
