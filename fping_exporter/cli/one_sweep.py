"""The sweeps of a command that pings few instances and ends."""

from functools import partial

from fping_exporter.config import Config
from fping_exporter.model import Snapshot
from fping_exporter.probe import make_layer2_prober, make_prober
from fping_exporter.snapshot import take_snapshot

__all__ = ["prepare_sweep"]


def prepare_sweep(settings: Config) -> "partial[Snapshot]":
    """Return :func:`take_snapshot` as `settings` have it, with probers that no other sweep uses."""
    return partial(
        take_snapshot,
        prober=make_prober(settings.probe),
        layer2=make_layer2_prober(settings.probe),
        probe=settings.probe,
        host=settings.host,
    )
