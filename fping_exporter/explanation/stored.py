"""Explains an instance by what a running exporter has stored; nothing is listed and nothing is sent."""

import msgspec

from fping_exporter.config import Config
from fping_exporter.explanation.asking import cut_out
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.model import Instance, Probed, Reason, Sweep, Verdict
from fping_exporter.probe.vantage import source_addresses
from fping_exporter.snapshot import plan_from_here
from fping_exporter.storage import State
from fping_exporter.timeline import PingResult, Since, Timeline
from fping_exporter.verdict.judge import judge_instance

__all__ = ["recall"]


def recall(instance: Instance, state: State, settings: Config) -> tuple[Verdict, Evidence]:
    """Return the verdict of the last sweep on an instance of the `state`, as far as it is stored.

    That is whether it answered, and not what came of the packets. Why a silent one is silent is known only
    where Nova's status or the lack of an address says it. From where it is pinged is planned anew, on this
    host.
    """
    alone, with_rivals = cut_out(instance, state.inventory)
    history, timeline = state.history, state.history.timelines.get(instance.id, Timeline())
    asked_at = history.sweeps[-1] if history.sweeps else state.inventory.listed_at
    planned = plan_from_here(alone.instances, alone.topology, probe=settings.probe, host=settings.host)
    verdict = judge_instance(
        instance,
        planned[instance.id],
        {},
        asked_at=asked_at,
        replied_at=history.last_replies.get(instance.id),
    )
    is_known = list(timeline)[-1] in {PingResult.ANSWERED, PingResult.SILENT}
    alive = timeline.alive if is_known else None
    if verdict.probed or is_known:  # else it has no address, and counts as silent without having been asked
        verdict = msgspec.structs.replace(verdict, alive=alive, reason=_reason(verdict, alive=alive))
    since = Since(timeline.since, timeline.at_least) if is_known else None
    sweep = Sweep(outcomes={}, sent=0, received=0, started_at=asked_at, duration=0)
    sources = source_addresses(each.target for each in verdict.probed if each.target)
    return verdict, Evidence(
        with_rivals, sweep, settings.probe, sources=sources, since=since, packets_kept=False
    )


def _reason(verdict: Verdict, *, alive: bool | None) -> Reason | None:
    """Return why an instance is not alive if that is known without its packets."""
    if alive:
        return None
    if verdict.reason is Reason.NOT_ACTIVE:
        return verdict.reason
    was_asked = alive is False
    if was_asked or any(map(_may_be_asked, verdict.probed)):
        return None
    return verdict.reason


def _may_be_asked(probed: Probed) -> bool:
    return probed.target is not None
