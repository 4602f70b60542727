"""HTTP responses with a deadline, for http.client and for urllib3.

The timeouts of requests and urllib3 hold for each read. A server that sends a byte a second never
exceeds them, be it in the head or in the body. Here the socket's timeout before each read is what is left
of the whole response's time, which works for plain HTTP, TLS and proxies alike, and needs no thread.
"""

import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from urllib3 import HTTPConnectionPool

__all__ = ["DeadlineSocket", "TooLateError", "pools"]

_READ_BYTES = 64 << 10


class TooLateError(Exception):
    """The time of a response is over."""


def pools(seconds_left: Callable[[], float]) -> "dict[str, type[HTTPConnectionPool]]":
    """Return the classes of connection pools by scheme, for ``PoolManager.pool_classes_by_scheme``.

    `seconds_left` is asked when a request has been sent: the response, head and body, may take so long in
    all. Reading from it raises TooLateError after that.
    """
    # Here, as agents use no urllib3: it takes some MiB of memory.
    from urllib3 import HTTPConnectionPool, HTTPSConnectionPool  # noqa: PLC0415
    from urllib3.connection import HTTPConnection, HTTPSConnection  # noqa: PLC0415

    class Response(http.client.HTTPResponse):
        def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401, as the library has it
            deadline = time.monotonic() + seconds_left()
            super().__init__(DeadlineSocket(sock, deadline), *args, **kwargs)  # type: ignore[arg-type]

    class PlainConnection(HTTPConnection):
        response_class = Response

    class TlsConnection(HTTPSConnection):
        response_class = Response

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = PlainConnection

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": PlainPool, "https": TlsPool}


class DeadlineSocket:
    """Gives http.client the file that it reads a response from."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        """Read from `sock` until `deadline`, in seconds by the monotonic clock."""
        self._sock = sock
        self._deadline = deadline

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return the file, whatever the mode, from which a read raises TooLateError after the deadline."""
        return io.BufferedReader(_DeadlineReader(self._sock, self._deadline), _READ_BYTES)


class _DeadlineReader(io.RawIOBase):
    """Reads a socket until a deadline by the monotonic clock, and never waits longer than its own timeout."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._file = sock.makefile("rb", buffering=0)  # keeps the socket open as long as http.client expects
        self._deadline = deadline
        self._timeout = sock.gettimeout()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401, collections.abc.Buffer is new in Python 3.12
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TooLateError
        self._sock.settimeout(left if self._timeout is None else min(left, self._timeout))
        try:
            return self._file.readinto(buffer)
        except TimeoutError:
            if time.monotonic() >= self._deadline:
                raise TooLateError from None
            raise

    def close(self) -> None:
        self._file.close()
        super().close()
