"""Durations in the format of Prometheus: ``500ms``, ``1m30s``, ``1d``."""

import re
from typing import Self

__all__ = ["Duration", "format_age"]

_UNITS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PATTERN = re.compile("".join(rf"(?:(?P<{unit}>[0-9]{{1,15}}){unit})?" for unit in _UNITS))
_MAX_SECONDS = _UNITS["y"]


class Duration(float):
    """A length of time in seconds, above zero and at most a year.

    The syntax is that of Prometheus's ``model.ParseDuration``: whole numbers with the
    units y, w, d, h, m, s and ms, each at most once, from the longest to the shortest.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """Parse a duration; raise ValueError, which says what would be right."""
        match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
        seconds = (
            sum(int(number) * _UNITS[unit] for unit, number in match.groupdict().items() if number)
            if match
            else 0
        )
        if seconds <= 0:
            message = f"expected a duration above zero such as 500ms, 15s or 1m30s, got {text!r}"
            raise ValueError(message)
        if seconds > _MAX_SECONDS:
            message = f"expected a duration of at most a year, got {text!r}"
            raise ValueError(message)
        return cls(seconds)

    def __str__(self) -> str:
        """Return it in the format of Prometheus, rounded to the millisecond."""
        rest = round(self * 1000)
        parts: list[str] = []
        for unit, seconds in _UNITS.items():
            if unit in {"y", "w"}:  # 90d is easier to read than 12w6d
                continue
            count, rest = divmod(rest, round(seconds * 1000))
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts) or "0s"


def format_age(seconds: float) -> str:
    """Return a duration in its two largest units, such as ``2h5m``."""
    seconds = max(seconds, 0)
    step = next((step for above, step in ((86_400, 3600), (3600, 60)) if seconds >= above), 1)
    return str(Duration(round(seconds / step) * step))
