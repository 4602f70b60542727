"""Basic authentication (RFC 7617) against bcrypt hashes."""

import base64
import binascii
import hmac
import secrets
import threading
from collections.abc import Mapping

import bcrypt

__all__ = ["BusyError", "PasswordChecker", "parse_credentials"]

_MAX_REMEMBERED = 100
"""Passwords whose check is remembered, right and wrong ones."""
_MAX_WAITING = 16
"""Passwords that may wait for their check; more would only keep everyone waiting."""
_BCRYPT_BYTES = 72
"""Of a password, bcrypt looks at no more."""


class BusyError(Exception):
    """Too many passwords wait for their check."""


def parse_credentials(authorization: str) -> tuple[str, bytes]:
    """Return user and password of an ``Authorization`` header; raise ValueError where it has none."""
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


class PasswordChecker:
    """Checks passwords, one at a time since each takes much CPU, and remembers the outcome.

    What is remembered is no password but a keyed hash of user, password and bcrypt hash; the key is this
    process's own. Wrong ones are forgotten before right ones, so that guessing costs nobody else time.
    """

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._secret = secrets.token_bytes(32)
        self._outcomes: dict[bytes, bool] = {}
        self._waiting = threading.BoundedSemaphore(_MAX_WAITING)
        self._hashing = threading.Lock()

    def check(self, user: str, password: bytes, users: Mapping[str, str]) -> bool:
        """Whether `password` is that of `user`; the check is as slow for a user who does not exist.

        `users` are bcrypt hashes by user. Raises BusyError.
        """
        hashed = (users.get(user) or _decoy_hash(users)).encode()
        parts = (user.encode(), hashed, password)
        key = hmac.digest(self._secret, b"".join(b"%d:%b" % (len(part), part) for part in parts), "sha256")
        outcome = self._outcomes.get(key)
        if outcome is not None:
            return outcome
        if not self._waiting.acquire(blocking=False):
            raise BusyError
        try:
            with self._hashing:
                if key not in self._outcomes:
                    matches = bcrypt.checkpw(password[:_BCRYPT_BYTES], hashed)
                    self._remember(key, right=matches and user in users)
                return self._outcomes[key]
        finally:
            self._waiting.release()

    def _remember(self, key: bytes, *, right: bool) -> None:
        if len(self._outcomes) >= _MAX_REMEMBERED:
            wrong = (key for key, right in self._outcomes.items() if not right)
            del self._outcomes[next(wrong, next(iter(self._outcomes)))]
        self._outcomes[key] = right


def _decoy_hash(users: Mapping[str, str]) -> str:
    """Make a hash that no password has, and that takes as long to check as the slowest of the users'."""
    cost = max(hashed.split("$")[2] for hashed in users.values())
    return f"$2b${cost}${'.' * 53}"
