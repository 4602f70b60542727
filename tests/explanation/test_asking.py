"""Asking one instance anew: who is pinged, who else counts, and who shares the answer."""

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.errors import ProbeError
from fping_exporter.explanation.asking import Asker, ask_anew, explain_from_here
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.reading import Reading
from fping_exporter.model import (
    LOCAL,
    Instance,
    Inventory,
    Layer2Doubt,
    Layer2Sweep,
    Layer2Target,
    Port,
    Reason,
    SecurityRule,
    Snapshot,
    Topology,
)
from fping_exporter.snapshot import take_snapshot
from fping_exporter.timeline import PingResult, Timeline
from tests.build import NOW, instance, inventory
from tests.explanation.scenes import World
from tests.os_fping.worlds import Guests

ONE, TWIN, OTHER = instance("one", "10.0.0.1"), instance("twin", "10.0.0.1"), instance("other", "10.0.0.2")


def sweep_of(guests: Guests, alone: Inventory) -> Snapshot:
    return take_snapshot(alone, prober=guests, probe=config.Probe())


def test_only_this_instance_is_pinged() -> None:
    guests = Guests("10.0.0.1")
    got = ask_anew(ONE, inventory(ONE, OTHER), sweep=lambda alone: sweep_of(guests, alone))
    assert [verdict.alive for verdict in got.verdicts] == [True]
    assert [{target.ip for target in asked} for asked in guests.asked] == [{"10.0.0.1"}]


@pytest.mark.parametrize("listed", [(ONE, TWIN), (TWIN,)])
def test_who_else_has_the_address_counts(listed: tuple[Instance, ...]) -> None:
    guests = Guests("10.0.0.1")
    there = inventory(*listed)
    got = ask_anew(ONE, there, sweep=lambda alone: sweep_of(guests, alone))
    assert [verdict.reason for verdict in got.verdicts] == [Reason.AMBIGUOUS_ADDRESS]
    explanation = explain_from_here(got.verdicts[0], got, probe=config.Probe(), anew=True)
    assert [(each.id, each.name) for each in explanation.addresses[0].others] == [("twin", "twin")]


def test_big_security_groups_are_known_as_in_a_sweep() -> None:
    """What is cut for an agent has a bound for members; this has none, or silence would be unexplained."""
    members = {"g": frozenset(f"10.9.{n // 250}.{n % 250}" for n in range(5000))}
    port = Port("net", "m", {"10.0.0.1": "s"}, ("g",), "one")
    rules = {"g": (SecurityRule(4, group="g"),)}
    topology = Topology(ports={"one": (port,)}, rules=rules, members=members)
    got: list[Inventory] = []

    def sweep(alone: Inventory) -> Snapshot:
        got.append(alone)
        return sweep_of(Guests(), alone)

    ask_anew(ONE, inventory(ONE, topology=topology), sweep=sweep)
    assert got[0].topology.members == members


def test_a_group_that_a_rule_names_has_its_name() -> None:
    port = Port("net", "m", {"10.0.0.1": "s"}, ("g",), "one")
    topology = Topology(
        ports={"one": (port,)},
        rules={"g": (SecurityRule(4, group="senders"),)},
        group_names={"g": "web", "senders": "monitoring", "another": "secret"},
    )
    got = ask_anew(ONE, inventory(ONE, topology=topology), sweep=lambda alone: sweep_of(Guests(), alone))
    assert got.inventory.topology.group_names == {"g": "web", "senders": "monitoring"}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def newest(guests: Guests) -> Snapshot:
    return sweep_of(guests, inventory(ONE, OTHER))


def test_the_answer_is_shared_for_five_seconds() -> None:
    guests, clock = Guests("10.0.0.1"), Clock()
    asker = Asker(lambda alone, _replies: sweep_of(guests, alone), clock=clock)
    before = newest(guests)
    for seconds, asked in ((0, 2), (4.9, 2), (0.2, 3)):
        clock.now += seconds
        asker.ask(ONE, before)
        assert len(guests.asked) == asked
    asker.ask(OTHER, before)
    asker.ask(msgspec.structs.replace(ONE, status="SHUTOFF"), before)
    assert len(guests.asked) == 5


def test_those_who_come_meanwhile_wait_for_the_same_answer() -> None:
    guests, begun, go_on = Guests("10.0.0.1"), threading.Event(), threading.Event()

    def sweep(alone: Inventory, _replies: Mapping[str, float]) -> Snapshot:
        begun.set()
        assert go_on.wait(5)
        return sweep_of(guests, alone)

    asker, before = Asker(sweep), newest(guests)
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(asker.ask, ONE, before)
        assert begun.wait(5)
        second = pool.submit(asker.ask, ONE, before)
        go_on.set()
        assert first.result(5) is second.result(5)
    assert len(guests.asked) == 2


def test_an_error_is_not_kept() -> None:
    guests, errors = Guests("10.0.0.1"), [ProbeError("no socket")]

    def sweep(alone: Inventory, _replies: Mapping[str, float]) -> Snapshot:
        if errors:
            raise errors.pop()
        return sweep_of(guests, alone)

    asker, before = Asker(sweep), newest(guests)
    with pytest.raises(ProbeError):
        asker.ask(ONE, before)
    assert asker.ask(ONE, before).verdicts[0].alive


def test_what_earlier_sweeps_found_out_is_still_known() -> None:
    guests = Guests()
    timeline = Timeline().then(PingResult.SILENT, NOW)
    before = msgspec.structs.replace(newest(guests), timelines={"one": timeline}, sweeps=(NOW,), blind=True)
    [verdict, other] = before.verdicts
    before = msgspec.structs.replace(
        before, verdicts=(msgspec.structs.replace(verdict, last_reply_at=NOW - 60), other)
    )
    asker = Asker(
        lambda alone, replies: take_snapshot(alone, prober=guests, probe=config.Probe(), last_replies=replies)
    )
    got = asker.ask(ONE, before)
    explanation = explain_from_here(got.verdicts[0], got, probe=config.Probe(), anew=True)
    assert (explanation.last_reply_at, explanation.since) == (NOW - 60, NOW)
    assert any("lost its way" in remark for remark in explanation.remarks)


def test_only_its_own_past_is_kept() -> None:
    timelines = dict.fromkeys(("one", "other"), Timeline().then(PingResult.SILENT, NOW))
    before = msgspec.structs.replace(newest(Guests()), timelines=timelines, sweeps=(NOW,))
    got = Asker(lambda alone, _replies: sweep_of(Guests(), alone)).ask(ONE, before)
    assert got.timelines.keys() == {"one"}


def test_a_blind_exporter_of_a_fleet_calls_nobody_silent() -> None:
    """As in the snapshot that is merged after each sweep."""
    before = msgspec.structs.replace(newest(Guests()), blind=True)
    asker = Asker(
        lambda alone, _replies: sweep_of(Guests(), alone),
        merge=lambda snapshot: merge(snapshot, Reading(began=0), max_age=60),
    )
    [verdict] = asker.ask(ONE, before).verdicts
    assert merge(before, Reading(began=0), max_age=60).verdicts[0].alive is None
    assert (verdict.alive, verdict.silent) == (None, False)


@pytest.mark.parametrize(("vantage", "alive"), [(LOCAL, None), ("qdhcp-1", False)])
def test_silence_says_nothing_where_the_last_sweep_found_that_questions_do_not_arrive(
    vantage: str,
    alive: bool | None,  # noqa: FBT001, the expected value
) -> None:
    alone = World(layer2_alive=False).snapshot()
    deaf = Layer2Sweep(doubtful={Layer2Target(vantage, "192.0.2.8", "fa:16:3e:00:00:08"): Layer2Doubt.DEAF})
    before = msgspec.structs.replace(alone, sweep=msgspec.structs.replace(alone.sweep, layer2=deaf))
    got = Asker(lambda _alone, _replies: alone).ask(alone.verdicts[0].instance, before)
    explanation = explain_from_here(got.verdicts[0], got, probe=config.Probe(), anew=True)
    assert (explanation.layer2_alive, explanation.addresses[0].layer2.alive) == (alive, alive)
    said = "not even guests that answer pings answer there" in explanation.addresses[0].layer2.text
    assert said is (alive is None)
