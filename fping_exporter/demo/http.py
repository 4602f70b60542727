"""A small HTTP server on a loopback port, whose answers are the return values of a function."""

import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, cast
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec

__all__ = ["Answer", "HttpServer", "Request"]


class Request(NamedTuple):
    """What was asked."""

    method: str
    path: str
    query: Mapping[str, str]
    """The last of a repeated parameter counts."""
    headers: Mapping[str, str]
    body: bytes


class Answer(NamedTuple):
    """What is answered; `body` is bytes, or anything that is to be JSON."""

    status: int
    body: Any = b""
    headers: Mapping[str, str] = {}


class HttpServer(ThreadingHTTPServer):
    """Serves in threads of its own from :meth:`start` to :meth:`stop`."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Callable[[Request], Answer]) -> None:
        """Take a free port of 127.0.0.1."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer

    def start(self) -> None:
        """Answer from now on."""
        threading.Thread(target=self.serve_forever, args=(0.02,), name="stand-in", daemon=True).start()

    def stop(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, *_args: object) -> None:
        """Say nothing of clients that went away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body in one packet: two would wait for each other
    disable_nagle_algorithm = True

    def _serve(self) -> None:
        url = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        query = dict(parse_qsl(url.query, keep_blank_values=True))
        request = Request(
            self.command, unquote(url.path), query, cast("Mapping[str, str]", self.headers), body
        )
        answer = cast("HttpServer", self.server).answer(request)
        content = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
        self.send_response(answer.status)
        headers = {"Content-Type": "application/json", "Content-Length": str(len(content)), **answer.headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _serve  # noqa: N815, the names that the library calls

    def log_message(self, *_args: object) -> None:
        """Log nothing."""
