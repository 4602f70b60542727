"""Why a page may be wrong or incomplete: banners above the content, and what is late."""

from collections.abc import Iterator
from typing import NamedTuple

from fping_exporter.config import Cache
from fping_exporter.config.duration import format_age
from fping_exporter.fleet.reading import PARTIAL_FLEET
from fping_exporter.fleet_monitor import Snapshots
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Snapshot
from fping_exporter.web.overview import Overview

__all__ = ["Banner", "Late", "banners"]


class Banner(NamedTuple):
    """A message above the content: why the page may be wrong or incomplete."""

    level: str
    """CSS class: ``bad`` if the numbers should not be trusted, else ``note``."""
    text: str


def banners(
    monitor: Snapshots, telemetry: Telemetry, snapshot: Snapshot | None, overview: Overview | None
) -> Iterator[Banner]:
    """Yield the reasons not to believe the page: failures, stale results, a blind exporter."""
    cache = monitor.settings.cache
    for part, what in (
        (telemetry.inventory, "The instances could not be listed"),
        (telemetry.sweep, "The instances could not be pinged"),
        (telemetry.fleet, "What the other exporters say could not be read"),
    ):
        if part and part.error:
            yield Banner("bad", f"{what}: {part.error}")
    if telemetry.fleet and telemetry.fleet_partial:
        yield Banner("note", f"{PARTIAL_FLEET}.")
    if snapshot is None:
        yield Banner("note", "No sweep is complete yet.")
        return
    age = monitor.age
    if age >= cache.max_stale:
        yield Banner(
            "bad",
            f"These results are {format_age(age)} old. That is more than cache.max_stale "
            f"({cache.max_stale}), so they are no longer served as metrics.",
        )
    if snapshot.blind:
        yield Banner(
            "bad",
            "This exporter is blind: it has lost a vantage, or most of what answered lately at once. "
            "That it hears nothing of an instance says nothing of that.",
        )
    if overview and overview.active.silent and not overview.active.alive:
        yield Banner(
            "bad",
            f"None of {overview.active.silent} ACTIVE instances answers. "
            "The exporter itself may have no route to them.",
        )
    for part_name, listed in snapshot.inventory.parts.items():
        if not listed:
            yield Banner(
                "note", f"{part_name.replace('_', ' ')}: could not be listed. The log has the reason."
            )


class Late(NamedTuple):
    """Which results are older than they should be when somebody asks for them."""

    sweep: bool
    list: bool

    @classmethod
    def find(cls, snapshot: Snapshot, cache: Cache, *, now: float) -> "Late":
        """Compare the ages of the results with twice the times for which they are kept; `now` is Unix time.

        A view refreshes what is older than these times; what is still there after twice as long cannot be
        refreshed, or takes too long.
        """
        sweep, inventory = snapshot.sweep, snapshot.inventory
        return cls(
            sweep=now - sweep.started_at > 2 * cache.sweep + sweep.duration,
            list=now - inventory.listed_at > 2 * cache.inventory + inventory.duration,
        )
