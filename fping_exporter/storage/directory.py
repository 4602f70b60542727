"""A directory of which this process alone is the user, and the one file in it."""

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from fping_exporter.errors import StorageError, StorageInUseError

__all__ = ["FILE", "UNREADABLE_FILE", "Directory", "check_directory", "open_file", "peek"]

FILE = "state.jsonl.gz"
UNREADABLE_FILE = f"{FILE}.unreadable"
"""What FILE is called when it cannot be used. An older one is replaced."""
_TEMPORARY_FILE = f"{FILE}.tmp"
_LOCK_FILE = "lock"


def check_directory(path: Path) -> None:
    """Raise StorageError if `path` is no directory that this user may write to. Nothing is created."""
    with _explained(path):
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY))
    if not os.access(path, os.W_OK | os.X_OK):
        raise StorageError(f"{path}: uid {os.geteuid()} may not write there")


def open_file(directory: int) -> BinaryIO | None:
    """Open the file in an open directory to read it; None if there is none yet.

    Raises StorageError if it is not readable.
    """
    try:
        # a FIFO must not wait for a writer
        descriptor = os.open(FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW, dir_fd=directory)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(f"it cannot be opened: {error.strerror}") from error
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise StorageError("it is no regular file")
    return file


def peek(path: Path) -> BinaryIO | None:
    """Open the file in the directory at `path`, which may be another process's; None if there is none yet.

    That process replaces its file as a whole: what is open stays as it is. Raises StorageError if there is no
    such directory, or the file is not readable.
    """
    with _explained(path):
        directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return open_file(directory)
    except StorageError as error:
        raise StorageError(f"{path / FILE}: {error}") from error
    finally:
        os.close(directory)


class Directory:
    """Holds a lock in a directory until the process ends, and replaces a file in it as a whole."""

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

    def read(self) -> BinaryIO | None:
        """Open the file to read it; None if there is none yet. Raises StorageError if it is not readable."""
        return open_file(self._directory)

    def replace(self, write: Callable[[BinaryIO], object]) -> None:
        """Replace the file by what `write` writes, or leave it as it is.

        Raises OSError, or what `write` raises. A process that is killed meanwhile leaves the old file or
        the new one, and perhaps a temporary file, which the next call removes.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_TEMPORARY_FILE, dir_fd=self._directory)
        try:
            descriptor = self._open(_TEMPORARY_FILE, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            with os.fdopen(descriptor, "wb") as file:
                write(file)
                file.flush()
                os.fsync(descriptor)
            self._rename(_TEMPORARY_FILE, FILE)
            os.fsync(self._directory)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(_TEMPORARY_FILE, dir_fd=self._directory)
            raise

    def set_aside(self) -> None:
        """Rename the file to UNREADABLE_FILE; raises OSError."""
        self._rename(FILE, UNREADABLE_FILE)

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
