"""What an ICMP error says, in words. Sources: RFC 792, RFC 1812 (section 5.2.7), RFC 4443 (section 3)."""

from collections.abc import Mapping

from fping_exporter.model import Family, IcmpError

__all__ = ["describe"]

_MEANINGS: Mapping[tuple[Family, int, int], str] = {
    (4, 3, 0): "network unreachable",
    (4, 3, 1): "host unreachable",
    (4, 3, 2): "protocol unreachable",
    (4, 3, 3): "port unreachable",
    (4, 3, 4): "fragmentation needed",
    (4, 3, 6): "network unknown",
    (4, 3, 7): "host unknown",
    (4, 3, 9): "network prohibited",
    (4, 3, 10): "host prohibited",
    (4, 3, 13): "prohibited by a filter",
    (4, 11, 0): "time to live exceeded, which is a routing loop as a rule",
    (6, 1, 0): "no route",
    (6, 1, 1): "prohibited by a filter",
    (6, 1, 2): "beyond the scope of the source address",
    (6, 1, 3): "address unreachable",
    (6, 1, 4): "port unreachable",
    (6, 1, 5): "source address refused by a filter",
    (6, 1, 6): "route rejected",
    (6, 3, 0): "hop limit exceeded, which is a routing loop as a rule",
}


def describe(error: IcmpError, family: Family) -> str:
    """Return what the error says; its numbers where no RFC above has words for them."""
    numbers = f"type {error.type}, code {error.code}"
    meaning = _MEANINGS.get((family, error.type, error.code))
    return f"{meaning} ({numbers})" if meaning else f"ICMP error of {numbers}"
