"""WSGI middleware for a web configuration: authentication, the rate limit and extra headers."""

import logging
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from fping_exporter.errors import ConfigError
from fping_exporter.httpd.authentication import BusyError, PasswordChecker, parse_credentials
from fping_exporter.httpd.rate_limit import TokenBucket
from fping_exporter.httpd.web_config import Settings

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["WebConfigMiddleware"]

logger = logging.getLogger(__name__)


class WebConfigMiddleware:
    """Passes to `app` the requests that the web configuration allows.

    `settings` is called for each request; while it raises ConfigError, all are answered 500. The rate limit
    and the headers are for all requests. A path for which `is_public` holds needs no password.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        *,
        settings: Callable[[], Settings],
        is_public: Callable[[str], bool],
    ) -> None:
        """Wrap `app`."""
        self._app = app
        self._settings = settings
        self._is_public = is_public
        self._passwords = PasswordChecker()
        self._bucket = TokenBucket(None)

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request that is not allowed; pass on another."""
        try:
            settings = self._settings()
        except ConfigError as error:
            logger.error("request refused", extra={"error": str(error)})  # noqa: TRY400, the text says it all
            return _refuse("500 Internal Server Error", start_response)
        if settings.rate_limit != self._bucket.limit:
            self._bucket = TokenBucket(settings.rate_limit)
        if settings.http_server_config and settings.http_server_config.headers:
            start_response = _with_headers(settings.http_server_config.headers.items(), start_response)
        if not self._bucket.take():
            return _refuse("429 Too Many Requests", start_response)
        if settings.basic_auth_users and not self._is_public(environ.get("PATH_INFO", "")):
            try:
                user, password = parse_credentials(environ.get("HTTP_AUTHORIZATION", ""))
                authenticated = self._passwords.check(user, password, settings.basic_auth_users)
            except ValueError:
                authenticated = False
            except BusyError:
                return _refuse("503 Service Unavailable", start_response, ("Retry-After", "1"))
            if not authenticated:
                return _refuse("401 Unauthorized", start_response, ("WWW-Authenticate", "Basic"))
            environ["REMOTE_USER"] = user  # as CGI names whom the server has authenticated (RFC 3875, 4.1.11)
        return self._app(environ, start_response)


def _refuse(status: str, start_response: "StartResponse", *headers: tuple[str, str]) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [status.partition(" ")[2].encode() + b"\n"]


def _with_headers(extra: list[tuple[str, str]], start_response: "StartResponse") -> "StartResponse":
    """Replace headers of the same names by `extra`."""
    names = {name.lower() for name, _ in extra}

    def start(
        status: str,
        headers: list[tuple[str, str]],
        exc_info: "OptExcInfo | None" = None,
        /,
    ) -> Callable[[bytes], object]:
        kept = [header for header in headers if header[0].lower() not in names]
        return start_response(status, [*kept, *extra], exc_info)

    return start
