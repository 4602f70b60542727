"""Asks one instance anew, and explains a verdict with the source addresses that its packets have here."""

import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import NamedTuple

import msgspec

from fping_exporter import config
from fping_exporter.explanation.build import explain
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.explanation.values import Explanation
from fping_exporter.fleet.inventory_part import cut
from fping_exporter.model import Instance, Inventory, Layer2Doubt, Layer2Sweep, Snapshot, Verdict
from fping_exporter.probe.vantage import source_addresses
from fping_exporter.verdict.layer2 import layer2_targets, without_silence, witness

__all__ = ["Asker", "ask_anew", "cut_out", "evidence_from_here", "explain_from_here"]


def ask_anew(instance: Instance, inventory: Inventory, *, sweep: Callable[[Inventory], Snapshot]) -> Snapshot:
    """Ping one instance alone, and return the snapshot of this sweep.

    Who else of the `inventory` has one of its addresses is taken into account, so that an ambiguous address
    is not asked; the inventory of the snapshot has these, and nothing else that is not about the instance.
    The instance need not be in the `inventory`. `sweep` pings all of an inventory, as
    :func:`fping_exporter.snapshot.take_snapshot` does; what it raises is raised here.
    """
    alone, with_rivals = cut_out(instance, inventory)
    return msgspec.structs.replace(sweep(alone), inventory=with_rivals)


def cut_out(instance: Instance, inventory: Inventory) -> tuple[Inventory, Inventory]:
    """Return what is known of one instance, without others, and with those that have one of its addresses."""
    ips = {address.ip for address in instance.addresses}
    others = tuple(
        [
            each
            for each in inventory.instances
            if each.id != instance.id and any(address.ip in ips for address in each.addresses)
        ]
    )
    claims = dict(inventory.topology.claims)
    for each in (instance, *others):
        for address in each.addresses:
            if address.ip in ips:
                claims[address.ip] = claims.get(address.ip, frozenset()) | {each.id}
    topology = msgspec.structs.replace(inventory.topology, claims=claims)
    whole = msgspec.structs.replace(inventory, topology=topology)
    alone = cut(whole, [instance], most_members=math.inf)
    return alone, msgspec.structs.replace(alone, instances=(instance, *others))


def evidence_from_here(verdict: Verdict, snapshot: Snapshot, *, probe: config.Probe) -> Evidence:
    """Return what a verdict of the snapshot was made from, on this host; nothing is sent."""
    return Evidence(
        inventory=snapshot.inventory,
        sweep=snapshot.sweep,
        probe=probe,
        sources=source_addresses(each.target for each in verdict.probed if each.target),
        since=snapshot.since(verdict),
        blind=snapshot.blind,
    )


def explain_from_here(
    verdict: Verdict, snapshot: Snapshot, *, probe: config.Probe, anew: bool = False, runbook: str = ""
) -> Explanation:
    """Explain a verdict of a running exporter's snapshot; nothing is sent.

    `anew` is as in :class:`Evidence`, `runbook` is as in :func:`explain`.
    """
    evidence = evidence_from_here(verdict, snapshot, probe=probe)
    return explain(verdict, evidence._replace(anew=anew), runbook=runbook)


class Asker:
    """Asks single instances anew, for a running exporter. Threads share it.

    Callers who want the same instance within five seconds share one asking. One that failed is not shared
    with those who come later.
    """

    def __init__(
        self,
        sweep: Callable[[Inventory, Mapping[str, float]], Snapshot],
        *,
        merge: Callable[[Snapshot], Snapshot] = lambda snapshot: snapshot,
        count: Callable[[str], object] = lambda _client: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`sweep` pings all of an inventory, given the Unix times of the last replies by id.

        `merge` returns a snapshot with what the other exporters of a fleet say of its instances.
        `count` counts a question of a client, by its IP address, and raises RateLimitError if these are too
        many. `clock` is in seconds and never goes back.
        """
        self._sweep = sweep
        self._merge = merge
        self.count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._shared: dict[tuple[object, ...], _Asked] = {}

    def ask(self, instance: Instance, newest: Snapshot) -> Snapshot:
        """Return the snapshot of a sweep of this instance alone, as :func:`ask_anew`; raises ProbeError.

        `newest` is the newest snapshot of all: its inventory tells who else has an address, and it knows what
        earlier sweeps found out about the instance, whether or not it is in there.
        """
        key = instance.id, instance.status, instance.host, instance.addresses
        with self._lock:
            self._shared = {each: asked for each, asked in self._shared.items() if self._is_usable(asked)}
            asked = self._shared.get(key)
            own = None
            if asked is None:
                own = asked = self._shared[key] = _Asked(self._clock(), Future())
        if own:
            try:
                own.snapshot.set_result(self._ask(instance, newest))
            except BaseException as error:
                own.snapshot.set_exception(error)  # for those who wait
                raise
        return asked.snapshot.result()

    def _ask(self, instance: Instance, newest: Snapshot) -> Snapshot:
        replies = {
            each.instance.id: each.last_reply_at
            for each in newest.verdicts
            if each.instance.id == instance.id and each.last_reply_at is not None
        }
        # Its own alone: a mapping of all would be kept for as long as nobody asks again.
        timelines = {id_: newest.timelines[id_] for id_ in (instance.id,) if id_ in newest.timelines}

        def sweep(alone: Inventory) -> Snapshot:
            snapshot = msgspec.structs.replace(
                self._sweep(alone, replies), blind=newest.blind, timelines=timelines, sweeps=newest.sweeps
            )
            return self._merge(_without_deaf_places(snapshot, newest.sweep.layer2))

        return ask_anew(instance, newest.inventory, sweep=sweep)

    def _is_usable(self, asked: "_Asked") -> bool:
        """Whether it is under way, or has a recent answer."""
        if not asked.snapshot.done():
            return True
        return not asked.snapshot.exception() and self._clock() - asked.began < _SHARED_SECONDS


def _without_deaf_places(snapshot: Snapshot, newest: Layer2Sweep | None) -> Snapshot:
    """Return the snapshot without the silence at layer 2 of places where questions do not arrive.

    By the `newest` sweep of all, that is: where one instance is asked alone, nothing tells.
    """
    swept = snapshot.sweep.layer2
    if swept is None or newest is None:
        return snapshot
    layer2 = without_silence(
        swept, {target.place for target, doubt in newest.doubtful.items() if doubt is Layer2Doubt.DEAF}
    )

    def hear(verdict: Verdict) -> Verdict:
        if verdict.layer2_alive is not False:
            return verdict
        targets = layer2_targets(verdict.instance, verdict.probed, snapshot.inventory.topology)
        return msgspec.structs.replace(
            verdict, layer2_alive=witness([target for target, _ in targets], layer2)
        )

    return msgspec.structs.replace(
        snapshot,
        sweep=msgspec.structs.replace(snapshot.sweep, layer2=layer2),
        verdicts=tuple(map(hear, snapshot.verdicts)),
    )


_SHARED_SECONDS = 5.0


class _Asked(NamedTuple):
    began: float
    """By the clock."""
    snapshot: Future[Snapshot]
