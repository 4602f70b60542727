"""Several clouds on the command line: ``list --cloud`` and ``--config.check``."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from fping_exporter.cli import main
from fping_exporter.model import Project
from tests.cloud.faulty import ADMIN, FaultyCloud, make_servers
from tests.permission import need_ping

NAMES = ("lon1", "lon2", "gone")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A configuration of three clouds: one with an instance, one without, one that cannot be listed."""
    need_ping()
    with ExitStack() as stack:
        entries: dict[str, dict[str, Any]] = {}
        for name in NAMES:
            servers = make_servers(1, project=Project(f"{name:0<32}", name, "default"))
            standin = stack.enter_context(FaultyCloud(*servers))
            entries[name] = {"auth": standin.region(ADMIN).get_auth_args(), "region_name": "RegionOne"}
        entries["gone"]["auth"] = entries["gone"]["auth"] | {"password": "wrong"}
        (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": entries}))
        monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
        path = tmp_path / "config.yml"
        silent = {"address": "127.1.0.0/16"}
        path.write_text(
            yaml.safe_dump(
                {
                    "probe": {"timeout": "100ms", "retries": 0},
                    "clouds": {
                        "lon1": {"cloud": "lon1"},
                        "lon2": {"cloud": "lon2", "instances": {"exclude": [silent]}},
                        "gone": {"cloud": "gone"},
                    },
                },
                sort_keys=False,
            )
        )
        yield path


def test_all_clouds_are_listed_and_one_that_cannot_be_is_named(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "--json", "--log.level=error", f"--config.file={file}"]) == 3
    shown = capsys.readouterr()
    assert [(each["cloud"], each["id"]) for each in json.loads(shown.out)] == [("lon1", "lon1-0000")]
    assert shown.err.splitlines()[-1].startswith("fping-exporter: gone: ")


def test_the_exit_code_is_that_of_the_first_cloud_that_cannot_be_listed(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(file.read_text())
    settings["clouds"]["soon"] = {"cloud": "nowhere"}  # its error is the first one
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    assert main(["list", "--log.level=error", f"--config.file={file}"]) == 3
    shown = [line.split()[1] for line in capsys.readouterr().err.splitlines() if "fping-exporter:" in line]
    assert shown == ["gone:", "soon:"]


def test_what_is_missing_of_a_cloud_is_told_with_its_name(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = yaml.safe_load(file.read_text())
    settings["clouds"]["lon2"]["fleet"] = {"prometheus": "http://127.0.0.1:9"}
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    both = ["--cloud=lon1", "--cloud=lon2"]
    assert main(["list", *both, "--log.level=error", f"--config.file={file}"]) == 0
    told = "what the other exporters say could not be read: "
    assert f"fping-exporter: lon2: {told}" in capsys.readouterr().err
    assert main(["list", "--cloud=lon2", "--log.level=error", f"--config.file={file}"]) == 0
    assert f"fping-exporter: {told}" in capsys.readouterr().err


def test_some_clouds_are_listed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "--cloud=lon2", "--cloud=lon1", f"--config.file={file}"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.startswith("CLOUD  ID ")
    assert row.startswith("lon1   lon1-0000")
    assert main(["list", "--cloud=gone", f"--config.file={file}"]) == 3
    assert capsys.readouterr().out == ""


def test_a_cloud_that_is_unknown_is_an_error_of_usage(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in (["list"], ["explain", "x"], ["wait", "x"]):
        assert main([*command, "--cloud=par1", f"--config.file={file}"]) == 2
        assert capsys.readouterr().err == (
            "fping-exporter: --cloud: unknown: 'par1'; known are lon1, lon2, gone\n"
        )
    assert main(["explain", "x", f"--config.file={file}"]) == 2
    assert "--cloud: choose one of lon1, lon2, gone" in capsys.readouterr().err


def test_a_check_looks_at_each_cloud(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--config.check", f"--config.file={file}"]) == 0
    settings = yaml.safe_load(file.read_text())
    settings["clouds"]["lon2"]["cloud"] = "nowhere"
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    assert main(["--config.check", f"--config.file={file}"]) == 2
    shown = capsys.readouterr().err
    assert 'clouds.lon2.cloud: "nowhere" is not an entry of clouds.yaml; known are gone, lon1, lon2' in shown
