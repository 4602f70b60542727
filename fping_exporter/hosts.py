"""Names of hosts: one of two names of the same host may lack the domain."""

import socket
from collections.abc import Mapping
from typing import Generic, TypeVar

__all__ = ["Hosts", "own_host", "same_host"]

T = TypeVar("T")


def own_host(configured: str | None) -> str:
    """Return the name of the exporter's host: the `configured` one, unless that is None or ``self``."""
    return socket.gethostname() if configured in (None, "self") else configured


def same_host(one: str, other: str) -> bool:
    """Whether two names are of one host; a short name fits any domain."""
    one, other = one.lower(), other.lower()
    if "." in one and "." in other:
        return one == other
    return one.partition(".")[0] == other.partition(".")[0] != ""


class Hosts(Generic[T]):
    """Values by host, found by short name or FQDN, whichever of them each was stored under."""

    def __init__(self, known: Mapping[str, T]) -> None:
        """Store the value of each host."""
        self._known = {host.lower(): value for host, value in known.items()}
        self._short: dict[str, list[T]] = {}
        for host, value in self._known.items():
            self._short.setdefault(host.partition(".")[0], []).append(value)

    def find(self, host: str, *, default: T) -> T:
        """Return the value of `host`; `default` where it has none, or a short name fits several hosts."""
        host = host.lower()
        if host in self._known:
            return self._known[host]
        short, dot, _domain = host.partition(".")
        if dot:  # an FQDN of another domain is another host
            return self._known.get(short, default)
        values = self._short.get(short, [])
        return values[0] if len(values) == 1 else default
