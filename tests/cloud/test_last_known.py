"""What stays of an optional list that cannot be read, and what a listing that was given up can change."""

import math
import threading

import pytest

from fping_exporter.cloud.last_known import LastKnown
from fping_exporter.demo.http import Answer, Request
from fping_exporter.errors import CloudError, ForbiddenError
from tests.cloud.faulty import connect, make_servers
from tests.cloud.neutron import PORTS, NeutronCloud, port

SOON = 5.0


def refuse() -> list[str]:
    raise ForbiddenError("no")


def fail() -> list[str]:
    raise CloudError("away")


def test_the_last_value_outlives_failures_and_has_an_age() -> None:
    known: LastKnown[list[str]] = LastKnown("things", [])
    assert (known.value, known.succeeded, known.age) == ([], None, math.inf)

    assert known.refresh(lambda: ["a"])
    assert (known.value, known.succeeded) == (["a"], True)
    assert 0 <= known.age < SOON

    assert not known.refresh(fail)
    assert (known.value, known.succeeded) == (["a"], False)
    assert 0 <= known.age < SOON

    known.skip()
    assert (known.value, known.succeeded) == (["a"], None)


def test_what_changes_quickly_does_not_outlive_a_failure() -> None:
    known: LastKnown[list[str]] = LastKnown("things", [], outlives_failure=False)
    known.refresh(lambda: ["a"])
    known.refresh(fail)
    assert (known.value, known.succeeded, known.age) == ([], False, math.inf)


def test_a_missing_right_is_logged_once_until_it_was_there(caplog: pytest.LogCaptureFixture) -> None:
    known: LastKnown[list[str]] = LastKnown("things", [])
    for _ in range(3):
        known.refresh(refuse)
    assert caplog.messages == ["things are left out, the credentials have no right to list them: no"]
    known.refresh(list)
    known.refresh(refuse)
    assert len(caplog.messages) == 2


def test_a_copy_knows_the_same_and_goes_its_own_way(caplog: pytest.LogCaptureFixture) -> None:
    known: LastKnown[list[str]] = LastKnown("things", [])
    known.refresh(lambda: ["a"])
    known.refresh(refuse)
    other = known.copy()
    other.refresh(refuse)
    assert len(caplog.messages) == 1, "that the refusal was logged is known to the copy as well"
    other.refresh(lambda: ["b"])
    assert (known.value, known.succeeded) == (["a"], False)


def test_an_old_listing_that_still_runs_changes_nothing_of_what_the_new_one_knows() -> None:
    asked, over = threading.Event(), threading.Event()

    def hangs(_request: Request) -> Answer:
        asked.set()
        over.wait(SOON)
        return Answer(200, {"ports": [port("1", "10.0.0.9", device="of-the-old")]})

    with NeutronCloud(*make_servers(1)) as standin:
        old = connect(standin).cloud
        standin.fail(PORTS, hangs)
        listing = threading.Thread(target=old.inventory)
        listing.start()
        assert asked.wait(SOON)

        new = connect(standin).cloud
        new.take_over(old)
        standin.network["ports"].append(port("2", "10.0.0.5", device="of-the-new"))
        assert set(new.inventory().topology.ports) == {"of-the-new"}

        over.set()
        listing.join(SOON)
        standin.fail(PORTS, *[Answer(503, b"")] * 4)
        after = new.inventory()
    assert not after.parts["ports"]
    assert set(after.topology.ports) == {"of-the-new"}
