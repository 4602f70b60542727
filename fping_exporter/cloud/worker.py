"""Work in threads that are given up when their time is over."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import TypeVar

from fping_exporter.cloud.time_limit import time_limit
from fping_exporter.errors import CloudError
from fping_exporter.single_flight import start_daemon_thread

__all__ = ["GivenUpError", "Worker"]

T = TypeVar("T")

_MAX_HANGING = 8


class GivenUpError(CloudError):
    """Work went on past its time limit, and is left to itself."""


class Worker:
    """Runs pieces of work, one after the other, each in a thread of its own.

    Requests end by themselves (:mod:`fping_exporter.cloud.transport`). Nothing ends a thread that is stuck
    in the resolver, in a file system that is away, or in a lock of some library's: it is left
    behind, and the next piece of work gets another thread. There is a bound on threads left behind.
    """

    def __init__(self, name: str, *, grace_seconds: float = 1.0) -> None:
        """Name the threads, and the work in errors.

        Work that asks for the time left ends by itself, and says what it waited for. It is given so many
        seconds more for that.
        """
        self._name = name
        self._grace_seconds = grace_seconds
        self._hanging: list[threading.Thread] = []

    def run(self, work: Callable[[], T], *, seconds: float) -> T:
        """Return what `work` returns, or raise what it raises, within `seconds` and the grace.

        Raises GivenUpError if it has not ended by then, CloudError if too many have not ended yet, and
        ResourceError if no thread can be started.
        """
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MAX_HANGING:
            raise CloudError(
                f"{self._name}: {len(self._hanging)} earlier ones hang in calls that do not return; "
                "nothing is begun before one of them ends"
            )
        result: Future[T] = Future()

        def run() -> None:
            with time_limit(seconds):
                try:
                    result.set_result(work())
                except BaseException as error:  # noqa: BLE001, it is raised where the result is awaited
                    result.set_exception(error)

        thread = start_daemon_thread(run, name=self._name)
        if not wait([result], timeout=seconds + self._grace_seconds).done:
            self._hanging.append(thread)
            raise GivenUpError(f"{self._name} was given up after {seconds:.0f} s: a call does not return")
        return result.result()
