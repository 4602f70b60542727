"""Soak the exporter in changes and faults, and judge every answer.

    python -m tests.soak [MINUTES [SEED]]

Needs root. All of it happens in network namespaces without a default route. Ends with 1 if a mark is missed.
"""

import argparse
import contextlib
import random
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from tests.integration.exporter import Exporter, write_config
from tests.soak.faults import FAULTS, STOPPED, Soaked
from tests.soak.truth import Judge, Said, read
from tests.soak.world import World

INSTANCES, CHANGES = 2000, 40.0
SWEEP_AGE, LIST_AGE, MAX_STALE = 2, 4, 60
"""The cache's ages, in seconds: short ones, so that a quarter of an hour has many of them."""
SETTINGS: dict[str, object] = {
    "cloud": "soak",
    "probe": {
        "timeout": "500ms",
        "retries": 1,
        "vantages": ["local", "qdhcp"],
        "local_networks": ["reached"],
    },
    "cache": {"sweep": f"{SWEEP_AGE}s", "inventory": f"{LIST_AGE}s", "max_stale": f"{MAX_STALE}s"},
}
SCRAPE_TIMEOUT, EVERY, LASTS = 10.0, 10.0, 5.0
SLACK = 2.0
"""Seconds by which results may be older than the cache lets them: the sweep, and the way to the scraper."""
WARM_UP = 3 * 60
GROWTH_MIB, MORE = 16, 16
"""What may be there more at the end than after three minutes: MiB; threads, files."""


class Usage(NamedTuple):
    """What the process holds."""

    resident: float
    """In MiB."""
    threads: int
    files: int

    def __str__(self) -> str:
        return f"{self.resident:.0f} MiB, {self.threads} threads, {self.files} files"


class Soak:
    """A soak: what was scraped, and what it was worth."""

    def __init__(self, world: World, exporter: Exporter, config: Path, *, seed: int) -> None:
        """Know the exporter, which runs with the file `config`."""
        host, _, port = exporter.address.rpartition(":")
        self._world, self._exporter = world, exporter
        self._soaked = Soaked(world, (host, int(port)), exporter.send_signal, config)
        self._random = random.Random(seed)  # noqa: S311, no secret
        self._over = threading.Event()
        self._deaf_until = 0.0
        self.verdicts: Counter[str] = Counter()
        self.complaints: list[str] = []
        self.latencies: list[float] = []
        self.recoveries: dict[str, float] = {}
        """By a fault's name, the seconds after it until a new list and a new sweep were there."""
        self._judgement = Judge(world.answers, world.active)
        self._newest: Said | None = None
        self._left: list[str] = []

    def run(self, seconds: float) -> tuple[Usage, Usage]:
        """Go on for so long; return what the process held after the warm-up, and in the end."""
        end = time.monotonic() + seconds
        scraper = threading.Thread(target=self._scrape, name="scrapes")
        scraper.start()
        try:
            early = self._break_things(time.monotonic() + min(WARM_UP, seconds / 2))
            return early, self._break_things(end)
        finally:
            self._over.set()
            scraper.join()

    def _break_things(self, end: float) -> Usage:
        while time.monotonic() < end:
            if not self._left:
                self._left = self._random.sample(list(FAULTS), len(FAULTS))
            name = self._left.pop()
            until = time.monotonic() + EVERY
            with FAULTS[name](self._soaked):
                print(f"{time.strftime('%H:%M:%S')} {name}", flush=True)
                time.sleep(LASTS)
                if name in STOPPED:
                    self._deaf_until = time.monotonic() + SCRAPE_TIMEOUT
            self._recover(name)
            time.sleep(max(0, until - time.monotonic()))
        return self._usage()

    def _recover(self, name: str) -> None:
        """Wait until a list and a sweep were begun after the fault `name` and are shown."""
        mended = time.time()
        while not self._well(mended):
            time.sleep(0.1)
            if time.time() - mended > MAX_STALE:
                self.complaints.append(f"no new list and sweep within {MAX_STALE} s after: {name}")
                return
        self.recoveries[name] = max(self.recoveries.get(name, 0), time.time() - mended)

    def _well(self, since: float) -> bool:
        """Return whether there is a list and a sweep that was begun after this time."""
        said = self._newest
        return said is not None and all(said.window(what).begin > since for what in ("sweep", "inventory"))

    def _scrape(self) -> None:
        while not self._over.wait(1):
            begin = time.monotonic()
            request = urllib.request.Request(
                f"http://{self._exporter.address}/metrics",
                headers={"X-Prometheus-Scrape-Timeout-Seconds": str(SCRAPE_TIMEOUT)},
            )
            try:
                with urllib.request.urlopen(request, timeout=SCRAPE_TIMEOUT) as answer:  # noqa: S310, loopback
                    text = answer.read().decode()
            except OSError as error:
                if time.monotonic() > self._deaf_until and not self._stopped():
                    self.complaints.append(f"{time.strftime('%H:%M:%S')} a scrape failed: {error!r}")
                continue
            self.latencies.append(time.monotonic() - begin)
            self._judge(read(text, time.time()))

    def _stopped(self) -> bool:
        return "T (stopped)" in Path(f"/proc/{self._exporter.pid}/status").read_text()

    def _judge(self, said: Said) -> None:
        self._newest = said
        found = self._judgement.judge(said)
        self.verdicts += found
        for what in ("ping: wrong", "Nova: wrong"):
            if found[what]:
                self.complaints.append(f"{time.strftime('%H:%M:%S')} {what}: {found[what]}")
        if not said.active:
            self.verdicts["scrapes without results"] += 1
            return
        age = {what: said.at - said.window(what).begin for what in ("sweep", "inventory")}
        if age["sweep"] > SWEEP_AGE + SLACK and time.monotonic() > self._deaf_until:
            self.complaints.append(f"{time.strftime('%H:%M:%S')} a sweep {age['sweep']:.1f} s old")
        if age["inventory"] > MAX_STALE + SLACK:
            self.complaints.append(f"{time.strftime('%H:%M:%S')} a list {age['inventory']:.0f} s old")

    def _usage(self) -> Usage:
        process = Path(f"/proc/{self._exporter.pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        return Usage(
            int(status["VmRSS"].split()[0]) / 1024,
            int(status["Threads"]),
            sum(1 for _ in (process / "fd").iterdir()),
        )


@contextlib.contextmanager
def running(world: World, folder: Path) -> Iterator[tuple[Exporter, Path]]:
    """Run the exporter on the world's cloud."""
    clouds = folder / "clouds.yaml"
    clouds.write_text(yaml.safe_dump({"clouds": {"soak": world.cloud.cloud()}}), encoding="utf-8")
    config = write_config(folder, **SETTINGS)
    with Exporter(config, clouds=clouds, log=folder / "log") as exporter:
        yield exporter, config


def main() -> int:
    """Return 1 if a mark is missed."""
    parser = argparse.ArgumentParser(description="Soak the exporter in changes and faults.")
    parser.add_argument("minutes", nargs="?", type=float, default=15)
    parser.add_argument("seed", nargs="?", type=int, default=random.randrange(1_000_000))  # noqa: S311
    minutes, seed = vars(parser.parse_args()).values()
    print(f"{minutes:g} minutes, {INSTANCES} instances, seed {seed}")
    with (
        tempfile.TemporaryDirectory() as folder,
        World(instances=INSTANCES, changes=CHANGES, seed=seed) as world,
        running(world, Path(folder)) as (exporter, config),
        world.changing(),
    ):
        soak = Soak(world, exporter, config, seed=seed)
        early, late = soak.run(60 * minutes)
        lines = exporter.log.splitlines()
    if late.resident > early.resident + GROWTH_MIB:
        soak.complaints.append("memory grew")
    if late.threads > early.threads + MORE or late.files > early.files + MORE:
        soak.complaints.append("threads or files grew")
    _print(
        {
            "changes": f"{world.changed}, {world.changed / minutes / 60:.1f} a second",
            "scrapes": _describe(sorted(soak.latencies)),
            **{what: str(count) for what, count in sorted(soak.verdicts.items())},
            "well again": _describe(sorted(soak.recoveries.values())),
            "slowest after": max(soak.recoveries, key=lambda name: soak.recoveries[name]),
            "after the warm-up": str(early),
            "in the end": str(late),
            "log": f"{len(lines) / minutes:.0f} lines a minute",
        }
    )
    for complaint, count in Counter(soak.complaints).items():
        print(f"MISSED {complaint}" + (f" ({count} times)" if count > 1 else ""))
    return int(bool(soak.complaints))


def _print(report: Mapping[str, str]) -> None:
    for what, value in report.items():
        print(f"{what:24} {value}")


def _describe(seconds: Sequence[float]) -> str:
    """Return a line on durations that are sorted."""
    p50, p99 = (seconds[len(seconds) * percent // 100] for percent in (50, 99))
    return f"{len(seconds)}, p50 {p50:.2f} s, p99 {p99:.2f} s, longest {seconds[-1]:.2f} s"


if __name__ == "__main__":
    sys.exit(main())
