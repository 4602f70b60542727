"""A running exporter to measure: a process of its own, and its cloud in another."""

import contextlib
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

INSTANCES = 10_000

_CLOUD = f"""
import json, os, sys
from fping_exporter.demo import Demo
os.nice(19)  # it stands for a machine of its own
with Demo(instances={INSTANCES}) as demo:
    for server in demo.servers[: int(sys.argv[1])]:
        server.project_id = demo.users[0].project.id
    auth = demo.region().get_auth_args()
    print(json.dumps({{f"OS_{{key.upper()}}": value for key, value in auth.items()}}), flush=True)
    sys.stdin.read()
"""
_TICKS = os.sysconf("SC_CLK_TCK")


class Exporter:
    """A running exporter."""

    def __init__(self, pid: int, url: str, credentials: Mapping[str, str]) -> None:
        """Know its process, where it listens, and its credentials, which are OS_* variables."""
        self._pid = pid
        self.url = url
        self.credentials = credentials

    def scrape(self) -> bytes:
        """Scrape as Prometheus does and return the body, gzipped."""
        request = urllib.request.Request(  # noqa: S310, loopback
            f"{self.url}/metrics",
            headers={"Accept-Encoding": "gzip", "X-Prometheus-Scrape-Timeout-Seconds": "60"},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310, loopback
            assert answer.headers["Content-Encoding"] == "gzip"
            return bytes(answer.read())

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self) -> float:
        """Return its resident memory, in MiB."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self._pid}/status").read_text())
        assert found
        return int(found[1]) / 1024


@contextlib.contextmanager
def running(settings: str, *, own: int = 0) -> Iterator[Exporter]:
    """Run an exporter with these settings, in YAML, until all 10,000 instances are in its scrape.

    So many of them are in the project of the exporter's credentials, the others in many.
    """
    command = [sys.executable, "-c", _CLOUD, str(own)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as cloud,
    ):
        assert cloud.stdout
        credentials = json.loads(cloud.stdout.readline())
        file = Path(folder, "settings.yml")
        file.write_text(settings)
        with subprocess.Popen(
            [
                sys.executable,
                "-m",
                "fping_exporter",
                "--config.file",
                file,
                "--web.listen-address=127.0.0.1:0",
            ],
            env=os.environ | credentials,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                assert process.stderr
                listening = next(line for line in process.stderr if "msg=listening" in line)
                url = "http://" + listening.rpartition("address=")[2].strip()
                exporter = Exporter(process.pid, url, credentials)
                deadline = time.monotonic() + 60
                while gzip.decompress(exporter.scrape()).count(b"\ninstance_alive{") != INSTANCES:
                    assert time.monotonic() < deadline, "the instances do not come"
                yield exporter
            finally:
                process.terminate()
                cloud.communicate()


def verdict(marks: dict[str, bool]) -> int:
    """Print which marks are reached; return 1 if one is missed."""
    for mark, reached in marks.items():
        print(f"{'reached' if reached else 'MISSED ':8} {mark}")
    return 0 if all(marks.values()) else 1
