"""Verdicts of this exporter and of others together."""

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.reading import Reading
from fping_exporter.model import (
    LOCAL,
    FleetExporter,
    Outcome,
    Probed,
    Reason,
    Snapshot,
    Target,
    Verdict,
    Witness,
)
from fping_exporter.timeline import Since, Timeline
from fping_exporter.verdict.judge import judge_instance
from tests.build import ALIVE, NOW, SILENT, UNREACHABLE, address, instance, inventory, sweep

MAX_AGE = 180.0
E1 = FleetExporter("e1", age=30, swept_at=NOW - 30, blind=False)
OLD = FleetExporter("old", age=200, swept_at=NOW - 200, blind=False)
BLIND = FleetExporter("blind", age=30, swept_at=NOW - 30, blind=True)
ADDRESS = address("10.0.0.1")
OUTCOMES: Mapping[str, Outcome | None] = {
    "alive": ALIVE,
    "silent": SILENT,
    "unreachable": UNREACHABLE,
    "unasked": None,
}


def own(kind: str, *, status: str = "ACTIVE") -> Verdict:
    """This exporter's own verdict: a key of OUTCOMES, or ``no address`` that it asks, or ``none`` at all."""
    guest = instance("a", *([] if kind == "none" else [ADDRESS]), status=status)
    outcome = OUTCOMES.get(kind)
    target = Target(LOCAL, ADDRESS.ip) if outcome else None
    planned = () if kind in {"none", "no address"} else (Probed(ADDRESS, target),)
    outcomes = {target: outcome} if target and outcome else {}
    return judge_instance(guest, planned, outcomes, asked_at=NOW)


def merged(verdict: Verdict, *words: Witness, blind: bool = False, **reading: object) -> Verdict:
    snapshot = Snapshot(
        inventory=inventory(verdict.instance), verdicts=(verdict,), sweep=sweep({}), blind=blind
    )
    read = Reading(words={"a": words} if words else {}, began=0, **reading)  # type: ignore[arg-type]
    [found] = merge(snapshot, read, max_age=MAX_AGE).verdicts
    return found


@pytest.mark.parametrize(
    ("own_since", "elsewhere", "replied_at", "since"),
    [
        (NOW - 60, NOW - 90, None, Since(NOW - 60, at_least=True)),
        (NOW - 60, NOW - 30, NOW - 45, Since(NOW - 30, at_least=False)),
        (None, NOW - 30, NOW - 45, Since(NOW - 30, at_least=False)),
        (NOW - 60, None, NOW - 70, Since(NOW - 60, at_least=False)),
        (NOW - 60, None, NOW - 45, None),
        (NOW - 60, NOW - 50, NOW - 45, None),
        (None, None, None, None),
    ],
)
def test_an_instance_is_silent_since_the_last_of_all_heard_nothing_more(
    own_since: float | None, elsewhere: float | None, replied_at: float | None, since: Since | None
) -> None:
    verdict = own("silent")
    snapshot = Snapshot(
        inventory=inventory(verdict.instance),
        verdicts=(verdict,),
        sweep=sweep({}),
        timelines={"a": Timeline(alive=False, since=own_since)} if own_since else {},
    )
    reading = Reading(
        words={"a": (said(E1, alive=False),)},
        silent_since={"a": elsewhere} if elsewhere else {},
        last_replies={"a": replied_at} if replied_at else {},
        began=0,
    )
    whole = merge(snapshot, reading, max_age=MAX_AGE)
    assert whole.since(whole.verdicts[0]) == since


@pytest.mark.parametrize("alive", [True, False])
def test_what_answers_somebody_may_have_done_so_for_longer(alive: bool) -> None:  # noqa: FBT001, a value of the table
    verdict = own("alive" if alive else "silent")
    snapshot = Snapshot(
        inventory=inventory(verdict.instance),
        verdicts=(verdict,),
        sweep=sweep({}),
        timelines={"a": Timeline(alive=alive, since=NOW - 60)},
    )
    whole = merge(snapshot, Reading(words={"a": (said(E1, alive=True),)}, began=0), max_age=MAX_AGE)
    assert whole.since(whole.verdicts[0]) == (Since(NOW - 60, at_least=True) if alive else None)


@pytest.mark.parametrize("listed", [True, False])
def test_an_answer_of_long_ago_does_not_tell_since_when_it_answers_others(listed: bool) -> None:  # noqa: FBT001, a value of the table
    verdict = own("unasked")
    snapshot = Snapshot(
        inventory=inventory(*[verdict.instance] * listed),
        verdicts=(verdict,) * listed,
        others=() if listed else (verdict.instance,),
        sweep=sweep({}),
        timelines={"a": Timeline(alive=True, since=NOW - 7200)},
    )
    whole = merge(snapshot, Reading(words={"a": (said(E1, alive=True),)}, began=0), max_age=MAX_AGE)
    assert whole.since(whole.verdicts[0]) is None


def said(
    exporter: FleetExporter, *, alive: bool, reason: Reason = Reason.NO_REPLY, **more: object
) -> Witness:
    return Witness(exporter, alive, None if alive else reason, **more)  # type: ignore[arg-type]


YES, NO = said(E1, alive=True, rtt=0.5), said(E1, alive=False)


@pytest.mark.parametrize(
    ("verdict", "words", "alive", "reason"),
    [
        ("unasked", [YES], True, None),
        ("unasked", [NO], False, Reason.NO_REPLY),
        ("unasked", [NO, YES], True, None),
        ("unasked", [], None, Reason.NO_VANTAGE),
        ("unasked", [said(OLD, alive=True)], None, Reason.NO_VANTAGE),
        ("unasked", [said(OLD, alive=False)], None, Reason.NO_VANTAGE),
        ("unasked", [said(BLIND, alive=False)], None, Reason.NO_VANTAGE),
        ("unasked", [said(BLIND, alive=True)], True, None),
        ("unasked", [said(OLD, alive=True), NO], False, Reason.NO_REPLY),
        ("alive", [NO], True, None),
        ("silent", [YES], True, None),
        ("silent", [], False, Reason.NO_REPLY),
        ("silent", [NO], False, Reason.NO_REPLY),
        ("silent", [said(E1, alive=False, reason=Reason.ICMP_BLOCKED)], False, Reason.ICMP_BLOCKED),
        ("silent", [said(E1, alive=False, reason=Reason.UNREACHABLE)], False, Reason.NO_REPLY),
        ("unreachable", [said(E1, alive=False, reason=Reason.UNREACHABLE)], False, Reason.UNREACHABLE),
        ("unasked", [said(E1, alive=False, reason=Reason.NOT_ACTIVE)], False, Reason.NO_REPLY),
        ("no address", [], None, Reason.NO_ADDRESS),
        ("no address", [NO], False, Reason.NO_REPLY),
        ("no address", [YES], True, None),
        ("none", [], False, Reason.NO_ADDRESS),
        ("none", [YES], True, None),
    ],
)
def test_any_reply_is_life_and_silence_counts_from_who_could_ask(
    verdict: str,
    words: list[Witness],
    alive: bool | None,  # noqa: FBT001, the expected value
    reason: Reason | None,
) -> None:
    found = merged(own(verdict), *words)
    assert (found.alive, found.reason) == (alive, reason)
    off = merged(own(verdict, status="SHUTOFF"), *words)
    assert (off.alive, off.reason) == (alive, None if alive else Reason.NOT_ACTIVE)


def test_a_blind_exporter_does_not_believe_its_own_silence() -> None:
    assert merged(own("silent"), blind=True).alive is None
    assert merged(own("silent"), NO, blind=True).alive is False
    assert merged(own("alive"), NO, blind=True).alive is True
    assert merged(own("none"), blind=True).alive is False


def test_the_best_round_trip_of_those_who_had_a_reply() -> None:
    assert merged(own("alive"), YES).rtt == ALIVE.rtt
    assert merged(own("unasked"), YES).rtt == 0.5
    assert merged(own("silent"), said(OLD, alive=True, rtt=0.1), YES).rtt == 0.5
    assert merged(own("silent"), NO).rtt is None


def test_the_loss_is_this_exporters_own() -> None:
    assert merged(own("silent"), NO).loss == 1
    assert merged(own("silent"), YES).loss is None
    assert merged(own("alive"), NO).loss == 0


def test_the_latest_reply_to_anybody() -> None:
    verdict = own("alive")
    assert verdict.last_reply_at == NOW
    assert merged(verdict, YES, last_replies={"a": NOW - 1}).last_reply_at == NOW
    assert merged(verdict, YES, last_replies={"a": NOW + 1}).last_reply_at == NOW + 1
    assert merged(own("unasked"), last_replies={"a": NOW - 9}).last_reply_at == NOW - 9
    assert merged(own("unasked")).last_reply_at is None


def test_layer_2_is_a_witness_of_anybody() -> None:
    def heard(exporter: FleetExporter, *, answered: bool) -> Witness:
        return said(exporter, alive=False, layer2_alive=answered)

    assert merged(own("unasked"), heard(E1, answered=True)).layer2_alive is True
    assert merged(own("unasked"), heard(E1, answered=False)).layer2_alive is False
    assert merged(own("unasked"), heard(E1, answered=False), heard(E1, answered=True)).layer2_alive is True
    assert merged(own("unasked"), heard(BLIND, answered=True)).layer2_alive is True
    assert merged(own("unasked"), heard(BLIND, answered=False)).layer2_alive is None
    assert merged(own("unasked"), heard(OLD, answered=True)).layer2_alive is None
    assert merged(own("unasked"), heard(E1, answered=False), YES).layer2_alive is None
    deaf = msgspec.structs.replace(own("silent"), layer2_alive=False)
    assert merged(deaf, NO).layer2_alive is False
    assert merged(deaf, NO, blind=True).layer2_alive is None


def test_who_answers_another_exporter_is_not_missed() -> None:
    verdict = own("silent")
    snapshot = Snapshot(
        inventory=inventory(verdict.instance),
        verdicts=(verdict,),
        sweep=sweep({}),
        missed=frozenset("ab"),
        never_answered=frozenset("a"),
    )
    whole = merge(snapshot, Reading(words={"a": (YES,)}, began=0), max_age=MAX_AGE)
    assert (whole.missed, whole.never_answered) == (frozenset("b"), frozenset())
    assert merge(snapshot, None, max_age=MAX_AGE).missed == frozenset("ab")


EXPORTERS = st.builds(
    FleetExporter,
    st.sampled_from(["e1", "e2", "e3"]),
    age=st.floats(min_value=-10, max_value=400),
    swept_at=st.floats(min_value=NOW - 400, max_value=NOW),
    blind=st.booleans(),
)
WITNESSES = st.builds(
    lambda exporter, alive, reason, layer2: said(
        exporter, alive=alive, reason=reason, layer2_alive=None if alive else layer2
    ),
    EXPORTERS,
    st.booleans(),
    st.sampled_from(
        [Reason.NO_REPLY, Reason.UNREACHABLE, Reason.ICMP_BLOCKED, Reason.ICMP_IGNORED, Reason.NOT_ACTIVE]
    ),
    st.sampled_from([None, True, False]),
)


@given(
    kind=st.sampled_from([*OUTCOMES, "no address", "none"]),
    status=st.sampled_from(["ACTIVE", "SHUTOFF", "UNKNOWN"]),
    words=st.lists(WITNESSES, max_size=4),
    blind=st.booleans(),
    max_age=st.floats(min_value=-200, max_value=300),
)
def test_a_reply_is_life_and_what_nobody_knows_is_not_death(
    *, kind: str, status: str, words: list[Witness], blind: bool, max_age: float
) -> None:
    verdict = own(kind, status=status)
    snapshot = Snapshot(
        inventory=inventory(verdict.instance), verdicts=(verdict,), sweep=sweep({}), blind=blind
    )
    [found] = merge(snapshot, Reading(words={"a": tuple(words)}, began=0), max_age=max_age).verdicts
    fresh = [word for word in words if word.exporter.age < max_age]
    replied = kind == "alive" or any(word.alive for word in fresh)
    asked = (
        kind == "none"
        or (kind in {"silent", "unreachable"} and not blind)
        or any(not word.alive and not word.exporter.blind for word in fresh)
    )
    assert found.alive is (True if replied else False if asked else None)
    assert (found.reason is None) == replied
    assert found.instance is verdict.instance
    assert set(found.witnesses) <= set(fresh)
    if found.alive is False and kind != "none":
        assert found.asked
    if found.layer2_alive:
        assert any(word.layer2_alive for word in fresh)
