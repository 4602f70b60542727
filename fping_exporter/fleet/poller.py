"""The clock of an agent: each new list is asked for when it is due, whether or not anybody scrapes."""

import logging
import threading
from collections.abc import Callable

from fping_exporter.errors import ResourceError
from fping_exporter.single_flight import start_daemon_thread

__all__ = ["Poller"]

logger = logging.getLogger(__name__)


class Poller:
    """Calls `refresh` again and again, in a thread of its own, and waits for `pause` seconds in between."""

    def __init__(self, refresh: Callable[[], threading.Event], pause: Callable[[], float]) -> None:
        """Prepare; `refresh` returns an event that is set when the refresh has ended."""
        self._refresh = refresh
        self._pause = pause
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin; without a thread, lists are refreshed when somebody scrapes."""
        try:
            start_daemon_thread(self._run, name="poller")
        except ResourceError as error:
            logger.warning("new lists are only asked for at scrapes: %s", error)

    def stop(self) -> None:
        """Call nothing any more; a call that is under way goes on."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self._pause()):
            self._refresh().wait()
