"""What stands before the application: passwords, a rate limit, and headers, as a web configuration says."""

import base64
import binascii
import hmac
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import bcrypt

from fping_exporter.errors import ConfigError
from fping_exporter.httpd.web_config import RateLimit, Settings

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["Guard"]

logger = logging.getLogger(__name__)

_REMEMBERED = 100
"""Passwords that need not be hashed again, right and wrong ones."""
_WAITING = 16
"""Passwords that may wait to be hashed; more would only keep everyone waiting."""
_BCRYPT_BYTES = 72
"""Of a password, bcrypt looks at no more."""


class Guard:
    """A WSGI application that lets through to `app` what the settings of the moment allow.

    `settings` is asked for each request; while it raises ConfigError, all are answered 500. The rate limit
    and the headers are for all requests. A path for which `is_open` holds needs no password.
    """

    def __init__(
        self,
        app: "WSGIApplication",
        *,
        settings: Callable[[], Settings],
        is_open: Callable[[str], bool],
    ) -> None:
        """Put it before `app`."""
        self._app = app
        self._settings = settings
        self._is_open = is_open
        self._passwords = _Passwords()
        self._bucket = _Bucket(None)

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request, or have it answered."""
        try:
            settings = self._settings()
        except ConfigError as error:
            logger.error("request refused", extra={"error": str(error)})  # noqa: TRY400, the text says it all
            return _refuse("500 Internal Server Error", start_response)
        if settings.rate_limit != self._bucket.limit:
            self._bucket = _Bucket(settings.rate_limit)
        if settings.http_server_config and settings.http_server_config.headers:
            start_response = _with_headers(settings.http_server_config.headers.items(), start_response)
        if not self._bucket.take():
            return _refuse("429 Too Many Requests", start_response)
        if settings.basic_auth_users and not self._is_open(environ.get("PATH_INFO", "")):
            try:
                user, password = _credentials(environ.get("HTTP_AUTHORIZATION", ""))
                right = self._passwords.check(user, password, settings.basic_auth_users)
            except ValueError:
                right = False
            except _BusyError:
                return _refuse("503 Service Unavailable", start_response, ("Retry-After", "1"))
            if not right:
                return _refuse("401 Unauthorized", start_response, ("WWW-Authenticate", "Basic"))
        return self._app(environ, start_response)


def _refuse(status: str, start_response: "StartResponse", *headers: tuple[str, str]) -> list[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
    return [status.partition(" ")[2].encode() + b"\n"]


def _with_headers(extra: list[tuple[str, str]], start_response: "StartResponse") -> "StartResponse":
    """Put `extra` in the place of headers of the same names."""
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


def _credentials(authorization: str) -> tuple[str, bytes]:
    """Read a header of basic auth (RFC 7617); raise ValueError where it is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise ValueError(scheme)
    try:
        user, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except binascii.Error as error:
        raise ValueError(error) from None
    if not colon:
        raise ValueError(colon)
    return user.decode(), password


class _BusyError(Exception):
    """Too many passwords wait to be hashed."""


class _Passwords:
    """Checks passwords, one at a time since each takes much CPU, and remembers the outcome.

    What is remembered is no password but a keyed hash of user, password and bcrypt hash; the key is this
    process's own. Wrong ones are forgotten before right ones, so that guessing costs nobody else time.
    """

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._known: dict[bytes, bool] = {}
        self._places = threading.BoundedSemaphore(_WAITING)
        self._turn = threading.Lock()

    def check(self, user: str, password: bytes, users: Mapping[str, str]) -> bool:
        """Whether `password` is that of `user`; as slow for a user who does not exist."""
        hashed = (users.get(user) or _decoy(users)).encode()
        parts = (user.encode(), hashed, password)
        key = hmac.digest(self._secret, b"".join(b"%d:%b" % (len(part), part) for part in parts), "sha256")
        right = self._known.get(key)
        if right is not None:
            return right
        if not self._places.acquire(blocking=False):
            raise _BusyError
        try:
            with self._turn:
                if key not in self._known:
                    matches = bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed)
                    self._remember(key, right=matches and user in users)
                return self._known[key]
        finally:
            self._places.release()

    def _remember(self, key: bytes, *, right: bool) -> None:
        if len(self._known) >= _REMEMBERED:
            wrong = (key for key, right in self._known.items() if not right)
            del self._known[next(wrong, next(iter(self._known)))]
        self._known[key] = right


def _decoy(users: Mapping[str, str]) -> str:
    """Make a hash that no password has, and that takes as long to check as the slowest of the users'."""
    cost = max(hashed.split("$")[2] for hashed in users.values())
    return f"$2b${cost}${'.' * 53}"


class _Bucket:
    """A token bucket; without a limit it never runs dry."""

    def __init__(self, limit: RateLimit | None) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._tokens = float(limit.burst or 0) if limit else 0.0
        self._counted_at = time.monotonic()

    def take(self) -> bool:
        """Take a token, if there is one."""
        if not self.limit or not self.limit.interval:
            return True
        with self._lock:
            now = time.monotonic()
            grown = self._tokens + (now - self._counted_at) / self.limit.interval
            self._tokens = min(grown, float(self.limit.burst or 0))
            self._counted_at = now
            if self._tokens < 1:
                return False
            self._tokens -= 1
            return True
