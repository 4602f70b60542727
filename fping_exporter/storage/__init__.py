"""What outlives a restart: the newest list of instances, and when each of them last answered."""

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from fping_exporter.config import Scope
from fping_exporter.errors import ConfigError, StorageError, StorageInUseError
from fping_exporter.history import RETENTION
from fping_exporter.log_limit import LogLimit
from fping_exporter.single_flight import SingleFlight
from fping_exporter.storage import format as file_format
from fping_exporter.storage.clock import Moment
from fping_exporter.storage.directory import FILE, Directory, check_directory, file_of, peek, unreadable
from fping_exporter.storage.format import State

__all__ = [
    "NOTHING_STORED",
    "FindStorage",
    "Observe",
    "State",
    "StateDirectory",
    "Storage",
    "check_named_directory",
    "errors_of_flag",
    "find_directory",
    "open_state",
    "read_another",
]

logger = logging.getLogger(__name__)

_INTERVAL_SECONDS = 60.0
"""Least time from the start of one write to the start of the next."""
_LAST_WRITE_SECONDS = 5.0
"""How long a cloud that comes back waits for what was known of it to be written."""


class Observe(Protocol):
    """A callback for the result of each write."""

    def __call__(self, *, success: bool) -> object:
        """Record whether the write succeeded. It is called in the thread that writes."""
        ...


def _ignore(*, success: bool) -> None:
    """Record nothing."""


def open_state(named: Path | None, *, environment: Mapping[str, str] = os.environ) -> "StateDirectory":
    """Open the directory that is `named` by --storage.path, else the first one in ``STATE_DIRECTORY``.

    systemd sets that variable: systemd.exec(5). Nothing is stored if neither is given, if another process has
    the directory, or if that of the variable cannot be used; the latter two are logged. Raises ConfigError if
    the directory that is `named` cannot be used.
    """
    directory = find_directory(named, environment)
    if directory is None:
        return NOTHING_STORED
    try:
        with errors_of_flag() if named else contextlib.nullcontext():
            return StateDirectory(Directory(directory))
    except StorageError as error:
        logger.warning("the state is not stored, and a restart will begin without it: %s", error)
        return StateDirectory(None, expected=True)


def check_named_directory(path: Path) -> None:
    """Raise ConfigError if the directory that --storage.path names cannot be used; change nothing."""
    with errors_of_flag():
        check_directory(path)


def find_directory(named: Path | None, environment: Mapping[str, str]) -> Path | None:
    """Return the directory that is `named`, else the first one in ``STATE_DIRECTORY``; None if neither is."""
    given = environment.get("STATE_DIRECTORY", "").partition(":")[0]
    return named or (Path(given) if given else None)


@contextlib.contextmanager
def errors_of_flag() -> Iterator[None]:
    """Raise ConfigError where --storage.path names a directory that cannot be used, unless it is in use."""
    try:
        yield
    except StorageInUseError:
        raise
    except StorageError as error:
        raise ConfigError(f"--storage.path: {error}") from error


def read_another(path: Path, scope: Scope, *, cloud: str) -> State | None:
    """Read what another process keeps of a cloud in the directory at `path`; None if there is nothing yet.

    Raises StorageError if it cannot be read, or is of another scope.
    """
    file = peek(path, file_of(cloud))
    if file is None:
        return None
    with file:
        try:
            return file_format.read(file, scope=scope, now=Moment.now())
        except StorageError as error:
            raise StorageError(f"{path / file_of(cloud)}: {error}") from error


class Storage:
    """Keeps the newest state of one cloud in a file. A thread of its own writes it, once a minute at most.

    No caller of :meth:`save` waits for the disk.
    """

    def __init__(
        self,
        directory: Directory,
        *,
        file: str = FILE,
        observe: Observe = _ignore,
        interval: float = _INTERVAL_SECONDS,
    ) -> None:
        """Use `file` in `directory`; `interval` is in seconds.

        `observe` is called with whether a write succeeded.
        """
        self._directory = directory
        self._file = file
        self._observe = observe
        self._interval = interval
        self._lock = threading.Lock()
        self._usable = True
        """Whether the file may be replaced."""
        self._scope: Scope | None = None
        self._unwritten: State | None = None
        """The newest state, until it is written: then nothing here keeps its list in memory."""
        self._write_began = -interval
        self._flight = SingleFlight("state", self._write, refused=self._fail)
        self._log_limit = LogLimit(interval=3600)

    def read(self, scope: Scope) -> State | None:
        """Begin to store states of `scope`, and return the stored one; None if none can be used.

        A file that is damaged, of another version or of another scope is renamed, with a warning.
        """
        self.set_scope(scope)
        try:
            return self._read(scope)
        except StorageError as error:
            reason: Exception = error
        except Exception as error:
            logger.exception("reading the stored state failed, which is a bug")
            reason = error
        file = self._directory.path / self._file
        try:
            self._directory.set_aside(self._file)
        except OSError as error:
            logger.warning(
                "%s cannot be used: %s. It cannot be renamed either (%s), so nothing is stored",
                file,
                reason,
                error,
            )
            self._usable = False
            self._observe(success=False)
        else:
            logger.warning("%s cannot be used: %s. It is %s now", file, reason, unreadable(self._file))
        return None

    def _read(self, scope: Scope) -> State | None:
        file = self._directory.read(self._file)
        if file is None:
            return None
        with file:
            return file_format.read(file, scope=scope, now=Moment.now())

    def set_scope(self, scope: Scope) -> None:
        """Store only states of `scope` from now on: what is saved for another one is ignored."""
        with self._lock:
            if scope != self._scope:
                self._scope, self._unwritten = scope, None

    def save(self, state: State, *, scope: Scope) -> None:
        """Take `state` as the newest one; begin to write it if the last write was begun long enough ago."""
        with self._lock:
            if scope != self._scope or not self._usable:
                return
            self._unwritten = state
            due = time.monotonic() - self._write_began >= self._interval
        if due:
            self.write()

    def write(self) -> threading.Event:
        """Begin to write the newest state unless it is written; the event is set when that has ended."""
        return self._flight.start()

    def close(self, seconds: float) -> bool:
        """Write what is not written yet, for so many seconds at most; return whether nothing is left."""
        deadline = time.monotonic() + seconds
        for _ in range(2):  # a write that is under way may be of an older state
            if self._unwritten is None:
                break
            if not self.write().wait(max(deadline - time.monotonic(), 0)):
                logger.warning(
                    "%s could not be written within %.0f s: it is that of before", self._file, seconds
                )
                return False
        return True

    def _write(self) -> None:
        with self._lock:
            state, scope = self._unwritten, self._scope
            self._write_began = time.monotonic()
        if state is None or scope is None:
            return
        try:
            self._directory.replace(
                self._file, lambda file: file_format.write(state, file, scope=scope, now=Moment.now())
            )
        except (OSError, StorageError) as error:
            self._fail(error)
        except Exception as error:
            self._observe(success=False)
            if self._log_limit.allows(repr(error)):
                logger.exception("writing the state failed, which is a bug")
        else:
            with self._lock:
                if self._unwritten is state:
                    self._unwritten = None
            self._observe(success=True)

    def _fail(self, error: Exception) -> None:
        self._observe(success=False)
        reason = getattr(error, "strerror", None) or str(error)
        if self._log_limit.allows(reason):
            logger.error("the state cannot be written to %s: %s", self._directory.path / self._file, reason)


FindStorage = Callable[[str, Observe], Storage | None]
"""Returns where what is known of the cloud of a name is stored; None: nowhere."""


class StateDirectory:
    """The state files of all clouds, in one directory under one lock."""

    def __init__(
        self, directory: Directory | None, *, expected: bool = False, interval: float = _INTERVAL_SECONDS
    ) -> None:
        """Use `directory`; None: nothing is stored, which is a failure if it is `expected`.

        `interval` is the least time between two writes for one cloud, in seconds.
        """
        self._directory = directory
        self._expected = expected
        self._interval = interval
        self._storages: Mapping[str, Storage] = {}
        """Another mapping when a cloud comes, as that may be while the last states are written."""

    def storage(self, cloud: str, observe: Observe) -> Storage | None:
        """Return the storage of a cloud, of which nothing is read yet; None if nothing is stored.

        `observe` is called with False if nothing is stored though it should be, and then with whether each
        write succeeded. For a cloud that was there before, this waits for the last write of its storage, so
        that no two of them write to one file; that is given up after five seconds.
        """
        if self._directory is None:
            if self._expected:
                observe(success=False)
            return None
        if before := self._storages.get(cloud):
            before.close(_LAST_WRITE_SECONDS)
        storage = Storage(self._directory, file=file_of(cloud), observe=observe, interval=self._interval)
        self._storages = {**self._storages, cloud: storage}
        return storage

    def tidy(self, clouds: Collection[str]) -> None:
        """Remove the files of clouds that are not among these, once nothing in them is of use any more.

        That is a day after they were written: until then the cloud may come back.
        """
        if self._directory and (removed := self._directory.remove_others(clouds, age=RETENTION)):
            logger.info("files of clouds that are not configured were removed: %s", ", ".join(removed))

    def write(self) -> None:
        """Begin to write what is not written yet."""
        for storage in self._storages.values():
            storage.write()

    def close(self, seconds: float) -> None:
        """Write what is not written yet, give that up after so many seconds, and give the lock back."""
        deadline = time.monotonic() + seconds
        self.write()
        left = [not each.close(max(deadline - time.monotonic(), 0)) for each in self._storages.values()]
        if self._directory and not any(left):
            self._directory.close()


NOTHING_STORED = StateDirectory(None)
"""For a process whose state ends with it."""
