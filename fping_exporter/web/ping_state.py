"""What the pages call an instance by its pings."""

from enum import StrEnum

from fping_exporter.model import Verdict

__all__ = ["PingState", "answers_though_off", "ping_state"]


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
