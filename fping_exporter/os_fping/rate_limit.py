"""Limits on requests, counted over moving windows. Threads share them."""

import ipaddress
import math
import time

import limits
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from fping_exporter.errors import RateLimitError

__all__ = ["RateLimits", "client_network"]

_IPV6_PREFIX = 64
"""One host or customer usually has a whole /64 to choose its addresses from."""


class RateLimits:
    """Counts requests by limit and key, such as a user; a key without recent requests takes no memory."""

    def __init__(self) -> None:
        """Begin with no requests."""
        self._counts = MovingWindowRateLimiter(MemoryStorage())

    def count(self, limit: str, key: str, *, what: str) -> None:
        """Count one request of `key`; raise RateLimitError where `limit`, such as ``12/hour``, is used up.

        A refused request does not count. `what` is limited, as the error's text says.
        """
        item = limits.parse(limit)
        if self._counts.hit(item, key):
            return
        reset_at = self._counts.get_window_stats(item, key).reset_time
        raise RateLimitError(
            f"{what} was rate-limited: {item} are allowed.",
            retry_after=max(1, math.ceil(reset_at - time.time())),
        )


def client_network(address: str) -> str:
    """Return the key of a client: its IPv4 address, or the /64 network of its IPv6 address.

    What is no IP address, such as the empty text of a unix socket, stays as it is.
    """
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        ip = ip.ipv4_mapped or ip
    if ip.version == 4:  # noqa: PLR2004, the IP version
        return str(ip)
    return str(ipaddress.ip_network((int(ip), _IPV6_PREFIX), strict=False))
