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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

INSTANCES = 10_000

_CLOUD = f"""
import json, os, sys
from fping_exporter.demo import Demo
os.nice(19)  # it stands for a machine of its own
with Demo(instances={INSTANCES}) as demo:
    demo.neutron = None
    for server in demo.servers[: int(sys.argv[1])]:
        server.project_id = demo.users[0].project.id
    auth = demo.region().get_auth_args()
    print(json.dumps({{f"OS_{{key.upper()}}": value for key, value in auth.items()}}), flush=True)
    sys.stdin.read()
"""
_TICKS = os.sysconf("SC_CLK_TCK")


def cloud_with_own(servers: int) -> Sequence[str]:
    """Return a cloud for :func:`running`, of which so many servers are the exporter's own project's."""
    return ("-c", _CLOUD, str(servers))


class Exporter:
    """A running exporter."""

    def __init__(self, pid: int, url: str, credentials: Mapping[str, str]) -> None:
        """Know its process, where it listens, and its credentials, which are OS_* variables."""
        self._pid = pid
        self.url = url
        self.credentials = credentials

    def scrape(self, path: str = "/metrics", *, timeout: float = 60) -> bytes:
        """Scrape as Prometheus with this timeout does, in seconds; return the body, gzipped.

        The exporter answers half a second before: with a timeout of half a second it waits for nothing.
        """
        request = urllib.request.Request(  # noqa: S310, loopback
            f"{self.url}{path}",
            headers={"Accept-Encoding": "gzip", "X-Prometheus-Scrape-Timeout-Seconds": str(timeout)},
        )
        with urllib.request.urlopen(request) as answer:  # noqa: S310, loopback
            assert answer.headers["Content-Encoding"] == "gzip"
            return bytes(answer.read())

    def cpu(self) -> float:
        """Return the seconds of CPU that it has used."""
        fields = Path(f"/proc/{self._pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def resident(self, *, peak: bool = False) -> float:
        """Return its resident memory, or the most that it has had, in MiB."""
        name = "VmHWM" if peak else "VmRSS"
        found = re.search(rf"{name}:\s+(\d+) kB", Path(f"/proc/{self._pid}/status").read_text())
        assert found
        return int(found[1]) / 1024


@contextlib.contextmanager
def running(
    settings: str,
    *,
    cloud: Sequence[str] = cloud_with_own(0),
    instances: int = INSTANCES,
    paths: Sequence[str] = ("/metrics",),
) -> Iterator[Exporter]:
    """Run an exporter with these settings, in YAML, and yield it when all instances are in its scrapes.

    `cloud` are the arguments to Python that make its cloud: :func:`cloud_with_own`, or those of another one
    with so many instances, which prints its credentials as JSON and ends with its standard input. `paths` are
    those of the scrapes that have all instances together.
    """
    command = [sys.executable, *cloud]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as standin,
    ):
        assert standin.stdout
        credentials = json.loads(standin.stdout.readline())
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
                deadline = time.monotonic() + 60 + instances / 500
                while _count_instances(exporter, paths) != instances:
                    assert time.monotonic() < deadline, "the instances do not come"
                yield exporter
            finally:
                process.terminate()
                standin.communicate()


def _count_instances(exporter: Exporter, paths: Iterable[str]) -> int:
    bodies = (gzip.decompress(exporter.scrape(path)) for path in paths)
    return sum(body.count(b"\ninstance_hypervisor_active{") for body in bodies)


def verdict(marks: dict[str, bool]) -> int:
    """Print which marks are reached; return 1 if one is missed."""
    for mark, reached in marks.items():
        print(f"{'reached' if reached else 'MISSED ':8} {mark}")
    return 0 if all(marks.values()) else 1
