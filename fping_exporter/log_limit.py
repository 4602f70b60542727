"""A limit on log lines: a warning that holds for hours is not logged at every sweep or listing."""

import threading
import time
from collections.abc import Callable, Hashable

from fping_exporter.log_context import current_cloud

__all__ = ["LogLimit"]


class LogLimit:
    """Lets the same warning of one cloud through once in `interval` seconds. Threads may share it."""

    def __init__(self, interval: float = 600, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing logged; `clock` is in seconds and never goes back."""
        self._interval = interval
        self._clock = clock
        self._lock = threading.Lock()
        self._logged: dict[Hashable, float] = {}

    def allows(self, warning: Hashable) -> bool:
        """Whether to log now what `warning` identifies; if so, take it as logged."""
        warning = current_cloud(), warning
        with self._lock:
            now = self._clock()
            self._logged = {known: at for known, at in self._logged.items() if now - at < self._interval}
            if warning in self._logged:
                return False
            self._logged[warning] = now
            return True
