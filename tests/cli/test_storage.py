"""Restarts of a running exporter, and directories that cannot be used."""

import json
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fping_exporter.cli.stored_state import read_state
from fping_exporter.demo import Demo
from tests.cli.test_cli import CREDENTIALS, SECONDS, eventually, fail, fetch, run, serving
from tests.permission import need_ping

FILE = "state.jsonl.gz"


class Cloud(ExitStack):
    """The demo; it is away when the stack is closed."""

    def __init__(self) -> None:
        super().__init__()
        auth = self.enter_context(Demo()).region().get_auth_args()
        self.environment = {f"OS_{name.upper()}": value for name, value in auth.items()}


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    need_ping()
    with Cloud() as cloud:
        yield cloud


@contextmanager
def exporter(directory: Path, cloud: Cloud, *flags: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    environment = cloud.environment | ({} if flags else {"STATE_DIRECTORY": str(directory)})
    with serving(*flags, cwd=directory.parent, env=environment) as running:
        yield running


def alive(url: str) -> list[str]:
    return re.findall(r"(?m)^instance_alive\{id=\"([^\"]+)\".* 1\.0$", fetch(f"{url}/metrics"))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "state"
    directory.mkdir()
    (tmp_path / "fping-exporter.yml").write_text(
        "probe: {timeout: 100ms, retries: 0}\ninstances: {include: [{name: [selenium-*, text-*]}]}"
    )
    return directory


@pytest.mark.parametrize(("number", "flag"), [(signal.SIGTERM, True), (signal.SIGKILL, False)])
def test_a_restart_while_the_cloud_is_away(
    directory: Path,
    cloud: Cloud,
    number: signal.Signals,
    flag: bool,  # noqa: FBT001
) -> None:
    flags = ["--storage.path", str(directory)] if flag else []
    with exporter(directory, cloud, *flags) as (process, url):
        before = alive(url)
        assert before
        eventually(lambda: "fping_exporter_state_success 1.0" in fetch(f"{url}/metrics"))
        process.send_signal(number)
        assert process.wait(SECONDS) == (0 if number is signal.SIGTERM else -number)
    cloud.close()
    with exporter(directory, cloud, *flags) as (_, url):
        begun = time.monotonic()
        assert alive(url) == before
        assert time.monotonic() - begun < SECONDS


def test_a_damaged_file_does_not_break_the_start(directory: Path, cloud: Cloud) -> None:
    (directory / FILE).write_text("damaged")
    with exporter(directory, cloud) as (_, url):
        assert alive(url)
    assert (directory / f"{FILE}.unreadable").read_text() == "damaged"


def test_a_directory_that_cannot_be_used_is_one_line_and_exit_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = "fping-exporter: --storage.path: nowhere: No such file or directory\n"
    done = run("--storage.path=nowhere", cwd=tmp_path, env=CREDENTIALS)
    assert (done.returncode, done.stderr) == (2, refused)
    monkeypatch.chdir(tmp_path)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    assert fail("--storage.path=nowhere", "--config.check") == 2
    assert capsys.readouterr().err == refused


def test_a_disk_that_goes_away_costs_the_storage_only(directory: Path, cloud: Cloud) -> None:
    with exporter(directory, cloud) as (process, url):
        assert alive(url)
        while directory.exists():  # a write that is under way brings a file into it
            shutil.rmtree(directory, ignore_errors=True)
        assert alive(url)
        process.terminate()
        assert process.wait(SECONDS) == 0


def test_list_writes_nothing_there(directory: Path, cloud: Cloud) -> None:
    environment = cloud.environment | {"STATE_DIRECTORY": str(directory)}
    assert run("list", cwd=directory.parent, env=environment).returncode == 1
    assert list(directory.iterdir()) == []


def test_a_named_directory_without_a_file_is_said_to_have_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert read_state(tmp_path, {}, cloud="lon1", environment={}) is None
    file = tmp_path / "state-lon1.jsonl.gz"
    said = f"fping-exporter: nobody knows since when: {file}: no exporter has written it\n"
    assert capsys.readouterr().err == said
    assert read_state(None, {}, cloud="lon1", environment={"STATE_DIRECTORY": str(tmp_path)}) is None
    assert capsys.readouterr().err == ""


@pytest.mark.e2e  # slow
def test_list_reads_since_when_from_a_running_exporter(directory: Path, cloud: Cloud) -> None:
    with exporter(directory, cloud) as (_, url):
        alive(url)
        eventually((directory / FILE).exists)
        flags = ("--storage.path", str(directory))
        done = run("list", "--json", *flags, cwd=directory.parent, env=cloud.environment)
        assert (done.returncode, done.stderr) == (1, "")
        rows = json.loads(done.stdout)
        assert {row["since_at_least"] for row in rows} == {True}
        assert all(row["since_timestamp_seconds"] < time.time() for row in rows)
        wanted = ("explain", "selenium-1", "--cached", "--json", *flags)
        done = run(*wanted, cwd=directory.parent, env=cloud.environment)
        assert (done.returncode, done.stderr) == (0, "")
        told = json.loads(done.stdout)
        assert (told["alive"], told["anew"], told["addresses"][0]["sent"]) == (True, False, None)
        assert told["last_reply_at"] == told["asked_at"] < time.time()
    nowhere = run("list", "--storage.path", "/nowhere", cwd=directory.parent, env=cloud.environment)
    assert (nowhere.returncode, nowhere.stderr) == (
        2,
        "fping-exporter: --storage.path: /nowhere: No such file or directory\n",
    )
    (directory / FILE).write_bytes(b"damaged")
    other = run("list", cwd=directory.parent, env=cloud.environment | {"STATE_DIRECTORY": str(directory)})
    assert other.returncode == 1
    assert other.stderr.startswith(
        f"fping-exporter: nobody knows since when: {directory / FILE}: it is damaged"
    )
    assert "SINCE" not in other.stdout
