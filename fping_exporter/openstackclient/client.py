"""The client of os-fping: requests with the user's token, and an error of one line for each that fails."""

import re
from collections.abc import Collection, Mapping
from typing import TypeVar
from urllib.parse import urlsplit

import msgspec
import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1.session import Session
from osc_lib.exceptions import CommandError

from fping_exporter.errors import CloudError
from fping_exporter.text import printable

__all__ = ["OsFping", "OsFpingError", "PingedServer"]

_T = TypeVar("_T")

_ANSWER_SECONDS = 200.0
"""How long an answer may take from the request to its last byte. os-fping itself gives up after 10 s of
Keystone, 2 minutes of Nova and 30 s of pinging."""
_MAX_IDS = 200
"""Ids in a URL, which servers and proxies limit to 8 KiB."""
_MAX_MESSAGE = 300
_SECONDS = re.compile("[0-9]{1,9}")


class PingedServer(msgspec.Struct):
    """A server of os-fping's."""

    id: str
    project_id: str
    alive: bool


class _Fault(msgspec.Struct):
    message: str


class _Servers(msgspec.Struct):
    servers: list[PingedServer]


class _Server(msgspec.Struct):
    server: PingedServer


class OsFpingError(CommandError):
    """os-fping did not answer as it should. The message is for the user.

    It is an error of openstackclient's kind, which prints the message.
    """

    def __init__(self, message: str, *, status: int | None = None, retry_after: int | None = None) -> None:
        """`status` is that of the answer, if there was one; `retry_after` is in seconds."""
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status in {None, 429, 502, 503, 504}


class OsFping:
    """os-fping at one URL. Every method raises OsFpingError, and so does a URL that is none of HTTP."""

    def __init__(self, session: Session, endpoint: str, *, answer_seconds: float = _ANSWER_SECONDS) -> None:
        """Ask at `endpoint`, behind which ``/os-fping`` is put if it does not end so, with `session`'s token.

        An answer may take `answer_seconds`.
        """
        if not _is_http(endpoint):
            raise OsFpingError(
                "os-fping's endpoint: expected a URL such as http://exporter.example:10605/v2.1, "
                f"got {_one_line(endpoint)!r}"
            )
        self._session = _bounded(session, answer_seconds)
        self._endpoint = endpoint.rstrip("/").removesuffix("/os-fping")

    def list_servers(
        self, *, all_projects: bool = False, include: Collection[str] = (), exclude: Collection[str] = ()
    ) -> Mapping[str, bool]:
        """Return whether each server is alive, by its id; those of which that is not known are left out.

        With ids in `include`, only these are pinged, else all but those in `exclude`.
        """
        params = {"all_tenants": "1"} if all_projects else {}
        if 0 < len(include) <= _MAX_IDS:
            params["include"] = ",".join(include)
        elif 0 < len(exclude) <= _MAX_IDS:
            params["exclude"] = ",".join(exclude)
        servers = self._get("/os-fping", params, _Servers).servers
        return {
            each.id: each.alive
            for each in servers
            if (each.id in include if include else each.id not in exclude)
        }

    def show_server(self, server_id: str) -> bool:
        """Return whether a server is alive; an error with the status 503 says why that is not known."""
        return self._get(f"/os-fping/{server_id}", {}, _Server).server.alive

    def _get(self, path: str, params: Mapping[str, str], kind: type[_T]) -> _T:
        # Here, as each command of openstackclient imports its plugins: it takes a tenth of a second.
        from fping_exporter.cloud.faults import redact, to_cloud_error  # noqa: PLC0415

        url = f"{self._endpoint}{path}"
        shown = redact(url)
        try:
            response = self._session.get(
                url,
                params=dict(params),
                headers={"Accept": "application/json"},
                raise_exc=False,
            )
        except ka.ConnectionError as error:
            reason = _one_line(str(to_cloud_error(error)))
            raise OsFpingError(f"os-fping cannot be reached: {reason}") from error
        except CloudError as error:
            raise OsFpingError(f"os-fping did not answer: {_one_line(str(error))}") from error
        if response.status_code != requests.codes.ok:
            raise _error_of(response, shown)
        try:
            return msgspec.json.decode(response.content, type=kind)
        except (ValueError, RecursionError) as error:  # msgspec's are ValueErrors
            raise OsFpingError(f"{shown} is not os-fping: {_one_line(str(error))}", status=200) from error


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # such as that of a port above 65535
        return False


def _bounded(session: Session, answer_seconds: float) -> Session:
    """Return a session with the same token, in which an answer ends within a time and within a size.

    Another service that the user's command asks keeps the `session` and its limits.
    """
    from fping_exporter.cloud.transport import BoundedAdapter  # noqa: PLC0415, as above

    http = requests.Session()
    for scheme in ("http://", "https://"):
        http.mount(scheme, BoundedAdapter(response_seconds=answer_seconds))
    return Session(
        auth=session.auth,
        session=http,
        verify=session.verify,
        cert=session.cert,
        timeout=answer_seconds,
        app_name=session.app_name,
        app_version=session.app_version,
        additional_user_agent=session.additional_user_agent,
    )


def _error_of(response: requests.Response, url: str) -> OsFpingError:
    """Return the error for an answer that is no success."""
    status, said = response.status_code, _message(response.content)
    after = response.headers.get("Retry-After", "")
    retry_after = int(after) if _SECONDS.fullmatch(after) else None
    again = f" Ask again in {retry_after} s." if retry_after is not None else ""
    match status:
        case _ if said is None:
            what = f"{url} is not os-fping, or its exporter is away: HTTP {status}"
        case 401:
            what = f"os-fping does not accept the token: {said} Is {url} of this cloud?"
        case 429:
            what = f"os-fping was asked too often: {said}{again}"
        case 400 | 403 | 404 | 503:
            what = f"{said}{again}"
        case _:
            what = f"os-fping failed: {said} (HTTP {status})"
    return OsFpingError(what, status=status, retry_after=retry_after)


def _message(body: bytes) -> str | None:
    """Return the message of a fault in Nova's form; None if `body` is none."""
    try:
        [fault] = msgspec.json.decode(body, type=dict[str, _Fault]).values()
    except (ValueError, RecursionError):
        return None
    return _one_line(fault.message)


def _one_line(text: str) -> str:
    """Return text of a server's as it may be shown: printable, on one line, not too long."""
    return printable(" ".join(text.split()))[:_MAX_MESSAGE]
