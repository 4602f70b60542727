"""A list that suddenly lacks most."""

import logging
from collections.abc import Collection

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.errors import CloudError
from fping_exporter.lister import Lister, Listing, merge
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Inventory
from tests.build import Source, instance, inventory

SOON = 5.0
IDS = st.frozensets(st.integers(0, 40), max_size=40)


def of(numbers: frozenset[int] | range) -> Inventory:
    return inventory(*(instance(str(number)) for number in sorted(numbers)))


def ids(there: Inventory) -> set[int]:
    return {int(each.id) for each in there.instances}


def listing(there: Inventory, unconfirmed: frozenset[str] = frozenset()) -> Listing:
    return Listing(there, there, 0.0, unconfirmed=unconfirmed)


@pytest.mark.parametrize(
    ("before", "now", "used"),
    [
        (20, 9, 20),
        (20, 10, 10),  # half
        (9, 0, 0),  # fewer than ten
        (10, 0, 10),
        (40, 41, 41),
    ],
)
def test_what_is_doubted(before: int, now: int, used: int) -> None:
    merged, unconfirmed = merge(listing(of(range(before))), of(range(now)))
    assert ids(merged) == set(range(used))
    assert len(unconfirmed) == used - now


@given(st.lists(IDS, min_size=2, max_size=8))
def test_a_list_that_is_said_twice_is_believed_and_nothing_listed_is_lost(
    lists: list[frozenset[int]],
) -> None:
    newest: Listing | None = None
    for numbers in [*lists, lists[-1]]:
        merged, unconfirmed = merge(newest, of(numbers))
        assert numbers <= ids(merged)
        assert ids(merged) - numbers == set(map(int, unconfirmed))
        assert len(merged.instances) == len(ids(merged))
        newest = listing(merged, unconfirmed)
    assert newest
    assert ids(newest.complete) == lists[-1]


def test_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    class Cloud:
        there = of(range(30))

        def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:  # noqa: ARG002, all lists are full
            return self.there

    cloud, telemetry = Cloud(), Telemetry()
    lister = Lister(cloud, select=lambda all_: all_, telemetry=telemetry)

    def sizes() -> tuple[float | None, float | None]:
        assert lister.refresh().wait(SOON)
        sample = telemetry.registry.get_sample_value
        return sample("fping_exporter_inventory_instances"), sample("fping_exporter_inventory_unconfirmed")

    assert sizes() == (30, 0)
    cloud.there = of(range(0))
    with caplog.at_level(logging.WARNING):
        assert sizes() == (30, 1)
    [message] = caplog.messages
    assert "lacks 30 of 30 instances" in message
    assert sizes() == (0, 0)


def test_what_was_merged_from_changes_is_believed_at_once() -> None:
    nothing = msgspec.structs.replace(of(range(0)), full=False)
    assert merge(listing(of(range(30))), nothing) == (nothing, frozenset())


def test_a_full_list_confirms_that_instances_are_gone() -> None:
    there, asked = [of(range(0)), of(range(0)), of(range(30))], []

    class Cloud:
        def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:  # noqa: ARG002, all answer
            asked.append(full)
            return there.pop()

    lister = Lister(Cloud(), select=lambda all_: all_, telemetry=Telemetry())
    for _ in range(3):
        assert lister.refresh().wait(SOON)
    assert asked == [False, False, True]


@pytest.mark.parametrize(
    ("error", "told"), [(CloudError("Nova is away"), "Nova is away"), (TypeError(), "a bug, see the log")]
)
def test_a_failure_leaves_the_list_as_it_was(
    error: Exception, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    there: list[Inventory] = [of(range(3))]

    def listed() -> Inventory:
        if not there:
            raise error
        return there.pop()

    telemetry = Telemetry()
    lister = Lister(Source(listed), select=lambda all_: all_, telemetry=telemetry)
    assert lister.refresh().wait(SOON)
    newest = lister.newest
    assert lister.refresh().wait(SOON)
    assert lister.newest is newest
    assert newest is not None
    assert telemetry.inventory.error == told
    assert len(caplog.records) == 1


def test_a_list_of_a_central_is_as_old_as_it_says_and_believed_at_once() -> None:
    """An emptied host must not be pinged on for another list: the central has doubted the list already."""
    lists = [of(range(30)), of(range(0))]
    lister = Lister(
        Source(lambda: msgspec.structs.replace(lists.pop(0), relay_age=40.0)),
        select=lambda all_: all_,
        telemetry=Telemetry(),
    )
    for left in (30, 0):
        assert lister.refresh().wait(SOON)
        assert lister.newest
        assert len(lister.newest.complete.instances) == left
        assert 40 <= lister.newest.age < 40 + SOON
        assert not lister.newest.unconfirmed


def test_a_retired_lister_reports_nothing(caplog: pytest.LogCaptureFixture) -> None:
    there: list[Inventory] = [of(range(3))]

    def listed() -> Inventory:
        if not there:
            raise CloudError("away")
        return there.pop()

    telemetry = Telemetry()
    lister = Lister(Source(listed), select=lambda all_: all_, telemetry=telemetry)
    lister.retire()
    for _ in range(2):
        assert lister.refresh().wait(SOON)
    assert telemetry.registry.get_sample_value("fping_exporter_inventory_instances") == 0
    assert telemetry.inventory.error is None
    assert caplog.records == []


def test_a_bug_in_the_selection_is_a_failure_as_well() -> None:
    def select(_all: Inventory) -> Inventory:
        raise TypeError

    telemetry = Telemetry()
    lister = Lister(Source(lambda: of(range(3))), select=select, telemetry=telemetry)
    assert lister.refresh().wait(SOON)
    assert lister.newest is None
    assert telemetry.inventory.error == "a bug, see the log"
