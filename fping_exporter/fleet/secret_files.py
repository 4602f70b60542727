"""The files that a configuration names: passwords, tokens, certificates and keys."""

from pathlib import Path

from fping_exporter.errors import ConfigError

__all__ = ["read_file", "read_secret"]


def read_file(key: str, path: str) -> bytes:
    """Return the bytes of a file; raises ConfigError, which calls it `key`, such as ``fleet.ca_file``."""
    try:
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(f"{key}: {path}: cannot be read: {reason}") from None


def read_secret(key: str, path: str) -> str:
    """Return the one line of a file, in UTF-8, without the end of the line.

    Any printable character may be in it, a colon and spaces as well. Raises ConfigError, which does not quote
    it, if the file cannot be read or has something else than one such line.
    """
    try:
        secret = read_file(key, path).decode().rstrip("\r\n")
    except UnicodeDecodeError:
        secret = ""
    if not secret or not secret.isprintable():
        raise ConfigError(f"{key}: {path}: expected one line of text")
    return secret
