"""An end for a piece of work: everything that it waits for asks how much time is left."""

import contextlib
import math
import time
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["time_left", "time_limit"]

_end: ContextVar[float] = ContextVar("end", default=math.inf)
"""By the monotonic clock. Each thread has its own."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Let the work inside last so many seconds at most, or less if it is inside a tighter limit."""
    token = _end.set(min(_end.get(), time.monotonic() + seconds))
    try:
        yield
    finally:
        _end.reset(token)


def time_left() -> float:
    """Return the seconds that are left to this thread, infinite without a limit; negative when it is over."""
    return _end.get() - time.monotonic()
