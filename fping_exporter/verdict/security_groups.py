"""Whether Neutron's security groups let an echo request in, and which rule decides."""

import ipaddress
from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from fping_exporter.model import Family, Port, SecurityRule, Topology, family_of

__all__ = ["Decision", "Filtering", "blocks_echo", "decide"]


class Filtering(StrEnum):
    """What the security groups of a port do with an echo request."""

    ADMITTED = "admitted"
    BLOCKED = "blocked"
    """No rule of any of its groups admits it."""
    UNKNOWN = "unknown"
    """A group, the members of a group or an address group is not known, or there may be no filter at all."""


class Decision(NamedTuple):
    """What the security groups of a port do with an echo request, and why."""

    filtering: Filtering
    group: str = ""
    """Id of the group whose rule admits it, or of which something is not known."""
    rule: SecurityRule | None = None
    """The rule that admits it, or that would if what it names were known."""


def blocks_echo(port: Port, *, sender: str, topology: Topology) -> bool:
    """Whether no rule of the port's groups admits an echo request from the address `sender`.

    What is not known, be it a group, its members or an address group, is taken to admit it: then
    nothing is claimed.
    """
    return decide(port, sender=sender, topology=topology).filtering is Filtering.BLOCKED


def decide(port: Port, *, sender: str, topology: Topology) -> Decision:
    """Return what the port's groups do with an echo request from the address `sender`.

    A rule that certainly admits it goes before one of which that is not known.
    """
    if port.security_groups is None:
        return Decision(Filtering.UNKNOWN)
    family = family_of(sender)
    unknown: Decision | None = None
    for group in port.security_groups:
        rules = topology.rules.get(group)
        if rules is None:
            unknown = unknown or Decision(Filtering.UNKNOWN, group)
            continue
        for rule in rules:
            admits = _admits(rule, family, sender, topology)
            if admits:
                return Decision(Filtering.ADMITTED, group, rule)
            if admits is None:
                unknown = unknown or Decision(Filtering.UNKNOWN, group, rule)
    return unknown or Decision(Filtering.BLOCKED)


def _admits(rule: SecurityRule, family: Family, sender: str, topology: Topology) -> bool | None:
    """Whether a rule admits an echo request; None where what it names is not known."""
    if rule.family != family:
        return False
    if rule.prefix is not None and not _is_in_any(sender, [rule.prefix]):
        return False
    if rule.group is not None:
        members = topology.members.get(rule.group)
        if members is None:
            return None
        return sender in members or _is_in_any(sender, (m for m in members if "/" in m))
    if rule.address_group is not None:
        addresses = topology.address_groups.get(rule.address_group)
        return None if addresses is None else _is_in_any(sender, addresses)
    return True


def _is_in_any(sender: str, networks: Iterable[str]) -> bool:
    address = ipaddress.ip_address(sender)
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
