"""How Nova speaks HTTP: the form of its faults, microversions and headers.

Sources: nova/api/openstack/wsgi.py and the microversion-parse library, as of Nova 26, whose
answers on the wire these were compared with.
"""

import re
import uuid
from collections.abc import Mapping
from typing import NamedTuple

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
"""The key around a fault; it is computeFault for every other status."""

_HEADER = "OpenStack-API-Version"
_LEGACY_HEADER = "X-OpenStack-Nova-API-Version"
_VERSION = re.compile(r"([1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})")


class Version(NamedTuple):
    """A microversion."""

    major: int
    minor: int

    def __str__(self) -> str:
        """Write it as it stands in headers."""
        return f"{self.major}.{self.minor}"


_FIRST, _LAST = Version(2, 1), Version(2, 35)
"""Those that offer os-fping. Nova took it out of 2.36, with the other APIs that speak of networks."""


class Fault(Exception):  # noqa: N818, Nova's word for it
    """An answer that is an error."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Say `message`, which the caller reads."""
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = headers or {}

    def response(self) -> Response:
        """Return it as Nova words it."""
        fault: dict[str, object] = {"code": self.status, "message": self.message}
        if "Retry-After" in self.headers:
            fault["retryAfter"] = self.headers["Retry-After"]
        response = respond({_NAMES.get(self.status, "computeFault"): fault})
        response.status_code = self.status
        response.headers.update(self.headers)
        return response

    @classmethod
    def not_found(cls) -> "Fault":
        """Return what is said where there is nothing at all."""
        return cls(404, "The resource could not be found.")


def respond(body: object) -> Response:
    """Return an answer of JSON."""
    return Response(msgspec.json.encode(body), content_type="application/json")


def finish(response: Response, version: Version | None) -> Response:
    """Add the headers that Nova puts on every answer; `version` is the microversion if one is known."""
    request_id = f"req-{uuid.uuid4()}"
    response.headers["x-openstack-request-id"] = request_id
    response.headers["x-compute-request-id"] = request_id
    if version:
        response.headers[_HEADER] = f"compute {version}"
        response.headers[_LEGACY_HEADER] = str(version)
        response.headers.add("Vary", _HEADER)
        response.headers.add("Vary", _LEGACY_HEADER)
    return response


def requested_version(headers: Headers) -> Version:
    """Return the microversion that a request asks for, 2.1 unless it says; raise Fault if it makes no sense.

    Repeated headers are folded with commas, and the last entry counts. ``latest`` never was
    a version with os-fping once there was a 2.36.
    """
    text = _requested(headers)
    if text is None:
        return _FIRST
    if text == "latest":
        raise Fault.not_found()
    match = _VERSION.fullmatch(text)
    if match is None:
        raise Fault(
            400, f"API Version String {text} is of invalid format. Must be of format MajorNum.MinorNum."
        )
    return Version(int(match[1]), int(match[2]))


def check_offered(version: Version) -> None:
    """Raise Fault unless os-fping is there in `version`, as Nova does for what it has never heard of."""
    if version < _FIRST or version.major != _FIRST.major:
        raise Fault(
            406, f"Version {version} is not supported by the API. Minimum is {_FIRST} and maximum is {_LAST}."
        )
    if version > _LAST:
        raise Fault.not_found()


def _requested(headers: Headers) -> str | None:
    for entry in reversed(headers.get(_HEADER, "").split(",")):
        service, *version = entry.split(maxsplit=1)[:2] or [""]
        if service.lower() == "compute" and version:
            return version[0].strip()
    legacy = headers.get(_LEGACY_HEADER)
    return None if legacy is None else legacy.split(",")[-1].strip()
