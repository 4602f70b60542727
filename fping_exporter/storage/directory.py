"""A directory of which this process alone is the user, and the files in it: one for each cloud."""

import contextlib
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from fping_exporter.config import DEFAULT_CLOUD
from fping_exporter.errors import StorageError, StorageInUseError

__all__ = ["FILE", "Directory", "check_directory", "file_of", "open_file", "peek", "unreadable"]

FILE = "state.jsonl.gz"
"""The file of the only cloud of a configuration that names none."""
_FILES = re.compile(r"state(?:-(?P<cloud>[a-z0-9][a-z0-9_-]*))?\.jsonl\.gz(?:\.unreadable|\.tmp)?")
_LOCK_FILE = "lock"


def file_of(cloud: str) -> str:
    """Return the name of the file of a cloud."""
    return FILE if cloud == DEFAULT_CLOUD else f"state-{cloud}.jsonl.gz"


def unreadable(file: str) -> str:
    """Return what a file is called when it cannot be used. An older one of that name is replaced."""
    return f"{file}.unreadable"


def check_directory(path: Path) -> None:
    """Raise StorageError if `path` is no directory that this user may write to. Nothing is created."""
    with _explained(path):
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    if not os.access(path, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: uid {os.geteuid()} may not write there")


def open_file(directory: int, name: str) -> BinaryIO | None:
    """Open a file in an open directory to read it; None if there is none yet.

    Raises StorageError if it is not readable.
    """
    try:
        # a FIFO must not wait for a writer
        descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"it cannot be opened: {error.strerror}") from error
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise StorageError("it is no regular file")
    return file


def peek(path: Path, name: str) -> BinaryIO | None:
    """Open a file in the directory at `path`, which may be another process's; None if there is none yet.

    That process replaces its file as a whole: what is open stays as it is. Raises StorageError if there is no
    such directory, or the file is not readable.
    """
    with _explained(path):
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return open_file(directory, name)
    except StorageError as error:
        raise StorageError(f"{path / name}: {error}") from error
    finally:
        os.close(directory)


class Directory:
    """Holds a lock in a directory until the process ends, and replaces files in it, each as a whole."""

    def __init__(self, path: Path) -> None:
        """Lock the directory at `path`, which has to be there.

        Raises StorageError if it cannot be written to, StorageInUseError if another process has it.
        """
        check_directory(path)
        self.path = path
        with contextlib.ExitStack() as stack:
            with _explained(path):
                self._directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            stack.callback(os.close, self._directory)
            with _explained(path / _LOCK_FILE):  # which may be another user's
                lock = self._open(_LOCK_FILE, os.O_RDWR | os.O_CREAT)
                stack.callback(os.close, lock)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise StorageInUseError(f"{path}: another process stores its state there") from None
            self._open_files = stack.pop_all()

    def close(self) -> None:
        """Give the lock back."""
        self._open_files.close()

    def read(self, file: str) -> BinaryIO | None:
        """Open a file to read it; None if there is none yet. Raises StorageError if it is not readable."""
        return open_file(self._directory, file)

    def replace(self, file: str, write: Callable[[BinaryIO], object]) -> None:
        """Replace a file by what `write` writes, or leave it as it is.

        Raises OSError, or what `write` raises. A process that is killed meanwhile leaves the old file or
        the new one, and perhaps a temporary file, which the next call removes.
        """
        temporary = f"{file}.tmp"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=self._directory)
        try:
            descriptor = self._open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(descriptor, "wb") as opened:
                write(opened)
                opened.flush()
                os.fsync(descriptor)
            self._rename(temporary, file)
            os.fsync(self._directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary, dir_fd=self._directory)
            raise

    def set_aside(self, file: str) -> None:
        """Rename a file to :func:`unreadable` of it; raises OSError."""
        self._rename(file, unreadable(file))

    def remove_others(self, clouds: Collection[str], *, age: float) -> list[str]:
        """Remove the files of other clouds that are `age` seconds old or older; return their names.

        What cannot be listed or removed stays.
        """
        names, removed = [], []
        with contextlib.suppress(OSError):
            names = os.listdir(self._directory)  # noqa: PTH208, of the directory that is open
        for name in sorted(names):
            found = _FILES.fullmatch(name)
            if not found or (found["cloud"] or DEFAULT_CLOUD) in clouds:
                continue
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=self._directory, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode) and time.time() - status.st_mtime >= age:
                    os.unlink(name, dir_fd=self._directory)
                    removed.append(name)
        return removed

    def _open(self, name: str, flags: int) -> int:
        return os.open(name, flags | os.O_NOFOLLOW, 0o600, dir_fd=self._directory)

    def _rename(self, old: str, new: str) -> None:
        os.replace(old, new, src_dir_fd=self._directory, dst_dir_fd=self._directory)


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"{path}: {error.strerror}") from error
