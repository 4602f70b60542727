"""How many ICMP and packet sockets may be open at once, in all sweeps together."""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

__all__ = ["SocketBudget", "Turn"]


class Turn(NamedTuple):
    """The time in which a sweep holds sockets."""

    free: int
    """How many it may open, one at least: the next sweep waits until this one has taken what it needs."""
    take: Callable[[int], int]
    """Takes that many sockets, or as many as are free, once in a turn. Returns their number."""


class SocketBudget:
    """A number of sockets that threads share."""

    def __init__(self, limit: int) -> None:
        """Begin with `limit` free ones."""
        self._free = limit
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        """Those that have not taken theirs yet, the longest one first."""

    @contextlib.contextmanager
    def turn(self) -> Iterator[Turn]:
        """Wait for a turn, in which a socket is free; what was taken is given back at its end.

        Every wait ends: a sweep opens its sockets at once, and gives them back after a turn, which takes as
        long as its timeouts. Its next turn comes after those that wait by then.
        """
        place, taken = object(), 0

        def take(wanted: int) -> int:
            nonlocal taken
            with self._changed:
                self._queue.remove(place)
                taken = min(wanted, self._free)
                self._free -= taken
                self._changed.notify_all()
            return taken

        with self._changed:
            self._queue.append(place)
            self._changed.wait_for(lambda: self._free > 0 and self._queue[0] is place)
            turn = Turn(self._free, take)
        try:
            yield turn
        finally:
            with self._changed:
                if place in self._queue:
                    self._queue.remove(place)
                self._free += taken
                self._changed.notify_all()
