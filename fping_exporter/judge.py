"""From an inventory to its targets, and from the replies to verdicts."""

from collections.abc import Mapping, Sequence

from fping_exporter import config
from fping_exporter.model import (
    LOCAL,
    Instance,
    Inventory,
    Outcome,
    Reason,
    Snapshot,
    Sweep,
    Target,
    Verdict,
)
from fping_exporter.probe import Prober

__all__ = ["Plan", "judge", "plan", "take_snapshot"]

Plan = Mapping[str, Sequence[Target]]
"""The targets of each instance, by the instance's id."""


def take_snapshot(
    inventory: Inventory, *, prober: Prober, probe: config.Probe, previous: Snapshot | None = None
) -> Snapshot:
    """Ask all instances of the inventory once; raises ProbeError where nothing can be asked.

    From the `previous` snapshot come the times at which instances last answered.
    """
    targets = plan(inventory, probe)
    sweep = prober.probe({target for each in targets.values() for target in each})
    return judge(inventory, targets=targets, sweep=sweep, previous=previous)


def plan(inventory: Inventory, probe: config.Probe) -> Plan:
    """Choose the targets of every instance, whatever Nova calls its state."""
    return {
        instance.id: tuple(
            Target(LOCAL, address.ip)
            for address in instance.addresses
            if address.family in probe.families and probe.addresses in ("all", address.kind)
        )
        for instance in inventory.instances
    }


def judge(inventory: Inventory, *, targets: Plan, sweep: Sweep, previous: Snapshot | None = None) -> Snapshot:
    """Set Nova's word on every instance beside the ping's.

    `targets` are the plan's for this inventory, and `sweep` has an outcome for each.
    """
    replied = {v.instance.id: v.last_reply_at for v in previous.verdicts} if previous else {}
    return Snapshot(
        inventory=inventory,
        sweep=sweep,
        verdicts=tuple(
            _verdict(
                instance,
                [sweep.outcomes[target] for target in targets[instance.id]],
                swept_at=sweep.started_at,
                replied_at=replied.get(instance.id),
            )
            for instance in inventory.instances
        ),
    )


def _verdict(
    instance: Instance, outcomes: Sequence[Outcome], *, swept_at: float, replied_at: float | None
) -> Verdict:
    alive = any(outcome.alive for outcome in outcomes)
    return Verdict(
        instance=instance,
        alive=alive,
        reason=None if alive else _reason(instance, outcomes),
        rtt=min((outcome.rtt for outcome in outcomes if outcome.rtt is not None), default=None),
        loss=min(
            ((outcome.sent - outcome.received) / outcome.sent for outcome in outcomes if outcome.sent),
            default=None,
        ),
        last_reply_at=swept_at if alive else replied_at,
    )


def _reason(instance: Instance, outcomes: Sequence[Outcome]) -> Reason:
    """Return the first reason that fits an instance that is not alive."""
    if not instance.active:
        return Reason.NOT_ACTIVE
    if not outcomes:
        return Reason.NO_ADDRESS
    if all(outcome.unreachable for outcome in outcomes):
        return Reason.UNREACHABLE
    return Reason.NO_REPLY
