"""Callers with a token of Keystone: whose it is, and what Nova shows to them."""

import hashlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from datetime import datetime
from typing import NamedTuple

import msgspec
from cachetools import TLRUCache, TTLCache

from fping_exporter.cloud.pages import decode
from fping_exporter.cloud.servers import MICROVERSIONS, list_servers, read_server
from fping_exporter.cloud.session import Client, Session
from fping_exporter.cloud.time_limit import time_limit
from fping_exporter.cloud.unreadable import SkippedEntries
from fping_exporter.errors import AuthError, CloudError, NotFoundError
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Instance
from fping_exporter.os_fping.rate_limit import RateLimits, client_network

__all__ = ["KeystoneCaller", "KeystoneCallers"]

logger = logging.getLogger(__name__)

_log_limit = LogLimit(interval=24 * 3600)

_KEYSTONE_SECONDS = 10.0
_NOVA_SECONDS = 30.0
"""How long a request to a service may take while a caller waits; Nova needs a while for a page of servers."""
_LIST_SECONDS = 120.0
"""How long all pages of a caller's servers may take together."""

_CLIENT_VALIDATIONS = "60/minute"
_ALL_VALIDATIONS = "600/minute"
"""Tokens that Keystone is asked about, for one client address and for all together.

A token is validated once a minute, so that the first is also the number of users behind one proxy.
"""
_REJECTED_SECONDS = 60.0
_CLOCK_TOLERANCE_SECONDS = 5.0
"""A token may end while its validation is on the way."""

_TOKEN = re.compile(r"[!-~]{1,8192}")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-?[0-9a-fA-F]{4}){3}-?[0-9a-fA-F]{12}")


class KeystoneCallers:
    """Authenticates callers by their tokens. Threads share it.

    A token validates itself, as Keystone allows to everyone, and lists its own servers: the session's
    credentials only find the services. Whose a token is, or that it is nobody's, is remembered for a
    minute at most, and never past the token's end. The memory's key is a hash that is of no
    use outside this process.
    """

    def __init__(
        self,
        session: Session,
        *,
        rate_limits: RateLimits,
        remembered_seconds: float = 60.0,
        remembered_tokens: int = 10_000,
        list_seconds: float = _LIST_SECONDS,
    ) -> None:
        """Ask the services in the catalog of `session`; `rate_limits` outlives the configuration.

        `remembered_seconds` is how long a valid token is not validated again, `remembered_tokens` how
        many valid, and how many invalid ones are remembered. `list_seconds` is how long the list of a
        caller's servers may take.
        """
        self.keystone_url = session.keystone_url
        self._identity = session.client("identity")
        self._compute = session.client("compute")
        self._remembered_seconds = remembered_seconds
        self._list_seconds = list_seconds
        self._hash_key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._valid: TLRUCache[bytes, _TokenOwner, float] = TLRUCache(
            remembered_tokens, ttu=lambda _key, owner, _now: owner.until, timer=time.monotonic
        )
        self._invalid: TTLCache[bytes, str, float] = TTLCache(
            remembered_tokens, ttl=_REJECTED_SECONDS, timer=time.monotonic
        )
        self._pending: dict[bytes, Future[_TokenOwner]] = {}
        self._rate_limits = rate_limits
        self._clock_warned = False

    def authenticate(self, token: str, *, client: str) -> "KeystoneCaller":
        """Return the user of the token; raise AuthError if it is nobody's, CloudError, or RateLimitError.

        `client` is the IP address that brought it: the validations for it are limited.
        """
        if not _TOKEN.fullmatch(token):
            raise AuthError("the token has characters that no token has, or is too long")
        key = hashlib.blake2b(token.encode(), key=self._hash_key).digest()
        with self._lock:
            if owner := self._valid.get(key):
                return self._caller(owner, token)
            if reason := self._invalid.get(key):
                raise AuthError(reason)
            pending = self._pending.get(key)
            if pending is None:
                self._count_validation(client)
                validation = self._pending[key] = Future()
        owner = pending.result() if pending else self._validate(token, key, validation)
        return self._caller(owner, token)

    def _caller(self, owner: "_TokenOwner", token: str) -> "KeystoneCaller":
        return KeystoneCaller(owner, compute=self._compute, token=token, list_seconds=self._list_seconds)

    def max_microversion(self) -> str | None:
        """Return the highest microversion that Nova's version document has; None: it has none."""
        return self._compute.max_microversion()

    def _count_validation(self, client: str) -> None:
        what = "The validation of tokens"
        self._rate_limits.count(_CLIENT_VALIDATIONS, client_network(client), what=what)
        self._rate_limits.count(_ALL_VALIDATIONS, "", what=what)

    def _validate(self, token: str, key: bytes, validation: "Future[_TokenOwner]") -> "_TokenOwner":
        """Ask Keystone and remember its word; `validation` hands it to threads with the same token."""
        try:
            owner = self._ask_keystone(token)
        except BaseException as error:
            with self._lock:
                if isinstance(error, AuthError):
                    self._invalid[key] = str(error)
                del self._pending[key]
            validation.set_exception(error)
            raise
        with self._lock:
            if owner.until > time.monotonic():
                self._valid[key] = owner
            del self._pending[key]
        validation.set_result(owner)
        return owner

    def _ask_keystone(self, token: str) -> "_TokenOwner":
        try:
            body = self._identity.get_as(
                {"X-Auth-Token": token, "X-Subject-Token": token},
                "/auth/tokens",
                params={"nocatalog": ""},
                timeout=_KEYSTONE_SECONDS,
            )
        except NotFoundError as error:
            # Keystone answers 401 to a token that cannot even ask for itself; this is from something else.
            raise CloudError(str(error)) from error
        found = decode(body, _TokenBody).token
        left = found.expires_at.timestamp() - time.time()
        if left < -_CLOCK_TOLERANCE_SECONDS:
            self._warn_of_clock(-left)
        return _TokenOwner(
            user_id=found.user.id,
            project_id=found.project.id if found.project else None,
            until=time.monotonic() + min(left, self._remembered_seconds),
        )

    def _warn_of_clock(self, seconds: float) -> None:
        if not self._clock_warned:
            self._clock_warned = True
            logger.warning(
                "os-fping: the clock of this machine is ahead of Keystone's: a token that Keystone accepts "
                "has ended %d s ago by it. Such tokens are validated at every request; synchronize the clock",
                seconds,
            )


class KeystoneCaller:
    """A user, and what Nova shows to them."""

    def __init__(self, owner: "_TokenOwner", *, compute: Client, token: str, list_seconds: float) -> None:
        """Ask Nova (`compute`) with `token`, which is the owner's; a list may take `list_seconds`."""
        self.user_id = owner.user_id
        self.project_id = owner.project_id
        self._compute = compute
        self._token = token
        self._list_seconds = list_seconds

    def list(self, *, all_tenants: bool) -> Collection[Instance]:
        """Return the servers of the token's project, or of all; ForbiddenError without the right to."""
        with time_limit(self._list_seconds):
            return list_servers(
                lambda params: self._get("/servers/detail", params),
                {"all_tenants": "1"} if all_tenants else {},
                skip=SkippedEntries(_log_limit).of("servers"),
            ).values()

    def find(self, server_id: str) -> Instance:
        """Return one server; raise NotFoundError where there is none, or none for this caller."""
        if not _UUID.fullmatch(server_id):  # /servers/detail, for one, is something else
            raise NotFoundError(f"not the id of a server: {server_id!r:.60}")
        return read_server(self._get(f"/servers/{server_id}", {}))

    def _get(self, path: str, params: Mapping[str, str]) -> bytes:
        return self._compute.get_as(
            {"X-Auth-Token": self._token},
            path,
            params=params,
            microversions=MICROVERSIONS,
            timeout=_NOVA_SECONDS,
        )


class _TokenOwner(NamedTuple):
    """The user of a valid token."""

    user_id: str
    project_id: str | None
    """None where the token is of no project."""
    until: float
    """When Keystone is asked again, by the monotonic clock."""


class _Entity(msgspec.Struct):
    id: str


class _Token(msgspec.Struct):
    user: _Entity
    expires_at: datetime
    project: _Entity | None = None


class _TokenBody(msgspec.Struct):
    token: _Token
