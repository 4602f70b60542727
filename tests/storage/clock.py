"""Moments at which tests write and read."""

from fping_exporter.storage.clock import Moment
from tests.build import NOW

__all__ = ["at"]


def at(unix: float = 0, *, uptime: float = 5000, boot: str = "one") -> Moment:
    """`unix` is in seconds after NOW."""
    return Moment(unix=NOW + unix, uptime=uptime, boot=boot)
