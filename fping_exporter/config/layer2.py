"""The setting ``probe.layer2``: ``auto``, ``on`` or ``off``, of which YAML reads two as truth values."""

from typing import Self

__all__ = ["Layer2"]


class Layer2(str):
    """Whether guests that are silent to pings are asked at layer 2.

    ``auto``: they are, and decoys find out whose answers are believed. ``on``: all answers are believed.
    ``off``: they are not.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse the setting; raise ValueError, which says what would be right."""
        word = _TRUTH.get(value, "") if isinstance(value, bool) else value
        if not isinstance(word, str) or word not in _WORDS:
            raise ValueError(f"expected auto, on or off, got {value!r:.60}")
        return cls(word)


_TRUTH = {True: "on", False: "off"}
_WORDS = frozenset({"auto", "on", "off"})
