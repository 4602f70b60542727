"""What it costs to read a fleet: ``python -m tests.benchmarks.fleet``.

Debian's Prometheus scrapes 1,000 exporters of 100 instances each. The central reads them through its API, and
merges them with its own snapshot, in which it could ask none. The CPU that Prometheus takes for scraping
meanwhile is measured apart, and is not counted.
"""

import os
import random
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from fping_exporter import config
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.prometheus import Prometheus
from fping_exporter.fleet.reading import Reading, read_fleet
from fping_exporter.model import (
    Address,
    AddressKind,
    Instance,
    Inventory,
    Probed,
    Reason,
    Snapshot,
    Sweep,
    Verdict,
)
from tests.benchmarks.exporter import verdict
from tests.benchmarks.serving import serving
from tests.integration.process import Process, eventually, free_port

EXPORTERS, INSTANCES_EACH = 1000, 100
MARKS = {"wall": 5.0, "CPU of the central": 1.0, "CPU of Prometheus": 4.0}
"""Seconds that a reading may take."""
READINGS = 6
READING_SECONDS = 15
"""As with the default of `cache.sweep`: who is alive is asked in each reading, and the rest in turns."""
SCRAPE_SECONDS = 30
SILENT_EVERY = 10
RANDOM = random.Random(15)  # noqa: S311, for ids that are spread like real ones
IDS = [
    [str(uuid.UUID(int=RANDOM.getrandbits(128), version=4)) for _ in range(INSTANCES_EACH)]
    for _ in range(EXPORTERS)
]


def exposition(exporter: int) -> str:
    """Return the metrics that a reading asks for, as one exporter has them if a tenth is silent."""
    now = time.time()
    lines = [
        "fping_exporter_up 1",
        "fping_exporter_blind 0",
        f"fping_exporter_sweep_last_success_timestamp_seconds {now - 2}",
    ]
    for number, id_ in enumerate(IDS[exporter]):
        labels = f'id="{id_}",project_id="{exporter:032x}"'
        silent = number % SILENT_EVERY == 0
        lines.append(f"instance_alive{{{labels}}} {int(not silent)}")
        replied_at = now - (5000 if silent else 2)
        lines.append(f"instance_last_reply_timestamp_seconds{{{labels}}} {replied_at}")
        if silent:
            lines.append(f'instance_silent{{{labels},reason="no_reply"}} 1')
            lines.append(f"instance_layer2_alive{{{labels}}} 0")
        else:
            lines.append(f"instance_rtt_seconds{{{labels}}} {0.0002 + number * 1e-6}")
    return "\n".join([*lines, ""])


@contextmanager
def scraping(directory: Path, target: int) -> Iterator[tuple[str, Callable[[], float]]]:
    """Run Prometheus; yield its URL, and what returns the seconds of CPU that it has taken."""
    job = {
        "job_name": "fping-exporter",
        "scrape_interval": f"{SCRAPE_SECONDS}s",
        "scrape_timeout": f"{SCRAPE_SECONDS}s",
        "static_configs": [
            {
                "targets": [f"127.0.0.1:{target}"],
                "labels": {
                    "__metrics_path__": f"/{number}",
                    "instance": f"compute-{number}.example.com:10605",
                },
            }
            for number in range(EXPORTERS)
        ],
    }
    file = directory / "prometheus.yml"
    file.write_text(yaml.safe_dump({"scrape_configs": [job]}), encoding="utf-8")
    listen = f"127.0.0.1:{free_port()}"
    command = [
        "/usr/bin/prometheus",
        f"--config.file={file}",
        f"--storage.tsdb.path={directory / 'data'}",
        f"--web.listen-address={listen}",
    ]
    with Process(command, log=directory / "log") as process:
        process.wait_for("ready to receive web requests")
        stat = Path(f"/proc/{process.pid}/stat")

        def cpu() -> float:
            fields = stat.read_text(encoding="ascii").rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

        yield f"http://{listen}", cpu


def own_snapshot() -> Snapshot:
    """Return what the central knows itself: the list, and nothing else."""
    address = Address("10.0.0.1", 4, AddressKind.FIXED, "tenant")
    instances = tuple(
        Instance(id=id_, project_id="p", name="vm", status="ACTIVE", addresses=(address,))
        for ids in IDS
        for id_ in ids
    )
    return Snapshot(
        inventory=Inventory(instances=instances, listed_at=time.time(), duration=1.0),
        verdicts=tuple(
            Verdict(instance=each, alive=None, reason=Reason.NO_VANTAGE, probed=(Probed(address, None),))
            for each in instances
        ),
        sweep=Sweep(outcomes={}, sent=0, received=0, started_at=time.time(), duration=0.0),
    )


def main() -> int:
    """Return 1 if a mark is missed."""
    own = own_snapshot()
    spent: list[dict[str, float]] = []
    with (
        tempfile.TemporaryDirectory() as directory,
        serving(lambda path: exposition(int(urlsplit(path).path[1:])).encode()) as target,
        scraping(Path(directory), target) as (url, server_cpu),
    ):
        api = Prometheus(config.Fleet(prometheus=url))

        def read(before: Reading | None = None) -> Reading:
            deadline = time.monotonic() + 60
            return read_fleet(api, match={}, max_age=180, deadline=deadline, before=before)

        def everything_is_scraped() -> None:
            assert len(read().words) == EXPORTERS * INSTANCES_EACH

        eventually(everything_is_scraped, timeout=4 * SCRAPE_SECONDS)
        began, cpu = time.monotonic(), server_cpu()
        time.sleep(SCRAPE_SECONDS)
        for_scraping = (server_cpu() - cpu) / (time.monotonic() - began)
        reading = None
        for _ in range(1 + READINGS):
            # The exporters are threads of this process, too: only the time of this thread is counted.
            began, cpu, ours = time.monotonic(), server_cpu(), time.thread_time()
            reading = read(reading)
            wall = time.monotonic() - began
            whole = merge(own, reading, max_age=180)
            spent.append(
                {
                    "wall": wall,
                    "CPU of the central": time.thread_time() - ours,
                    "CPU of Prometheus": server_cpu() - cpu - for_scraping * wall,
                }
            )
            time.sleep(READING_SECONDS)
        assert sum(each.alive is True for each in whole.verdicts) == 90_000
    marks = {}
    for name, mark in MARKS.items():
        first, *seconds = [each[name] for each in spent]
        print(f"{name}: " + ", ".join(f"{each:.2f}" for each in seconds) + f" s; the first one {first:.2f} s")
        marks[f"{name}: {mark:g} s at most, on average"] = sum(seconds) <= mark * READINGS
    print(f"(Prometheus took {100 * for_scraping:.0f} % of a core to scrape)")
    return verdict(marks)


if __name__ == "__main__":
    sys.exit(main())
