"""The cloud as a caller sees it, who brings a Keystone token of their own."""

import hashlib
import re
import secrets
import threading
import time
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from fping_exporter.cloud.pages import decode
from fping_exporter.cloud.servers import MICROVERSIONS, list_servers, read_server
from fping_exporter.cloud.session import Client, Session
from fping_exporter.errors import AuthError, NotFoundError
from fping_exporter.model import Instance

__all__ = ["KeystoneCaller", "KeystoneCallers"]

_KEYSTONE_SECONDS = 10.0
_NOVA_SECONDS = 30.0
"""How long a caller waits for a service to say anything; for a page of servers Nova needs a while."""

_TOKEN = re.compile(r"[!-~]{1,8192}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


class KeystoneCallers:
    """Lets callers in by their tokens. Threads share it.

    A token is validated by itself, as Keystone permits to everyone, and its servers are listed
    with it: the session's own credentials only tell where the services are. Who a token
    belongs to is remembered for a minute at most, never past the token's end, under a hash
    that means nothing outside this process.
    """

    def __init__(self, session: Session, *, believed_seconds: float = 60.0, remembered: int = 10_000) -> None:
        """Ask the services that `session` finds in its catalog.

        A validated token is believed for so many seconds, and so many of them are remembered.
        """
        self._believed_seconds = believed_seconds
        self._remembered = remembered
        self.keystone_url = session.keystone_url
        self._identity = session.client("identity")
        self._compute = session.client("compute")
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._known: dict[bytes, _Known] = {}

    def admit(self, token: str) -> "KeystoneCaller":
        """Return whose token it is; raise AuthError if it is nobody's, or CloudError."""
        if not _TOKEN.fullmatch(token):
            raise AuthError("the token has characters that a token never has, or is too long")
        key = hashlib.blake2b(token.encode(), key=self._key).digest()
        with self._lock:
            known = self._known.get(key)
        if known is None or known.until <= time.monotonic():
            known = self._validate(token)
            with self._lock:
                self._known.pop(key, None)
                if len(self._known) >= self._remembered:
                    del self._known[next(iter(self._known))]  # the oldest
                self._known[key] = known
        return KeystoneCaller(known, compute=self._compute, token=token)

    def _validate(self, token: str) -> "_Known":
        try:
            body = self._identity.get_as(
                {"X-Auth-Token": token, "X-Subject-Token": token},
                "/auth/tokens",
                params={"nocatalog": ""},
                timeout=_KEYSTONE_SECONDS,
            )
        except NotFoundError as error:
            raise AuthError(str(error)) from error
        found = decode(body, _TokenBody).token
        left = found.expires_at.timestamp() - time.time()
        if left <= 0:
            raise AuthError("the token has expired")
        return _Known(
            user_id=found.user.id,
            project_id=found.project.id if found.project else None,
            until=time.monotonic() + min(left, self._believed_seconds),
        )


class KeystoneCaller:
    """Who asks, and what Nova shows to them."""

    def __init__(self, known: "_Known", *, compute: Client, token: str) -> None:
        """Ask Nova with the token."""
        self.user_id = known.user_id
        self.project_id = known.project_id
        self._compute = compute
        self._token = token

    def list(self, *, all_tenants: bool) -> Collection[Instance]:
        """Return those of the token's project, or of all; raise ForbiddenError without the right to."""
        return list_servers(
            lambda params: self._get("/servers/detail", params), {"all_tenants": "1"} if all_tenants else {}
        ).values()

    def find(self, id_: str) -> Instance:
        """Return one; raise NotFoundError where there is none, or none for this caller."""
        if not _UUID.fullmatch(id_):  # /servers/detail, for one, is something else
            raise NotFoundError(f"not the id of a server: {id_!r:.60}")
        return read_server(self._get(f"/servers/{id_}", {}))

    def _get(self, path: str, params: Mapping[str, str]) -> bytes:
        return self._compute.get_as(
            {"X-Auth-Token": self._token},
            path,
            params=params,
            microversions=MICROVERSIONS,
            timeout=_NOVA_SECONDS,
        )


class _Known(NamedTuple):
    """Whose a token is, until when of the monotonic clock that may be believed."""

    user_id: str
    project_id: str | None
    """None where the token is not of a project."""
    until: float


class _Named(msgspec.Struct):
    id: str


class _Token(msgspec.Struct):
    user: _Named
    expires_at: datetime
    project: _Named | None = None


class _TokenBody(msgspec.Struct):
    token: _Token
