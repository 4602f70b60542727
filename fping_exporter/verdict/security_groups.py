"""Whether Neutron's security groups let an echo request in."""

import ipaddress
from collections.abc import Iterable

from fping_exporter.model import Family, Port, SecurityRule, Topology, family_of

__all__ = ["blocks_echo"]


def blocks_echo(port: Port, *, sender: str, topology: Topology) -> bool:
    """Whether no rule of the port's groups admits an echo request from the address `sender`.

    What is not known, be it a group, its members or an address group, is taken to admit it: then
    nothing is claimed.
    """
    if port.security_groups is None:
        return False
    family = family_of(sender)
    for group in port.security_groups:
        rules = topology.rules.get(group)
        if rules is None or any(_admits(rule, family, sender, topology) for rule in rules):
            return False
    return True


def _admits(rule: SecurityRule, family: Family, sender: str, topology: Topology) -> bool:
    if rule.family != family:
        return False
    if rule.prefix is not None and not _is_in_any(sender, [rule.prefix]):
        return False
    if rule.group is not None:
        members = topology.members.get(rule.group)
        return members is None or sender in members or _is_in_any(sender, (m for m in members if "/" in m))
    if rule.address_group is not None:
        addresses = topology.address_groups.get(rule.address_group)
        return addresses is None or _is_in_any(sender, addresses)
    return True


def _is_in_any(sender: str, networks: Iterable[str]) -> bool:
    address = ipaddress.ip_address(sender)
    return any(address in ipaddress.ip_network(network, strict=False) for network in networks)
