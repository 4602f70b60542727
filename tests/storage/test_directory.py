"""The directory: its lock, its one file, and its modes."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from fping_exporter.errors import StorageError, StorageInUseError
from fping_exporter.storage.directory import FILE, Directory, check_directory, unreadable


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    directory = Directory(tmp_path)
    yield directory
    directory.close()


def content(directory: Directory) -> bytes | None:
    file = directory.read(FILE)
    if file is None:
        return None
    with file:
        return file.read()


def names(directory: Directory) -> list[str]:
    return sorted(path.name for path in directory.path.iterdir())


def replace(directory: Directory, data: bytes) -> None:
    directory.replace(FILE, lambda file: file.write(data))


def test_the_file_is_replaced_as_a_whole(directory: Directory) -> None:
    assert content(directory) is None
    replace(directory, b"one")
    replace(directory, b"two")
    assert content(directory) == b"two"
    assert names(directory) == ["lock", FILE]


def test_nobody_else_may_read_it(directory: Directory) -> None:
    before = os.umask(0)
    try:
        replace(directory, b"one")
    finally:
        os.umask(before)
    assert stat.S_IMODE((directory.path / FILE).stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_file_as_it_was(directory: Directory) -> None:
    replace(directory, b"one")

    def fail(file: BinaryIO) -> None:
        file.write(b"t")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        directory.replace(FILE, fail)
    assert content(directory) == b"one"
    assert names(directory) == ["lock", FILE]


def test_what_a_killed_process_left_is_removed(directory: Directory) -> None:
    (directory.path / f"{FILE}.tmp").write_bytes(b"half")
    replace(directory, b"one")
    assert names(directory) == ["lock", FILE]


def test_one_file_is_set_aside(directory: Directory) -> None:
    for data in (b"one", b"two"):
        replace(directory, data)
        directory.set_aside(FILE)
    assert content(directory) is None
    assert (directory.path / unreadable(FILE)).read_bytes() == b"two"


def test_a_second_process_does_not_get_it(directory: Directory) -> None:
    with pytest.raises(StorageInUseError, match=f"{directory.path}: another process stores its state there"):
        Directory(directory.path)


def test_a_lock_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(StorageError, match=f"{tmp_path}/lock: Is a directory"):
        Directory(tmp_path)


def test_it_can_be_had_after_the_first_one(tmp_path: Path) -> None:
    for _ in range(2):
        Directory(tmp_path).close()


def test_a_fifo_is_not_waited_for(directory: Directory) -> None:
    os.mkfifo(directory.path / FILE)
    with pytest.raises(StorageError, match="it is no regular file"):
        directory.read(FILE)


def test_a_link_is_not_followed(directory: Directory) -> None:
    (directory.path / FILE).symlink_to("/etc/passwd")
    with pytest.raises(StorageError, match="it cannot be opened: Too many levels of symbolic links"):
        directory.read(FILE)


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path, reason in ((file, "Not a directory"), (tmp_path / "missing", "No such file or directory")):
        for use in (check_directory, Directory):
            with pytest.raises(StorageError, match=f"{path}: {reason}"):
                use(path)
    assert list(tmp_path.iterdir()) == [file]


def test_a_directory_that_cannot_be_written_to() -> None:
    with pytest.raises(StorageError, match=r"^/proc/self/fdinfo(/lock)?: "):  # not even root writes there
        Directory(Path("/proc/self/fdinfo"))


def test_a_directory_that_cannot_be_listed_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "state-lon1.jsonl.gz").touch()
    directory = Directory(tmp_path)
    assert directory.remove_others(["lon1"], age=0) == []
    directory.close()
    assert directory.remove_others([], age=0) == []
    assert (tmp_path / "state-lon1.jsonl.gz").exists()
