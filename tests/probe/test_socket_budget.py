"""Sockets as a budget: as many at once as there may be, and the others after them."""

import contextlib
import threading

from fping_exporter.probe.socket_budget import SocketBudget


def test_a_sweep_gets_what_it_wants_or_what_is_left() -> None:
    budget = SocketBudget(5)
    with budget.turn() as first:
        assert (first.free, first.take(3)) == (5, 3)
        with budget.turn() as second:
            assert (second.free, second.take(4)) == (2, 2)
    with budget.turn() as after:
        assert after.take(9) == 5


def test_the_next_sweep_waits_until_this_one_knows_what_it_needs() -> None:
    """Else it would find too few, and take several turns, because of some that nobody opens."""
    budget, found = SocketBudget(5), list[int]()

    def wait() -> None:
        with budget.turn() as other:
            found.append(other.free)

    with budget.turn() as turn:
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(0.05)
        assert not found
        turn.take(1)
        thread.join(5)
    assert found == [4]


def test_who_finds_none_waits_for_one() -> None:
    budget, order = SocketBudget(1), list[str]()

    def wait() -> None:
        with budget.turn() as turn:
            turn.take(1)
            order.append("second")

    with budget.turn() as turn:
        turn.take(1)
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
        with budget.turn() as turn:
            turn.take(1)
            order.append("other")

    thread = threading.Thread(target=wait)
    for name in ("turn 1", "turn 2"):
        with budget.turn() as turn:
            turn.take(1)
            order.append(name)
            if name == "turn 1":
                thread.start()
                while not budget._queue:  # noqa: SLF001, that it waits has no other face
                    assert thread.is_alive()
    thread.join(5)
    assert order == ["turn 1", "other", "turn 2"]


def test_a_failure_gives_them_back() -> None:
    budget = SocketBudget(2)
    with contextlib.suppress(ZeroDivisionError), budget.turn() as turn:
        assert turn.take(2) / 0
    with contextlib.suppress(ZeroDivisionError), budget.turn() as turn:
        assert turn.free / 0
    with budget.turn() as turn:
        assert turn.take(9) == 2
