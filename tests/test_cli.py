"""The command line, run as a user runs it: a process of its own, against the demo's cloud."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fping_exporter import __version__
from fping_exporter.cli import COMMANDS, main, make_parser
from fping_exporter.demo import Demo

SECONDS = 20


def run(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fping_exporter", *arguments],
        cwd=cwd,
        env=os.environ | (env or {}),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def cloud() -> Iterator[dict[str, str]]:
    """The OS_* variables of a running demo."""
    with Demo() as demo:
        auth = demo.region().get_auth_args()
        yield {
            "OS_AUTH_URL": auth["auth_url"],
            "OS_USERNAME": auth["username"],
            "OS_PASSWORD": auth["password"],
            "OS_PROJECT_NAME": auth["project_name"],
            "OS_USER_DOMAIN_ID": "default",
            "OS_PROJECT_DOMAIN_ID": "default",
        }


@contextmanager
def serving(*arguments: str, cwd: Path, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running exporter and its address."""
    with subprocess.Popen(
        [sys.executable, "-m", "fping_exporter", *arguments, "--web.listen-address", "127.0.0.1:0"],
        cwd=cwd,
        env=os.environ | env,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr
            for line in process.stderr:
                if found := re.search(r"msg=listening address=(\S+)", line):
                    break
            else:
                pytest.fail("it ended before it listened")
            yield process, f"http://{found[1]}"
        finally:
            process.kill()


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310, loopback
        return str(answer.read().decode())


def fail(*arguments: str) -> int:
    """Run it in this process, where a mistake is told before anything is begun."""
    try:
        return main(arguments)
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("--version") == 0
    assert capsys.readouterr().out == f"fping-exporter {__version__}\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_terminal(command: str) -> None:
    text = make_parser(command).format_help()
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith("usage: fping-exporter")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "unknown: lst (commands, which go first, are serve, list, demo)"),
        (["--conf", "x"], "unknown: --conf x"),
        (["--log.level", "loud"], "invalid choice: 'loud'"),
        (["--web.telemetry-path", "metrics"], "expected a path such as /metrics, got 'metrics'"),
        (["--web.telemetry-path", "/"], "expected a path such as /metrics, got '/'"),
        (["demo", "--instances", "0"], "expected a whole number from 1 to"),
        (["--config.file", "none.yml"], "none.yml: cannot be read: No such file or directory"),
        (
            ["--config.check", "--config.file", "bad.yml"],
            'bad.yml: probe.tiemout: unknown key; did you mean "timeout"?',
        ),
        (["list", "--config.file", "bad.yml"], "bad.yml: probe.tiemout"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("bad.yml").write_text("probe: {tiemout: 1s}")
    assert fail(*arguments) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_no_credentials(tmp_path: Path) -> None:
    done = run("list", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("fping-exporter: no complete credentials for OpenStack")
    assert len(done.stderr.splitlines()) == 1


def test_the_file_in_the_folder_is_read_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert fail("--config.check") == 0
    Path("fping-exporter.yml").write_text("x: 1")
    assert fail("--config.check") == 2
    assert "fping-exporter.yml: x: unknown key" in capsys.readouterr().err


def test_an_address_that_is_none(tmp_path: Path) -> None:
    done = run("demo", "--web.listen-address", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "listen address 'nowhere'" in done.stderr.splitlines()[-1]


def test_an_address_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("demo", "--web.listen-address", address, cwd=tmp_path)
    assert done.returncode == 2
    assert address in done.stderr.splitlines()[-1]


def test_list(cloud: dict[str, str], tmp_path: Path) -> None:
    done = run("list", cwd=tmp_path, env=cloud)
    assert done.returncode == 1, done.stderr
    rows = {line.split()[1]: line.split()[3:5] for line in done.stdout.splitlines()}
    assert rows == {
        "NAME": ["STATUS", "ALIVE"],
        "selenium-0": ["ACTIVE", "no"],
        "selenium-1": ["ACTIVE", "yes"],
        "text-0": ["ACTIVE", "no"],
        "text-1": ["SHUTOFF", "no"],
    }


def test_list_of_the_silent_as_json(cloud: dict[str, str], tmp_path: Path) -> None:
    done = run("list", "--json", "--silent", cwd=tmp_path, env=cloud)
    assert done.returncode == 1
    assert [row["name"] for row in json.loads(done.stdout)] == ["selenium-0", "text-0"]


def test_list_of_what_answers(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text("instances: {include: [{name: selenium-1}]}")
    done = run("list", cwd=tmp_path, env=cloud)
    assert done.returncode == 0
    assert done.stderr == ""


def test_list_without_the_cloud(cloud: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = run("list", cwd=tmp_path, env=cloud | {"OS_AUTH_URL": f"http://127.0.0.1:{port}/v3"})
    assert done.returncode == 3
    assert "no connection" in done.stderr
    assert cloud["OS_PASSWORD"] not in done.stderr


def test_serve_until_it_is_told_to_stop(cloud: dict[str, str], tmp_path: Path) -> None:
    with serving(cwd=tmp_path, env=cloud) as (process, url):
        metrics = fetch(f"{url}/metrics")
        assert len(re.findall(r"(?m)^instance_alive{", metrics)) == 4
        assert "fping_exporter_config_last_reload_successful 1.0" in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


@pytest.mark.netns
def test_a_user_who_may_not_ping_is_told_both_remedies(tmp_path: Path) -> None:
    # A new namespace has the kernel's own net.ipv4.ping_group_range, which is nobody's.
    done = subprocess.run(
        [
            "unshare",
            "--net",
            "setpriv",
            "--bounding-set=-net_raw",
            sys.executable,
            "-m",
            "fping_exporter",
            "demo",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    assert "setcap cap_net_raw" in line
    assert "net.ipv4.ping_group_range" in line
