"""An HTTP GET of the standard library whose answer ends: within a time, and within a size.

openstacksdk's clients would cost an agent 20 MiB of memory, and an agent needs no more than this.
"""

import http.client
import ssl
import time
from collections.abc import Mapping
from email.message import Message
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from fping_exporter.errors import CentralError
from fping_exporter.http_deadline import DeadlineSocket, TooLateError

__all__ = ["Answer", "get"]

_CONNECT_SECONDS = 5.0


class Answer(NamedTuple):
    """An answer of whatever status."""

    status: int
    headers: "Message[str, str]"
    """Found by a name in any case."""
    body: bytes
    """As it came, be it compressed or not."""


def get(
    url: str,
    *,
    headers: Mapping[str, str],
    context: ssl.SSLContext | None,
    seconds: float,
    max_bytes: int,
    connect_seconds: float = _CONNECT_SECONDS,
) -> Answer:
    """Return the answer to a GET; redirects are not followed, and proxies of the environment not used.

    Raises CentralError if a connection takes more than `connect_seconds`, if there is no complete answer
    within `seconds`, or if its body has more than `max_bytes`. Only the resolver may take longer, as long as
    it does.
    """
    began = time.monotonic()
    deadline = began + seconds
    connection = _prepare(url, context, seconds=min(connect_seconds, seconds))

    def respond(sock: Any, *args: Any, **kwargs: Any) -> http.client.HTTPResponse:  # noqa: ANN401, as http.client has it
        return http.client.HTTPResponse(DeadlineSocket(sock, deadline), *args, **kwargs)  # type: ignore[arg-type]

    connection.response_class = respond  # type: ignore[assignment]
    parts = urlsplit(url)
    try:
        connection.connect()
        connection.sock.settimeout(seconds)  # that of the connection is too short to wait for an answer
        connection.request("GET", f"{parts.path}?{parts.query}", headers=dict(headers))
        response = connection.getresponse()
        body = response.read(max_bytes + 1)
        if response.length and len(body) <= max_bytes:
            raise CentralError("the answer ended early")
    except TooLateError:
        raise CentralError(f"no complete answer within {time.monotonic() - began:.0f} s") from None
    except http.client.HTTPException as error:
        raise CentralError(f"no answer of HTTP ({type(error).__name__})") from error
    except OSError as error:
        raise CentralError(f"no connection: {_describe(error)}") from error
    finally:
        connection.close()
    if len(body) > max_bytes:
        raise CentralError(f"the answer is larger than {max_bytes >> 20} MiB")
    return Answer(response.status, response.headers, body)


def _prepare(url: str, context: ssl.SSLContext | None, *, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=seconds)


def _describe(error: OSError) -> str:
    """Return the reason on one line; OpenSSL's without its place in the source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return (error.reason or str(error)).replace("_", " ").lower()
    if isinstance(error, TimeoutError):
        return "timed out"
    return " ".join((error.strerror or str(error) or type(error).__name__).split())
