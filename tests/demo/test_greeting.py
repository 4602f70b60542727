"""What the demo prints can be typed as it is.

These are marked e2e as they start a dozen processes that import openstacksdk.
"""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fping_exporter.cli.parser import parse_arguments
from tests.permission import need_ping

pytestmark = pytest.mark.e2e

SECONDS = 120


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which the demo was started."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def greeting(place: Path) -> Iterator[str]:
    """What a running demo has printed."""
    need_ping()
    command = [sys.executable, "-m", "fping_exporter", "demo", "--web.listen-address=127.0.0.1:0"]
    with subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            lines = []
            for line in process.stdout:
                lines.append(line)
                if "server ping show" in line:
                    break
            yield "".join(lines)
        finally:
            process.kill()


def blocks(greeting: str) -> list[str]:
    """Return the indented blocks: addresses, environment, own commands, os-fping, novaclient, openstack."""
    return [re.sub(r"(?m)^  ", "", block) for block in re.findall(r"(?m)(?:^  .*\n)+", greeting)]


def typed(greeting: str, commands: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Type the environment and then these commands into a shell that has a different cloud so far."""
    environment = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "OS_CLOUD": "prod",
        "HOME": str(place),
    }
    return subprocess.run(
        ["bash", "-c", f"{blocks(greeting)[1]}\n{commands}"],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def test_list_explain_and_wait(greeting: str, place: Path) -> None:
    commands = blocks(greeting)[2].splitlines()
    assert [line.split("fping_exporter ")[1] for line in commands] == [
        "list",
        "explain blocked-by-security-group",
        "wait comes-and-goes --down",
    ]
    assert parse_arguments(shlex.split(commands[2])[3:]).down
    done = typed(greeting, "\n".join(commands[:2]), place)  # the guest may be alive for 80 seconds
    assert done.returncode == 1, done.stderr
    assert re.search(r"selenium-0 .* no_reply", done.stdout)
    assert "icmp_blocked: No security group of its ports lets a ping in." in done.stdout


def test_os_fping(greeting: str, place: Path) -> None:
    done = typed(greeting, blocks(greeting)[3], place)
    assert done.returncode == 0, done.stderr
    assert '"alive":true' in done.stdout


def test_the_endpoint_for_novaclient(greeting: str, place: Path) -> None:
    found = re.search(r'endpoint_override="(.*)"', blocks(greeting)[4])
    assert found
    login, _, request = blocks(greeting)[3].rpartition("curl ")
    assert f"'{found[1]}/os-fping?all_tenants'" in request
    done = typed(greeting, f'{login}\ncurl -s -H "X-Auth-Token: $TOKEN" {found[1]}/os-fping', place)
    assert done.stdout == '{"servers":[]}', "those of the admin's own project"


def test_openstackclient(greeting: str, place: Path) -> None:
    done = typed(greeting, blocks(greeting)[5], place)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\| selenium-0 +\| ACTIVE ", done.stdout)
    assert re.search(r"\| selenium-1 +\| [0-9a-f]{32} \| ACTIVE +\| yes ", done.stdout)
    assert "Kernel panic" in done.stdout
    assert re.search(r"\| name +\| selenium-0 +\|\n.*\n.*\n\| alive +\| no ", done.stdout)


def test_the_addresses(greeting: str, place: Path) -> None:
    page, metrics = (line.split()[0] for line in blocks(greeting)[0].splitlines())
    done = typed(greeting, f"curl -sf '{page}' {metrics}", place)
    assert done.returncode == 0
    assert "on-a-dead-hypervisor" in done.stdout
    assert 'reason="icmp_ignored"' in done.stdout


def test_the_readme_has_the_same_environment(greeting: str) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    exports = [line for line in blocks(greeting)[1].splitlines() if line.startswith("export")]
    given = re.sub(r":\d+/identity", ":10606/identity", "\n".join(exports))
    assert f"```sh\n{given}\n.venv/bin/python -m fping_exporter list\n```" in readme
