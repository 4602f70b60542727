"""What this exporter and the others know together: any reply is life, and only who can ask hears silence."""

from itertools import chain

import msgspec

from fping_exporter.fleet.reading import Reading
from fping_exporter.model import Instance, Reason, Snapshot, Verdict, Witness

__all__ = ["merge"]


def merge(snapshot: Snapshot, reading: Reading | None, *, max_age: float) -> Snapshot:
    """Return the snapshot with the words of the fleet, by the ids of the instances that this exporter lists.

    Words count whose exporter was younger than `max_age` seconds at the time of the reading. An instance is
    alive if anybody had a reply. It is silent if anybody could ask and is not blind, this exporter included.
    Else nothing is known of it: ``alive`` is None, also where this exporter's own list has no address that
    its configuration asks. What other members of a share ask is in it like the rest.
    """
    reading = reading or Reading(began=0)
    verdicts = tuple(
        [
            _merge_one(
                verdict,
                reading.words.get(verdict.instance.id, ()),
                replied_at=reading.last_replies.get(verdict.instance.id),
                max_age=max_age,
                blind=snapshot.blind,
            )
            for verdict in chain(snapshot.verdicts, map(_unasked, snapshot.others))
        ]
    )
    answering = {verdict.instance.id for verdict in verdicts if verdict.answers}
    return msgspec.structs.replace(
        snapshot,
        inventory=msgspec.structs.replace(
            snapshot.inventory, instances=(*snapshot.inventory.instances, *snapshot.others)
        )
        if snapshot.others
        else snapshot.inventory,
        others=(),
        verdicts=verdicts,
        missed=snapshot.missed - answering,
        never_answered=snapshot.never_answered - answering,
        silent_elsewhere=reading.silent_since,
    )


def _unasked(instance: Instance) -> Verdict:
    return Verdict(instance=instance, alive=None, reason=Reason.NO_VANTAGE)


def _merge_one(
    own: Verdict, words: tuple[Witness, ...], *, replied_at: float | None, max_age: float, blind: bool
) -> Verdict:
    if own.alive is None and len(words) == 1 and words[0].alive and words[0].exporter.age < max_age:
        # Most instances of a fleet; the rest of this function says the same of them in three times the time.
        return Verdict(
            instance=own.instance,
            alive=True,
            reason=None,
            probed=own.probed,
            rtt=words[0].rtt,
            last_reply_at=_later(own.last_reply_at, replied_at),
            layer2_alive=own.layer2_alive or None,
            witnesses=words,
        )
    fresh = words
    if any(word.exporter.age >= max_age for word in words):
        fresh = tuple([word for word in words if word.exporter.age < max_age])
    heard = fresh
    if any(word.exporter.blind and not word.alive for word in fresh):
        heard = tuple([word for word in fresh if word.alive or not word.exporter.blind])
    own_alive = own.alive if own.alive or _counts(own, blind=blind) else None
    alive = True if own_alive or any(word.alive for word in heard) else own_alive
    if alive is None and heard:
        alive = False
    return Verdict(
        instance=own.instance,
        alive=alive,
        reason=None if alive else _reason(own, heard, alive=alive, own_counts=own_alive is not None),
        probed=own.probed,
        rtt=min([rtt for rtt in (own.rtt, *[word.rtt for word in heard]) if rtt is not None], default=None)
        if alive
        else None,
        loss=own.loss if alive == own.alive else None,
        last_reply_at=_later(own.last_reply_at, replied_at),
        layer2_alive=_layer2(own, fresh, alive=alive, blind=blind),
        witnesses=heard,
    )


def _counts(own: Verdict, *, blind: bool) -> bool:
    """Whether this exporter's own silence says something: it asked and is not blind, or nobody can ask."""
    if own.probed:
        return own.asked and not blind
    return not own.instance.addresses


def _reason(own: Verdict, heard: tuple[Witness, ...], *, alive: bool | None, own_counts: bool) -> Reason:
    """Return why an instance is not alive, the first reason that fits of all who asked."""
    if not own.instance.active:
        return Reason.NOT_ACTIVE
    if alive is None:
        # Of one that was asked in vain by a blind exporter as little is known as of one that nobody reaches.
        return own.reason if own.reason in _UNASKED else Reason.NO_VANTAGE
    given = {word.reason for word in heard}
    if own_counts and own.reason:
        given.add(own.reason)
    for reason in (Reason.ICMP_BLOCKED, Reason.ICMP_IGNORED):
        if reason in given:
            return reason
    if given == {Reason.NO_ADDRESS}:
        return Reason.NO_ADDRESS
    return Reason.UNREACHABLE if given == {Reason.UNREACHABLE} else Reason.NO_REPLY


_UNASKED = frozenset({Reason.NO_ADDRESS, Reason.NO_VANTAGE, Reason.AMBIGUOUS_ADDRESS})


def _layer2(own: Verdict, fresh: tuple[Witness, ...], *, alive: bool | None, blind: bool) -> bool | None:
    """Return whether the kernel answers anybody; silence there counts only if the ping is silent as well."""
    if own.layer2_alive or any(word.layer2_alive for word in fresh):
        return True
    if alive:
        return None
    silent = own.layer2_alive is False and not blind
    silent = silent or any(word.layer2_alive is False and not word.exporter.blind for word in fresh)
    return False if silent else None


def _later(one: float | None, other: float | None) -> float | None:
    if one is None or other is None:
        return other if one is None else one
    return max(one, other)
