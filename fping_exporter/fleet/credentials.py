"""How an agent shows a central who it is, and how it knows the central: certificates and a password."""

import base64
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from fping_exporter.config import CentralInventory
from fping_exporter.errors import ConfigError

__all__ = ["Credentials", "read_credentials"]


class Credentials(NamedTuple):
    """What a request is sent with."""

    context: ssl.SSLContext
    headers: Mapping[str, str]


def read_credentials(settings: CentralInventory) -> Credentials:
    """Read the files that the configuration names; they may be replaced between two requests.

    Raises ConfigError if one cannot be read or used.
    """
    return Credentials(_make_context(settings), _make_headers(settings))


def _make_context(settings: CentralInventory) -> ssl.SSLContext:
    for name in ("ca_file", "cert_file", "key_file"):
        if path := getattr(settings, name):
            _read(name, path)  # OpenSSL does not say which file it is
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (ssl.SSLError, OSError):
        raise ConfigError(f"inventory.ca_file: {settings.ca_file}: no certificate in PEM") from None
    if settings.cert_file and settings.key_file:
        try:
            # Without a password argument OpenSSL would ask for one on the terminal.
            context.load_cert_chain(settings.cert_file, settings.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            reason = (getattr(error, "reason", None) or "not in PEM").replace("_", " ").lower()
            raise ConfigError(
                f"inventory: {settings.cert_file} and {settings.key_file} cannot be used as certificate "
                f"and key: {reason}"
            ) from None
    return context


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
