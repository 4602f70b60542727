"""What the pages call an instance by its pings."""

from enum import StrEnum
from typing import NamedTuple

from fping_exporter.model import Snapshot, Verdict

__all__ = ["Classified", "PingState", "answers_though_off", "classify", "ping_state"]


class PingState(StrEnum):
    """What the pings of this exporter and its fleet say of an instance; each instance has exactly one."""

    ALIVE = "alive"
    """An address answered the last sweep."""
    STOPPED = "stopped"
    """Asked in the last sweep without an answer; it has answered this exporter before."""
    NEVER = "never"
    """Asked in the last sweep without an answer; it has not answered this exporter yet."""
    UNASKED = "unasked"
    """No packet could be sent to any address: the sweep says nothing of it."""

    @property
    def silent(self) -> bool:
        """Whether it was asked and did not answer."""
        return self is _STOPPED or self is _NEVER


def ping_state(verdict: Verdict) -> PingState:
    """Classify a verdict for the page.

    An instance without an address has ``alive`` False, but nobody asked it: UNASKED.
    """
    if verdict.alive:
        return _ALIVE
    if verdict.alive is None or not verdict.asked:
        return _UNASKED
    return _NEVER if verdict.last_reply_at is None else _STOPPED


_ALIVE, _STOPPED, _NEVER, _UNASKED = PingState
"""Python 3.11 looks up a member of an enumeration slowly, and a page classifies all instances."""


def answers_though_off(verdict: Verdict) -> bool:
    """Whether an instance answers that Nova calls off, paused, suspended or shelved.

    Together with the silent ACTIVE instances these are the ones whose ``instance_state_mismatch`` is 1.
    """
    return verdict.alive is True and verdict.mismatch is True


class Classified(NamedTuple):
    """The verdicts of a snapshot, divided once for all that pages count and sort."""

    steady: list[Verdict]
    """ACTIVE instances that answer, which are most."""
    others: dict[PingState, list[Verdict]]
    """The other ones, by their state."""


def classify(snapshot: Snapshot) -> Classified:
    """Classify all verdicts of a snapshot."""
    steady: list[Verdict] = []
    alive, stopped, never, unasked = (list[Verdict]() for _ in PingState)
    for verdict in snapshot.verdicts:
        if verdict.alive:
            (steady if verdict.instance.status == "ACTIVE" else alive).append(verdict)
        elif (state := ping_state(verdict)) is _UNASKED:
            unasked.append(verdict)
        else:
            (stopped if state is _STOPPED else never).append(verdict)
    return Classified(steady, dict(zip(PingState, (alive, stopped, never, unasked), strict=True)))
