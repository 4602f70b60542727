"""TLS of requests to other servers than OpenStack's: whom they trust, and the certificate that they show."""

import hashlib
import ssl
from typing import Protocol

from fping_exporter.errors import ConfigError
from fping_exporter.fleet.secret_files import read_file

__all__ = ["Files", "digest", "make_context"]

_NAMES = ("ca_file", "cert_file", "key_file")


class Files(Protocol):
    """The paths of PEM files, as a section of the configuration has them."""

    @property
    def ca_file(self) -> str | None:
        """The certificates that are trusted; None: those of the system."""
        ...

    @property
    def cert_file(self) -> str | None:
        """The certificate to show; None: none is shown."""
        ...

    @property
    def key_file(self) -> str | None:
        """Its key."""
        ...


def digest(files: Files, *, section: str) -> bytes:
    """Return what tells the content of `files` now from that before; raises as :func:`make_context`."""
    paths = ((name, getattr(files, name)) for name in _NAMES)
    read = {name: read_file(f"{section}.{name}", path) for name, path in paths if path}
    return hashlib.sha256(repr(read).encode()).digest()


def make_context(files: Files, *, section: str) -> ssl.SSLContext:
    """Return a context that uses `files`; raises ConfigError for one that cannot be read or used.

    The error calls it a key of `section`.
    """
    digest(files, section=section)  # OpenSSL does not say which file cannot be read
    try:
        context = ssl.create_default_context(cafile=files.ca_file)
    except (ssl.SSLError, OSError):
        raise ConfigError(f"{section}.ca_file: {files.ca_file}: no certificate in PEM") from None
    if files.cert_file and files.key_file:
        try:
            # Without a password argument OpenSSL would ask for one on the terminal.
            context.load_cert_chain(files.cert_file, files.key_file, password="")
        except (ssl.SSLError, OSError) as error:
            reason = (getattr(error, "reason", None) or "not in PEM").replace("_", " ").lower()
            raise ConfigError(
                f"{section}: {files.cert_file} and {files.key_file} cannot be used as certificate and key: "
                f"{reason}"
            ) from None
    return context
