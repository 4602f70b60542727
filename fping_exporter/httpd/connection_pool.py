"""Bounds for all connections together: how many are open, and how many bytes wait to be sent."""

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from fping_exporter.httpd.connection import Connection

__all__ = ["ConnectionPool"]

_GRACE = 0.5
"""Seconds that a client has for its move before another may take its place."""


class ConnectionPool:
    """The open connections, at most `limit` of them.

    Where all places are taken, a new client gets that of the client who has kept the server waiting
    longest. Where all wait for the application, the request that has waited longest is asked to finish with
    what there is (:meth:`Connection.stop_waiting`).

    The responses that wait to be sent hold at most `pending_bytes`, or as much again as the newest of
    them where that is larger. Above that, the client who has taken no byte for longest is dropped.
    """

    def __init__(self, limit: int, *, pending_bytes: int) -> None:
        """Start with none."""
        self._limit = limit
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, float] = {}
        """Connections whose client has the next move, and since when; the longest first."""
        self._at_work: dict[Connection, None] = {}
        """Connections whose request the application is working on, the longest first."""
        self._pending = _PendingBytes(pending_bytes)
        self._changed = threading.Condition()
        self.stopping = False

    def admit(self, connection: Connection) -> bool:
        """Take one in, as soon as there is a place; False after refuse()."""
        with self._changed:
            while len(self._open) >= self._limit and not self.stopping:
                self._changed.wait(self._displace())
            if self.stopping:
                return False
            self._open.add(connection)
            self._waiting[connection] = time.monotonic()
            return True

    def make_room(self) -> None:
        """Take its place from one connection, if one's turn has come: open files are short."""
        with self._changed:
            self._displace()

    def _displace(self) -> float | None:
        """Interrupt one connection; return after how many seconds to try again, None: at the next change."""
        if slowest := next(iter(self._waiting), None):
            patience = self._waiting[slowest] + _GRACE - time.monotonic()
            if patience > 0:
                return patience
            del self._waiting[slowest]
            slowest.interrupt(socket.SHUT_RDWR)
            return None  # its thread closes it at once
        for connection in self._at_work:
            if not connection.place_wanted:
                connection.place_wanted = True
                break
        return _GRACE

    @contextlib.contextmanager
    def at_work(self, connection: Connection) -> Iterator[None]:
        """Let nobody take this connection's place while the application works on its request."""
        with self._changed:
            self._waiting.pop(connection, None)
            self._at_work[connection] = None
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._at_work.pop(connection, None)
                self._waiting[connection] = time.monotonic()
                self._changed.notify_all()

    @contextlib.contextmanager
    def sending(self, connection: Connection, content: Sequence[bytes]) -> Iterator[None]:
        """Count `content` as waiting to be sent, and drop other clients where it is too much with theirs."""
        try:
            for stalled in self._pending.add(connection, content):
                stalled.interrupt(socket.SHUT_RDWR)
            yield
        finally:
            self._pending.remove(connection)

    def remove(self, connection: Connection) -> None:
        """Close a connection, which may take a moment, and free its place."""
        connection.close()
        with self._changed:
            self._waiting.pop(connection, None)
            self._open.discard(connection)
            self._changed.notify_all()

    def refuse(self) -> None:
        """Take no more in, and close those that are open after their next response."""
        with self._changed:
            self.stopping = True
            self._changed.notify_all()

    def drain(self, timeout: float) -> bool:
        """Let requests that have arrived be answered; cut off what is not done after `timeout` seconds.

        Returns whether all were.
        """
        with self._changed:
            for connection in self._open:
                connection.interrupt(socket.SHUT_RD)  # what has been received can still be read
            finished = self._changed.wait_for(lambda: not self._open, timeout)
            for connection in self._open:
                connection.interrupt(socket.SHUT_RDWR)
            return finished


class _PendingBytes:
    """Bytes of responses that wait to be sent. An object that several responses share counts once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._responses: dict[Connection, Sequence[bytes]] = {}
        self._references: Counter[int] = Counter()
        self._total = 0

    def add(self, connection: Connection, content: Sequence[bytes]) -> list[Connection]:
        """Count a response in; return those whose clients are to be dropped, already counted out."""
        connection.progress_at = time.monotonic()
        own = sum(map(len, content))
        with self._lock:
            before = self._total
            self._responses[connection] = content
            for part in content:
                self._references[id(part)] += 1
                if self._references[id(part)] == 1:
                    self._total += len(part)
            stalled = []
            allowed = max(self._limit, own) + self._total - before
            while self._total > allowed and (others := self._responses.keys() - {connection}):
                slowest = min(others, key=lambda other: other.progress_at)
                self._discard(slowest)
                stalled.append(slowest)
            return stalled

    def remove(self, connection: Connection) -> None:
        """Count a response out."""
        with self._lock:
            self._discard(connection)

    def _discard(self, connection: Connection) -> None:
        for part in self._responses.pop(connection, ()):
            self._references[id(part)] -= 1
            if not self._references[id(part)]:
                del self._references[id(part)]
                self._total -= len(part)
