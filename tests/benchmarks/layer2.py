"""Asking at layer 2 beside fping and our own pings: ``python -m tests.benchmarks.layer2``, as root.

20,000 guests on one link, 10 % of them dead, timeout 1 s, and one process that plays them. CPU time is
compared without pacing and in one round, since ``fping -i0 -r0`` has neither. Pings find MACs in the
neighbour table, and fping gets a larger receive buffer than the system gives: otherwise it asks or hears only
some of the guests, which costs less. The whole sweep of two rounds at the default rate stands below.
"""

import contextlib
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.model import LOCAL, Layer2Target, Target
from fping_exporter.probe import make_prober
from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
from tests.benchmarks.exporter import verdict
from tests.probe.layer2.guests import Script
from tests.probe.layer2.world import ScriptedGuests

GUESTS = 20_000
DEAD = frozenset(range(0, GUESTS, 10))
ALIVE = GUESTS - len(DEAD)
TIMEOUT = 1.0
ROUNDS = 5
UNPACED = 1_000_000
SLACK = 0.3
"""Seconds that a sweep may take beyond the sending and its timeouts."""


class Cost(NamedTuple):
    """What a run took, in seconds, and how many it found alive."""

    wall: float
    cpu: float
    alive: int


def measure(run: Callable[[], int], who: int = resource.RUSAGE_SELF) -> Cost:
    """Time a run, which returns the number of the living."""
    before, start = resource.getrusage(who), time.monotonic()
    alive = run()
    wall, after = time.monotonic() - start, resource.getrusage(who)
    return Cost(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, alive)


def median(costs: Sequence[Cost]) -> Cost:
    """Take the median of times, and the worst number of the living."""
    return Cost(
        statistics.median(cost.wall for cost in costs),
        statistics.median(cost.cpu for cost in costs),
        min((cost.alive for cost in costs), key=lambda alive: -abs(ALIVE - alive)),
    )


def fping(ips: Sequence[str]) -> int:
    """Ping with fping; return how many answered."""
    done = subprocess.run(
        ["fping", "-a", "-q", "-i0", "-r0", f"-t{round(TIMEOUT * 1000)}"],
        input="\n".join(ips),
        capture_output=True,
        text=True,
        check=False,  # 1: some did not answer
    )
    return len(done.stdout.split())


@contextlib.contextmanager
def large_receive_buffers() -> Iterator[None]:
    """Give sockets that do not ask for any more a receive buffer of 64 MiB. The setting is the machine's."""
    setting = Path("/proc/sys/net/core/rmem_default")
    before = setting.read_text()
    setting.write_text(str(64 << 20))
    try:
        yield
    finally:
        setting.write_text(before)


def main() -> int:
    """Print the table; return 1 if a mark is missed."""
    script = Script(GUESTS, exceptions=dict.fromkeys(DEAD, "dead"))
    default = config.Probe().rate
    with large_receive_buffers(), ScriptedGuests(script) as guests:
        four, six = ([t._replace(vantage=LOCAL) for t in guests.targets(six=six)] for six in (False, True))
        # Each guest gets a fixed neighbour entry, so that pings cost pings and not ARP.
        guests.ip(*(f"neigh replace {t.ip} lladdr {t.mac} nud permanent dev tap0" for t in four))

        def ask(targets: Sequence[Layer2Target], *, rate: float, rounds: int) -> int:
            prober = Layer2Prober(
                timeout=TIMEOUT,
                pacer=Pacer(rate=rate),
                sockets=SocketBudget(100),
                decoys=False,
                rounds=rounds,
            )
            return sum(prober.probe(targets).alive.values())

        ping = make_prober(config.Probe(timeout=Duration(TIMEOUT), retries=0, rate=UNPACED))
        pinged = [Target(LOCAL, target.ip) for target in four]
        ips = [target.ip for target in four]
        runs: dict[str, tuple[Callable[[], int], int]] = {
            "fping -i0": (lambda: fping(ips), resource.RUSAGE_CHILDREN),
            "ARP": (lambda: ask(four, rate=UNPACED, rounds=1), resource.RUSAGE_SELF),
            "NS": (lambda: ask(six, rate=UNPACED, rounds=1), resource.RUSAGE_SELF),
            "our ping": (lambda: ping.probe(pinged).received, resource.RUSAGE_SELF),
            "ARP, whole sweep": (lambda: ask(four, rate=default, rounds=2), resource.RUSAGE_SELF),
            "NS, whole sweep": (lambda: ask(six, rate=default, rounds=2), resource.RUSAGE_SELF),
        }
        costs: dict[str, list[Cost]] = {name: [] for name in runs}
        with guests.entered():
            for _ in range(ROUNDS):
                for name, (run, who) in runs.items():
                    costs[name].append(measure(run, who))
    medians = {name: median(some) for name, some in costs.items()}
    reference = medians["fping -i0"]
    print(f"{GUESTS} guests, {len(DEAD)} dead, median of {ROUNDS}")
    print(f"{'':20}{'wall s':>9}{'CPU us/guest':>14}{'CPU/fping':>11}{'alive':>8}  (of {ALIVE})")
    for name, cost in medians.items():
        each, ratio = cost.cpu / GUESTS * 1e6, cost.cpu / reference.cpu
        print(f"{name:20}{cost.wall:9.2f}{each:14.1f}{ratio:11.2f}{cost.alive:8}")
    longest = (GUESTS + len(DEAD)) / default + 2 * TIMEOUT + SLACK
    ours = {name: cost for name, cost in medians.items() if name.startswith(("ARP", "NS"))}
    return verdict(
        {
            "no wrong verdict at layer 2": all(cost.alive == ALIVE for cost in ours.values()),
            "ARP: CPU <= fping -i0": ours["ARP"].cpu <= reference.cpu,
            "NS: CPU <= 1.5 x fping -i0": ours["NS"].cpu <= 1.5 * reference.cpu,
            f"a whole sweep <= its sending, its timeouts and {SLACK} s ({longest:.1f} s)": all(
                cost.wall <= longest for name, cost in ours.items() if "whole" in name
            ),
        }
    )


if __name__ == "__main__":
    sys.exit(main())
