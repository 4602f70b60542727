"""The HTTP server: a thread a connection, none of which can be held up by another's client."""

import errno
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fping_exporter.errors import ConfigError
from fping_exporter.httpd.connection import Connection, Connections, Limits
from fping_exporter.httpd.listen import ListenAddress, TcpAddress, UnixAddress, open_listener
from fping_exporter.httpd.request import RequestHandler

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Limits", "Server"]

logger = logging.getLogger(__name__)

_DEFAULT_LIMITS = Limits()


class Server:
    """Serve `app` on every address of `listen` until stopped.

    A connection is in the hands of its own thread from the first byte, so nobody waits for a client but
    that thread. When all connections are taken, a new one displaces the one whose client has kept us
    waiting longest; requests that the application is working on are never displaced.

    `tls` is called for each new connection and returns what it is to be encrypted with, None for plain
    HTTP; if it raises ConfigError, that connection is refused. The client's certificate, if there is one,
    is in the WSGI environment as ``SSL_CLIENT_CERT`` (PEM), as Apache's mod_ssl names it.

    A response is sent when it is complete. Access is logged at level debug, without query strings.

    Raises:
        ConfigError: when an address cannot be listened on.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        *,
        listen: Sequence[ListenAddress],
        tls: Callable[[], ssl.SSLContext | None] | None = None,
        limits: Limits = _DEFAULT_LIMITS,
    ) -> None:
        """Listen, so that no later failure is for want of a port; connections are taken after start()."""
        self._app = app
        self._tls = tls
        self._limits = limits
        self._connections = Connections(limits.connections)
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept_all, name="http", daemon=True)
        self._listeners: list[socket.socket] = []
        try:
            for address in listen:
                self._listeners.append(open_listener(address))
        except ConfigError:
            self._close()
            raise
        self.addresses = tuple(_bound(listener) for listener in self._listeners)
        """Where it listens, ports that were given as 0 filled in."""

    def start(self) -> None:
        """Accept connections from now on, in a thread of the server's own."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Whether connections are accepted."""
        return self._thread.is_alive()

    def stop(self, timeout: float) -> bool:
        """Accept no more and let running requests finish, for `timeout` seconds at most.

        Returns whether all of them did; those that did not are cut off.
        """
        self._connections.refuse()
        self._wake.close()  # which ends the accept loop
        if self._thread.ident:
            self._thread.join()
        self._close()
        return self._connections.drain(timeout)

    def _close(self) -> None:
        while self._listeners:
            listener = self._listeners.pop()
            address = _bound(listener)
            listener.close()
            if isinstance(address, UnixAddress):
                Path(address.path).unlink(missing_ok=True)
        self._wake.close()
        self._woken.close()

    def _accept_all(self) -> None:
        with selectors.DefaultSelector() as selector:
            for sock in (self._woken, *self._listeners):
                selector.register(sock, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fileobj is self._woken:
                        return
                    self._accept(cast("socket.socket", key.fileobj))

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, peer = listener.accept()
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
                logger.warning("cannot accept a connection", extra={"error": error.strerror})
                time.sleep(0.1)  # the listener stays ready: without a pause this would spin
            return
        client = "unix" if listener.family == socket.AF_UNIX else peer[0].removeprefix("::ffff:")
        connection = Connection(sock, client, timeout=self._limits.request)
        if self._connections.admit(connection):
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError as error:  # no more threads to be had
                logger.warning("cannot serve a connection", extra={"error": str(error)})
                connection.interrupt(socket.SHUT_RDWR)
                self._connections.remove(connection)
        else:
            connection.interrupt(socket.SHUT_RDWR)
            connection.hang_up()

    def _serve(self, connection: Connection) -> None:
        try:
            if self._tls and (context := self._tls()):
                connection.encrypt(context)
            RequestHandler(connection, self._app, self._connections, self._limits).handle()
        except ConfigError as error:
            logger.warning("connection refused", extra={"client": connection.peer, "error": str(error)})
        except (OSError, EOFError) as error:
            logger.debug("connection dropped", extra={"client": connection.peer, "error": str(error)})
        except Exception:
            logger.exception("connection broken", extra={"client": connection.peer})
        finally:
            self._connections.remove(connection)


def _bound(listener: socket.socket) -> ListenAddress:
    name = listener.getsockname()
    return UnixAddress(name) if listener.family == socket.AF_UNIX else TcpAddress(name[0], name[1])
