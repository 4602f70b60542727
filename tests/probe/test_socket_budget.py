"""Sockets as a budget: as many at once as there may be, and the others after them."""

import contextlib
import threading

from fping_exporter.probe.socket_budget import SocketBudget


def test_a_sweep_gets_what_it_wants_or_what_is_left() -> None:
    budget = SocketBudget(5)
    with budget.take(3) as first, budget.take(4) as second:
        assert (first, second) == (3, 2)
    with budget.take(9) as after:
        assert after == 5


def test_who_finds_none_waits_for_one() -> None:
    budget, order = SocketBudget(1), list[str]()

    def wait() -> None:
        with budget.take(1):
            order.append("second")

    with budget.take(1):
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.05)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_the_next_turn_of_a_sweep_comes_after_those_that_wait() -> None:
    """Otherwise a caller of os-fping would wait for all turns of a sweep."""
    budget, order = SocketBudget(1), list[str]()

    def wait() -> None:
        with budget.take(1):
            order.append("other")

    thread = threading.Thread(target=wait)
    for turn in ("turn 1", "turn 2"):
        with budget.take(1):
            order.append(turn)
            if turn == "turn 1":
                thread.start()
                thread.join(0.05)
    thread.join(5)
    assert order == ["turn 1", "other", "turn 2"]


def test_a_failure_gives_them_back() -> None:
    budget = SocketBudget(2)
    with contextlib.suppress(ZeroDivisionError), budget.take(2) as taken:
        assert taken / 0
    with budget.take(2) as taken:
        assert taken == 2
