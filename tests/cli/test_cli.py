"""The command line, run as a user runs it: as a process, on the demo's cloud."""

import base64
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import pytest

from fping_exporter import __version__
from fping_exporter.cli import main
from fping_exporter.demo import SCENE_SIZE, Demo
from fping_exporter.model import Reason
from fping_exporter.os_fping.paths import is_os_fping
from tests.permission import need_ping

SECONDS = 20
CREDENTIALS = {
    "OS_AUTH_URL": "http://127.0.0.1:1/v3",
    "OS_USERNAME": "monitor",
    "OS_PASSWORD": "secret",
    "OS_PROJECT_NAME": "monitoring",
    "OS_USER_DOMAIN_ID": "default",
    "OS_PROJECT_DOMAIN_ID": "default",
}
"""Complete, but of a cloud that is not there."""


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
    """The OS_* variables of a running demo, whose instances can be pinged."""
    need_ping()
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
def serving(
    *arguments: str, cwd: Path, env: dict[str, str], hang_up_early: bool = False
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running exporter and its address; `hang_up_early`: it gets a SIGHUP as soon as it blocks that."""
    with subprocess.Popen(
        [sys.executable, "-m", "fping_exporter", *arguments, "--web.listen-address", "127.0.0.1:0"],
        cwd=cwd,
        env=os.environ | env,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr
            if hang_up_early:
                eventually(lambda: blocks_sighup(process.pid))
                process.send_signal(signal.SIGHUP)
            for line in process.stderr:
                if found := re.search(r"msg=listening address=(\S+)", line):
                    break
            else:
                pytest.fail("it ended before it listened")
            yield process, f"http://{found[1]}"
        finally:
            process.kill()


def blocks_sighup(pid: int) -> bool:
    """Whether the process blocks SIGHUP, the first bit of the mask in /proc (see proc(5))."""
    mask = re.search(r"SigBlk:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text())
    assert mask
    return int(mask[1], 16) & 1 == 1


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=SECONDS) as answer:  # noqa: S310, loopback
        return str(answer.read().decode())


def count_instances(metrics: str) -> int:
    return len(re.findall(r"(?m)^instance_hypervisor_active{", metrics))


def fail(*arguments: str) -> int:
    """Run it in this process, where mistakes are reported before anything starts."""
    try:
        return main(arguments)
    except SystemExit as ended:
        assert isinstance(ended.code, int)
        return ended.code


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail("--version") == 0
    assert capsys.readouterr().out == f"fping-exporter {__version__}\n"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "serve",
        "list",
        "explain",
        "wait",
        "demo",
        "print",
        "print config",
        "print rules",
        "print dashboards",
    ],
)
def test_help_fits_a_terminal(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(*command.split(), "--help") == 0
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 100
    assert text.startswith("usage: fping-exporter")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lst"], "invalid choice: 'lst' (choose from "),
        (["--conf", "x"], "unrecognized arguments: --conf x"),
        (["--log.level", "debug", "list"], "unrecognized arguments: list"),
        (["explain"], "arguments are required: INSTANCE"),
        (["wait"], "arguments are required: INSTANCE"),
        (["wait", "web", "--timeout", "5"], "expected a duration above zero such as 500ms, 15s or 1m30s"),
        (["print"], "arguments are required: config|rules|dashboards"),
        (["print", "dashboards"], "arguments are required: DIRECTORY"),
        (["print", "dashboards", "none"], "none/fping-cloud.json: cannot be written: No such file"),
        (["--log.level", "loud"], "invalid choice: 'loud'"),
        (["--web.telemetry-path", "metrics"], "expected a path such as /metrics, got 'metrics'"),
        (["--web.telemetry-path", "/"], "expected a path such as /metrics, got '/'"),
        (["--web.telemetry-path", "/os-fping"], "got '/os-fping', which is taken"),
        (["--web.telemetry-path", "/%6Fs-fping"], "got '/%6Fs-fping', which is taken"),
        (["--web.telemetry-path", "/%3Cid%3E"], "expected a path such as /metrics"),
        (["--web.telemetry-path", "/%ff"], "expected a path such as /metrics"),
        (
            ["--web.external-url", "/fping"],
            "expected a URL such as https://ops",
        ),
        (["--web.route-prefix", "/a//b"], "expected a path such as /fping, got '/a//b'"),
        (["--config.check", "--web.listen-address", "10605"], "listen address '10605': expected [host]:port"),
        (["--config.check", "--config.file", "open.yml"], "os_fping.auth: none"),
        (["demo", "--instances", "3"], "expected a whole number from 14 to"),
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
    Path("open.yml").write_text("os_fping: {auth: none}")
    assert fail(*arguments) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_no_credentials(tmp_path: Path) -> None:
    need_ping()
    done = run("list", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("fping-exporter: no complete credentials for OpenStack")
    assert len(done.stderr.splitlines()) == 1


def test_the_file_in_the_folder_is_read_if_there_is_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    assert fail("--config.check") == 0
    assert "No file, so the defaults" in capsys.readouterr().out
    Path("fping-exporter.yml").write_text("x: 1")
    assert fail("--config.check") == 2
    assert "fping-exporter.yml: x: unknown key" in capsys.readouterr().err


def test_an_address_that_is_none(tmp_path: Path) -> None:
    need_ping()
    done = run("demo", "--web.listen-address", "nowhere", cwd=tmp_path)
    assert done.returncode == 2
    assert "listen address 'nowhere'" in done.stderr.splitlines()[-1]


def test_an_address_in_use(tmp_path: Path) -> None:
    need_ping()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = run("demo", "--web.listen-address", address, cwd=tmp_path)
    assert done.returncode == 2
    assert address in done.stderr.splitlines()[-1]


def test_list(cloud: dict[str, str], tmp_path: Path) -> None:
    done = run("list", cwd=tmp_path, env=cloud)
    assert done.returncode == 1, done.stderr
    rows = {line.split()[1]: line.split()[3:5] for line in done.stdout.splitlines()[:5]}
    assert rows == {
        "NAME": ["STATUS", "ALIVE"],
        "selenium-0": ["ACTIVE", "no"],
        "selenium-1": ["ACTIVE", "yes"],
        "text-0": ["ACTIVE", "no"],
        "text-1": ["SHUTOFF", "no"],
    }
    reasons = {line.split()[6] for line in done.stdout.splitlines()[1:]}
    assert reasons == {"-", *Reason}


def test_the_readme_shows_what_list_prints(cloud: dict[str, str], tmp_path: Path) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    shown = readme.partition("<!-- checked by tests/cli/test_cli.py -->\n```text\n")[2].partition("```")[0]
    printed = run("list", cwd=tmp_path, env=cloud).stdout
    assert comparable(shown) == comparable(printed)


def comparable(table: str) -> list[str]:
    """Return the lines of a table without what differs from run to run."""
    lines = re.sub(r"\d+\.\d+ ms", "RTT", table).splitlines()
    return [line for line in lines if "comes-and-goes" not in line]


def test_list_of_the_silent_as_json(cloud: dict[str, str], tmp_path: Path) -> None:
    done = run("list", "--json", "--silent", cwd=tmp_path, env=cloud)
    assert done.returncode == 1
    silent = {row["name"] for row in json.loads(done.stdout)}
    assert {"selenium-0", "text-0", "ignores-pings", "same-address-blue"} <= silent
    assert not silent & {"selenium-1", "text-1", "off-but-answers"}


def test_list_of_what_answers(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text("instances: {include: [{name: selenium-1}]}")
    done = run("list", cwd=tmp_path, env=cloud)
    assert done.returncode == 0
    assert done.stderr == ""


def test_list_of_what_could_not_be_asked(cloud: dict[str, str], tmp_path: Path) -> None:
    settings = "probe: {vantages: [qdhcp]}\ninstances: {include: [{name: [selenium-*, text-*]}]}"
    (tmp_path / "fping-exporter.yml").write_text(settings)
    done = run("list", "--silent", cwd=tmp_path, env=cloud)
    assert done.returncode == 4
    assert (
        done.stderr
        == "fping-exporter: 3 of 3 ACTIVE instances were not asked, and may be silent: 3 no_vantage\n"
    )
    rows = {line.split()[1]: line.split()[3:7] for line in done.stdout.splitlines()[1:]}
    assert rows == {
        name: ["ACTIVE", "-", "-", "no_vantage"] for name in ("selenium-0", "selenium-1", "text-0")
    }


def test_list_into_a_pipe_that_is_closed(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text("instances: {include: [{name: selenium-*}]}")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "fping_exporter", "list", "--json"],
        cwd=tmp_path,
        env=os.environ | cloud,
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    os.close(write)
    assert done.returncode == 128 + signal.SIGPIPE
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 2, "fping-exporter: the output could not be written: No space left on device\n"),
        (">&-", 0, ""),
    ],
)
def test_an_output_that_takes_nothing(tmp_path: Path, redirection: str, code: int, said: str) -> None:
    command = f"{sys.executable} -m fping_exporter print config {redirection}"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert (done.returncode, done.stderr) == (code, said)


class Broken(io.StringIO):
    """An output on which nobody counts."""

    def write(self, _text: str) -> int:
        raise ZeroDivisionError


def test_a_bug_is_not_taken_for_silence(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "stdout", Broken())
    assert main(["print", "config"]) == 70
    assert "ZeroDivisionError" in caplog.text


def test_list_without_the_cloud(cloud: dict[str, str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    done = run("list", cwd=tmp_path, env=cloud | {"OS_AUTH_URL": f"http://127.0.0.1:{port}/v3"})
    assert done.returncode == 3
    assert "no connection" in done.stderr
    assert cloud["OS_PASSWORD"] not in done.stderr


QUICK = "probe: {timeout: 100ms, retries: 0}"


def test_explain_one_that_answers(cloud: dict[str, str], tmp_path: Path) -> None:
    done = run("explain", "127.10.0.1", "--json", cwd=tmp_path, env=cloud)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["name"], told["alive"], told["reason"], told["anew"]) == ("selenium-1", True, None, True)


def test_explain_one_that_is_silent(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text(QUICK + "\ninstances: {exclude: [{name: text-0}]}")
    done = run("explain", "text-0", cwd=tmp_path, env=cloud)
    assert done.returncode == 1, done.stderr
    assert "It does not answer pings; Nova calls it ACTIVE." in done.stdout
    assert "The configuration does not select it" in done.stdout
    assert "\n    openstack console log show " in done.stdout
    assert cloud["OS_PASSWORD"] not in done.stdout


def test_explain_one_that_could_not_be_asked(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text("probe: {vantages: [qdhcp]}")
    done = run("explain", "text-0", cwd=tmp_path, env=cloud)
    assert done.returncode == 4, done.stderr
    assert "no_vantage" in done.stdout


@pytest.mark.parametrize(
    ("flags", "directory", "said"),
    [
        ((), "", "--cached: nothing is stored; name the exporter's directory with --storage.path"),
        ((), ".", "--cached: . has nothing of this cloud"),
        (("--storage.path", "."), "", "--cached: . has nothing of this cloud"),
    ],
)
def test_explain_what_nobody_has_stored(
    cloud: dict[str, str], tmp_path: Path, flags: tuple[str, ...], directory: str, said: str
) -> None:
    env = cloud | {"STATE_DIRECTORY": directory}
    done = run("explain", "text-0", "--cached", *flags, cwd=tmp_path, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr


def test_explain_nobody_and_several(cloud: dict[str, str], tmp_path: Path) -> None:
    done = run("explain", "nobody", cwd=tmp_path, env=cloud)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fping-exporter: no instance has the id, the name or the address 'nobody'\n"
    done = run("explain", "127.9.0.5", cwd=tmp_path, env=cloud)
    assert done.returncode == 2
    assert "2 instances have the address '127.9.0.5'; give the id of one: " in done.stderr


def test_wait_until_all_answer(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text(QUICK)
    done = run("wait", "selenium-1", "127.10.0.1", cwd=tmp_path, env=cloud)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(
        r"[0-9a-f-]{36}  selenium-1  answers after \d+\.\d s \(\d+\.\d{3} ms\)\n", done.stdout
    )


def test_wait_in_vain(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text(QUICK)
    arguments = ("selenium-0", "selenium-1", "text-1", "--timeout", "5s", "--log.level", "error")
    done = run("wait", *arguments, cwd=tmp_path, env=cloud)
    assert done.returncode == 1
    assert done.stderr == "fping-exporter: 2 of 3 did not answer within 5s\n"
    said = {line.split("  ")[1]: line.split("  ")[2] for line in done.stdout.splitlines()}
    assert said.pop("selenium-1").startswith("answers after")
    assert said == {
        "selenium-0": "does not answer: no_reply, ACTIVE",
        "text-1": "does not answer: not_active, SHUTOFF",
    }


def test_wait_until_down(cloud: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "fping-exporter.yml").write_text(QUICK)
    done = run("wait", "--down", "--json", "--timeout=9s", "text-1", "text-0", cwd=tmp_path, env=cloud)
    assert (done.returncode, done.stderr) == (0, "")
    found = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert {name: (row["result"], row["reason"], row["alive"]) for name, row in found.items()} == {
        "text-0": ("down", "no_reply", False),
        "text-1": ("down", "not_active", False),
    }


def test_wait_for_nobody(cloud: dict[str, str], tmp_path: Path) -> None:
    done = run("wait", "selenium-1", "selenium-2", cwd=tmp_path, env=cloud)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fping-exporter: no instance has the id, the name or the address 'selenium-2'\n"


def test_wait_until_ctrl_c(cloud: dict[str, str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fping_exporter", "wait", "selenium-0", "selenium-1", "--json"]
    with subprocess.Popen(
        # A shell that starts the tests in the background has them ignore Ctrl-C.
        ["env", "--default-signal=INT", *command],
        cwd=tmp_path,
        env=os.environ | cloud,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert json.loads(process.stdout.readline())["name"] == "selenium-1"  # it comes at once
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=SECONDS) == ("", "")
            assert process.returncode == 128 + signal.SIGINT
        finally:
            process.kill()


def test_serve_until_sigterm(cloud: dict[str, str], tmp_path: Path) -> None:
    with serving(cwd=tmp_path, env=cloud) as (process, url):
        metrics = fetch(f"{url}/metrics")
        assert count_instances(metrics) == SCENE_SIZE
        assert "fping_exporter_config_last_reload_successful 1.0" in metrics
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert process.stderr
        assert "Traceback" not in process.stderr.read()


def test_a_working_directory_that_is_gone(tmp_path: Path) -> None:
    command = f"mkdir gone && cd gone && rmdir ../gone && exec {sys.executable} -m fping_exporter list"
    done = subprocess.run(
        ["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 2
    assert done.stderr == (
        "fping-exporter: the working directory: No such file or directory; start in another one\n"
    )


@pytest.mark.netns
def test_a_working_directory_that_may_not_be_searched(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir()
    os.chown(closed, 54321, 54321)
    closed.chmod(0o700)
    command = [
        "setpriv",
        "--bounding-set=-dac_override,-dac_read_search",
        sys.executable,
        "-m",
        "fping_exporter",
    ]
    done = subprocess.run(
        [*command, "--config.check"], cwd=closed, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 2
    assert done.stderr.startswith("fping-exporter: fping-exporter.yml: cannot be looked for")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.netns
def test_a_user_without_a_name_and_a_home(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "HOME"} | CREDENTIALS
    command = [
        "unshare",
        "--user",
        "--map-user=54321",
        sys.executable,
        "-m",
        "fping_exporter",
        "--config.check",
    ]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.netns
def test_the_error_for_a_missing_permission_names_both_remedies(tmp_path: Path) -> None:
    # A new namespace has the kernel's own net.ipv4.ping_group_range, which permits no group.
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


def status_of(url: str, *, password: str = "") -> int:
    headers = {"Authorization": "Basic " + base64.b64encode(f"prometheus:{password}".encode()).decode()}
    request = urllib.request.Request(url, headers=headers if password else {})  # noqa: S310, loopback
    try:
        with urllib.request.urlopen(request, timeout=SECONDS) as answer:  # noqa: S310, loopback
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_passwords_guard_everything_but_health_and_os_fping(cloud: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    hashed = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()
    file.write_text(f"basic_auth_users: {{prometheus: {hashed}}}")
    assert run("--config.check", f"--web.config.file={file}", cwd=tmp_path, env=cloud).returncode == 0
    with serving(f"--web.config.file={file}", cwd=tmp_path, env=cloud) as (_, url):
        assert status_of(f"{url}/metrics") == 401
        assert status_of(f"{url}/metrics", password="open sesame") == 200
        assert status_of(f"{url}/metrics", password="wrong") == 401
        assert status_of(f"{url}/os-fping/../metrics") == 401
        assert status_of(f"{url}/-/healthy") == 200
        with pytest.raises(urllib.error.HTTPError) as refused:
            fetch(f"{url}/v2.1/os-fping")
        with refused.value:
            assert refused.value.headers["WWW-Authenticate"].startswith("Keystone")


def test_a_wrong_web_configuration(tmp_path: Path) -> None:
    file = tmp_path / "web.yml"
    file.write_text("tls_server_confg: {}")
    done = run("--config.check", f"--web.config.file={file}", cwd=tmp_path, env=CREDENTIALS)
    assert done.returncode == 2
    assert 'tls_server_confg: unknown key; did you mean "tls_server_config"?' in done.stderr


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/os-fping", True),
        ("/v2/os-fping/1", True),
        ("/v2.1/5fa0/os-fping", True),
        ("/v2.1/5fa0/os-fping/1", True),
        ("/metrics", False),
        ("/os-fping/../metrics", False),
        ("/os-fping/1/2", False),
        ("/v3/os-fping", False),
        ("/v2.1/5fa0/metrics", False),
        ("/os-fping\n", False),
    ],
)
def test_the_paths_that_ask_for_tokens(path: str, expected: bool) -> None:  # noqa: FBT001, a parameter of the test
    assert is_os_fping(path) is expected


def test_systemd_is_kept_informed(cloud: dict[str, str], tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(SECONDS)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "100000"}
        with serving(cwd=tmp_path, env=cloud | environment) as (process, _):
            assert manager.recv(64) == b"READY=1"
            assert manager.recv(64) == b"WATCHDOG=1"
            process.send_signal(signal.SIGTERM)
            while (state := manager.recv(64)) == b"WATCHDOG=1":
                pass
            assert state == b"STOPPING=1"


def test_sighup_takes_a_good_configuration_and_refuses_a_bad_one(
    cloud: dict[str, str], tmp_path: Path
) -> None:
    file = tmp_path / "fping-exporter.yml"
    file.write_text("cache: {sweep: 1ms}")
    with serving(cwd=tmp_path, env=cloud) as (process, url):
        assert count_instances(fetch(f"{url}/metrics")) == SCENE_SIZE
        file.write_text("cache: {sweep: 1ms}\ninstances: {include: [{name: selenium-1}]}")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: count_instances(fetch(f"{url}/metrics")) == 1)
        file.write_text("x: 1")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: "fping_exporter_config_last_reload_successful 0.0" in fetch(f"{url}/metrics"))
        assert count_instances(fetch(f"{url}/metrics")) == 1


def test_sighup_at_any_time_reloads(cloud: dict[str, str], tmp_path: Path) -> None:
    with serving(cwd=tmp_path, env=cloud, hang_up_early=True) as (process, url):
        assert "fping_exporter_config_last_reload_successful 1.0" in fetch(f"{url}/metrics")
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert process.stderr
        assert "msg=reloading" in process.stderr.read()


def test_sighup_ends_the_demo(tmp_path: Path) -> None:
    need_ping()
    with serving("demo", cwd=tmp_path, env={}) as (process, _):
        process.send_signal(signal.SIGHUP)
        assert process.wait(SECONDS) == 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ("cloud: nosuchcloud", 'cloud: "nosuchcloud" is not an entry of clouds.yaml'),
        ("", "no complete credentials for OpenStack, missing: auth_url"),
    ],
)
def test_the_check_refuses_what_serve_refuses(settings: str, said: str, tmp_path: Path) -> None:
    need_ping()
    (tmp_path / "fping-exporter.yml").write_text(settings)
    for flag in ("--config.check", "--log.level=error"):
        done = run(flag, cwd=tmp_path)
        assert done.returncode == 2
        assert said in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_the_files_that_are_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(tmp_path)
    assert fail("print", "config") == 0
    assert capsys.readouterr().out == (root / "deploy/fping-exporter.yml").read_text()
    assert fail("print", "rules") == 0
    assert capsys.readouterr().out == (root / "deploy/prometheus/fping-exporter.rules.yml").read_text()
    assert fail("print", "dashboards", ".") == 0
    written = capsys.readouterr().out.splitlines()
    dashboards = {path.name: path.read_text() for path in (root / "grafana/dashboards").iterdir()}
    assert {name: Path(name).read_text() for name in written} == dashboards


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
