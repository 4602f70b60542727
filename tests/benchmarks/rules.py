"""What the alert rules cost a real Prometheus: ``python -m tests.benchmarks.rules``.

Prometheus (Debian's) scrapes what the exporter's own code renders of so many instances until an hour's worth
of scrapes is in its memory, and then evaluates the shipped rules a few times. To get there in minutes, it
scrapes more often than once a minute, and the ranges of the rules are as much shorter.
"""

import re
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import msgspec
import yaml
from prometheus_client import generate_latest

from fping_exporter import config
from fping_exporter.history import History
from fping_exporter.metrics.exposition import render
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import (
    Address,
    AddressKind,
    Hypervisor,
    Instance,
    Inventory,
    Outcome,
    Project,
    Snapshot,
    Sweep,
    Target,
)
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.plan import plan
from tests.benchmarks.exporter import verdict
from tests.benchmarks.serving import serving
from tests.integration.process import Process, eventually, free_port
from tests.units import exporter_metrics

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "fping-exporter.rules.yml"
MARKS = {20_000: 1.0, 100_000: 5.0}
"""Seconds that one evaluation of all groups may take, by the number of instances."""
MOST_SERIES = 12
"""Series in Prometheus's head for each instance, the exporter's own and what the rules record."""
SCRAPES = 60
"""In an hour, at the shipped interval of a minute."""
EVALUATIONS = 6
"""Measured one after the other, of which the fastest counts: other programs only add to it."""


def snapshot(count: int, *, now: float) -> Snapshot:
    """Return a cloud on a bad day: of a hundred, 15 are off, three never answered, and one is missed."""
    instances = tuple(
        Instance(
            id=f"{number:08x}-5d2c-4b1e-9f60-{number:012x}",
            project_id=f"{number // 20:032x}",
            name=f"worker-{number}",
            status="SHUTOFF" if number % 100 < 15 else "ACTIVE",
            power_state="SHUTDOWN" if number % 100 < 15 else "RUNNING",
            host=f"compute-{number % (count // 40)}",
            hypervisor=f"compute-{number % (count // 40)}.example.com",
            availability_zone="nova",
            addresses=(Address(_ip(number), 4, AddressKind.FIXED, "tenant"),),
            launched_at=now - 100_000 - number,
        )
        for number in range(count)
    )
    projects = {
        each.project_id: Project(each.project_id, f"project {each.project_id[-8:]}", "default")
        for each in instances
    }
    inventory = Inventory(
        instances=instances,
        projects=projects,
        contacts={id_: f"team-{id_[-8:]}@example.com" for id_ in projects},
        hypervisors=tuple(Hypervisor(f"compute-{n}.example.com", up=n % 100 > 0) for n in range(count // 40)),
        listed_at=now,
        duration=2.0,
    )
    targets = plan(instances, inventory.topology, config.Probe())

    def sweep(answers: range) -> Sweep:
        """A sweep in which those of a hundred answer; two of them lose a packet."""
        outcomes = {
            Target("local", _ip(number)): Outcome(
                sent=2, received=1 + (number % 100 < 98), rtt=0.0004 + number * 1e-9
            )
            if number % 100 in answers
            else Outcome(sent=2, received=0, rtt=None)
            for number in range(count)
        }
        return Sweep(outcomes=outcomes, sent=2 * count, received=2 * count, started_at=now, duration=2.0)

    before = judge(inventory, targets=targets, sweep=sweep(range(18, 100)))
    history = History().after(before)
    after = judge(
        inventory,
        targets=targets,
        sweep=msgspec.structs.replace(sweep(range(19, 100)), started_at=now + 60),
        last_replies=history.last_replies,
    )
    return find_missed(after, history)


def _ip(number: int) -> str:
    return f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def exposition(shown: Snapshot) -> bytes:
    """Return what a scrape of the exporter returns."""
    telemetry = Telemetry()
    telemetry.observe_inventory(shown.inventory)
    telemetry.observe_sweep(shown.sweep, blind=shown.blind)
    own = generate_latest(exporter_metrics(telemetry))
    return b"".join([*render(shown).plain(), own])


def quicken(rules: str, factor: float) -> str:
    """Divide every range of the rules by `factor`; numbers of seconds in an expression stay."""
    milliseconds = {"s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

    def shorter(range_: re.Match[str]) -> str:
        return re.sub(
            r"(\d+)([smhd])",
            lambda found: f"{max(round(int(found[1]) * milliseconds[found[2]] / factor), 1)}ms",
            range_[0],
        )

    return re.sub(r"\[\d+[smhd](?::\d+[smhd])?\]", shorter, rules)


def configuration(*, port: int, interval: float, rules: Path | None) -> str:
    """Return a configuration of Prometheus that scrapes `port` every `interval` seconds."""
    job = {"job_name": "fping-exporter", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
    return yaml.safe_dump(
        {
            "global": {
                "scrape_interval": f"{interval}s",
                "scrape_timeout": f"{interval}s",
                "evaluation_interval": "15s",
            },
            "scrape_configs": [job],
            "rule_files": [str(rules)] if rules else [],
        }
    )


def own_metrics(address: str) -> Mapping[str, float]:
    """Return the samples of Prometheus itself, by name and labels as they are written."""
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")
    }


def durations(address: str) -> list[float]:
    """Return how long the last evaluation of each group took, in seconds."""
    found = own_metrics(address)
    return [
        value
        for name, value in found.items()
        if name.startswith("prometheus_rule_group_last_duration_seconds{")
    ]


def evaluated_at(address: str) -> float:
    """Return the Unix time of the last evaluation, of the group whose last one is the oldest."""
    name = "prometheus_rule_group_last_evaluation_timestamp_seconds{"
    return min((value for key, value in own_metrics(address).items() if key.startswith(name)), default=0)


def measure(count: int) -> tuple[list[float], float, float]:
    """Return the seconds of each evaluation of all groups, the CPU of one, and the series an instance."""
    interval = max(1, count // 25_000)
    filling = SCRAPES * interval + 10
    shown = snapshot(count, now=time.time())
    body = exposition(shown)
    with tempfile.TemporaryDirectory() as folder, serving(lambda _path: body) as port:
        settings, rules = Path(folder, "prometheus.yml"), Path(folder, "rules.yml")
        slack = 15 * (EVALUATIONS + 2)
        rules.write_text(
            quicken(RULES.read_text(encoding="utf-8"), 3600 / (filling + slack)), encoding="utf-8"
        )
        settings.write_text(configuration(port=port, interval=interval, rules=None), encoding="utf-8")
        address = f"127.0.0.1:{free_port()}"
        with Process(
            [
                "/usr/bin/prometheus",
                f"--config.file={settings}",
                f"--storage.tsdb.path={folder}/data",
                f"--web.listen-address={address}",
            ],
            log=Path(folder, "log"),
        ) as prometheus:
            prometheus.wait_for("Server is ready to receive web requests")
            time.sleep(filling)
            settings.write_text(configuration(port=port, interval=600, rules=rules), encoding="utf-8")
            prometheus.send_signal(signal.SIGHUP)
            before = own_metrics(address)["process_cpu_seconds_total"]
            seconds: list[float] = []
            newest = time.time()

            def check() -> None:
                assert evaluated_at(address) > newest

            while len(seconds) < EVALUATIONS:
                eventually(check, timeout=120)
                seconds.append(sum(durations(address)))
                newest = time.time()
            after = own_metrics(address)
            cpu = (after["process_cpu_seconds_total"] - before) / EVALUATIONS
            return seconds, cpu, after["prometheus_tsdb_head_series"] / count


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    marks = {}
    print(f"{'instances':>9}{'rules s':>9}{'slowest':>9}{'CPU s':>9}{'series':>8}")
    for count, most in MARKS.items():
        seconds, cpu, series = measure(count)
        print(
            f"{count:9}{min(seconds):9.2f}{max(seconds):9.2f}{cpu:9.2f}{series:8.2f}",
            flush=True,
        )
        marks[f"{count}: all groups within {most:g} s"] = min(seconds) <= most
        marks[f"{count}: at most {MOST_SERIES} series an instance"] = series <= MOST_SERIES
    return verdict(marks)


if __name__ == "__main__":
    sys.exit(main())
