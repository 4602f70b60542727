"""From an inventory to its targets, and from the replies to verdicts."""

import logging
from collections.abc import Callable, Mapping, Sequence

import msgspec

from fping_exporter import config
from fping_exporter.model import (
    Address,
    Instance,
    Inventory,
    Outcome,
    Probed,
    Reason,
    Snapshot,
    Sweep,
    Target,
    Verdict,
)
from fping_exporter.plan import Plan, own_host, plan, port_of
from fping_exporter.probe import Prober
from fping_exporter.probe.neighbours import count_overflows, limit
from fping_exporter.probe.vantage import find_namespaces, source_addresses
from fping_exporter.security import blocks_echo

__all__ = ["judge", "take_snapshot"]

logger = logging.getLogger(__name__)


def take_snapshot(
    inventory: Inventory,
    *,
    prober: Prober,
    probe: config.Probe,
    instances: config.Instances = config.Instances(),  # noqa: B008, it is frozen
    previous: Snapshot | None = None,
) -> Snapshot:
    """Ask all instances of the inventory once; raises ProbeError where nothing can be asked.

    From the `previous` snapshot come the times at which instances last answered.
    """
    targets = plan(inventory, probe, namespaces=find_namespaces(probe.kinds), host=own_host(instances))
    before = count_overflows()
    sweep = prober.probe({each.target for asked in targets.values() for each in asked if each.target})
    if overflows := count_overflows() - before:
        logger.warning(
            "the kernel's neighbour table was full %d times during the sweep: raise "
            "net.ipv4.neigh.default.gc_thresh3 (now %s), and net.ipv6's, to more than the addresses pinged",
            overflows,
            limit(),
        )
        sweep = msgspec.structs.replace(sweep, overflows=overflows)
    snapshot = judge(inventory, targets=targets, sweep=sweep, previous=previous, sources=source_addresses)
    return msgspec.structs.replace(
        snapshot,
        alone=instances.host is not None or probe.kinds == {"local"},
        per_address=probe.per_address,
    )


Sources = Callable[[Sequence[Target]], Mapping[Target, str]]
"""Returns the addresses that the vantages of these targets send from, as far as there are any."""


def judge(
    inventory: Inventory,
    *,
    targets: Plan,
    sweep: Sweep,
    previous: Snapshot | None = None,
    sources: Sources = lambda _targets: {},
) -> Snapshot:
    """Set Nova's word on every instance beside the ping's.

    `targets` are the plan's for this inventory, and `sweep` has an outcome for each.
    """
    replied = {v.instance.id: v.last_reply_at for v in previous.verdicts} if previous else {}
    verdicts = [
        _verdict(
            instance,
            targets[instance.id],
            sweep=sweep,
            replied_at=replied.get(instance.id),
        )
        for instance in inventory.instances
    ]
    return Snapshot(
        inventory=inventory,
        sweep=sweep,
        verdicts=tuple(_with_blocked(verdicts, inventory, sweep, sources)),
    )


def _verdict(
    instance: Instance, probed: tuple[Probed, ...], *, sweep: Sweep, replied_at: float | None
) -> Verdict:
    asked = [
        outcome
        for each in probed
        if each.target and (outcome := sweep.outcomes[each.target]).tells_of(each.target)
    ]
    alive = any(outcome.alive for outcome in asked) if asked or not probed else None
    return Verdict(
        instance=instance,
        alive=alive,
        reason=None if alive else _reason(instance, probed, asked),
        probed=probed,
        rtt=min((outcome.rtt for outcome in asked if outcome.rtt is not None), default=None),
        loss=min(
            ((outcome.sent - outcome.received) / outcome.sent for outcome in asked if outcome.sent),
            default=None,
        ),
        last_reply_at=sweep.started_at if alive else replied_at,
    )


def _reason(instance: Instance, probed: Sequence[Probed], asked: Sequence[Outcome]) -> Reason:
    """Return the first reason that fits an instance that is not alive; a filter is looked for later."""
    if not instance.active:
        return Reason.NOT_ACTIVE
    if not probed:
        return Reason.NO_ADDRESS
    if not asked:
        return Reason.NO_VANTAGE
    if all(outcome.unreachable for outcome in asked):
        return Reason.UNREACHABLE
    return Reason.NO_REPLY


def _with_blocked(
    verdicts: Sequence[Verdict], inventory: Inventory, sweep: Sweep, sources: Sources
) -> list[Verdict]:
    """Return the verdicts, those changed of which every port that was asked keeps our packets out."""
    topology = inventory.topology
    silent = {
        verdict.instance.id: [
            (each.address, each.target)
            for each in verdict.probed
            if each.target and sweep.outcomes[each.target].tells_of(each.target)
        ]
        for verdict in verdicts
        if verdict.reason in {Reason.UNREACHABLE, Reason.NO_REPLY} and verdict.instance.id in topology.ports
    }
    senders = sources([target for asked in silent.values() for _, target in asked])

    def blocked(instance: Instance, address: Address, target: Target) -> bool:
        port, sender = port_of(instance, address, topology), senders.get(target)
        return bool(port and sender and blocks_echo(port, sender=sender, topology=topology))

    return [
        msgspec.structs.replace(verdict, reason=Reason.ICMP_BLOCKED)
        if verdict.instance.id in silent
        and all(blocked(verdict.instance, *asked) for asked in silent[verdict.instance.id])
        else verdict
        for verdict in verdicts
    ]
