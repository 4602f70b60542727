import heapq
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.probe.pacing import Pacer


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_first_batch_goes_at_once_and_the_next_when_it_has_been_paid_for() -> None:
    clock = Clock()
    pacer = Pacer(rate=100, clock=clock)
    assert [pacer.reserve(10) for _ in range(3)] == pytest.approx([0, 0.1, 0.2])


def test_a_sleep_that_took_longer_is_made_up_for_up_to_ten_milliseconds() -> None:
    clock = Clock()
    pacer = Pacer(rate=1000, clock=clock)
    pacer.reserve(10)
    clock.now += 3600
    assert [pacer.reserve(10) for _ in range(3)] == pytest.approx([0, 0, 0.01])


@given(
    st.floats(0.1, 1e6),
    st.lists(st.tuples(st.integers(1, 64), st.floats(0, 1)), min_size=1, max_size=50),
)
def test_no_stretch_of_time_sees_more_than_the_rate_allows(
    rate: float, calls: list[tuple[int, float]]
) -> None:
    clock = Clock()
    pacer = Pacer(rate=rate, clock=clock)
    sent: list[tuple[float, int]] = []
    for packets, pause in calls:
        delay = pacer.reserve(packets)
        assert delay >= 0
        clock.now += delay
        sent.append((clock.now, packets))
        clock.now += pause
    for first in range(len(sent)):
        total = 0
        for at, packets in sent[first:]:
            # What went before the last batch is paid for, but for the burst.
            assert total <= (at - sent[first][0] + 0.01) * rate * (1 + 1e-6) + 1e-3
            total += packets


@pytest.mark.parametrize(("rate", "batch"), [(1, 1), (20_000, 50), (1_000_000, 64)])
def test_a_batch_is_a_short_burst(rate: int, batch: int) -> None:
    assert Pacer(rate=rate).batch == batch


@given(rate=st.floats(1, 1e6), large=st.integers(1, 8), batches=st.integers(1, 20))
def test_a_small_sweep_waits_for_one_batch_of_each_large_one_before_each_of_its_own(
    rate: float, large: int, batches: int
) -> None:
    clock = Clock()
    pacer = Pacer(rate=rate, clock=clock)
    began = clock.now
    due = [(began + pacer.reserve(pacer.batch), sweep) for sweep in range(large + 1)]
    heapq.heapify(due)
    left = batches
    while left:
        clock.now, sweep = heapq.heappop(due)
        left -= sweep == large
        heapq.heappush(due, (clock.now + pacer.reserve(pacer.batch), sweep))
    assert clock.now - began <= batches * (large + 1) * pacer.batch / rate * (1 + 1e-6) + 1e-6


def test_threads_share_one_limit() -> None:
    clock = Clock()
    pacer = Pacer(rate=1000, clock=clock)
    with ThreadPoolExecutor(8) as threads:
        delays = list(threads.map(lambda _: pacer.reserve(10), range(800)))
    assert sorted(delays) == pytest.approx([number / 100 for number in range(800)])
