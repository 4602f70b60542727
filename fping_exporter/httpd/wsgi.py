"""The WSGI side of a request: its environment, and the call of the application (PEP 3333)."""

import io
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from fping_exporter.httpd.connection import Connection
from fping_exporter.httpd.http1 import Request

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication

__all__ = ["Response", "call", "make_environ"]


class Response(NamedTuple):
    """What an application has answered."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    content: list[bytes]
    """As the application gave it: parts that it shares between responses are shared still."""


def make_environ(request: Request, connection: Connection) -> dict[str, Any]:
    """Build the environment of a request.

    Beside what PEP 3333 has, ``SSL_CLIENT_CERT`` is the client's verified certificate in PEM, as Apache's
    mod_ssl names it, ``fping_exporter.client_names`` are its alternative names of the type DNS, and
    ``fping_exporter.stop_waiting`` is :meth:`Connection.stop_waiting`, for an application that waits.
    """
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(request.path, "latin-1"),
        "QUERY_STRING": request.query,
        "SERVER_PROTOCOL": request.version,
        "CONTENT_TYPE": "",
        "wsgi.version": (1, 0),
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "fping_exporter.stop_waiting": connection.stop_waiting,
        **connection.environ(),
    }
    for name, value in request.headers:
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        # A name with an underscore would pass for the one with a hyphen. The body is read, and no longer
        # in chunks.
        elif "_" not in name and name not in {"content-length", "transfer-encoding"}:
            key = "HTTP_" + name.upper().replace("-", "_")
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["CONTENT_LENGTH"] = str(len(request.body))
    return environ


def call(app: "WSGIApplication", environ: dict[str, Any]) -> Response:
    """Call an application and return its whole response."""
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
    code, _, reason = status.partition(" ")
    return Response(int(code), reason, list(headers), [part for part in content if part])
