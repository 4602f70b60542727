"""``fping-exporter list`` against a real cloud: what it prints and how it ends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.exporter import write_config
from tests.integration.lab import Fate, Lab, Service
from tests.integration.process import ROOT

pytestmark = pytest.mark.lab


def run(lab: Lab, config: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "fping_exporter", "list", "--config.file", config, *flags],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OS_CLIENT_CONFIG_FILE": str(lab.clouds)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_some_are_silent(lab: Lab, tmp_path: Path) -> None:
    config = write_config(tmp_path, cloud="admin", probe={"timeout": "2s", "retries": 1})
    servers = lab.servers()
    truth = lab.truth(servers)

    done = run(lab, config, "--json")

    rows: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.returncode == 1
    assert {row["id"]: (row["alive"], row["reason"]) for row in rows} == {
        id_: (said.alive, said.reason) for id_, said in truth.items()
    }
    assert {row["id"]: (row["name"], row["status"], row["hypervisor"]) for row in rows} == {
        s.id: (s.name, s.status, s.hypervisor or None) for s in servers.values()
    }
    silent: list[dict[str, Any]] = json.loads(run(lab, config, "--json", "--silent").stdout)
    assert {row["id"] for row in silent} == {
        s.id for s in servers.values() if s.active and truth[s.id].alive is not True
    }


def test_all_answer(lab: Lab, tmp_path: Path) -> None:
    server = lab.guests("alpha-shared")[0]
    lab.set_fate(Fate.ALIVE, server.id)
    config = write_config(tmp_path, cloud="admin", instances={"include": [{"id": server.id}]})

    done = run(lab, config)

    assert done.returncode == 0
    assert done.stdout.splitlines()[1].split()[:5] == [server.id, server.name, "alpha", "ACTIVE", "yes"]


def test_cloud_that_does_not_answer(lab: Lab, tmp_path: Path) -> None:
    with lab.without(Service.NOVA):
        done = run(lab, write_config(tmp_path, cloud="admin"))

    assert (done.returncode, done.stdout) == (3, "")


def test_no_right_to_list_all_projects(lab: Lab, tmp_path: Path) -> None:
    done = run(lab, write_config(tmp_path, cloud="monitor"))

    assert (done.returncode, done.stdout) == (3, "")
    assert "all_projects: false" in done.stderr


def test_unknown_cloud(lab: Lab, tmp_path: Path) -> None:
    done = run(lab, write_config(tmp_path, cloud="nowhere"))

    assert (done.returncode, done.stdout) == (2, "")
    assert '"nowhere"' in done.stderr
