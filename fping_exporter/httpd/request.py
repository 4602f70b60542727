"""HTTP/1.1 requests of one connection, answered by a WSGI application."""

import io
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import unquote

from fping_exporter.httpd.connection import MAX_HEAD, Connection, Connections, Limits

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication

__all__ = ["RequestHandler"]

_MAX_LINE = 65_536
"""Bytes of a request line, as many as :mod:`http.client` allows to a header (of which it allows 100)."""
_MAX_BODY = 65_536
"""Bytes of a request's body. No face of ours needs more than a few."""

logger = logging.getLogger(__name__)


class RequestHandler(BaseHTTPRequestHandler):
    """The requests of one connection. The base parses; what it would print or reveal is turned off."""

    protocol_version = "HTTP/1.1"
    default_request_version = "HTTP/1.1"  # the base answers a malformed request line without a status line
    error_message_format = "%(code)d %(message)s\n"
    error_content_type = "text/plain; charset=utf-8"

    def __init__(
        self, client: Connection, app: "WSGIApplication", connections: Connections, limits: Limits
    ) -> None:
        """Take the place of the base's, which wants a socket and holds the whole conversation."""
        self.rfile = self._reader = io.BufferedReader(client)
        self.wfile = cast("io.BufferedIOBase", client)
        self._client = client
        self._app = app
        self._connections = connections
        self._limits = limits

    def handle(self) -> None:
        """Answer requests until one side has enough."""
        self.handle_one_request()
        while not self.close_connection:
            self._client.expect(self._limits.idle, budget=MAX_HEAD)
            if not self._reader.peek(1):
                return
            self._client.expect(self._limits.request, budget=MAX_HEAD)
            self.handle_one_request()

    def handle_one_request(self) -> None:
        """Read one request and answer it."""
        self.command = self.requestline = self.path = ""
        self.request_version = self.default_request_version
        self.raw_requestline = self.rfile.readline(_MAX_LINE + 1)
        if len(self.raw_requestline) > _MAX_LINE:
            self.send_error(HTTPStatus.REQUEST_URI_TOO_LONG)
        elif self.parse_request():  # else it has answered
            if self._client.ended:  # which the parser takes for the end of the headers
                raise EOFError("the request ended before its headers did")
            if flaw := self._flaw():
                self.send_error(flaw)
            else:
                self._answer(self._read_body())

    def _flaw(self) -> HTTPStatus | None:
        """What is wrong with the head of the request, beside what the base has looked at."""
        lengths = self.headers.get_all("Content-Length", ["0"])
        hosts = self.headers.get_all("Host", [])
        if (
            self.headers.defects
            or any("\n" in value or "\r" in value for value in self.headers.values())  # folded
            or (len(hosts) != 1 and self.request_version != "HTTP/1.0")
            or not self.path.startswith("/")
            or len(lengths) != 1
            or not re.fullmatch("[0-9]{1,18}", lengths[0])
        ):
            return HTTPStatus.BAD_REQUEST
        if "Transfer-Encoding" in self.headers:
            return HTTPStatus.LENGTH_REQUIRED
        if int(lengths[0]) > _MAX_BODY:
            return HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        return None

    def _read_body(self) -> bytes:
        length = int(self.headers.get("Content-Length", "0"))
        self._client.budget = length
        body = self.rfile.read(length)
        if len(body) < length:
            raise EOFError("the request ended before its body did")
        return body

    def _answer(self, body: bytes) -> None:
        """Run the application and send what it returns."""
        started = time.monotonic()
        try:
            with self._connections.at_work(self._client):
                status, headers, content = _run(self._app, self._environ(body))
        except Exception:
            logger.exception("request failed", extra={"method": self.command, "path": self._bare_path})
            self.send_error(HTTPStatus.INTERNAL_SERVER_ERROR)
            return
        code, _, phrase = status.partition(" ")
        head_only = self.command == "HEAD" or code in {"204", "304"}
        if content or not head_only:  # else the length, if any, is of a body that the application left out
            headers = [header for header in headers if header[0].lower() != "content-length"]
            headers.append(("Content-Length", str(len(content))))
        self._client.expect(self._limits.response)
        self.send_response_only(int(code), phrase)
        for name, value in headers:
            self.send_header(name, value)
        if all(name.lower() != "date" for name, _ in headers):  # which Flask sends with files
            self.send_header("Date", self.date_time_string())
        self.send_header(
            "Connection", "close" if self.close_connection or self._connections.stopping else "keep-alive"
        )
        self.end_headers()
        if not head_only:
            self.wfile.write(content)
        self._log(int(code), time.monotonic() - started)

    def _environ(self, body: bytes) -> dict[str, Any]:
        path, _, query = self.path.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_PROTOCOL": self.request_version,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.input": io.BytesIO(body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **self._client.environ(),
        }
        for name, value in self.headers.items():
            key = "HTTP_" + name.upper().replace("-", "_")
            # A name with an underscore would pass for the one with a hyphen.
            if "_" not in name and key not in {"HTTP_CONTENT_TYPE", "HTTP_CONTENT_LENGTH"}:
                environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:  # noqa: ARG002, the base's signature
        """Answer in the standard's words: the base's repeat the request."""
        self._client.expect(self._limits.response)
        super().send_error(code)
        self._log(code, 0)

    def version_string(self) -> str:
        """Tell no versions."""
        return "fping-exporter"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002, the base's signature
        """Print nothing: the base's lines would contain query strings."""

    def _log(self, code: int, seconds: float) -> None:
        logger.debug(
            "request",
            extra={
                "client": self._client.peer,
                "method": self.command,
                "path": self._bare_path,
                "status": code,
                "seconds": round(seconds, 3),
            },
        )

    @property
    def _bare_path(self) -> str:
        return self.path.partition("?")[0]


def _run(app: "WSGIApplication", environ: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Call a WSGI application and return status, headers and the whole content."""
    head: list[tuple[str, list[tuple[str, str]]]] = []
    content: list[bytes] = []

    def start_response(
        status: str,
        headers: list[tuple[str, str]],
        exc_info: "OptExcInfo | None" = None,
    ) -> Callable[[bytes], object]:
        if head and not exc_info:
            raise RuntimeError("start_response was called twice")
        head[:] = [(status, headers)]
        return content.append

    result: Iterable[bytes] = app(environ, start_response)
    try:
        content.extend(result)
    finally:
        if close := getattr(result, "close", None):
            close()
    [(status, headers)] = head
    return status, headers, b"".join(content)
