"""Nova's word beside the ping's: targets, verdicts and reasons."""

from collections.abc import Mapping

import pytest

from fping_exporter import config
from fping_exporter.history import History
from fping_exporter.model import (
    LOCAL,
    NOT_ASKED,
    Address,
    Instance,
    Outcome,
    Port,
    Probed,
    Reason,
    SecurityRule,
    Snapshot,
    Target,
    Topology,
    Verdict,
)
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.plan import plan
from tests.build import (
    ALIVE,
    NOW,
    SILENT,
    UNREACHABLE,
    address,
    instance,
    inventory,
    sweep,
)


def snapshot(
    *instances: Instance, outcomes: dict[str, Outcome], previous: Snapshot | None = None
) -> Snapshot:
    there = inventory(*instances)
    return judge(
        there,
        targets=plan(there.instances, there.topology, config.Probe()),
        sweep=sweep(outcomes),
        last_replies=_replies(previous),
    )


def _replies(previous: Snapshot | None) -> Mapping[str, float]:
    return History().after(previous).last_replies if previous else {}


def verdict(one: Instance, **outcomes: Outcome) -> Verdict:
    by_ip = {address.ip: outcome for address, outcome in zip(one.addresses, outcomes.values(), strict=True)}
    return snapshot(one, outcomes=by_ip).verdicts[0]


FOUR, SIX, FLOATING = address("10.0.0.1"), address("fd00::1"), address("192.0.2.1", kind="floating")


@pytest.mark.parametrize(
    ("probe", "expected"),
    [
        (config.Probe(), [FOUR, SIX, FLOATING]),
        (config.Probe(families=(6,)), [SIX]),
        (config.Probe(addresses="fixed"), [FOUR, SIX]),
        (config.Probe(addresses="floating"), [FLOATING]),
        (config.Probe(addresses="floating", families=(6,)), []),
    ],
)
def test_the_plan_takes_what_the_configuration_asks_for(probe: config.Probe, expected: list[Address]) -> None:
    there = inventory(instance("a", FOUR, SIX, FLOATING, status="SHUTOFF"))
    assert plan(there.instances, there.topology, probe) == {
        "a": tuple(Probed(each, Target(LOCAL, each.ip)) for each in expected)
    }


def test_one_address_that_answers_is_enough() -> None:
    got = verdict(
        instance("a", FOUR, SIX, FLOATING),
        four=SILENT,
        six=Outcome(sent=4, received=3, rtt=0.002),
        floating=Outcome(sent=4, received=1, rtt=0.001),
    )
    assert (got.alive, got.reason, got.rtt, got.loss, got.last_reply_at) == (True, None, 0.001, 0.25, NOW + 1)


def test_all_that_lost_nothing_share_one_object() -> None:
    lost = [verdict(instance(id_, FOUR), four=ALIVE).loss for id_ in "ab"]
    assert lost == [0.0, 0.0]
    assert lost[0] is lost[1]


@pytest.mark.parametrize(
    ("one", "outcomes", "reason", "loss"),
    [
        (instance("a", FOUR), [SILENT], Reason.NO_REPLY, 1),
        (instance("a", FOUR), [UNREACHABLE], Reason.UNREACHABLE, 1),
        (instance("a", FOUR, SIX), [UNREACHABLE, SILENT], Reason.NO_REPLY, 1),
        (instance("a", FOUR, SIX), [UNREACHABLE, UNREACHABLE], Reason.UNREACHABLE, 1),
        (instance("a", FOUR, SIX), [UNREACHABLE, NOT_ASKED], Reason.UNREACHABLE, 1),
        (instance("a"), [], Reason.NO_ADDRESS, None),
        (instance("a", status="BUILD"), [], Reason.NOT_ACTIVE, None),
        (instance("a", FOUR, status="SHUTOFF"), [SILENT], Reason.NOT_ACTIVE, 1),
    ],
)
def test_silence_has_one_reason(
    one: Instance, outcomes: list[Outcome], reason: Reason, loss: float | None
) -> None:
    got = verdict(one, **{str(n): outcome for n, outcome in enumerate(outcomes)})
    assert (got.alive, got.reason, got.rtt, got.loss, got.last_reply_at) == (False, reason, None, loss, None)


@pytest.mark.parametrize(
    ("vantage", "outcome", "alive"),
    [
        ("local", NOT_ASKED, None),
        ("local", UNREACHABLE, False),
        ("qdhcp-1", NOT_ASKED, None),
        ("qdhcp-1", UNREACHABLE, False),
        (None, None, None),
    ],
)
def test_nothing_is_said_of_what_could_not_be_asked(
    vantage: str | None, outcome: Outcome | None, *, alive: bool | None
) -> None:
    guest = instance("a", FOUR)
    there = inventory(guest, instance("b", FOUR, status="SHUTOFF"))
    target = Target(vantage, FOUR.ip) if vantage else None
    before = snapshot(guest, outcomes={FOUR.ip: ALIVE})
    got, off = judge(
        there,
        targets=dict.fromkeys("ab", (Probed(FOUR, target),)),
        sweep=sweep({target: outcome} if target and outcome else {}),
        last_replies=_replies(before),
    ).verdicts
    assert got.alive is alive
    assert got.reason is (Reason.NO_VANTAGE if alive is None else Reason.UNREACHABLE)
    assert got.last_reply_at == NOW + 1
    assert (off.alive, off.reason) == (alive, Reason.NOT_ACTIVE)


CLOSED, OPEN = ("closed",), ("open",)


@pytest.mark.parametrize(
    ("status", "outcomes", "groups", "reason"),
    [
        ("ACTIVE", (SILENT, SILENT), (CLOSED, CLOSED), Reason.ICMP_BLOCKED),
        ("ACTIVE", (UNREACHABLE, UNREACHABLE), (CLOSED, CLOSED), Reason.ICMP_BLOCKED),
        ("ACTIVE", (SILENT, SILENT), (CLOSED, OPEN), Reason.NO_REPLY),
        ("ACTIVE", (UNREACHABLE, UNREACHABLE), (OPEN, OPEN), Reason.UNREACHABLE),
        ("ACTIVE", (ALIVE, SILENT), (CLOSED, CLOSED), None),
        ("SHUTOFF", (SILENT, SILENT), (CLOSED, CLOSED), Reason.NOT_ACTIVE),
        ("ACTIVE", (SILENT, SILENT), (CLOSED, None), Reason.NO_REPLY),
    ],
)
def test_a_filter_is_blamed_only_if_every_port_has_one_and_nothing_answers(
    status: str,
    outcomes: tuple[Outcome, ...],
    groups: tuple[tuple[str, ...] | None, ...],
    reason: Reason | None,
) -> None:
    one, other = address("10.0.0.1", mac="m1"), address("10.0.0.2", mac="m2")
    ports = (Port("n", "m1", {one.ip: "s"}, groups[0]), Port("n", "m2", {other.ip: "s"}, groups[1]))
    topology = Topology(ports={"a": ports}, rules={"closed": (), "open": (SecurityRule(4),)})
    there = inventory(instance("a", one, other, status=status), topology=topology)
    got = judge(
        there,
        targets=plan(there.instances, there.topology, config.Probe()),
        sweep=sweep(dict(zip((one.ip, other.ip), outcomes, strict=True))),
        sources=lambda targets: dict.fromkeys(targets, "10.0.0.250"),
    )
    assert got.verdicts[0].reason is reason


def test_an_address_that_could_not_be_asked_has_no_say_about_filters() -> None:
    """As IPv6 in a namespace without it."""
    topology = Topology(
        ports={"a": (Port("n", "m", {"10.0.0.1": "s", "fd00::1": "s"}, ("closed",)),)}, rules={"closed": ()}
    )
    one, other = address("10.0.0.1", mac="m"), address("fd00::1", mac="m")
    asked, unasked = Target("qdhcp-n", one.ip), Target("qdhcp-n", other.ip)
    got = judge(
        inventory(instance("a", one, other), topology=topology),
        targets={"a": (Probed(one, asked), Probed(other, unasked))},
        sweep=sweep({asked: SILENT, unasked: NOT_ASKED}),
        sources=lambda _targets: {asked: "10.0.0.250"},
    )
    assert got.verdicts[0].reason is Reason.ICMP_BLOCKED


def test_no_filter_is_blamed_where_it_is_not_known_what_is_sent_from() -> None:
    one = address("10.0.0.1", mac="m1")
    topology = Topology(ports={"a": (Port("n", "m1", {one.ip: "s"}, ()),)})
    there = inventory(instance("a", one), topology=topology)
    got = judge(
        there, targets=plan(there.instances, there.topology, config.Probe()), sweep=sweep({one.ip: SILENT})
    )
    assert got.verdicts[0].reason is Reason.NO_REPLY


def test_the_last_reply_is_remembered() -> None:
    guest = instance("a", FOUR)
    first = snapshot(guest, outcomes={FOUR.ip: ALIVE})
    second = snapshot(guest, outcomes={FOUR.ip: SILENT}, previous=first)
    third = snapshot(guest, instance("b"), outcomes={FOUR.ip: SILENT}, previous=second)
    assert [v.last_reply_at for v in third.verdicts] == [NOW + 1, None]


@pytest.mark.parametrize(
    ("status", "other", "reason"),
    [
        ("ACTIVE", None, Reason.AMBIGUOUS_ADDRESS),
        ("ACTIVE", NOT_ASKED, Reason.AMBIGUOUS_ADDRESS),
        ("SHUTOFF", None, Reason.NOT_ACTIVE),
    ],
)
def test_an_ambiguous_address_explains_why_nobody_was_asked(
    status: str, other: Outcome | None, reason: Reason
) -> None:
    target = Target("qdhcp-1", SIX.ip)
    probed = (Probed(FOUR, None, ambiguous=True), *([Probed(SIX, target)] if other else []))
    (got,) = judge(
        inventory(instance("a", FOUR, SIX, status=status)),
        targets={"a": probed},
        sweep=sweep({target: other} if other else {}),
    ).verdicts
    assert (got.alive, got.reason) == (None, reason)
