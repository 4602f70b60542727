"""Which instances are missed, which never answered, and whether silence says anything at all."""

from collections.abc import Collection

import msgspec

from fping_exporter.history import FIRST_BOOT, History
from fping_exporter.model import Snapshot, Verdict
from fping_exporter.nova_status import is_off

__all__ = ["find_missed"]

_LATELY = 86_400.0
"""Seconds: an instance that answered longer ago may have been silent for other reasons since."""
_LEAST_SILENT = 5
"""Fewer silent instances than this do not tell an outage of the exporter's from theirs."""


def find_missed(snapshot: Snapshot, history: History) -> Snapshot:
    """Return the snapshot with those that are missed or never answered, and whether the exporter is blind.

    `history` is what was known before it. An instance is missed if Nova calls it ACTIVE (or did before its
    cell went down), it answered within a day, was asked and is silent, and nothing explains the silence.
    It remains missed while it is asked and silent, until Nova calls it off: neither the time that passes,
    nor a reboot, nor a security group that is closed afterwards explains the silence before.

    An instance whose kernel answers at layer 2 is not missed. One that has answered there within a day, and
    does so no more, is missed even if a security group keeps pings out.

    An instance has never answered if it has not since its launch, between 15 minutes and a day ago, which the
    exporter watched. One that was listed later than that, as it came from another host or was another
    exporter's share, may have answered there.
    """
    now = snapshot.sweep.started_at
    silent = [
        verdict
        for verdict in snapshot.verdicts
        if verdict.alive is False
        and not verdict.layer2_alive
        and any(probed.outcome for probed in verdict.probed)
        and _unexplained(verdict, history)
    ]
    missed = [v for v in silent if v.instance.id in history.missed or _answered_lately(v, history, now)]
    return msgspec.structs.replace(
        snapshot,
        missed=frozenset(verdict.instance.id for verdict in missed),
        never_answered=frozenset(v.instance.id for v in silent if _never_answered(v, history, now=now)),
        blind=_lost_a_vantage(snapshot, history) or _lost_most(snapshot, missed, history),
    )


def _unexplained(verdict: Verdict, history: History) -> bool:
    """Whether an instance that was asked should answer, for all that Nova and Neutron say."""
    id_ = verdict.instance.id
    if id_ in history.missed:
        return not is_off(verdict.instance.status)
    return history.calls_active(verdict) and (
        not history.keeps_pings_out(verdict)
        or (verdict.layer2_alive is False and id_ in history.layer2_replies)
    )


def _answered_lately(verdict: Verdict, history: History, now: float) -> bool:
    """Whether it answered within a day: pings, or at layer 2, where that has been asked now as well."""
    replies = [verdict.last_reply_at]
    if verdict.layer2_alive is not None:
        replies.append(history.layer2_replies.get(verdict.instance.id))
    return any(at is not None and now - at < _LATELY for at in replies)


def _never_answered(verdict: Verdict, history: History, *, now: float) -> bool:
    """Whether a silent instance has had the time to boot since its launch, which this exporter watched."""
    launched_at = verdict.instance.launched_at
    return (
        launched_at is not None
        and history.begun_at is not None
        and verdict.last_reply_at is None
        and verdict.instance.id not in history.layer2_replies
        and launched_at > history.begun_at
        and verdict.instance.id in history.launches
        and FIRST_BOOT < now - launched_at < _LATELY
    )


def _lost_a_vantage(snapshot: Snapshot, history: History) -> bool:
    """Whether a kind of vantage can send no more, and an instance asked from there does not answer now.

    Where it could not send before either, that is how this host is set up.
    """
    sending = {target.kind for target, outcome in snapshot.sweep.outcomes.items() if outcome.asked}
    asked: set[str] = set()
    for kind, vantage in history.vantages.items():
        if kind not in sending and vantage.lost_since(snapshot.sweep.started_at):
            asked |= vantage.asked
    return any(
        verdict.instance.active and not verdict.answers and verdict.instance.id in asked
        for verdict in (snapshot.verdicts if asked else ())
    )


def _lost_most(snapshot: Snapshot, missed: Collection[Verdict], history: History) -> bool:
    """Whether more instances have fallen silent than answer, of several projects and on several hypervisors.

    The way to them is the likely cause then. Without the right to see hypervisors, projects alone decide. An
    exporter that sees one hypervisor cannot tell it from its own way, and that hypervisor is reported.
    """
    now = snapshot.sweep.started_at
    fell_silent = [verdict for verdict in missed if _answered_lately(verdict, history, now)]
    if len(fell_silent) < _LEAST_SILENT:
        return False
    answering = sum(1 for v in snapshot.verdicts if v.answers and history.calls_active(v))
    projects = {verdict.instance.project_id for verdict in fell_silent}
    hypervisors = {verdict.instance.hypervisor for verdict in fell_silent} - {""}
    return answering < len(fell_silent) and len(projects) > 1 and len(hypervisors) != 1
