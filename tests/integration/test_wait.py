"""``fping-exporter wait`` against a real cloud: a server from its first moment to its last."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.exporter import write_config
from tests.integration.lab import Lab
from tests.integration.process import ROOT

pytestmark = pytest.mark.lab


@contextlib.contextmanager
def waiting(lab: Lab, config: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A wait that is under way."""
    command = [sys.executable, "-m", "fping_exporter", "wait", "--config.file", str(config)]
    with subprocess.Popen(
        [*command, "--json", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "OS_CLIENT_CONFIG_FILE": str(lab.clouds)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str]) -> tuple[int, list[dict[str, Any]]]:
    """Return the exit code, and what is said of each server."""
    out, _ = process.communicate(timeout=330)
    return process.returncode, [json.loads(line) for line in out.splitlines()]


def test_a_server_is_built_and_stopped(lab: Lab, tmp_path: Path) -> None:
    config = write_config(tmp_path, cloud="admin", probe={"timeout": "500ms", "retries": 1})
    id_ = lab.boot("waited")
    try:
        with waiting(lab, config, "test-waited") as process:
            server = lab.finish(id_)
            code, rows = ended(process)
        assert code == 0
        said = [(row["id"], row["result"], row["status"], set(row["addresses"])) for row in rows]
        assert said == [(id_, "answers", "ACTIVE", set(server.addresses))]
        with waiting(lab, config, "--down", id_) as process:
            lab.stop(id_)
            code, rows = ended(process)
        assert (code, [(row["id"], row["result"]) for row in rows]) == (0, [(id_, "down")])
    finally:
        lab.delete(id_)
