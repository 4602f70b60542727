"""Tokens that sessions with the same credentials share, such as those to two regions of one cloud.

A session that needs a token takes the newest one, and asks Keystone only if it has had that one before:
whoever asks again has reason to, be it that its token was refused, expires or was thrown away after a
failure. So a region that fails costs the others no token.
"""

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from typing import Any
from weakref import WeakValueDictionary

from keystoneauth1.access import AccessInfo
from openstack.config.cloud_region import CloudRegion

from fping_exporter.cloud.time_limit import time_left

__all__ = ["SharedTokens", "TokenShare"]

_OTHERS_SECONDS = 10.0
"""How long a session waits at most for another one that is asking Keystone with the same credentials."""
_EXPIRY_SECONDS = 120
"""A token that expires within this time is not taken; keystoneauth renews its own that early."""


class SharedTokens:
    """The newest token for each set of credentials. Threads share it."""

    def __init__(self, *, patience: float = _OTHERS_SECONDS) -> None:
        """Begin with none. For another session that is asking, one waits `patience` seconds at most.

        A token is kept for as long as there is a session with its credentials.
        """
        self._patience = patience
        self._lock = threading.Lock()
        self._by_credentials: WeakValueDictionary[str, _Newest] = WeakValueDictionary()

    def join(self, region: CloudRegion) -> "TokenShare":
        """Return the share of a session to `region`, with all that have its credentials."""
        with self._lock:
            return TokenShare(
                self._by_credentials.setdefault(_credentials(region), _Newest()), self._patience
            )


class _Newest:
    """The newest token of one set of credentials."""

    def __init__(self) -> None:
        self.asking = threading.Lock()
        """Held by the session that asks Keystone."""
        self.access: AccessInfo | None = None


class TokenShare:
    """What one session has of the tokens of its credentials, over all its connections."""

    def __init__(self, newest: _Newest, patience: float) -> None:
        """Share `newest`; see :class:`SharedTokens`."""
        self._newest = newest
        self._patience = patience
        self._had: str | None = None
        """The token that this session had last."""

    def get(self, ask: Callable[[], AccessInfo]) -> AccessInfo:
        """Return a token that this session has not had before: the newest one, or one that `ask` gets."""
        with self._turn():
            access = self._newest.access
            if access is None or access.auth_token == self._had or access.will_expire_soon(_EXPIRY_SECONDS):
                access = self._newest.access = ask()
            self._had = access.auth_token
            return access

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Wait for a session that asks already; not for long, since its connection may hang and ours not."""
        taken = self._newest.asking.acquire(timeout=max(0, min(time_left(), self._patience)))
        try:
            yield
        finally:
            if taken:
                self._newest.asking.release()


def _credentials(region: CloudRegion) -> str:
    """Return a digest of everything that a token depends on, to which the region's name does not belong."""
    config: dict[str, Any] = region.config
    names = ("auth_type", "auth", "verify", "cacert", "cert", "key", "identity_api_version")
    text = json.dumps([config.get(name) for name in names], sort_keys=True, default=repr)
    return hashlib.sha256(text.encode()).hexdigest()
