"""One client's connection: a socket on which every wait for the client ends at a deadline."""

import contextlib
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any

from fping_exporter.httpd.tls import alternative_names

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["Connection", "PlainHttpError"]

_RECEIVE_BYTES = 65_536
_MAX_BUFFERS = 1024
"""Of one call of sendmsg (IOV_MAX)."""
_LINGER = 1.0
"""Seconds in which a client may read the response to a request that was not read to its end."""
_HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class PlainHttpError(Exception):
    """A client speaks plain HTTP to a TLS port."""


class Connection:
    """A client's socket, plain or TLS, with a deadline that the caller moves."""

    def __init__(self, sock: socket.socket, client: str, *, timeout: float) -> None:
        """Take over `sock`; the TLS handshake, if any, and a request have `timeout` seconds together."""
        self._sock = sock
        self.client = client
        """The client's IP address, or ``unix``."""
        self.progress_at = time.monotonic()
        """When the client last took bytes of a response, on the monotonic clock."""
        self.place_wanted = False
        """Whether a new client waits for this connection's place."""
        self._client_certificate: bytes | None = None
        self._client_names: tuple[str, ...] = ()
        self.set_deadline(timeout)

    def set_deadline(self, timeout: float) -> None:
        """Let every wait for the client end `timeout` seconds from now, with TimeoutError."""
        self._deadline = time.monotonic() + timeout

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Shake hands as a TLS server; raise PlainHttpError where the client does not begin a handshake."""
        self._apply_deadline()
        # A handshake begins with the byte 22, an HTTP request with the letter of a method.
        if self._sock.recv(1, socket.MSG_PEEK).isalpha():
            raise PlainHttpError
        self._sock = tls = context.wrap_socket(self._sock, server_side=True, do_handshake_on_connect=False)
        self._apply_deadline()
        tls.do_handshake()
        self._client_certificate = tls.getpeercert(binary_form=True)
        self._client_names = tuple(alternative_names(tls.getpeercert() or {}, kinds={"DNS"}))

    def environ(self) -> dict[str, Any]:
        """Return what the WSGI environment says of the connection."""
        name = self._sock.getsockname()
        host, port = name[:2] if isinstance(name, tuple) else ("localhost", "")
        environ: dict[str, Any] = {"SERVER_NAME": host, "SERVER_PORT": str(port), "REMOTE_ADDR": self.client}
        environ["wsgi.url_scheme"] = "https" if isinstance(self._sock, ssl.SSLSocket) else "http"
        if self._client_certificate:
            environ["SSL_CLIENT_CERT"] = ssl.DER_cert_to_PEM_cert(self._client_certificate)
            environ["fping_exporter.client_names"] = self._client_names
        return environ

    def receive(self) -> bytes:
        """Return the bytes that there are, at least one; none when the client has sent its last."""
        self._apply_deadline()
        return self._sock.recv(_RECEIVE_BYTES)

    def send(self, parts: "Iterable[ReadableBuffer]") -> None:
        """Send all parts, without a copy of them, in as few calls as the client's pace allows.

        Each call may have to wait for the global interpreter lock afterwards.
        """
        unsent = deque(memoryview(part) for part in parts)
        while unsent:
            self._apply_deadline()
            if isinstance(self._sock, ssl.SSLSocket):  # which has no sendmsg
                sent = self._sock.send(unsent[0])
            else:
                sent = self._sock.sendmsg(list(islice(unsent, _MAX_BUFFERS)))
            self.progress_at = time.monotonic()
            while unsent and sent >= unsent[0].nbytes:
                sent -= unsent.popleft().nbytes
            if sent:
                unsent[0] = unsent[0][sent:]

    def _apply_deadline(self) -> None:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(left)

    def stop_waiting(self) -> bool:
        """Whether the application shall answer at once with what it has.

        True where the client has hung up, or where a new client waits for this connection's place. A
        client that has only closed its sending side looks like one that has hung up.
        """
        if self.place_wanted:
            return True
        poll = select.poll()
        try:
            poll.register(self._sock, _HUNG_UP)
        except ValueError:  # closed
            return True
        return bool(poll.poll(0))

    def interrupt(self, how: int) -> None:
        """End the waits of the connection's thread, from another one."""
        with contextlib.suppress(OSError):
            # Past SSLSocket.shutdown, which would turn encryption off under the other thread.
            socket.socket.shutdown(self._sock, how)

    def close(self) -> None:
        """Close, but read on for a moment.

        Closing with unread input resets the connection, and the client would lose the response.
        """
        self.interrupt(socket.SHUT_WR)
        self.set_deadline(_LINGER)
        with contextlib.suppress(OSError):
            while True:
                self._apply_deadline()
                if not socket.socket.recv(self._sock, _RECEIVE_BYTES):
                    break
        self._sock.close()
