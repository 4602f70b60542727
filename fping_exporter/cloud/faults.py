"""Errors of keystoneauth, requests and openstacksdk as errors of this package, each one line."""

import re
from collections.abc import Mapping

import msgspec
from keystoneauth1 import exceptions as ka

from fping_exporter.errors import AuthError, BadRequestError, CloudError, ForbiddenError, NotFoundError

__all__ = [
    "UNREADABLE",
    "describe",
    "redact",
    "retry_delay",
    "root_failure",
    "to_cloud_error",
]

UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What libraries raise on a token, catalog, version document or clouds.yaml of the wrong shape."""

_ERRORS: Mapping[type[ka.HttpError], type[CloudError]] = {
    ka.BadRequest: BadRequestError,
    ka.Forbidden: ForbiddenError,
    ka.NotFound: NotFoundError,
}
_RETRIED_STATUS = frozenset({429, 500, 502, 503, 504})
_MAX_RETRY_AFTER_SECONDS = 30.0


def root_failure(error: ka.ClientException) -> ka.ClientException:
    """Return what failed when keystoneauth looked for the versions of Keystone, or `error` itself."""
    inner: BaseException | None = error
    while inner:
        if isinstance(inner, ka.HttpError | ka.ConnectionError):
            return inner
        inner = inner.__cause__ or (None if inner.__suppress_context__ else inner.__context__)
    return error


def retry_delay(error: ka.ClientException, backoff: float | None) -> float | None:
    """Return the seconds after which to try again; None: do not try again."""
    if backoff is None:
        return None
    if isinstance(error, ka.HttpError) and error.http_status in _RETRIED_STATUS:
        delay = max(backoff, float(error.retry_after))
        return delay if delay <= _MAX_RETRY_AFTER_SECONDS else None
    broken = isinstance(error, ka.ConnectFailure | ka.UnknownConnectionError)
    return backoff if broken else None


def to_cloud_error(error: ka.ClientException) -> CloudError:
    """Return our error for one of keystoneauth's: who refused what, or why nobody answered."""
    if isinstance(error, ka.ConnectionError):
        return CloudError(f"{_requested_url(error)}: no connection: {describe(_root_cause(error))}")
    if not isinstance(error, ka.HttpError):
        return CloudError(describe(error))
    text = f"{redact(error.url or '')}: HTTP {error.http_status}: {_server_message(error)}"
    if isinstance(error, ka.Unauthorized):
        return AuthError(f"the credentials were not accepted: {text}")
    return next(
        (ours(text) for theirs, ours in _ERRORS.items() if isinstance(error, theirs)), CloudError(text)
    )


def describe(error: BaseException) -> str:
    """Return the text of an error on one line, without secrets; its class where it has no text."""
    return redact(str(error)) or type(error).__name__


def redact(text: str) -> str:
    """Return `text` on one line of sensible length, without queries and user:password@ of URLs."""
    text = re.sub(r"(?<=://)[^/@\s]*@", "", text)
    text = re.sub(r"\?[^\s]*=[^\s]*", "", text)
    return " ".join(text.split())[:300]


def _server_message(error: ka.HttpError) -> str:
    """Return the server's message, which Nova, Keystone and Neutron wrap in an object of one key."""
    content = error.response.content if error.response is not None else b""
    try:
        [fault] = msgspec.json.decode(content, type=dict[str, _Fault]).values()
    except (ValueError, RecursionError):  # of msgspec too, or not one key
        return redact(error.message)
    return redact(fault.message)


class _Fault(msgspec.Struct):
    message: str


def _root_cause(error: BaseException) -> BaseException:
    """Return the first error of a chain: the OSError below four layers of libraries."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def _requested_url(error: BaseException | None) -> str:
    """Return the URL of the request that failed to connect."""
    while error:
        if request := getattr(error, "request", None):
            return redact(request.url)
        error = error.__cause__ or error.__context__
    return "the cloud"
