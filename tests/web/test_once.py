"""What is computed once from a snapshot, and forgotten with it."""

import gc
import threading
import weakref

import pytest

from fping_exporter.web.once import OncePer


class Source:
    """Something that a value is computed from."""

    def __init__(self, value: int) -> None:
        self.value = value


class Counting:
    """Computes a list with the value of a source, and counts how often."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, source: Source) -> list[int]:
        self.calls += 1
        return [source.value]


def test_it_is_computed_once_for_each_object() -> None:
    compute = Counting()
    value_of = OncePer[Source, list[int]](compute)
    one, equal = Source(1), Source(1)
    assert value_of(one) is value_of(one)
    assert value_of(equal) == [1]
    assert compute.calls == 2


def test_neither_the_object_nor_its_value_outlives_the_object() -> None:
    class Value:
        pass

    value_of = OncePer[Source, Value](lambda _source: Value())
    source = Source(1)
    value = weakref.ref(value_of(source))
    gc.collect()
    assert value() is not None
    del source
    gc.collect()
    assert value() is None


def test_the_value_of_a_later_object_is_not_forgotten_with_an_earlier_one() -> None:
    compute = Counting()
    value_of = OncePer[Source, list[int]](compute)
    early, late = Source(1), Source(2)
    value_of(early)
    value_of(late)
    del early
    gc.collect()
    assert value_of(late) == [2]
    assert compute.calls == 2


def test_who_asks_meanwhile_waits_for_the_first() -> None:
    begun, go_on, calls, values = threading.Event(), threading.Event(), [], []

    def compute(source: Source) -> object:
        calls.append(source)
        begun.set()
        assert go_on.wait(10)
        return object()

    value_of = OncePer[Source, object](compute)
    source = Source(1)
    threads = [threading.Thread(target=lambda: values.append(value_of(source))) for _ in range(4)]
    threads[0].start()
    assert begun.wait(10)
    for thread in threads[1:]:
        thread.start()
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert len(calls) == 1
    assert len(values) == 4
    assert len(set(map(id, values))) == 1


def test_a_failure_is_not_kept() -> None:
    def compute(source: Source) -> int:
        if not source.value:
            raise ValueError("not yet")
        return source.value

    value_of = OncePer[Source, int](compute)
    source = Source(0)
    with pytest.raises(ValueError, match="not yet"):
        value_of(source)
    source.value = 7
    assert value_of(source) == 7
