"""Times as the pages write them."""

from datetime import UTC, datetime

__all__ = ["format_clock", "format_utc"]


def format_clock(timestamp: float, now: float) -> str:
    """Return a Unix time in UTC, to the second; with the date if it is a day or more from `now`."""
    pattern = "%H:%M:%S UTC" if abs(now - timestamp) < _DAY else "%Y-%m-%d %H:%M:%S UTC"
    return datetime.fromtimestamp(timestamp, UTC).strftime(pattern)


_DAY = 86_400


def format_utc(timestamp: float) -> str:
    """Return a Unix time in ISO 8601, in UTC."""
    return datetime.fromtimestamp(timestamp, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
