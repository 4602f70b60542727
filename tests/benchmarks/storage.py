"""What outlives a restart, its size and time: ``python -m tests.benchmarks.storage``.

Clouds of 10,000 and 100,000 instances, each with a port, two security groups and some metadata; one in ten
has lost pings at times of its own in the last hour. A thread that wants to run every millisecond shows for
how long writing keeps scrapes from the interpreter lock (GIL).
"""

import gc
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from fping_exporter.history import History
from fping_exporter.model import Address, AddressKind, Instance, Inventory, Port, Project, Topology
from fping_exporter.storage import State
from fping_exporter.storage.directory import FILE, Directory
from fping_exporter.timeline import LENGTH, PingResult, Stepper, Timeline
from tests.benchmarks.exporter import verdict
from tests.storage.alone import AloneStorage

SIZES = (10_000, 100_000)
SCOPE = {"cloud": "bench"}
MOST_READ_SECONDS = {10_000: 1.0, 100_000: 10.0}


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    marks = {}
    sys.setswitchinterval(0.0005)  # as serve does
    for size in SIZES:
        state = cloud(size)
        with tempfile.TemporaryDirectory() as path:
            pauses = Pauses()
            time.sleep(2)
            idle, pauses = pauses.longest(), Pauses()
            begun, cpu = time.monotonic(), time.process_time()
            write(state, Path(path))
            took, cpu = time.monotonic() - begun, time.process_time() - cpu
            pause = pauses.longest()
            packed = (Path(path) / FILE).stat().st_size
            begun, reading_cpu = time.monotonic(), time.process_time()
            read(Path(path))
            reading, reading_cpu = time.monotonic() - begun, time.process_time() - reading_cpu
        print(
            f"{size} instances: {packed / 2**20:.1f} MiB, written in {took:.2f} s ({cpu:.2f} s of CPU, "
            f"longest pause of another thread {pause * 1000:.0f} ms, {idle * 1000:.0f} ms without it), "
            f"read in {reading:.2f} s ({reading_cpu:.2f} s of CPU)"
        )
        marks[f"{size}: read in {MOST_READ_SECONDS[size]:.0f} s"] = reading <= MOST_READ_SECONDS[size]
    return verdict(marks)


class Pauses(threading.Thread):
    """Measures how late a thread is that wants to run every millisecond."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._ended = threading.Event()
        self._longest = 0.0
        self.start()

    def run(self) -> None:
        while not self._ended.is_set():
            begun = time.monotonic()
            time.sleep(0.001)
            self._longest = max(self._longest, time.monotonic() - begun - 0.001)

    def longest(self) -> float:
        """End, and return the longest delay, in seconds."""
        self._ended.set()
        self.join()
        return self._longest


def write(state: State, path: Path) -> None:
    storage = AloneStorage(Directory(path))
    storage.read(SCOPE)
    storage.save(state, scope=SCOPE)
    storage.close(600)


def read(path: Path) -> None:
    storage = AloneStorage(Directory(path))
    assert storage.read(SCOPE)
    storage.close(0)


def cloud(size: int) -> State:
    """Return what is known of a cloud of `size` instances."""
    projects = [f"{number:032x}" for number in range(size // 50)]
    ids = [str(UUID(int=number * 0x9E3779B97F4A7C15_9E3779B97F4A7C15 % 2**128)) for number in range(size)]
    addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(size)]
    instances = tuple(
        Instance(
            id=id_,
            project_id=projects[number % len(projects)],
            name=f"web-{number}.example",
            status="ACTIVE",
            power_state="RUNNING",
            host=f"compute-{number % 500}",
            hypervisor=f"compute-{number % 500}.example",
            availability_zone="nova",
            addresses=(Address(ip, 4, AddressKind.FIXED, "private", f"fa:16:3e:{number % 2**24:06x}"),),
            metadata={"role": "web", "owner": f"team-{number % 100}"},
            launched_at=1.7e9 + number,
        )
        for number, (id_, ip) in enumerate(zip(ids, addresses, strict=True))
    )
    groups = (ids[0], ids[1])
    ports = {
        id_: (Port(ids[number % 300], f"fa:16:3e:{number % 2**24:06x}", {ip: ids[-1]}, groups, id_),)
        for number, (id_, ip) in enumerate(zip(ids, addresses, strict=True))
    }
    inventory = Inventory(
        instances=instances,
        projects={id_: Project(id_, f"project-{id_[-4:]}", "default") for id_ in projects},
        topology=Topology(
            ports=ports, owners={ip: ports[id_] for id_, ip in zip(ids, addresses, strict=True)}
        ),
        listed_at=time.time(),
        duration=1.0,
    )
    gc.freeze()
    replies = dict.fromkeys(ids, time.time())
    sweeps = tuple([time.time() - 60 * number for number in range(LENGTH)][::-1])
    history = History(last_replies=replies, sweeps=sweeps, timelines=timelines(ids, sweeps))
    return State(inventory, time.monotonic(), frozenset(), history)


def timelines(ids: Sequence[str], sweeps: Sequence[float]) -> dict[str, Timeline]:
    """Return results of which one instance in ten has some of its own."""
    chance = random.Random(0)  # noqa: S311, of no secret
    found = dict.fromkeys(ids, Timeline())
    stepper = [Stepper([PingResult.ANSWERED], at=at) for at in sweeps]
    for number, id_ in enumerate(ids):
        for at, step in zip(sweeps, stepper, strict=True):
            lost = number % 10 == 0 and chance.random() < 0.1
            found[id_] = found[id_].then(PingResult.SILENT, at) if lost else step[found[id_]]
    return found


if __name__ == "__main__":
    sys.exit(main())
