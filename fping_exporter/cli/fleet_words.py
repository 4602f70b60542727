"""What the other exporters say, for commands that run once."""

import sys

from fping_exporter.config import Fleet
from fping_exporter.errors import FpingExporterError
from fping_exporter.fleet.reader import read_once
from fping_exporter.fleet.reading import Reading
from fping_exporter.log_context import prefix

__all__ = ["read_fleet"]


def read_fleet(settings: Fleet) -> Reading | None:
    """Return what the other exporters say; if nobody tells, say so: they count for nothing then."""
    try:
        return read_once(settings)
    except FpingExporterError as error:
        text = f"fping-exporter: {prefix()}what the other exporters say could not be read: {error}"
        print(text, file=sys.stderr)
        return None
