"""Nova's word beside the ping's: targets, verdicts and reasons."""

import pytest

from fping_exporter import config
from fping_exporter.judge import judge, plan
from fping_exporter.model import LOCAL, Address, Instance, Outcome, Reason, Snapshot, Target, Verdict
from tests.build import ALIVE, NOW, SILENT, UNREACHABLE, address, instance, inventory, sweep


def snapshot(
    *instances: Instance, outcomes: dict[str, Outcome], previous: Snapshot | None = None
) -> Snapshot:
    there = inventory(*instances)
    return judge(there, targets=plan(there, config.Probe()), sweep=sweep(outcomes), previous=previous)


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
    assert plan(there, probe) == {"a": tuple(Target(LOCAL, each.ip) for each in expected)}


def test_one_address_that_answers_is_enough() -> None:
    got = verdict(
        instance("a", FOUR, SIX, FLOATING),
        four=SILENT,
        six=Outcome(sent=4, received=3, rtt=0.002),
        floating=Outcome(sent=4, received=1, rtt=0.001),
    )
    assert (got.alive, got.reason, got.rtt, got.loss, got.last_reply_at) == (True, None, 0.001, 0.25, NOW + 1)


@pytest.mark.parametrize(
    ("one", "outcomes", "reason", "loss"),
    [
        (instance("a", FOUR), [SILENT], Reason.NO_REPLY, 1),
        (instance("a", FOUR), [UNREACHABLE], Reason.UNREACHABLE, 1),
        (instance("a", FOUR, SIX), [UNREACHABLE, SILENT], Reason.NO_REPLY, 1),
        (instance("a", FOUR, SIX), [UNREACHABLE, UNREACHABLE], Reason.UNREACHABLE, 1),
        (
            instance("a", FOUR),
            [Outcome(sent=0, received=0, rtt=None, unreachable=True)],
            Reason.UNREACHABLE,
            None,
        ),
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


def test_the_last_reply_is_remembered() -> None:
    guest = instance("a", FOUR)
    first = snapshot(guest, outcomes={FOUR.ip: ALIVE})
    second = snapshot(guest, outcomes={FOUR.ip: SILENT}, previous=first)
    third = snapshot(guest, instance("b"), outcomes={FOUR.ip: SILENT}, previous=second)
    assert [v.last_reply_at for v in third.verdicts] == [NOW + 1, None]


def test_instances_with_one_address_between_them_share_its_outcome() -> None:
    both = snapshot(instance("a", FOUR), instance("b", FOUR), outcomes={FOUR.ip: ALIVE})
    assert [v.alive for v in both.verdicts] == [True, True]
    assert [v.loss for v in both.verdicts] == [0, 0]
