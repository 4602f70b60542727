"""Sweeps of many network namespaces: ``python -m tests.benchmarks.namespaces``, as root.

1,200 namespaces, named as those of Neutron's DHCP agents, with four guests each, of which one is silent.
With enough open files all are asked at once; with 256 in all, 400 of them are asked in turns.
"""

import resource
import sys
import time

from fping_exporter import config, open_files
from fping_exporter.config.duration import Duration
from fping_exporter.model import Sweep, Target
from fping_exporter.probe import make_prober
from fping_exporter.probe.sockets import LOOPBACK_BROADCAST
from fping_exporter.probe.vantage import survey
from tests.netns import many_namespaces

MANY, FEW = 1200, 400
TIMEOUT, RETRIES = 1.0, 2
ALIVE = ("127.0.0.5", "127.0.0.6", "127.0.0.7")
"""Each namespace's own addresses, which answer without a guest of flesh and blood."""
SILENT = LOOPBACK_BROADCAST


def sweep(names: list[str]) -> Sweep:
    """Ask every guest once."""
    settings = config.Probe(vantages=("qdhcp",), timeout=Duration(TIMEOUT), retries=RETRIES)
    targets = [Target(name, ip) for name in names for ip in (*ALIVE, SILENT)]
    return make_prober(settings).probe(targets)


def wrong(swept: Sweep) -> int:
    """Count the guests that were not asked, or whose outcome is not the truth."""
    return sum(
        not outcome.asked or outcome.alive != (target.ip != SILENT)
        for target, outcome in swept.outcomes.items()
    )


def report(what: str, swept: Sweep) -> None:
    print(f"{what:44}{swept.duration:8.2f} s{wrong(swept):8} of {len(swept.outcomes)} guests wrong")


def main() -> int:
    """Print the figures; return 1 if a mark is missed."""
    open_files.raise_limit()
    with many_namespaces(MANY) as names:
        began = time.monotonic()
        survey({"qdhcp"})
        print(f"{f'survey of {MANY} namespaces':44}{time.monotonic() - began:8.2f} s")
        many = min((sweep(names) for _ in range(3)), key=lambda swept: swept.duration)
        report(f"{MANY} namespaces", many)
        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        few = sweep(names[:FEW])
        report(f"{FEW} namespaces, 256 open files", few)
    silence = TIMEOUT * (1 + RETRIES)
    marks = {
        f"{MANY} namespaces within the timeouts of {silence:.0f} s and 1 s": many.duration <= silence + 1,
        f"every guest of {MANY} namespaces asked": not wrong(many),
        f"every guest of {FEW} namespaces asked with 256 open files": not wrong(few),
    }
    for mark, reached in marks.items():
        print(f"{'reached' if reached else 'MISSED ':8} {mark}")
    return 0 if all(marks.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
