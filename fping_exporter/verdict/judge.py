"""From an inventory to its targets, and from the replies to verdicts."""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from fping_exporter.model import (
    Instance,
    Inventory,
    Layer2Target,
    Outcome,
    Probed,
    Reason,
    Snapshot,
    Sweep,
    Target,
    Topology,
    Verdict,
)
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.layer2 import Layer2Plan, witness
from fping_exporter.verdict.plan import Plan, port_of, unknown
from fping_exporter.verdict.security_groups import blocks_echo

__all__ = ["judge", "judge_instance"]

logger = logging.getLogger(__name__)


FindSources = Callable[[Sequence[Target]], Mapping[Target, str]]
"""Returns the source address of packets to each target; targets without a route are left out."""


def judge(
    inventory: Inventory,
    *,
    targets: Plan,
    sweep: Sweep,
    layer2: Layer2Plan | None = None,
    last_replies: Mapping[str, float] = {},
    sources: FindSources = lambda _targets: {},
    errors: InstanceErrors | None = None,
) -> Snapshot:
    """Set Nova's word on every instance beside the ping's.

    `targets` are the plan's for this inventory, and `sweep` has an outcome for each; `layer2` says who was
    asked there. `errors` gets the instances that cannot be judged because of a bug: nothing is known of them
    then.
    """
    errors = errors or InstanceErrors()

    def judge_one(instance: Instance) -> Verdict:
        replied_at = last_replies.get(instance.id)
        try:
            return judge_instance(
                instance,
                targets[instance.id],
                sweep.outcomes,
                asked_at=sweep.started_at,
                replied_at=replied_at,
            )
        except Exception as error:  # noqa: BLE001, a bug costs one instance
            errors.note(instance, error)
            return Verdict(
                instance=instance,
                alive=None,
                reason=Reason.NO_VANTAGE if instance.active else Reason.NOT_ACTIVE,
                probed=unknown(instance),
                last_reply_at=replied_at,
            )

    verdicts = tuple([judge_one(each) for each in inventory.instances])
    silent = [
        p.target
        for v in _unexplained(verdicts, inventory.topology)
        for p in v.probed
        if p.outcome and p.target
    ]
    snapshot = Snapshot(inventory=inventory, sweep=sweep, verdicts=verdicts)
    snapshot = blame_security_groups(snapshot, sources(silent), errors)
    return hear_layer2(snapshot, layer2.targets) if layer2 else snapshot


def _asked(probed: Probed, outcomes: Mapping[Target, Outcome]) -> Probed:
    outcome = outcomes.get(probed.target) if probed.target else None
    if outcome is None or not outcome.asked:
        return probed
    return Probed(probed.address, probed.target, outcome)


def judge_instance(
    instance: Instance,
    planned: tuple[Probed, ...],
    outcomes_by_target: Mapping[Target, Outcome],
    *,
    asked_at: float,
    replied_at: float | None = None,
) -> Verdict:
    """Return the verdict on one instance, without regard to security groups.

    `planned` are its addresses from the plan, asked at `asked_at`. It last replied at `replied_at` before
    that, None if it never did. Both are Unix times.
    """
    probed = tuple([_asked(each, outcomes_by_target) for each in planned])
    outcomes = [each.outcome for each in probed if each.outcome]
    alive = any(outcome.alive for outcome in outcomes) if outcomes or not probed else None
    return Verdict(
        instance=instance,
        alive=alive,
        reason=None if alive else _reason(instance, probed, outcomes),
        probed=probed,
        rtt=min([outcome.rtt for outcome in outcomes if outcome.rtt is not None], default=None),
        loss=min([_loss(outcome) for outcome in outcomes if outcome.sent], default=None),
        last_reply_at=asked_at if alive else replied_at,
    )


def _loss(outcome: Outcome) -> float:
    """Return which part of the packets was lost; most instances share the one object that is 0."""
    return (outcome.sent - outcome.received) / outcome.sent or 0.0


def _reason(instance: Instance, probed: Sequence[Probed], outcomes: Sequence[Outcome]) -> Reason:
    """Return the first reason that fits an instance that is not alive, without regard to security groups."""
    if not instance.active:
        return Reason.NOT_ACTIVE
    if not probed:
        return Reason.NO_ADDRESS
    if not outcomes:
        return Reason.AMBIGUOUS_ADDRESS if any(each.ambiguous for each in probed) else Reason.NO_VANTAGE
    if all(outcome.unreachable for outcome in outcomes):
        return Reason.UNREACHABLE
    return Reason.NO_REPLY


def _unexplained(verdicts: Iterable[Verdict], topology: Topology) -> list[Verdict]:
    """Return those whose silence a security group may explain."""
    return [
        verdict
        for verdict in verdicts
        if verdict.reason in {Reason.UNREACHABLE, Reason.NO_REPLY} and verdict.instance.id in topology.ports
    ]


def blame_security_groups(
    snapshot: Snapshot, senders: Mapping[Target, str], errors: InstanceErrors
) -> Snapshot:
    """Give the reason ``icmp_blocked`` to silent instances whose ports, all that were asked, let no ping in.

    `senders` are the source addresses of the packets to each target. `errors` gets the instances whose
    security groups cannot be read because of a bug: they keep their verdict.
    """
    topology = snapshot.inventory.topology

    def blocked(instance: Instance, each: Probed) -> bool:
        port = port_of(instance, each.address, topology)
        sender = senders.get(each.target) if each.target else None
        return bool(port and sender and blocks_echo(port, sender=sender, topology=topology))

    def all_blocked(verdict: Verdict) -> bool:
        try:
            return all(blocked(verdict.instance, each) for each in verdict.probed if each.outcome)
        except Exception as error:  # noqa: BLE001, a bug costs one instance
            errors.note(verdict.instance, error)
            return False

    blocked_ids = {
        verdict.instance.id for verdict in _unexplained(snapshot.verdicts, topology) if all_blocked(verdict)
    }
    return msgspec.structs.replace(
        snapshot,
        verdicts=tuple(
            msgspec.structs.replace(verdict, reason=Reason.ICMP_BLOCKED)
            if verdict.instance.id in blocked_ids
            else verdict
            for verdict in snapshot.verdicts
        ),
    )


def hear_layer2(snapshot: Snapshot, targets: Mapping[str, Sequence[Layer2Target]]) -> Snapshot:
    """Note whose kernel answers at layer 2, and give those the reason ``icmp_ignored`` whom nothing explains.

    `targets` are those of each instance that was asked, by its id.
    """
    sweep = snapshot.sweep.layer2
    if sweep is None:
        return snapshot

    def heard(verdict: Verdict) -> Verdict:
        alive = witness(targets.get(verdict.instance.id, ()), sweep)
        if alive is None:
            return verdict
        ignored = alive and verdict.reason in {Reason.UNREACHABLE, Reason.NO_REPLY}
        return msgspec.structs.replace(
            verdict, layer2_alive=alive, reason=Reason.ICMP_IGNORED if ignored else verdict.reason
        )

    return msgspec.structs.replace(snapshot, verdicts=tuple(map(heard, snapshot.verdicts)))
