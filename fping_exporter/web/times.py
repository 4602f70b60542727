"""Times and other values as the pages write them."""

from datetime import UTC, datetime

from flask import Blueprint

from fping_exporter.config.duration import format_age
from fping_exporter.text import printable

__all__ = ["add_template_filters", "format_clock", "format_utc"]


def format_clock(timestamp: float, now: float) -> str:
    """Return a Unix time in UTC, to the second; with the date if it is a day or more from `now`."""
    pattern = "%H:%M:%S UTC" if abs(now - timestamp) < _DAY else "%Y-%m-%d %H:%M:%S UTC"
    return datetime.fromtimestamp(timestamp, UTC).strftime(pattern)


_DAY = 86_400


def format_utc(timestamp: float) -> str:
    """Return a Unix time in ISO 8601, in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def add_template_filters(bp: Blueprint) -> None:
    """Add the filters of the templates to the application that `bp` becomes a part of."""
    bp.add_app_template_filter(printable)
    bp.add_app_template_filter("{:,}".format, "thousands")
    bp.add_app_template_filter(format_age, "duration")
    bp.add_app_template_filter(format_utc, "utc")
    bp.add_app_template_filter(format_clock, "clock")
