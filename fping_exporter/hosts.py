"""Names of hosts: the same one with its domain (FQDN) and without, and those of this machine."""

import ipaddress
import socket
from collections.abc import Mapping
from typing import Generic, TypeVar

__all__ = ["Hosts", "is_loopback", "own_host", "same_host"]

T = TypeVar("T")


def own_host(configured: str | None) -> str:
    """Return the name of the exporter's host: `configured`, or this machine's if that is None or ``self``."""
    return socket.gethostname() if configured in (None, "self") else configured


def same_host(one: str, other: str) -> bool:
    """Return whether two names can be of the same host. A short name matches any domain."""
    one, other = one.lower(), other.lower()
    if "." in one and "." in other:
        return one == other
    return one.partition(".")[0] == other.partition(".")[0] != ""


def is_loopback(host: str) -> bool:
    """Return whether an IP address is this machine's loopback; of host names only ``localhost`` counts."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Hosts(Generic[T]):
    """A mapping by host name that finds a value by short name or FQDN, whichever it was stored under."""

    def __init__(self, values: Mapping[str, T]) -> None:
        """Store the value of each host."""
        self._by_name = {host.lower(): value for host, value in values.items()}
        self._by_short_name: dict[str, list[T]] = {}
        for host, value in self._by_name.items():
            self._by_short_name.setdefault(host.partition(".")[0], []).append(value)

    def find(self, host: str, *, default: T) -> T:
        """Return the value of `host`, or `default` if it has none or a short name matches several hosts."""
        host = host.lower()
        if host in self._by_name:
            return self._by_name[host]
        short, dot, _domain = host.partition(".")
        if dot:  # the same short name with another domain is another host
            return self._by_name.get(short, default)
        values = self._by_short_name.get(short, [])
        return values[0] if len(values) == 1 else default
