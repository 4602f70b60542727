"""Values that are computed once from a snapshot or a list, and shared by all requests."""

import threading
import weakref
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

__all__ = ["OncePer"]

S = TypeVar("S")
V = TypeVar("V")


class OncePer(Generic[S, V]):
    """Computes a value from an object, such as a snapshot, once for each object.

    The first caller computes it, and those who come meanwhile wait for it. Only the value of the latest
    object is kept, until that object is gone. The object itself is not kept: at 100,000 instances an old
    snapshot beside the new one would be some 100 MB.
    """

    def __init__(self, compute: Callable[[S], V]) -> None:
        """Use `compute`, of which one call runs at a time. The objects must allow weak references."""
        self._compute = compute
        self._lock = threading.Lock()
        self._kept: _Kept[S, V] | None = None
        forget = weakref.WeakMethod(self._forget)  # weak, lest this object be part of a cycle

        def on_loss(source: "weakref.ref[S]") -> None:
            if method := forget():
                method(source)

        self._on_loss = on_loss

    def __call__(self, source: S) -> V:
        """Return the value of `source`, computed now unless it is known."""
        with self._lock:
            kept = self._kept
            if kept and kept.source() is source:
                return kept.value
            self._kept = kept = None  # what is old need not be in memory beside what is new
            value = self._compute(source)
            self._kept = _Kept(weakref.ref(source, self._on_loss), value)
            return value

    def _forget(self, source: "weakref.ref[S]") -> None:
        """Drop the value of an object that is gone.

        Python calls this in any thread, be it one that holds the lock; so it takes none. If a new value comes
        at the same instant, that one may be dropped and computed once more.
        """
        kept = self._kept
        if kept and kept.source is source:
            self._kept = None


class _Kept(NamedTuple, Generic[S, V]):
    source: "weakref.ref[S]"
    value: V
