"""What is remembered of instances from sweep to sweep."""

from collections.abc import Iterable, Mapping

import msgspec

from fping_exporter.model import Snapshot

__all__ = ["RETENTION", "History"]

RETENTION = 86_400.0
"""Seconds for which an instance that is no longer listed is remembered.

One list may lack an instance that the next one has. The alert rules look back one day.
"""


class History(msgspec.Struct, frozen=True):
    """When each instance last answered, whether or not the newest list has it."""

    last_replies: Mapping[str, float] = {}
    """Unix times in seconds, by the instance's id; an instance that never answered has none."""
    unlisted_since: Mapping[str, float] = {}
    """Unix time of the first snapshot that lacked it, for those in `last_replies` that the newest lacks."""

    def after(self, snapshot: Snapshot) -> "History":
        """Return the history that a snapshot leads to, without what is older than :data:`RETENTION`."""
        now = snapshot.sweep.started_at
        listed = {verdict.instance.id for verdict in snapshot.verdicts}
        unlisted_since = {
            id_: since
            for id_ in self.last_replies.keys() - listed
            if now - (since := self.unlisted_since.get(id_, now)) < RETENTION
        }
        return History(
            last_replies={id_: self.last_replies[id_] for id_ in unlisted_since} | _last_replies(snapshot),
            unlisted_since=unlisted_since,
        )

    def resumed(self, *, stopped_at: float, now: float) -> "History":
        """Return the history for a process that begins at `now`, of one that ended at `stopped_at`.

        Both are Unix times in seconds. Nothing was listed in between, so that until the first snapshot
        every instance counts as unlisted since `stopped_at`.
        """
        unlisted_since = {
            id_: since
            for id_ in self.last_replies
            if now - (since := self.unlisted_since.get(id_, stopped_at)) < RETENTION
        }
        return History(
            last_replies={id_: self.last_replies[id_] for id_ in unlisted_since},
            unlisted_since=unlisted_since,
        )

    def moved_back(self, seconds: float) -> "History":
        """Return the history in the time of a clock that was set back by `seconds`."""
        return History(
            last_replies={id_: at - seconds for id_, at in self.last_replies.items()},
            unlisted_since={id_: at - seconds for id_, at in self.unlisted_since.items()},
        )


def _last_replies(snapshot: Snapshot) -> dict[str, float]:
    pairs: Iterable[tuple[str, float | None]] = (
        (verdict.instance.id, verdict.last_reply_at) for verdict in snapshot.verdicts
    )
    return {id_: at for id_, at in pairs if at is not None}
