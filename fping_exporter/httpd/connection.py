"""Connections: a deadline on every wait for a client, and a bound on how many wait at once."""

import contextlib
import http.client
import io
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["MAX_HEAD", "Connection", "Connections", "Limits"]

MAX_HEAD = 131_072
"""Bytes of a request line and all headers, give or take a read buffer."""
_LINGER = 1.0
"""Seconds in which a client may read the answer to a request that was not read to its end."""
_GRACE = 0.5
"""Seconds that a client has for its move before another may take its place."""


class Limits(NamedTuple):
    """What a client may take. Times are in seconds, each for the whole and not for a byte of it."""

    connections: int = 256
    request: float = 5.0
    """From the connection, or the first byte of a later request, to the request's last byte."""
    idle: float = 120.0
    """Between an answer and the next request; above the usual intervals of scrapes."""
    response: float = 30.0
    """For the client to take the response."""


class Connection(io.RawIOBase):
    """A client's socket on which every wait ends at `deadline` and no more than `budget` bytes are read."""

    def __init__(self, sock: socket.socket, peer: str, *, timeout: float) -> None:
        """Expect the handshake, if there is one, and a request's head within `timeout` seconds."""
        self._sock = sock
        self.peer = peer
        """The client's address, or ``unix``."""
        self.ended = False
        """Whether the client has said that nothing more will come."""
        self._certificate: bytes | None = None
        self.expect(timeout, budget=MAX_HEAD)

    def expect(self, timeout: float, *, budget: int = 0) -> None:
        """Give what comes next `timeout` seconds, and `budget` bytes to read."""
        self._deadline = time.monotonic() + timeout
        self.budget = budget

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Shake hands as a TLS server."""
        self._sock = tls = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        self._in_time()
        tls.do_handshake()
        self._certificate = tls.getpeercert(binary_form=True)

    def environ(self) -> dict[str, str]:
        """What a WSGI application is told of a connection."""
        name = self._sock.getsockname()
        host, port = name[:2] if isinstance(name, tuple) else ("localhost", "")
        environ = {"SERVER_NAME": host, "SERVER_PORT": str(port), "REMOTE_ADDR": self.peer}
        environ["wsgi.url_scheme"] = "https" if isinstance(self._sock, ssl.SSLSocket) else "http"
        if self._certificate:
            environ["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(self._certificate)
        return environ

    def readable(self) -> bool:
        """Say yes."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        """Read what there is, at least a byte; 0 at the end."""
        if self.budget <= 0:
            raise _TooLargeError
        self._in_time()
        count = self._sock.recv_into(buffer)
        self.budget -= count
        self.ended = count == 0
        return count

    def writable(self) -> bool:
        """Say yes."""
        return True

    def write(self, data: "ReadableBuffer") -> int:
        """Write all of it."""
        with memoryview(data) as view:
            sent = 0
            while sent < view.nbytes:
                self._in_time()
                sent += self._sock.send(view[sent:])
        return sent

    def _in_time(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)

    def interrupt(self, how: int) -> None:
        """End the waits of the connection's thread, from another one."""
        with contextlib.suppress(OSError):
            # Past SSLSocket.shutdown, which would turn encryption off under the other thread.
            socket.socket.shutdown(self._sock, how)

    def hang_up(self) -> None:
        """Close, but read on for a moment.

        Closing with unread input resets the connection, and the client would lose our answer.
        """
        self.interrupt(socket.SHUT_WR)
        self.expect(_LINGER)
        with contextlib.suppress(OSError):
            while True:
                self._in_time()
                if not socket.socket.recv(self._sock, 65_536):
                    break
        self._sock.close()


class _TooLargeError(http.client.HTTPException):
    """The budget of a request's head is spent; the base handler answers 431 to such an error."""


class Connections:
    """The open connections, at most `limit` of them."""

    def __init__(self, limit: int) -> None:
        """Start with none."""
        self._limit = limit
        self._open: set[Connection] = set()
        self._waiting: dict[Connection, float] = {}
        """Those whose client has the next move, since when; the one that has had it longest first."""
        self._changed = threading.Condition()
        self.stopping = False

    def admit(self, connection: Connection) -> bool:
        """Take one in, if need be for another whose client keeps us waiting; False after refuse()."""
        with self._changed:
            while len(self._open) >= self._limit and not self.stopping:
                patience = None
                if slowest := next(iter(self._waiting), None):
                    patience = self._waiting[slowest] + _GRACE - time.monotonic()
                    if patience <= 0:
                        del self._waiting[slowest]
                        slowest.interrupt(socket.SHUT_RDWR)
                        patience = None  # its thread will hang up at once
                self._changed.wait(patience)
            if self.stopping:
                return False
            self._open.add(connection)
            self._waiting[connection] = time.monotonic()
            return True

    @contextlib.contextmanager
    def at_work(self, connection: Connection) -> Iterator[None]:
        """Run with the move being ours: nobody takes this connection's place meanwhile."""
        with self._changed:
            self._waiting.pop(connection, None)
        try:
            yield
        finally:
            with self._changed:
                self._waiting[connection] = time.monotonic()
                self._changed.notify_all()

    def remove(self, connection: Connection) -> None:
        """Hang up, which may take a moment, and make room."""
        connection.hang_up()
        with self._changed:
            self._waiting.pop(connection, None)
            self._open.discard(connection)
            self._changed.notify_all()

    def refuse(self) -> None:
        """Take no more in, and close those that are open after their next answer."""
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
