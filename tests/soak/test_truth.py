"""What a soak calls right and wrong."""

import pytest

from tests.soak.truth import Judge, Said, Span, Truth, read

A = Truth(0, value=True)
A.change(False, Span(10, 11))  # noqa: FBT003, the fact itself
A.change(True, Span(20, 21))  # noqa: FBT003, the fact itself


@pytest.mark.parametrize(
    ("value", "begin", "end", "expected"),
    [
        (True, 1, 9, True),
        (False, 1, 9, False),
        (True, 9, 12, True),
        (False, 9, 12, True),
        (False, 1, 10.5, True),  # while it changes it may be either
        (True, 10.5, 12, True),
        (True, 12, 19, False),
        (False, 12, 19, True),
        (True, 22, 23, True),
        (False, 22, 23, False),
        (True, -2, -1, False),  # before it was there
    ],
)
def test_what_was_true_within_a_time(value: bool, begin: float, end: float, expected: bool) -> None:  # noqa: FBT001
    assert A.was(value, Span(begin, end)) is expected


def said(*, both: bool, sweep: Span, listed: Span, unconfirmed: bool = False) -> Said:
    return read(
        f'instance_alive{{id="a",project_id="p"}} {both:d}\n'
        f'instance_hypervisor_active{{id="a",project_id="p"}} {both:d}\n'
        f'instance_hypervisor_active{{id="b",project_id="p"}} 1\n'
        f"fping_exporter_sweep_last_success_timestamp_seconds {sweep.begin}\n"
        f"fping_exporter_sweep_duration_seconds {sweep.end - sweep.begin}\n"
        f"fping_exporter_inventory_last_success_timestamp_seconds {listed.begin}\n"
        f"fping_exporter_inventory_duration_seconds {listed.end - listed.begin}\n"
        f"fping_exporter_inventory_unconfirmed {unconfirmed:d}\n",
        at=30,
    )


def test_the_ping_is_judged_by_its_sweep_and_nova_by_the_list_before_it() -> None:
    judge = Judge({"a": A}, {"a": A, "b": Truth(0, value=True)})
    assert judge.judge(said(both=True, sweep=Span(6, 7), listed=Span(4, 5))) == {
        "ping: right": 1,
        "Nova: right": 2,
        "ping: unknown": 1,
    }
    wrong = judge.judge(said(both=True, sweep=Span(15, 16), listed=Span(12, 13)))
    assert (wrong["ping: wrong"], wrong["Nova: wrong"]) == (1, 1)
    # The newest list was complete after the sweep was begun, which had the one before.
    late = judge.judge(said(both=False, sweep=Span(23, 24), listed=Span(22, 25)))
    assert (late["ping: wrong"], late["Nova: right"]) == (1, 2)


def test_a_list_that_is_not_confirmed_keeps_the_word_of_the_one_before() -> None:
    for unconfirmed, wrong in ((False, 1), (True, 0)):
        judge = Judge({"a": A}, {"a": A, "b": Truth(0, value=True)})
        judge.judge(said(both=True, sweep=Span(6, 7), listed=Span(4, 5)))
        late = said(both=True, sweep=Span(17, 18), listed=Span(14, 15), unconfirmed=unconfirmed)
        assert judge.judge(late)["Nova: wrong"] == wrong
