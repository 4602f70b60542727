"""How Nova speaks HTTP: the form of its faults, microversions and headers.

Sources: nova/api/openstack/wsgi.py and api_version_request.py of Nova 13 to 26; the answers were compared
with those of a Nova 26.
"""

import re
import uuid
from collections.abc import Callable, Mapping
from typing import NamedTuple

import microversion_parse
import msgspec
from flask import Response
from werkzeug.datastructures import Headers

__all__ = ["Fault", "Version", "check_offered", "finish", "requested_version", "respond"]

_NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    503: "serviceUnavailable",
}
"""The key around a fault, by HTTP status; for every other status it is computeFault."""

_HEADER = "OpenStack-API-Version"
_LEGACY_HEADER = "X-OpenStack-Nova-API-Version"
_VERSION = re.compile(r"([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")


class Version(NamedTuple):
    """A microversion."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Return it in the form of the headers."""
        return f"{self.major}.{self.minor}"

    @classmethod
    def parse(cls, text: str) -> "Version":
        """Read a text such as ``2.35``; raises ValueError."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError(f"not a microversion: {text!r:.40}")
        return cls(int(match[1]), int(match[2]))


_FIRST, _LAST = Version(2, 1), Version(2, 35)
"""The microversions with os-fping. Nova 14 removed it from 2.36, with its other APIs about networks."""


class Fault(Exception):  # noqa: N818, Nova's word for it
    """An error response."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """`message` is for the caller."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def response(self) -> Response:
        """Return the response, in Nova's form."""
        fault: dict[str, object] = {"code": self.status, "message": self.message}
        if "Retry-After" in self.headers:
            fault["retryAfter"] = self.headers["Retry-After"]
        response = respond({_NAMES.get(self.status, "computeFault"): fault})
        response.status_code = self.status
        response.headers.update(self.headers)
        return response

    @classmethod
    def not_found(cls) -> "Fault":
        """Return Nova's answer where nothing is routed."""
        return cls(404, "The resource could not be found.")


def respond(body: object) -> Response:
    """Return a response with `body` as JSON."""
    return Response(msgspec.json.encode(body), content_type="application/json")


def finish(response: Response, version: Version | None) -> Response:
    """Add the headers that Nova adds to every response; `version` is the request's microversion, if known."""
    request_id = f"req-{uuid.uuid4()}"
    response.headers["x-openstack-request-id"] = request_id
    response.headers["x-compute-request-id"] = request_id
    if version:
        response.headers[_HEADER] = f"compute {version}"
        response.headers[_LEGACY_HEADER] = str(version)
        response.headers.add("Vary", _HEADER)
        response.headers.add("Vary", _LEGACY_HEADER)
    return response


def requested_version(headers: Headers, *, latest: Callable[[], Version | None]) -> Version:
    """Return the microversion of a request, 2.1 where it names none; raise Fault 400 for a malformed one.

    ``latest`` means the highest that Nova offers, which `latest` returns; where that is unknown, Fault
    404 is raised, as no Nova from 2.36 on has os-fping.
    """
    text = microversion_parse.get_version(headers, "compute", legacy_headers=[_LEGACY_HEADER])
    if text is None:
        return _FIRST
    if text == "latest":
        if highest := latest():
            return highest
        raise Fault.not_found()
    try:
        return Version.parse(text)
    except ValueError as error:
        raise Fault(
            400, f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        ) from error


def check_offered(version: Version, *, latest: Callable[[], Version | None]) -> None:
    """Raise the Fault of Nova unless `version` has os-fping.

    That is 404 for a microversion from which Nova removed it, and 406 for one that Nova does not know: below
    2.1, or above its highest, which `latest` returns (None: unknown).
    """
    if _FIRST <= version <= _LAST:
        return
    if version > _LAST and version.major == _FIRST.major:
        highest = latest()
        if highest is None or version <= highest:
            raise Fault.not_found()
    raise Fault(
        406, f"Version {version} is not supported by the API. Minimum is {_FIRST} and maximum is {_LAST}."
    )
