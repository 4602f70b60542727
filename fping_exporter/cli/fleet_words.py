"""What the other exporters say, for commands that run once."""

import sys

from fping_exporter.config import Config, Fleet
from fping_exporter.errors import FpingExporterError
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.reader import read_once
from fping_exporter.fleet.reading import Reading
from fping_exporter.log_context import prefix
from fping_exporter.model import Snapshot

__all__ = ["merge_fleet", "read_fleet"]


def merge_fleet(snapshot: Snapshot, settings: Config) -> Snapshot:
    """Return the snapshot in which the words of the other exporters count, if `settings` name any."""
    if settings.fleet is None:
        return snapshot
    return merge(snapshot, read_fleet(settings.fleet), max_age=settings.fleet.max_age)


def read_fleet(settings: Fleet) -> Reading | None:
    """Return what the other exporters say; if nobody tells, say so: they count for nothing then."""
    try:
        return read_once(settings)
    except FpingExporterError as error:
        text = f"fping-exporter: {prefix()}what the other exporters say could not be read: {error}"
        print(text, file=sys.stderr)
        return None
