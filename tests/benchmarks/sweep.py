"""The sweep beside fping and icmplib: ``python -m tests.benchmarks.sweep``, as root.

10,000, 60,000 and 100,000 addresses across a veth, 10 % of them silent, timeout 1 s, no retries. The marks
are for a sweep without pacing, since ``fping -i0`` has none; what the default rate adds stands below them,
and so does the sweep with a system call for each message. fping tells no more than 65,536 addresses apart.
"""

import ipaddress
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import icmplib  # type: ignore[import-untyped]

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.model import LOCAL, Sweep, Target
from fping_exporter.probe import Pacer, SocketBudget, make_prober
from fping_exporter.probe.sweep import SweepProber
from fping_exporter.probe.transport import OneByOne
from tests.benchmarks.exporter import verdict
from tests.netns import Network

LIVING = "10.128.0.0/14"
SIZES = (10_000, 60_000, 100_000)
ROUNDS = 5
TIMEOUT = 1.0
UNPACED = 1_000_000
LONGEST = 2.5
"""Seconds for 100,000 addresses, unpaced."""


class Cost(NamedTuple):
    """What a run took, in seconds, and how many verdicts it got wrong."""

    wall: float
    cpu: float
    wrong: int


class Addresses:
    """So many addresses, every tenth of them silent."""

    def __init__(self, count: int) -> None:
        """Count from the first address of LIVING."""
        first = ipaddress.ip_network(LIVING)[1]
        self.ips = [str(first + number) for number in range(count)]
        self.targets = [Target(LOCAL, ip) for ip in self.ips]
        self.silent = frozenset(self.ips[::10])

    def wrong(self, alive: Sequence[str]) -> int:
        """Return how many verdicts are wrong if these are said to be alive."""
        return len(set(alive) ^ (set(self.ips) - self.silent))

    def fping(self) -> Sequence[str]:
        """Ask with fping; return who answered."""
        done = subprocess.run(
            ["fping", "-a", "-q", "-i0", f"-t{round(TIMEOUT * 1000)}", "-r0"],
            input="\n".join(self.ips),
            capture_output=True,
            text=True,
            check=False,  # 1: some did not answer
        )
        return done.stdout.split()

    def multiping(self) -> Sequence[str]:
        """Ask with icmplib at its defaults but for the one packet and the timeout of all the others."""
        return [host.address for host in icmplib.multiping(self.ips, count=1, timeout=1) if host.is_alive]

    def measure(self, ask: Callable[[], Sequence[str] | Sweep], who: int = resource.RUSAGE_SELF) -> Cost:
        """Time a run; `who` is RUSAGE_SELF or RUSAGE_CHILDREN."""
        before, start = resource.getrusage(who), time.monotonic()
        found = ask()
        wall, after = time.monotonic() - start, resource.getrusage(who)
        cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
        if isinstance(found, Sweep):
            found = [target.ip for target, outcome in found.outcomes.items() if outcome.alive]
        return Cost(wall, cpu, self.wrong(found))


def median(costs: Sequence[Cost]) -> Cost:
    """Take the median of each column, but every wrong verdict."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        sum(cost.wrong for cost in costs),
    )


FPING, OURS, PACED, SINGLY = "fping -i0", "sweep, not paced", "sweep, default rate", "sweep, one by one"
MULTIPING = "icmplib multiping"


def compare(asked: Addresses) -> dict[str, Cost]:
    """Ask all in turns; return the median of each, and print it."""
    settings = config.Probe(timeout=Duration(TIMEOUT), retries=0)
    unpaced = make_prober(settings, pacer=Pacer(rate=UNPACED))
    singly = SweepProber(
        timeout=TIMEOUT,
        count=1,
        retries=0,
        pacer=Pacer(rate=UNPACED),
        sockets=SocketBudget(10),
        transport=OneByOne,
    )
    runs: dict[str, Callable[[], Cost]] = {
        FPING: lambda: asked.measure(asked.fping, resource.RUSAGE_CHILDREN),
        OURS: lambda: asked.measure(lambda: unpaced.probe(asked.targets)),
        SINGLY: lambda: asked.measure(lambda: singly.probe(asked.targets)),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in runs}
    unpaced.probe(asked.targets)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            costs[name].append(run())
    costs[PACED] = [asked.measure(lambda: make_prober(settings).probe(asked.targets))]
    if len(asked.ips) == SIZES[0]:
        costs[MULTIPING] = [asked.measure(asked.multiping)]
    medians = {name: median(some) for name, some in costs.items()}
    reference = medians[FPING]
    print(f"\n{len(asked.ips)} addresses, {len(asked.silent)} silent, median of {ROUNDS} (the last ones: 1)")
    print(f"{'':26}{'wall s':>9}{'CPU s':>9}{'wall/fping':>12}{'CPU/fping':>12}{'wrong':>7}")
    for name, cost in medians.items():
        print(
            f"{name:26}{cost.wall:9.3f}{cost.cpu:9.3f}"
            f"{cost.wall / reference.wall:12.2f}{cost.cpu / reference.cpu:12.2f}{cost.wrong:7}",
            flush=True,
        )
    return medians


def main() -> int:
    """Print a table for each size; return 1 if a mark is missed."""
    with Network("fpx-bench") as network:
        network.near.ip(f"route add {LIVING} via 10.63.0.2")
        network.far.ip(f"route add local {LIVING} dev lo")
        network.silence(Addresses(SIZES[-1]).silent)
        with network.near.entered():
            found = {size: compare(Addresses(size)) for size in SIZES}
    ours = {size: medians[OURS] for size, medians in found.items()}
    anchors = {size: medians[FPING] for size, medians in found.items()}
    sweeps = [medians[name] for medians in found.values() for name in (OURS, PACED, SINGLY)]
    marks = {"no wrong verdict": all(cost.wrong == 0 for cost in sweeps)}
    for size in SIZES[:-1]:
        marks[f"{size}: wall <= fping -i0"] = ours[size].wall <= anchors[size].wall
        marks[f"{size}: CPU <= fping -i0"] = ours[size].cpu <= anchors[size].cpu
    marks[f"{SIZES[-1]}: wall <= {LONGEST} s"] = ours[SIZES[-1]].wall <= LONGEST
    marks[f"{SIZES[0]}: wall <= 1/10 of {MULTIPING}"] = (
        ours[SIZES[0]].wall <= found[SIZES[0]][MULTIPING].wall / 10
    )
    return verdict(marks)


if __name__ == "__main__":
    sys.exit(main())
