"""Asking many addresses at once whether they answer an ICMP echo request."""

from collections.abc import Collection
from typing import Protocol

from fping_exporter.model import Sweep, Target

__all__ = ["Prober"]


class Prober(Protocol):
    """What both engines offer; one set of contract tests covers them."""

    def probe(self, targets: Collection[Target]) -> Sweep:
        """Ask every target, each once a round; return when all have answered or had their time.

        Raises ProbeError when nothing at all can be sent or received, and
        SocketPermissionError when that is for want of a right. A fault of single
        targets shows in their outcomes instead.
        """
        ...
