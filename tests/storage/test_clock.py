"""How much time has passed between two processes, when clocks jump and machines reboot."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.storage.clock import Moment, seconds_between
from tests.storage.clock import at


@pytest.mark.parametrize(
    ("later", "passed"),
    [
        (at(60, uptime=5060), 60),
        (at(-3600, uptime=5060), 60),  # the wall clock was set back
        (at(3600, uptime=5060), 3600),  # it was set forward, or a virtual machine was paused
        (at(60, uptime=4), 60),  # of a time namespace
        (at(60, uptime=40, boot="two"), 60),
        (at(60, uptime=9e6, boot="two"), 60),  # another machine, which has been up for months
        (at(-1, uptime=40, boot="two"), None),
        (at(60, uptime=5060, boot=""), 60),
        (at(-1, uptime=5060, boot=""), None),
    ],
)
def test_what_the_clocks_tell(later: Moment, passed: float | None) -> None:
    assert seconds_between(at(), later) == passed


@given(jump=st.floats(-1e6, 1e6), slept=st.floats(0, 1e6))
def test_no_jump_of_the_wall_clock_makes_anything_look_younger(jump: float, slept: float) -> None:
    passed = seconds_between(at(), at(slept + jump, uptime=5000 + slept))
    assert passed is not None
    assert passed == pytest.approx(max(slept, slept + jump), abs=1e-3)


def test_the_clocks_of_this_machine() -> None:
    earlier, later = Moment.now(), Moment.now()
    passed = seconds_between(earlier, later)
    assert earlier.boot == later.boot != ""
    assert passed is not None
    assert 0 <= passed < 60
