"""Pings many addresses at once (ICMP and ICMPv6 echo), and asks guests at layer 2 (ARP and NDP)."""

from collections.abc import Collection
from typing import Protocol

from fping_exporter import config, open_files
from fping_exporter.model import Layer2Sweep, Layer2Target, Sweep, Target
from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.layer2.trust import Trust
from fping_exporter.probe.multiping import MultipingProber
from fping_exporter.probe.pacing import Pacer, Progress
from fping_exporter.probe.socket_budget import SocketBudget
from fping_exporter.probe.sockets import Kind, check_permission
from fping_exporter.probe.sweep import SweepProber

__all__ = [
    "Kind",
    "Layer2Witness",
    "Pacer",
    "Prober",
    "SocketBudget",
    "Trust",
    "check_permission",
    "make_layer2_prober",
    "make_prober",
]


class Layer2Witness(Protocol):
    """Asks guests at layer 2."""

    def probe(
        self, targets: Collection[Layer2Target], *, suspects: Collection[Layer2Target] = ...
    ) -> Layer2Sweep:
        """Ask every target, and each of the `suspects` in such a way that nobody can answer in its place.

        Raises nothing: where nothing can be asked, nothing is known.
        """
        ...


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


def make_layer2_prober(
    settings: config.Probe,
    *,
    pacer: Pacer | None = None,
    sockets: SocketBudget | None = None,
    trust: Trust | None = None,
) -> Layer2Witness | None:
    """Make the prober for layer 2, or none if the configuration is against it.

    `pacer` and `sockets` are as in :func:`make_prober`; `trust` remembers whom nobody believes.
    """
    if settings.layer2 == "off":
        return None
    return Layer2Prober(
        timeout=settings.timeout,
        pacer=pacer or Pacer(rate=settings.rate),
        sockets=sockets or SocketBudget(open_files.shares().icmp_sockets),
        decoys=settings.layer2 == "auto",
        trust=trust,
    )
