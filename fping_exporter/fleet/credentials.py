"""How an agent shows a central who it is, and how it knows the central: certificates and a password."""

import base64
import ssl
from collections.abc import Mapping
from typing import NamedTuple

from fping_exporter.config import CentralInventory
from fping_exporter.fleet.secret_files import read_secret
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
    context = make_context(settings, section="inventory")
    return Credentials(context, _make_headers(settings))


def _make_headers(settings: CentralInventory) -> dict[str, str]:
    if not (settings.username and settings.password_file):
        return {}
    password = read_secret("inventory.password_file", settings.password_file)
    pair = base64.b64encode(f"{settings.username}:{password}".encode())
    return {"Authorization": f"Basic {pair.decode()}"}
