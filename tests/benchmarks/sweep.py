"""The sweep beside fping and icmplib: ``python -m tests.benchmarks.sweep``, as root.

10,000 addresses across a veth, 10 % of them silent, timeout 1 s, no retries. The marks are for a sweep
without pacing, since ``fping -i0`` has none; what the default rate adds stands below them.
"""

import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import icmplib  # type: ignore[import-untyped]

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.model import LOCAL, Target
from fping_exporter.probe import Prober, make_prober
from tests.netns import Network

ADDRESSES = [f"10.64.{number // 250}.{number % 250 + 1}" for number in range(10_000)]
TARGETS = [Target(LOCAL, ip) for ip in ADDRESSES]
SILENT = frozenset(ADDRESSES[::10])
ALIVE = len(ADDRESSES) - len(SILENT)
ROUNDS = 9
UNPACED = 1_000_000


class Cost(NamedTuple):
    """What a run took, in seconds, and how many verdicts it got wrong."""

    wall: float
    cpu: float
    wrong: int


def measure(run: Callable[[], int], who: int) -> Cost:
    """Time a run, which returns the number of the living; `who` is RUSAGE_SELF or RUSAGE_CHILDREN."""
    before, start = resource.getrusage(who), time.monotonic()
    alive = run()
    wall, after = time.monotonic() - start, resource.getrusage(who)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return Cost(wall, cpu, abs(ALIVE - alive))


def median(costs: Sequence[Cost]) -> Cost:
    """Take the median of each column, but every wrong verdict."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        sum(cost.wrong for cost in costs),
    )


def fping() -> int:
    """Ask with fping; return how many answered."""
    done = subprocess.run(
        ["fping", "-a", "-q", "-i0", "-t1000", "-r0"],
        input="\n".join(ADDRESSES),
        capture_output=True,
        text=True,
        check=False,  # 1: some did not answer
    )
    return len(done.stdout.split())


def multiping() -> int:
    """Ask with icmplib at its defaults but for the one packet and the timeout of all the others."""
    return sum(host.is_alive for host in icmplib.multiping(ADDRESSES, count=1, timeout=1))


def sweep(prober: Prober) -> int:
    """Ask with the sweep."""
    return prober.probe(TARGETS).received


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    probers = {rate: make_prober(config.Probe(timeout=Duration(1), retries=0, rate=rate)) for rate in RATES}
    costs: dict[str, list[Cost]] = {"fping -i0": [], **{RATES[rate]: [] for rate in RATES}}
    with Network("fpx-bench") as network:
        network.silence(SILENT)
        with network.near.entered():
            sweep(probers[UNPACED])
            for _ in range(ROUNDS):
                costs["fping -i0"].append(measure(fping, resource.RUSAGE_CHILDREN))
                for rate, prober in probers.items():
                    costs[RATES[rate]].append(measure(partial(sweep, prober), resource.RUSAGE_SELF))
            costs["icmplib multiping"] = [measure(multiping, resource.RUSAGE_SELF)]
    medians = {name: median(some) for name, some in costs.items()}
    reference = medians["fping -i0"]
    print(f"{len(ADDRESSES)} addresses, {len(SILENT)} silent, median of {ROUNDS} (icmplib: 1)")
    print(f"{'':26}{'wall s':>9}{'CPU s':>9}{'wall/fping':>12}{'CPU/fping':>12}{'wrong':>7}")
    for name, cost in medians.items():
        print(
            f"{name:26}{cost.wall:9.3f}{cost.cpu:9.3f}"
            f"{cost.wall / reference.wall:12.2f}{cost.cpu / reference.cpu:12.2f}{cost.wrong:7}"
        )
    ours = medians[RATES[UNPACED]]
    marks = {
        "no wrong verdict": ours.wrong == medians[RATES[config.Probe().rate]].wrong == 0,
        "wall <= fping -i0": ours.wall <= reference.wall,
        "CPU <= 1.5 x fping": ours.cpu <= 1.5 * reference.cpu,
        "wall <= 1/10 of icmplib multiping": ours.wall <= medians["icmplib multiping"].wall / 10,
    }
    for mark, reached in marks.items():
        print(f"{'reached' if reached else 'MISSED ':8} {mark}")
    return 0 if all(marks.values()) else 1


RATES = {UNPACED: "sweep, not paced", config.Probe().rate: "sweep, default rate"}

if __name__ == "__main__":
    sys.exit(main())
