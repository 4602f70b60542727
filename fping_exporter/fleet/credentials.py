"""How an agent shows a central who it is, and how it knows the central: certificates and a password."""

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fping_exporter.config import CentralInventory
from fping_exporter.errors import ConfigError
from fping_exporter.fleet.tls import make_context

__all__ = ["Credentials", "read_credentials"]


class Credentials(NamedTuple):
    """What a request is sent with."""

    context: ssl.SSLContext
    headers: Mapping[str, str]


def read_credentials(settings: CentralInventory) -> Credentials:
    """Read the files that the configuration names; they may be replaced between two requests.

    Raises ConfigError if one cannot be read or used.
    """
    context = make_context(settings, section="inventory", read=_read)
    return Credentials(context, _make_headers(settings))


def _make_headers(settings: CentralInventory) -> dict[str, str]:
    if not (settings.username and settings.password_file):
        return {}
    password = _read("password_file", settings.password_file).rstrip(b"\r\n")
    if not password or b"\n" in password:
        raise ConfigError(
            f"inventory.password_file: {settings.password_file}: expected a password on one line"
        )
    pair = base64.b64encode(settings.username.encode() + b":" + password)
    return {"Authorization": f"Basic {pair.decode()}"}


def _read(name: str, path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(f"inventory.{name}: {path} cannot be read: {reason}") from None
