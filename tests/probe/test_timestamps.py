"""A round trip is the packet's, however late its reply is read."""

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from fping_exporter.probe.timestamps import (
    SO_TIMESTAMPNS,
    ArrivalClock,
    kernel_stamp,
    timestamping_is_on,
)
from tests.permission import need_ping

PROGRAM = """
import json
from fping_exporter.config import Probe
from fping_exporter.model import LOCAL, Target
from fping_exporter.probe import make_prober
targets = [Target(LOCAL, f"127.0.{n // 250}.{n % 250 + 1}") for n in range(300)]
sweep = make_prober(Probe(rate=2000, retries=0)).probe(targets)
print(json.dumps([outcome.rtt for outcome in sweep.outcomes.values()]))
"""
"""A process of its own: in this one, another test has switched the stamping on."""


def stamp(nanoseconds: int) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, SO_TIMESTAMPNS, struct.pack("@ll", *divmod(nanoseconds, 10**9)))]


def wait_until_stamping_is_off() -> None:
    """Linux switches it off shortly after the last socket that asked for it was closed."""
    time.sleep(0.1)


@pytest.mark.netns  # slow
def test_the_first_sweep_of_a_process_has_the_packets_times() -> None:
    need_ping()
    for _ in range(5):
        wait_until_stamping_is_off()
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        rtts = json.loads(done.stdout)
        assert len(rtts) == 300
        # At this rate they are read every 0.1 s: the first ones, without stamps, would have that much.
        assert all(rtt is not None and rtt < 0.05 for rtt in rtts), rtts


def test_stamping_is_on_soon_and_stays_on() -> None:
    start = time.monotonic()
    while not timestamping_is_on():
        assert time.monotonic() - start < 5
    assert timestamping_is_on()


def assert_turns(wall: Callable[[], int], offset: int) -> None:
    """Assert that `offset`, taken from a time of the wall clock, gives that of the monotonic clock."""
    before, now, after = time.monotonic_ns(), wall(), time.monotonic_ns()
    assert before - 5_000_000 < now - offset < after + 5_000_000


def test_a_stamp_is_turned_into_the_monotonic_clock() -> None:
    clock = ArrivalClock()
    offset = clock.begin()
    assert offset is not None
    assert_turns(time.time_ns, offset)


def test_the_stamp_is_the_kernels_control_message() -> None:
    assert kernel_stamp(stamp(1_234_567_890_123_456_789)) == 1_234_567_890_123_456_789
    assert kernel_stamp([]) is None
    assert kernel_stamp([(socket.SOL_SOCKET, 1, bytes(16))]) is None


@pytest.mark.parametrize("step", [-3600, -1, 1, 3600])
def test_after_the_wall_clock_was_set_no_time_is_known_until_the_next_reading(step: int) -> None:
    ahead = 0
    clock = ArrivalClock(lambda: time.time_ns() + ahead)
    ahead = step * 10**9
    assert clock.begin() is None
    offset = clock.begin()
    assert offset is not None
    assert_turns(lambda: time.time_ns() + ahead, offset)
