"""When the state is written and read, and that nobody waits for it."""

import gzip
import logging
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter.config import DEFAULT_CLOUD
from fping_exporter.errors import ConfigError
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.storage import State, StateDirectory, check_named_directory, open_state
from fping_exporter.storage.directory import FILE, Directory, unreadable
from tests.build import instance, inventory
from tests.storage.alone import AloneStorage
from tests.storage.clock import at
from tests.storage.worlds import SCOPE, packed, state_of

SOON = 5.0
OTHER = SCOPE | {"cloud": "other"}
A, B, C = (state_of(inventory(instance(name))) for name in "abc")


class SlowDirectory(Directory):
    """A directory on a disk that hangs until it is told not to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes = 0
        self.hangs = threading.Event()
        self.released = threading.Event()

    def replace(self, file: str, write: Callable[[BinaryIO], object]) -> None:
        self.writes += 1
        self.hangs.set()
        assert self.released.wait(SOON)
        super().replace(file, write)


@pytest.fixture
def slow(tmp_path: Path) -> Iterator[SlowDirectory]:
    slow = SlowDirectory(tmp_path)
    yield slow
    slow.released.set()


def written(path: Path) -> list[str] | None:
    """The instances in the file; None if there is no file."""
    file = path / FILE
    if not file.exists():
        return None
    return [part for part in "abc" if f'"id":"{part}"' in gzip.decompress(file.read_bytes()).decode()]


def ids(state: State | None) -> list[str]:
    assert state
    return [each.id for each in state.inventory.instances]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_what_is_saved_is_read_by_the_next_process(tmp_path: Path) -> None:
    first = AloneStorage(Directory(tmp_path))
    assert first.read(SCOPE) is None
    first.save(A, scope=SCOPE)
    first.close(SOON)
    second = AloneStorage(Directory(tmp_path))
    assert ids(second.read(SCOPE)) == ["a"]
    second.close(SOON)
    assert written(tmp_path) == ["a"]


def test_the_first_state_is_written_at_once_the_next_within_the_interval_and_the_last_at_the_end(
    tmp_path: Path,
) -> None:
    storage = AloneStorage(Directory(tmp_path), interval=0.2)
    storage.read(SCOPE)
    storage.save(A, scope=SCOPE)
    eventually(lambda: written(tmp_path) == ["a"])
    begun = time.monotonic()
    storage.save(B, scope=SCOPE)
    assert written(tmp_path) == ["a"] or time.monotonic() - begun >= 0.2
    time.sleep(0.2)
    storage.save(B, scope=SCOPE)
    eventually(lambda: written(tmp_path) == ["b"])
    storage.save(C, scope=SCOPE)
    storage.close(SOON)
    assert written(tmp_path) == ["c"]


def test_nobody_waits_for_a_disk_that_hangs(slow: SlowDirectory, caplog: pytest.LogCaptureFixture) -> None:
    storage = AloneStorage(slow, interval=0)
    storage.read(SCOPE)
    begun = time.monotonic()
    for state in (A, B, A, B):
        storage.save(state, scope=SCOPE)
    storage.set_scope(OTHER)
    storage.save(C, scope=OTHER)
    assert time.monotonic() - begun < SOON
    assert slow.hangs.wait(SOON)
    assert slow.writes == 1
    storage.close(0.01)
    assert caplog.messages == [f"{FILE} could not be written within 0 s: it is that of before"]


def test_at_the_end_what_came_during_a_write_is_written_as_well(slow: SlowDirectory, tmp_path: Path) -> None:
    storage = AloneStorage(slow)
    storage.read(SCOPE)
    storage.save(A, scope=SCOPE)
    assert slow.hangs.wait(SOON)
    storage.save(B, scope=SCOPE)
    slow.released.set()
    storage.close(SOON)
    assert written(tmp_path) == ["b"]
    assert slow.writes == 2


def test_a_cloud_may_come_while_the_last_states_are_written(slow: SlowDirectory, tmp_path: Path) -> None:
    state = StateDirectory(slow)

    def reload(*, success: bool) -> None:
        assert success
        state.storage("new", lambda *, success: success)

    storage = state.storage(DEFAULT_CLOUD, reload)
    assert storage
    storage.read(SCOPE)
    storage.save(A, scope=SCOPE)
    assert slow.hangs.wait(SOON)
    threading.Timer(0.05, slow.released.set).start()
    state.close(SOON)
    assert written(tmp_path) == ["a"]


def test_a_state_that_is_written_is_not_written_again(slow: SlowDirectory) -> None:
    slow.released.set()
    storage = AloneStorage(slow)
    storage.read(SCOPE)
    storage.save(A, scope=SCOPE)
    assert storage.write().wait(SOON)
    assert storage.write().wait(SOON)
    storage.close(SOON)
    assert slow.writes == 1


def test_a_state_that_is_written_is_not_kept_in_memory(tmp_path: Path) -> None:
    """It holds a whole list, which the next listing replaces."""
    storage = AloneStorage(Directory(tmp_path))
    storage.read(SCOPE)
    state = state_of(inventory(instance("a")))
    before = sys.getrefcount(state)
    storage.save(state, scope=SCOPE)
    assert storage.write().wait(SOON)
    eventually(lambda: sys.getrefcount(state) == before)
    storage.close(SOON)
    assert written(tmp_path) == ["a"]


def test_after_a_reload_nothing_of_the_old_scope_is_written_over_the_new(tmp_path: Path) -> None:
    storage = AloneStorage(Directory(tmp_path), interval=0)
    storage.read(SCOPE)
    storage.save(A, scope=SCOPE)
    storage.set_scope(OTHER)
    storage.save(B, scope=OTHER)
    storage.save(A, scope=SCOPE)
    storage.close(SOON)
    assert written(tmp_path) == ["b"]


def test_an_old_write_that_is_under_way_at_a_reload_comes_before_the_new(
    slow: SlowDirectory, tmp_path: Path
) -> None:
    storage = AloneStorage(slow, interval=0)
    storage.read(SCOPE)
    storage.save(A, scope=SCOPE)
    assert slow.hangs.wait(SOON)
    storage.set_scope(OTHER)
    storage.save(B, scope=OTHER)
    slow.released.set()
    storage.close(SOON)
    assert written(tmp_path) == ["b"]


def test_a_reload_before_the_first_list_leaves_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(packed(A, now=at()))
    storage = AloneStorage(Directory(tmp_path))
    storage.set_scope(OTHER)
    storage.close(SOON)
    assert written(tmp_path) == ["a"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"no gzip", "it is damaged (Not a gzipped file"), (packed(A, now=at()), "it is of another cloud")],
)
def test_a_file_that_cannot_be_used_is_set_aside_with_one_line(
    data: bytes, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(data)
    storage = AloneStorage(Directory(tmp_path))
    assert storage.read(OTHER) is None
    [message] = caplog.messages
    assert message.startswith(f"{tmp_path / FILE} cannot be used: {reason}")
    assert message.endswith(f"It is {unreadable(FILE)} now")
    assert (tmp_path / unreadable(FILE)).read_bytes() == data
    storage.save(B, scope=OTHER)
    storage.close(SOON)
    assert written(tmp_path) == ["b"]


def test_what_cannot_be_set_aside_is_not_written_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_bytes(b"precious")
    (tmp_path / unreadable(FILE)).mkdir()
    storage = AloneStorage(Directory(tmp_path), interval=0)
    assert storage.read(SCOPE) is None
    assert "It cannot be renamed either (" in caplog.text
    storage.save(A, scope=SCOPE)
    storage.close(SOON)
    assert (tmp_path / FILE).read_bytes() == b"precious"


@settings(max_examples=25)
@given(data=st.binary(max_size=200), length=st.integers(0, 400))
def test_no_file_breaks_a_start(data: bytes, length: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("state")
    (path / FILE).write_bytes(packed(A, now=at())[:length] + data)
    storage = AloneStorage(Directory(path))
    storage.read(SCOPE)
    storage.save(B, scope=SCOPE)
    storage.close(SOON)
    assert written(path) == ["b"]


def test_a_disk_that_refuses_is_logged_once_and_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "state"
    path.mkdir()
    telemetry = Telemetry()
    sample = telemetry.registry.get_sample_value
    storage = AloneStorage(Directory(path), observe=telemetry.observe_state, interval=0)
    storage.read(SCOPE)
    assert sample("fping_exporter_state_success") is None
    storage.save(C, scope=SCOPE)
    assert storage.write().wait(SOON)
    assert sample("fping_exporter_state_success") == 1
    written_at = sample("fping_exporter_state_last_success_timestamp_seconds")
    assert written_at == pytest.approx(time.time(), abs=SOON)
    shutil.rmtree(path)
    for state in (A, B, C):
        storage.save(state, scope=SCOPE)
        assert storage.write().wait(SOON)
    storage.close(SOON)
    assert caplog.messages == [f"the state cannot be written to {path / FILE}: No such file or directory"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert sample("fping_exporter_state_success") == 0
    assert sample("fping_exporter_state_last_success_timestamp_seconds") == written_at


def test_a_bug_costs_a_write_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = AloneStorage(Directory(tmp_path), interval=0)
    storage.read(SCOPE)
    storage.save(state_of(inventory(instance("\ud800"))), scope=SCOPE)
    assert storage.write().wait(SOON)
    assert caplog.messages == ["writing the state failed, which is a bug"]
    storage.save(A, scope=SCOPE)
    storage.close(SOON)
    assert written(tmp_path) == ["a"]


def test_a_bug_in_reading_does_not_break_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Odd(Directory):
        def read(self, file: str) -> BinaryIO | None:  # noqa: ARG002, as the base has it
            raise ZeroDivisionError

    (tmp_path / FILE).write_bytes(b"whatever")
    storage = AloneStorage(Odd(tmp_path))
    assert storage.read(SCOPE) is None
    assert caplog.messages[0] == "reading the stored state failed, which is a bug"
    assert (tmp_path / unreadable(FILE)).exists()
    storage.close(SOON)


def test_a_thread_that_cannot_be_started_costs_a_write(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    storage = AloneStorage(Directory(tmp_path), interval=0)
    storage.read(SCOPE)
    before = threading.stack_size(1 << 46)  # no stack is as large, so that the system refuses every thread
    try:
        storage.save(A, scope=SCOPE)
    finally:
        threading.stack_size(before)
    [message] = caplog.messages
    assert message.startswith(f"the state cannot be written to {tmp_path / FILE}: no thread could be started")
    storage.close(SOON)
    assert written(tmp_path) == ["a"]


def open_and_close(named: Path | None, environment: dict[str, str]) -> bool:
    """Return whether something would be stored."""
    state = open_state(named, environment=environment)
    storage = state.storage(DEFAULT_CLOUD, lambda *, success: bool(success))
    state.close(SOON)
    return storage is not None


def test_which_directory_it_is(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert not open_and_close(None, {})
    assert not open_and_close(None, {"STATE_DIRECTORY": ""})
    assert list(one.iterdir()) == list(two.iterdir()) == []
    assert open_and_close(None, {"STATE_DIRECTORY": f"{one}:{two}"})
    assert list(one.iterdir()) == [one / "lock"]
    assert list(two.iterdir()) == []
    assert open_and_close(two, {"STATE_DIRECTORY": "/nonexistent"})
    assert list(two.iterdir()) == [two / "lock"]
    assert caplog.messages == []


def test_the_working_directory_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_and_close(Path(), {})


def test_a_directory_that_cannot_be_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    missing = tmp_path / "missing"
    refused = f"--storage.path: {missing}: No such file or directory"
    for use in (open_state, check_named_directory):
        with pytest.raises(ConfigError, match=refused):
            use(missing)
    told: list[bool] = []
    environment = {"STATE_DIRECTORY": str(missing)}
    state = open_state(None, environment=environment)
    assert not state.storage("lon1", lambda *, success: told.append(success))
    assert told == [False]
    assert caplog.messages == [
        f"the state is not stored, and a restart will begin without it: {missing}: No such file or directory"
    ]


@pytest.mark.parametrize("named", [True, False])
def test_a_second_process_goes_on_without(
    named: bool,  # noqa: FBT001
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    first = AloneStorage(Directory(tmp_path))
    environment = {"STATE_DIRECTORY": str(tmp_path)}
    assert not open_and_close(tmp_path if named else None, environment)
    [message] = caplog.messages
    assert message.endswith(f" will begin without it: {tmp_path}: another process stores its state there")
    check_named_directory(tmp_path)
    first.close(SOON)
