"""Several clouds in one exporter: ``python -m tests.benchmarks.clouds``, as root.

First ten clouds of 2,000 instances in one exporter beside one cloud of 20,000 in another: CPU and memory.
Both run at the same time, so that what else the machine does meets both. Then, in that of ten clouds, the
scrapes of eight while Nova of the ninth hangs and that of the tenth refuses, beside the same scrapes while
all is well, in turns.

Every cloud has a Neutron, and every tenth instance is silent. CPU is measured with the default settings and
a scrape every 16 s, and how long scrapes take with all three times as often. Everything is in a network
namespace, whose firewall drops the pings to the silent ones.
"""

import contextlib
import gzip
import json
import os
import re
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from fping_exporter.demo.http import Answer, Request
from tests.benchmarks.exporter import Exporter, running, verdict
from tests.benchmarks.large import percentile
from tests.benchmarks.sizing import SILENT, LargeCloud
from tests.netns import Namespace

CLOUDS, INSTANCES_EACH = 10, 2_000
HANGS, REFUSES = "c0", "c1"
INTERVAL, OFTEN = 16.0, 5.0
"""Seconds between two scrapes. The first is longer than the default of `cache.sweep`: every scrape sweeps."""
CACHE_OFTEN = "cache: {inventory: 20s, sweep: 5s}"
TIMEOUT = 4.0
"""Of a scrape, in seconds."""
SECONDS = 12 * INTERVAL
"""For which CPU is measured: so many sweeps of each cloud."""
TURNS, TURN_SECONDS = 3, 40.0
"""Turns in which all is well and in which two clouds are in trouble; of each, so many."""
MOST_RATIO = 1.2


class TroubledCloud(LargeCloud):
    """A cloud of which Nova hangs or refuses while the file `trouble` is there, if its name says so."""

    def __init__(self, name: str, instances: int, *, trouble: Path) -> None:
        super().__init__(instances)
        self._name = name
        self._trouble = trouble

    def answer(self, request: Request) -> Answer:
        if request.path.startswith("/compute/") and self._trouble.exists():
            if self._name == REFUSES:
                return Answer(503)
            while self._name == HANGS and self._trouble.exists():
                time.sleep(0.05)
        return super().answer(request)


class Scrapes(NamedTuple):
    """Seconds that each scrape took."""

    waiting: list[float]
    """Those of Prometheus, which wait for the sweep that they meet."""
    from_memory: list[float]


@contextlib.contextmanager
def scraping(
    exporter: Exporter, paths: Sequence[str], *, interval: float = INTERVAL, measured: Sequence[str] = ()
) -> Iterator[Scrapes]:
    """Scrape each of `paths` as Prometheus does, spread over the interval; yield the times of the `measured`.

    Of these, one scrape after the other takes what is in memory as well.
    """
    scrapes = Scrapes([], [])
    done = threading.Event()

    def scrape(path: str, offset: float) -> None:
        due = time.monotonic() + offset
        while not done.wait(max(due - time.monotonic(), 0)):
            begun = time.perf_counter()
            exporter.scrape(path, timeout=TIMEOUT)
            if path in measured:
                scrapes.waiting.append(time.perf_counter() - begun)
            due = max(due + interval, time.monotonic())

    def scrape_from_memory() -> None:
        while not done.is_set():
            for path in measured:
                begun = time.perf_counter()
                exporter.scrape(path, timeout=0.5)
                scrapes.from_memory.append(time.perf_counter() - begun)
                done.wait(0.05)

    offsets = [interval * number / len(paths) for number in range(len(paths))]
    threads = [threading.Thread(target=scrape, args=each) for each in zip(paths, offsets, strict=True)]
    threads += [threading.Thread(target=scrape_from_memory)] * bool(measured)
    for thread in threads:
        thread.start()
    try:
        yield scrapes
    finally:
        done.set()
        for thread in threads:
            thread.join()


def own_metric(exporter: Exporter, name: str, path: str) -> float:
    """Return the value of one of the exporter's own metrics, which has no labels."""
    text = gzip.decompress(exporter.scrape(path, timeout=0.5)).decode()
    found = re.search(rf"^fping_exporter_{name} (\S+)", text, re.MULTILINE)
    assert found
    return float(found[1])


class Spent(NamedTuple):
    """What an exporter has taken since it was started."""

    cpu: float
    """Seconds."""
    packets: float
    """Sent: ten sweeps of a tenth of the instances send as many as one of all."""

    @classmethod
    def read(cls, exporter: Exporter, paths: Sequence[str]) -> "Spent":
        packets = sum(own_metric(exporter, "packets_sent_total", path) for path in paths)
        return cls(exporter.cpu(), packets)


def compare_costs(many: Exporter, paths: Sequence[str], one: Exporter) -> dict[str, bool]:
    """Print what both exporters take; return the marks."""
    rows: dict[str, list[float]] = {"packets sent": [], "CPU, s a minute": [], "memory at its peak, MiB": []}
    asked = ((many, paths), (one, ["/metrics"]))
    with scraping(many, paths), scraping(one, ["/metrics"]):
        time.sleep(INTERVAL)
        before = [Spent.read(*each) for each in asked]
        time.sleep(SECONDS)
        for (exporter, its_paths), then in zip(asked, before, strict=True):
            now = Spent.read(exporter, its_paths)
            spent = (now.packets - then.packets, (now.cpu - then.cpu) / SECONDS * 60)
            for row, figure in zip(rows.values(), (*spent, exporter.resident(peak=True)), strict=True):
                row.append(figure)
    print(f"{'':30}{f'{CLOUDS} x {INSTANCES_EACH}':>12}{CLOUDS * INSTANCES_EACH:12}{'ratio':>8}")
    for name, (ours, anchor) in rows.items():
        print(f"{name:30}{ours:12.2f}{anchor:12.2f}{ours / anchor:8.2f}", flush=True)
    (sent, sent_by_one), *costs = rows.values()
    marks = {"both did the same work": abs(sent / sent_by_one - 1) < 0.1}
    for name, (ours, anchor) in zip(list(rows)[1:], costs, strict=True):
        marks[f"{name}: within {MOST_RATIO:g}"] = ours <= MOST_RATIO * anchor
    return marks


def compare_scrapes(many: Exporter, paths: Mapping[str, str], trouble: Path) -> dict[str, bool]:
    """Print how long scrapes of the other clouds take with two in trouble, and without; return the marks."""
    others = [path for name, path in paths.items() if name not in {HANGS, REFUSES}]
    found = {"all is well": Scrapes([], []), "two in trouble": Scrapes([], [])}
    for turn in range(2 * TURNS):
        name = list(found)[turn % 2]
        if troubled := bool(turn % 2):
            trouble.touch()
        with scraping(many, list(paths.values()), interval=OFTEN, measured=others) as scrapes:
            time.sleep(TURN_SECONDS)
            for path in paths.values() if troubled else ():
                age = time.time() - own_metric(many, "inventory_last_success_timestamp_seconds", path)
                assert (age > 0.75 * TURN_SECONDS) == (path not in others), (path, age)
        for all_scrapes, those in zip(found[name], scrapes, strict=True):
            all_scrapes.extend(those)
        trouble.unlink(missing_ok=True)
        time.sleep(2 * OFTEN)
    print(f"{'':30}{'scrapes':>12}{'p50 ms':>12}{'p99 ms':>12}")
    for kind in Scrapes._fields:
        for name, scrapes in found.items():
            walls = getattr(scrapes, kind)
            figures = 1e3 * statistics.median(walls), 1e3 * percentile(walls)
            print(f"{f'{name}, {kind}':30}{len(walls):12}{figures[0]:12.1f}{figures[1]:12.1f}", flush=True)
    well, troubled_scrapes = found.values()
    ratio = percentile(troubled_scrapes.waiting) / percentile(well.waiting)
    print(f"{'p99 of Prometheus, ratio':30}{ratio:12.2f}")
    return {f"p99 of the other clouds' scrapes: within {MOST_RATIO:g}": ratio <= MOST_RATIO}


def main() -> int:
    """Print the tables; return 1 if a mark is missed."""
    names = [f"c{number}" for number in range(CLOUDS)]
    paths = {name: f"/probe?cloud={name}" for name in names}
    several = yaml.safe_dump({"clouds": {name: {"cloud": name} for name in names}})
    everything = CLOUDS * INSTANCES_EACH
    with (
        Namespace("clouds") as namespace,
        namespace.entered(),
        tempfile.TemporaryDirectory() as folder,
    ):
        namespace.nft(
            f"table ip silent {{ chain input {{ type filter hook input priority 0; "
            f"ip daddr {SILENT} icmp type echo-request drop\n}}\n}}"
        )

        def running_many(cache: str = "") -> contextlib.AbstractContextManager[Exporter]:
            cloud = standin(folder, CLOUDS, INSTANCES_EACH)
            return running(
                f"{cache}\n{several}", cloud=cloud, instances=everything, paths=list(paths.values())
            )

        with (
            running("", cloud=standin(folder, 1, everything), instances=everything) as one,
            running_many() as many,
        ):
            marks = compare_costs(many, list(paths.values()), one)
        with running_many(CACHE_OFTEN) as many:
            marks |= compare_scrapes(many, paths, Path(folder, "trouble"))
    return verdict(marks)


def standin(folder: str, clouds: int, instances: int) -> list[str]:
    """Return the arguments to Python that make so many clouds with so many instances each."""
    return ["-m", "tests.benchmarks.clouds", folder, str(clouds), str(instances)]


def serve(folder: Path, number: int, instances: int) -> None:
    """Be so many clouds until standard input ends."""
    os.nice(5)
    with contextlib.ExitStack() as running_clouds:
        clouds = {}
        for name in (f"c{each}" for each in range(number)):
            cloud = TroubledCloud(name, instances, trouble=folder / "trouble")
            clouds[name] = running_clouds.enter_context(cloud).cloud()
        file = folder / f"clouds-{number}.yaml"
        file.write_text(yaml.safe_dump({"clouds": clouds}), encoding="utf-8")
        credentials = {"OS_CLIENT_CONFIG_FILE": str(file), "OS_CLOUD": "c0"}
        print(json.dumps(credentials), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    else:
        sys.exit(main())
