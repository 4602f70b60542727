"""The HTTP server: one thread for each connection, so that no client can hold up another."""

import contextlib
import errno
import logging
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

import h11

from fping_exporter.errors import ConfigError
from fping_exporter.httpd.connection import Connection, PlainHttpError
from fping_exporter.httpd.connection_pool import ConnectionPool
from fping_exporter.httpd.http1 import BadRequestError, Exchange, Request
from fping_exporter.httpd.listen import ListenAddress, TcpAddress, UnixAddress, open_listener
from fping_exporter.httpd.wsgi import Response, call, make_environ
from fping_exporter.log_limit import LogLimit

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["HttpServer", "Limits"]

logger = logging.getLogger(__name__)

_NO_CONTENT = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
_NO_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}


class Limits(NamedTuple):
    """Limits on clients. Each timeout, in seconds, is for the whole step, however often a byte arrives."""

    connections: int = 256
    request: float = 5.0
    """Timeout from the connection, or the first byte of a later request, to the request's last byte."""
    idle: float = 120.0
    """Keep-alive timeout between a response and the next request; above the usual scrape intervals."""
    response: float = 30.0
    """Timeout for the client to read the response."""
    pending_bytes: int = 64 * 1024 * 1024
    """Bytes of all responses that wait to be sent; what responses share counts once."""


_DEFAULT_LIMITS = Limits()


class HttpServer:
    """Serve `app` on every address of `listen` until stopped.

    Each connection has a thread of its own, which does the TLS handshake too. :class:`ConnectionPool`
    decides which client gives way when there are too many connections.

    `tls` is called for each new connection and returns its TLS context, None for plain HTTP; if it raises
    ConfigError, that connection is refused.

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
        """Bind all addresses, so that start() cannot fail; connections are accepted after start()."""
        self._app = app
        self._tls = tls
        self._limits = limits
        self._pool = ConnectionPool(limits.connections, pending_bytes=limits.pending_bytes)
        self._log_limit = LogLimit(interval=60)  # clients must not fill the log
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
        """The addresses bound, with the real port where port 0 was asked for."""

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
        self._pool.refuse()
        self._wake.close()  # ends the accept loop
        if self._thread.ident:
            self._thread.join()
        self._close()
        return self._pool.drain(timeout)

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
            if error.errno in _NO_RESOURCES:
                if self._log_limit.allows(error.strerror):
                    logger.warning("cannot accept a connection", extra={"error": error.strerror})
                self._pool.make_room()
                time.sleep(0.1)  # the listener stays readable: without a pause this would be a busy loop
            return
        client = "unix" if listener.family == socket.AF_UNIX else peer[0].removeprefix("::ffff:")
        connection = Connection(sock, client, timeout=self._limits.request)
        if self._pool.admit(connection):
            try:
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()
            except RuntimeError as error:  # no thread can be started
                if self._log_limit.allows(str(error)):
                    logger.warning("cannot serve a connection", extra={"error": str(error)})
                connection.interrupt(socket.SHUT_RDWR)
                self._pool.remove(connection)
        else:
            connection.interrupt(socket.SHUT_RDWR)
            connection.close()

    def _serve(self, connection: Connection) -> None:
        try:
            if self._tls and (context := self._tls()):
                connection.start_tls(context)
            self._answer_requests(connection)
        except PlainHttpError:
            self._refuse_plain_http(connection)
        except ConfigError as error:
            if self._log_limit.allows(str(error)):
                logger.warning("connection refused", extra={"client": connection.client, "error": str(error)})
        except (OSError, EOFError) as error:
            logger.debug("connection dropped", extra={"client": connection.client, "error": str(error)})
        except Exception:
            logger.exception("connection failed", extra={"client": connection.client})
        finally:
            self._pool.remove(connection)

    def _answer_requests(self, connection: Connection) -> None:
        exchange = Exchange(connection)
        while self._answer_one(connection, exchange):
            exchange = Exchange(connection, exchange.unread)
            connection.set_deadline(self._limits.idle)
            if not exchange.begin():
                return
            connection.set_deadline(self._limits.request)

    def _answer_one(self, connection: Connection, exchange: Exchange) -> bool:
        """Read a request and answer it; return whether the connection stays open."""
        started = time.monotonic()
        try:
            request = exchange.read_request()
        except BadRequestError as error:
            keep_alive, response = False, _error_response(error.status)
        else:
            keep_alive = request.keep_alive
            with self._pool.at_work(connection):
                response = self._call_application(request, connection)
        keep_alive = keep_alive and not (self._pool.stopping or connection.place_wanted)
        try:
            self._send(connection, exchange, response, keep_alive=keep_alive)
        except h11.LocalProtocolError:  # for which nothing has been sent
            logger.exception("response malformed", extra={"method": exchange.method, "path": exchange.path})
            response, keep_alive = _error_response(HTTPStatus.INTERNAL_SERVER_ERROR), False
            self._send(connection, exchange, response, keep_alive=keep_alive)
        logger.debug(
            "request",
            extra={
                "client": connection.client,
                "method": exchange.method,
                "path": exchange.path,
                "status": response.status,
                "seconds": round(time.monotonic() - started, 3),
            },
        )
        return keep_alive

    def _call_application(self, request: Request, connection: Connection) -> Response:
        if request.path == "*":  # OPTIONS * asks about the server, not about a resource
            return Response(HTTPStatus.OK, HTTPStatus.OK.phrase, [], [])
        try:
            return call(self._app, make_environ(request, connection))
        except Exception:
            logger.exception("request failed", extra={"method": request.method, "path": request.path})
            return _error_response(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _send(
        self, connection: Connection, exchange: Exchange, response: Response, *, keep_alive: bool
    ) -> None:
        content = response.content
        without_body = exchange.method == "HEAD" or response.status in _NO_CONTENT
        headers = response.headers
        if content or not without_body:  # else it is the length of the body that a GET would have
            headers = [header for header in headers if header[0].lower() != "content-length"]
            headers.append(("Content-Length", str(sum(map(len, content)))))
        if all(name.lower() != "date" for name, _ in headers):  # which Flask sends with files
            headers = [*headers, ("Date", formatdate(usegmt=True))]
        headers = [*headers, ("Connection", "keep-alive" if keep_alive else "close")]
        if without_body:
            content = []
        connection.set_deadline(self._limits.response)
        with self._pool.sending(connection, content):
            exchange.send_response(response.status, response.reason, headers, content)

    def _refuse_plain_http(self, connection: Connection) -> None:
        response = _error_response(HTTPStatus.BAD_REQUEST, _PLAIN_HTTP)
        with contextlib.suppress(OSError):
            self._send(connection, Exchange(connection), response, keep_alive=False)


def _error_response(status: HTTPStatus, sentence: str | None = None) -> Response:
    text = f"{sentence or f'{status} {status.phrase}'}\n"
    return Response(status, status.phrase, [("Content-Type", "text/plain; charset=utf-8")], [text.encode()])


_PLAIN_HTTP = "This port speaks HTTPS, and the request was plain HTTP: use https:// in the URL."


def _bound(listener: socket.socket) -> ListenAddress:
    name = listener.getsockname()
    return UnixAddress(name) if listener.family == socket.AF_UNIX else TcpAddress(name[0], name[1])
