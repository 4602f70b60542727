"""HTTP/1.1 on one connection: requests are read and responses framed by h11, within bounds."""

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import NamedTuple

import h11

from fping_exporter.httpd.connection import Connection

__all__ = ["BadRequestError", "Exchange", "Request"]

_MAX_HEAD_BYTES = 131_072
"""Of a request line and all header fields, give or take what is received at once."""
_MAX_BODY_BYTES = 65_536
"""Of a request's body. No endpoint needs more than a few."""
_ABSOLUTE_TARGET = re.compile(r"https?://([^/?#@]+)(?=/|$)", re.IGNORECASE)
_HTTP_1 = {b"1.0", b"1.1"}


class BadRequestError(Exception):
    """A request that is answered with an error, after which the connection is closed."""

    def __init__(self, status: HTTPStatus) -> None:
        """Keep the status of the response."""
        super().__init__(status.phrase)
        self.status = status


class Request(NamedTuple):
    """A request, read to its end."""

    method: str
    path: str
    """Still percent-encoded; ``*`` in ``OPTIONS *``."""
    query: str
    version: str
    """As in the request line: ``HTTP/1.1``."""
    headers: list[tuple[str, str]]
    """Names in lower case. In a target with a host, that host is the header ``host`` (RFC 9112, 3.2.2)."""
    body: bytes
    keep_alive: bool
    """Whether the client wants to go on; HTTP/1.0 never does."""


class Exchange:
    """One request and its response.

    `received` are bytes that came behind the request before.
    """

    def __init__(self, connection: Connection, received: bytes = b"") -> None:
        """Read nothing yet."""
        self._connection = connection
        self._protocol = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_HEAD_BYTES)
        self._begun = self._ended = False
        self.method = self.path = ""
        """As far as they have been read, for the log."""
        self._feed(received, ended=False)

    @property
    def unread(self) -> bytes:
        """What was received behind this request."""
        return self._protocol.trailing_data[0]

    def begin(self) -> bool:
        """Wait for the first byte of the request; False where the client has sent its last."""
        while not self._begun and not self._ended:
            self._receive()
        return self._begun

    def read_request(self) -> Request:
        """Read the request with its body.

        Raises:
            BadRequestError: where it is malformed, or larger than is allowed.
            EOFError: where the client ends it early.
        """
        head = self._next_event()
        if not isinstance(head, h11.Request):
            raise EOFError("no request came")  # noqa: TRY004, which event it is says how the connection is
        self.method = head.method.decode()
        target, _, query = head.target.decode().partition("?")
        self.path, host = _split_target(self.method, target)
        if head.http_version not in _HTTP_1:
            raise BadRequestError(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED)
        headers = [(name.decode(), value.decode("latin-1")) for name, value in head.headers]
        if host:
            headers = [*(header for header in headers if header[0] != "host"), ("host", host)]
        if {"content-length", "transfer-encoding"} <= {name for name, _ in headers}:
            raise BadRequestError(HTTPStatus.BAD_REQUEST)  # two lengths: request smuggling (RFC 9112, 6.3)
        length = next((int(value) for name, value in headers if name == "content-length"), 0)
        if length > _MAX_BODY_BYTES:
            raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        options = {
            option.strip().lower()
            for name, value in headers
            if name == "connection"
            for option in value.split(",")
        }
        return Request(
            self.method,
            self.path,
            query,
            f"HTTP/{head.http_version.decode()}",
            headers,
            self._read_body(),
            keep_alive=head.http_version == b"1.1" and "close" not in options,
        )

    def _read_body(self) -> bytes:
        body = bytearray()
        while isinstance(event := self._next_event(), h11.Data):
            body += event.data
            if len(body) > _MAX_BODY_BYTES:
                raise BadRequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        return bytes(body)

    def _next_event(self) -> h11.Event:
        while True:
            try:
                event = self._protocol.next_event()
            except h11.RemoteProtocolError as error:
                if self._ended:
                    raise EOFError("the request ended early") from None
                raise BadRequestError(HTTPStatus(error.error_status_hint)) from None
            if isinstance(event, h11.Event):
                return event
            if self._protocol.they_are_waiting_for_100_continue:
                informational = h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")
                self._connection.send(self._encode(informational))
            self._receive()

    def _receive(self) -> None:
        data = self._connection.receive()
        self._feed(data, ended=not data)

    def _feed(self, data: bytes, *, ended: bool) -> None:
        if not self._begun:
            data = data.lstrip(b"\r\n")  # of a client that ends a body with a line end (RFC 9112, 2.2)
            self._begun = bool(data)
        if data:
            self._protocol.receive_data(data)
        if ended:
            self._ended = True
            self._protocol.receive_data(b"")

    def send_response(
        self, status: int, reason: str, headers: Sequence[tuple[str, str]], content: Sequence[bytes]
    ) -> None:
        """Send a response; `content` is sent as it is, without a copy.

        Raises:
            h11.LocalProtocolError: before anything is sent, where a header is malformed.
        """
        response = h11.Response(
            status_code=status,
            reason=reason.encode("latin-1"),
            headers=[(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        )
        parts = [b"".join(self._encode(response))]  # h11 makes one a header
        for part in content:
            parts += self._encode(h11.Data(data=part))
        self._connection.send([*parts, *self._encode(h11.EndOfMessage())])

    def _encode(self, event: h11.Event) -> list[bytes]:
        return self._protocol.send_with_data_passthrough(event) or []


def _split_target(method: str, target: str) -> tuple[str, str]:
    """Return path and host of a request target (RFC 9112, 3.2), without its query."""
    if target.startswith("/") or (method, target) == ("OPTIONS", "*"):
        return target, ""
    if absolute := _ABSOLUTE_TARGET.match(target):
        return target[absolute.end() :] or "/", absolute[1]
    raise BadRequestError(HTTPStatus.BAD_REQUEST)
