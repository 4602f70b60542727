"""What an explanation is made from, beside the verdict."""

from collections.abc import Mapping
from typing import NamedTuple

from fping_exporter import config
from fping_exporter.model import Inventory, Sweep, Target
from fping_exporter.timeline import Since

__all__ = ["Evidence"]


class Evidence(NamedTuple):
    """What a verdict was made from."""

    inventory: Inventory
    """In its topology, `claims` are those of all instances, as the selection leaves them."""
    sweep: Sweep
    probe: config.Probe
    sources: Mapping[Target, str] = {}
    """The source address of packets to each target, where it is known."""
    since: Since | None = None
    """Since when it has been answering, or silent; None if nobody knows."""
    remembered: bool = True
    """Whether earlier sweeps are known; if not, one that has no last reply may have answered all the same."""
    packets_kept: bool = True
    """Whether it is known what came of the packets; else only whether an address answered."""
    anew: bool = False
    """Whether this instance alone was asked, for this explanation."""
    blind: bool = False
    """Whether silence says nothing, since this exporter has lost its way to most instances."""
    selected: bool = True
    """Whether the configuration selects it, so that it is in the metrics."""
