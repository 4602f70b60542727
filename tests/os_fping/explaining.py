"""What explains servers, as the exporter makes it, without layer 2 and without a fleet."""

from collections.abc import Callable, Mapping

from fping_exporter import config
from fping_exporter.explanation.asking import Asker
from fping_exporter.model import Inventory, Snapshot
from fping_exporter.os_fping.explainer import Explainer
from fping_exporter.probe import Prober
from fping_exporter.snapshot import take_snapshot

__all__ = ["make_asker", "make_explainer"]


def make_asker(settings: config.Config, prober: Prober) -> Asker:
    def sweep(alone: Inventory, last_replies: Mapping[str, float]) -> Snapshot:
        return take_snapshot(alone, prober=prober, probe=settings.probe, last_replies=last_replies)

    return Asker(sweep, clock=lambda: 0.0)  # who asks again shares, however long a busy machine takes


def make_explainer(
    settings: config.Config, prober: Prober, snapshot: Callable[[], Snapshot | None]
) -> Explainer:
    return Explainer(settings, snapshot=snapshot, asker=make_asker(settings, prober))
