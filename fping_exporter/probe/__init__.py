"""Pings many addresses at once (ICMP and ICMPv6 echo)."""

from collections.abc import Collection
from typing import Protocol

from fping_exporter import config, open_files
from fping_exporter.model import Sweep, Target
from fping_exporter.probe.multiping import MultipingProber
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.socket_budget import SocketBudget
from fping_exporter.probe.sockets import Kind, check_permission
from fping_exporter.probe.sweep import SweepProber

__all__ = ["Kind", "Pacer", "Prober", "SocketBudget", "check_permission", "make_prober"]


class Prober(Protocol):
    """What both engines offer; one set of contract tests covers them."""

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round; return when all have answered or had their time.

        Raises ProbeError when nothing at all can be sent or received, and
        SocketPermissionError when that is for want of a right. A fault of single
        targets shows in their outcomes instead.
        """
        ...


def make_prober(
    settings: config.Probe,
    *,
    pacer: Pacer | None = None,
    sockets: SocketBudget | None = None,
    progress: Progress | None = None,
) -> Prober:
    """Make the engine that the configuration names; `pacer` and `sockets` limit all probers that share them.

    Without them, the prober keeps by itself to the configured `rate`, and to the share of the open files.
    """
    pacer = pacer or Pacer(rate=settings.rate)
    timeout, count, retries = settings.timeout, settings.count, settings.retries
    if settings.engine == "multiping":
        return MultipingProber(timeout=timeout, count=count, retries=retries, pacer=pacer, progress=progress)
    return SweepProber(
        timeout=timeout,
        count=count,
        retries=retries,
        pacer=pacer,
        sockets=sockets or SocketBudget(open_files.shares().icmp_sockets),
        progress=progress,
    )
