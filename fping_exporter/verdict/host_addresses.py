"""Which IP addresses can be a guest's at all."""

__all__ = ["is_host_address"]


def is_host_address(ip: str) -> bool:
    """Whether an address can be a guest's: unicast, and the same one beyond a single host or link.

    `ip` is in the canonical text form of :mod:`ipaddress`. Left out are unspecified, loopback, multicast and
    broadcast addresses, IPv6 addresses with a scope, and those that need one (link-local) or stand for others
    (``::/16``, where IPv4-mapped addresses are): this host itself answers for them, or anybody.
    """
    if ":" in ip:
        first = int(ip.partition(":")[0] or "0", 16)
        return 0 < first < _MULTICAST6 and not _LINK_LOCAL6 <= first < _AFTER_LINK_LOCAL6 and "%" not in ip
    return ip.partition(".")[0] not in _NO_HOSTS4 and ip != "255.255.255.255"


_NO_HOSTS4 = frozenset(map(str, (0, 127, *range(224, 240))))
"""First bytes of unspecified, loopback and multicast addresses, as texts, which are faster to compare."""
_MULTICAST6 = 0xFF00
_LINK_LOCAL6, _AFTER_LINK_LOCAL6 = 0xFE80, 0xFEC0
