"""One run of a piece of work at a time, in a thread, which callers join."""

import threading
from collections.abc import Callable

from fping_exporter.errors import ResourceError
from fping_exporter.log_context import current_cloud, log_as

__all__ = ["SingleFlight", "start_daemon_thread"]


class SingleFlight:
    """Runs `work` in a thread of its own, at most once at a time."""

    def __init__(
        self, name: str, work: Callable[[], None], *, refused: Callable[[ResourceError], None]
    ) -> None:
        """Name the thread `name`; nothing runs yet.

        `refused` is called where the process may have no further thread; the next start tries again.
        Whoever starts a run, its log lines are of the cloud that the calling thread works for now.
        """
        self._name = name
        self._work = work
        self._refused = refused
        self._cloud = current_cloud()
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._done.set()

    @property
    def newest(self) -> threading.Event:
        """The event of the newest run; it is set unless one is under way."""
        return self._done

    def start(self) -> threading.Event:
        """Start a run unless one is under way; the event is set when that run has ended, or was refused."""
        with self._lock:
            if not self._done.is_set():
                return self._done
            done = threading.Event()
            try:
                start_daemon_thread(lambda: self._run(done), name=self._name)
            except ResourceError as error:
                refusal = error
            else:
                self._done = done
                return done
        with log_as(self._cloud):
            self._refused(refusal)
        done.set()
        return done

    def _run(self, done: threading.Event) -> None:
        try:
            with log_as(self._cloud):
                self._work()
        finally:
            done.set()


def start_daemon_thread(work: Callable[[], None], *, name: str) -> threading.Thread:
    """Start a thread that does not keep the process from ending, as a cloud that hangs must not.

    Its log lines are of the cloud that the starting thread works for. Raises ResourceError where the process
    may have no further thread.
    """
    cloud = current_cloud()

    def run() -> None:
        with log_as(cloud):
            work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    try:
        thread.start()
    except RuntimeError as error:
        raise ResourceError(
            f"no thread could be started ({error}): raise the limit of processes (ulimit -u, TasksMax, "
            "pids.max)"
        ) from error
    return thread
