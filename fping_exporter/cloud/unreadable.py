"""Entries of the cloud's lists that cannot be read: they are left out, counted, and logged once a kind."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from fping_exporter.log_limit import LogLimit

__all__ = ["Skip", "SkippedEntries", "Unreadable"]

logger = logging.getLogger(__name__)


class Unreadable(NamedTuple):
    """An entry of a list, or a part of one, that does not have the shape that it should have."""

    entry: Any
    """The whole entry, as JSON has it; None if not even that can be read."""
    why: str
    """What is wrong with it, without values from it: the same for all entries of the same kind."""

    @property
    def known_id(self) -> str | None:
        """The entry's id; None if not even that can be read."""
        id_ = self.entry.get("id") if isinstance(self.entry, dict) else None
        return id_ if isinstance(id_, str) else None


Skip = Callable[[Iterable[Unreadable]], None]
"""Records what is left out of one list."""


class SkippedEntries:
    """Counts what is left out of the lists of one listing, and logs each kind once in a while."""

    def __init__(self, log_limit: LogLimit) -> None:
        """Begin with nothing; `log_limit` outlives the listing."""
        self.counts: Counter[str] = Counter()
        """By the name of the list, as in `fping_exporter_entries_skipped_total{part}`."""
        self._log_limit = log_limit

    def of(self, part: str) -> Skip:
        """Return what records entries of the list `part`."""
        return partial(self._add, part)

    def _add(self, part: str, unreadable: Iterable[Unreadable]) -> None:
        for each in unreadable:
            self.counts[part] += 1
            if self._log_limit.allows((part, each.why)):
                logger.warning(
                    "%s: left out, as it cannot be read: %s: %.200s (logged once a day for all like it)",
                    part,
                    "an entry without an id" if each.known_id is None else f"{each.known_id!r:.60}",
                    each.why,
                )
