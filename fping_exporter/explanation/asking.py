"""Asks one instance anew, and explains a verdict with the source addresses that its packets have here."""

from collections.abc import Callable

import msgspec

from fping_exporter import config
from fping_exporter.explanation.build import explain
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.explanation.values import Explanation
from fping_exporter.model import Instance, Inventory, Snapshot, Verdict
from fping_exporter.probe.vantage import source_addresses

__all__ = ["ask_anew", "explain_from_here"]


def ask_anew(instance: Instance, inventory: Inventory, *, sweep: Callable[[Inventory], Snapshot]) -> Snapshot:
    """Ping one instance alone, and return the snapshot of this sweep, with the whole inventory.

    Who else of the `inventory` has one of its addresses is taken into account, so that an ambiguous address
    is not asked. The instance need not be in the inventory. `sweep` pings all of an inventory, as
    :func:`fping_exporter.snapshot.take_snapshot` does; what it raises is raised here.
    """
    ips = {address.ip for address in instance.addresses}
    claims = dict(inventory.topology.claims)
    for each in (*inventory.instances, instance):
        for address in each.addresses:
            if address.ip in ips:
                claims[address.ip] = claims.get(address.ip, frozenset()) | {each.id}
    topology = msgspec.structs.replace(inventory.topology, claims=claims)
    alone = msgspec.structs.replace(inventory, instances=(instance,), topology=topology)
    whole = msgspec.structs.replace(inventory, topology=topology)
    return msgspec.structs.replace(sweep(alone), inventory=whole)


def explain_from_here(
    verdict: Verdict,
    snapshot: Snapshot,
    *,
    probe: config.Probe,
    remembered: bool = True,
    anew: bool = False,
    selected: bool = True,
    runbook: str = "",
) -> Explanation:
    """Explain a verdict of the snapshot; nothing is sent.

    `remembered`, `anew` and `selected` are as in :class:`Evidence`, `runbook` is as in :func:`explain`.
    """
    evidence = Evidence(
        inventory=snapshot.inventory,
        sweep=snapshot.sweep,
        probe=probe,
        sources=source_addresses(each.target for each in verdict.probed if each.target),
        since=snapshot.since(verdict),
        remembered=remembered,
        anew=anew,
        blind=snapshot.blind,
        selected=selected,
    )
    return explain(verdict, evidence, runbook=runbook)
