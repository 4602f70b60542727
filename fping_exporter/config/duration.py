"""Durations as Prometheus writes them: ``500ms``, ``1m30s``, ``1d``."""

import re
from typing import Self

__all__ = ["Duration"]

_UNITS = {"y": 31_536_000.0, "w": 604_800.0, "d": 86_400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_PATTERN = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+){unit})?" for unit in _UNITS))


class Duration(float):
    """A length of time in seconds, above zero.

    Reads the syntax of Prometheus's ``model.ParseDuration``: whole numbers with the
    units y, w, d, h, m, s and ms, each at most once, from the longest to the shortest.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a duration; raise ValueError with what would be right."""
        match = _PATTERN.fullmatch(text) if isinstance(text, str) else None
        seconds = (
            sum(int(number) * _UNITS[unit] for unit, number in match.groupdict().items() if number)
            if match
            else 0
        )
        if not 0 < seconds < float("inf"):
            message = f"expected a duration above zero such as 500ms, 15s or 1m30s, got {text!r}"
            raise ValueError(message)
        return cls(seconds)

    def __str__(self) -> str:
        """Write it as Prometheus does, exact to the millisecond."""
        rest = round(self * 1000)
        parts: list[str] = []
        for unit, seconds in _UNITS.items():
            if unit in {"y", "w"}:  # 90d says more than 12w6d
                continue
            count, rest = divmod(rest, round(seconds * 1000))
            if count:
                parts.append(f"{count}{unit}")
        return "".join(parts) or "0s"
