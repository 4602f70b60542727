"""The clock of an agent."""

import threading
import time

from fping_exporter.fleet.poller import Poller

SOON = 5.0


def ended() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def test_it_refreshes_again_and_again_until_it_is_stopped() -> None:
    calls: list[float] = []
    third = threading.Event()

    def refresh() -> threading.Event:
        calls.append(time.monotonic())
        if len(calls) == 3:
            third.set()
        return ended()

    before = set(threading.enumerate())
    poller = Poller(refresh, lambda: 0.01)
    poller.start()
    assert third.wait(SOON)
    poller.stop()
    while any(thread.name == "poller" for thread in set(threading.enumerate()) - before):
        time.sleep(0.001)
    count = len(calls)
    time.sleep(0.05)
    assert len(calls) == count


def test_it_waits_for_a_refresh_before_the_next_pause() -> None:
    under_way, asked = threading.Event(), threading.Event()
    pauses: list[float] = []

    def refresh() -> threading.Event:
        asked.set()
        return under_way

    def pause() -> float:
        pauses.append(0)
        return 0

    poller = Poller(refresh, pause)
    poller.start()
    assert asked.wait(SOON)
    time.sleep(0.05)
    assert len(pauses) == 1
    poller.stop()
    under_way.set()
