"""From a verdict and what it was made from to its explanation. Nothing is asked or looked up here."""

from collections.abc import Iterator

import msgspec

from fping_exporter.explanation.addresses import explain_addresses
from fping_exporter.explanation.advice import REASONS, advise, anchor_of
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.explanation.values import Claimant, Explanation, NextStep, NovaFacts, WitnessFacts
from fping_exporter.model import Reason, Verdict

__all__ = ["explain", "without_others"]


def explain(verdict: Verdict, evidence: Evidence, *, runbook: str = "") -> Explanation:
    """Explain a verdict by the evidence that it was made from.

    `runbook` is the URL of the page made of ``deploy/runbook.md``, without a fragment; empty if nobody knows
    where it is.
    """
    instance, inventory = verdict.instance, evidence.inventory
    hypervisor_up = next(
        (each.up for each in inventory.hypervisors if each.name == instance.hypervisor), None
    )
    advice = advise(verdict, hypervisor_up=hypervisor_up, remembered=evidence.remembered)
    return Explanation(
        id=instance.id,
        name=instance.name,
        project_id=instance.project_id,
        project=inventory.project_name(instance.project_id),
        summary=_summary(verdict),
        alive=verdict.alive,
        layer2_alive=verdict.layer2_alive,
        reason=verdict.reason,
        meaning=REASONS[verdict.reason].meaning if verdict.reason else None,
        remarks=tuple(_remarks(verdict, evidence)),
        anew=evidence.anew,
        asked_at=evidence.sweep.started_at,
        listed_at=inventory.listed_at,
        remembered=evidence.remembered,
        last_reply_at=verdict.last_reply_at,
        since=evidence.since.at if evidence.since else None,
        since_at_least=bool(evidence.since and evidence.since.at_least),
        rtt_seconds=verdict.rtt,
        loss_ratio=verdict.loss,
        nova=NovaFacts(
            status=instance.status,
            task_state=instance.task_state or None,
            power_state=instance.power_state or None,
            host=instance.host or None,
            hypervisor=instance.hypervisor or None,
            hypervisor_up=hypervisor_up,
            availability_zone=instance.availability_zone or None,
            created_at=instance.created_at,
            launched_at=instance.launched_at,
            mismatch=verdict.mismatch,
        ),
        addresses=explain_addresses(verdict, evidence),
        witnesses=tuple(
            WitnessFacts(
                exporter=each.exporter.name,
                alive=each.alive,
                layer2_alive=each.layer2_alive,
                reason=each.reason,
                rtt_seconds=each.rtt,
                swept_at=each.exporter.swept_at,
            )
            for each in verdict.witnesses
        ),
        next=NextStep(
            sentence=advice.sentence,
            command=advice.command or None,
            section=advice.section or None,
            url=runbook + anchor_of(advice.section) if runbook and advice.section else None,
        ),
    )


def without_others(explanation: Explanation) -> Explanation:
    """Return the explanation for a tenant: who else has an address, and who else asked, is not told.

    Both may be of other projects, or name hosts that Nova hides from a tenant.
    """
    replace = msgspec.structs.replace
    nobody = Claimant(None, None)
    return replace(
        explanation,
        addresses=tuple(replace(each, others=(nobody,) * len(each.others)) for each in explanation.addresses),
        witnesses=tuple(replace(each, exporter=None) for each in explanation.witnesses),
    )


def _summary(verdict: Verdict) -> str:
    status = verdict.instance.status or "without a status"
    if verdict.alive:
        return f"It answers pings, and Nova calls it {status}."
    if verdict.alive is None:
        return f"Nobody knows whether it answers pings; Nova calls it {status}."
    layer2 = ", but its kernel answers at layer 2" if verdict.layer2_alive else ""
    if not verdict.asked and not verdict.probed:
        return f"There is no address to ping, and Nova calls it {status}."
    return f"It does not answer pings{layer2}; Nova calls it {status}."


def _remarks(verdict: Verdict, evidence: Evidence) -> Iterator[str]:
    if verdict.mismatch and _counts_against_nova(verdict, blind=evidence.blind):
        yield "The ping contradicts Nova's status."
    if evidence.blind and not verdict.alive:
        yield "This exporter has lost its way to most instances: silence says nothing of this one."
    if not evidence.packets_kept:
        yield "This is what a running exporter stored last: whether it answered, but no packets."
    if not evidence.selected:
        yield "The configuration does not select it (instances), so it is in no metric."
    if verdict.instance.in_down_cell:
        yield "Nova's status is not known: its cell is down, or Nova's answer cannot be read."
    if evidence.anew and verdict.silent and verdict.layer2_alive is False:
        yield "At layer 2 it was asked alone, so nothing tells whether questions arrive there at all."
    ports = evidence.inventory.parts.get("ports")
    if ports is False:
        yield "Neutron's ports could not be listed, or not all: owners and security groups may be old."


def _counts_against_nova(verdict: Verdict, *, blind: bool) -> bool:
    """Whether the ping is evidence: an answer is, and a silence that nothing else explains."""
    return bool(verdict.alive) or (verdict.reason in {Reason.UNREACHABLE, Reason.NO_REPLY} and not blind)
