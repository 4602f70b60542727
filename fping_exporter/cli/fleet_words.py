"""What the other exporters say, for commands that run once."""

import sys

from fping_exporter.config import Config, Fleet
from fping_exporter.errors import FpingExporterError
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.reader import read_once
from fping_exporter.fleet.reading import PARTIAL_FLEET, Reading
from fping_exporter.log_context import prefix
from fping_exporter.model import Snapshot

__all__ = ["merge_fleet", "read_fleet"]


def merge_fleet(snapshot: Snapshot, settings: Config) -> Snapshot:
    """Return the snapshot in which the words of the other exporters count, if `settings` name any."""
    if settings.fleet is None:
        return snapshot
    return merge(snapshot, read_fleet(settings.fleet), max_age=settings.fleet.max_age)


def read_fleet(settings: Fleet) -> Reading | None:
    """Return what the other exporters say; say so if nobody tells, or something of it may be missing.

    They count for nothing where nobody tells.
    """
    try:
        reading = read_once(settings)
    except FpingExporterError as error:
        _say(f"what the other exporters say could not be read: {error}")
        return None
    if reading.partial:
        _say(PARTIAL_FLEET)
    return reading


def _say(text: str) -> None:
    print(f"fping-exporter: {prefix()}{text}", file=sys.stderr)
