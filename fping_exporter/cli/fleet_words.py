"""What the other exporters say, for commands that run once."""

import sys

from fping_exporter.config import Fleet
from fping_exporter.errors import FpingExporterError
from fping_exporter.fleet.reader import read_once
from fping_exporter.fleet.reading import Reading

__all__ = ["read_fleet"]


def read_fleet(settings: Fleet) -> Reading | None:
    """Return what the other exporters say; if nobody tells, say so: they count for nothing then."""
    try:
        return read_once(settings)
    except FpingExporterError as error:
        print(f"fping-exporter: what the other exporters say could not be read: {error}", file=sys.stderr)
        return None
