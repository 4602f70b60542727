"""Neutron's security groups: which echo requests they admit, by a full list, and by what changed since."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from sys import intern

import msgspec

from fping_exporter.cloud.neutron_lists import GroupEntry
from fping_exporter.cloud.ports import KnownPorts, MergedPorts
from fping_exporter.cloud.unreadable import Unreadable
from fping_exporter.model import Family, SecurityRule

__all__ = ["SecurityGroups", "know_security_groups", "merge_security_groups"]


class SecurityGroups(msgspec.Struct, frozen=True, kw_only=True):
    """What the security groups let in; the fields are those of Topology, `names` its `group_names`."""

    rules: Mapping[str, tuple[SecurityRule, ...]] = {}
    names: Mapping[str, str] = {}
    members: Mapping[str, frozenset[str]] = {}
    address_groups: Mapping[str, tuple[str, ...]] = {}
    date: float | None = None
    """Unix time of the last answer, by Neutron's clock; None where it does not say."""

    @property
    def names_address_groups(self) -> bool:
        """Whether a rule names an address group."""
        return any(rule.address_group for rules in self.rules.values() for rule in rules)


Rules = Mapping[str, tuple[SecurityRule, ...]]


def know_security_groups(
    ports: KnownPorts, groups: Collection[GroupEntry], *, date: float | None
) -> SecurityGroups:
    """Return what a full list of `groups` tells, without address groups."""
    rules = _read_rules(groups)
    members = _members(ports, _named_groups(rules))
    return SecurityGroups(rules=rules, names=_read_names(groups), members=members, date=date)


def merge_security_groups(
    known: SecurityGroups,
    ports: MergedPorts,
    changed_groups: Collection[GroupEntry],
    unreadable: Iterable[Unreadable],
    *,
    date: float | None,
) -> SecurityGroups:
    """Return the `known` groups with those that changed since, `changed_groups`.

    Neutron counts a rule that is new or deleted as a change of its group. An address that has left a group
    stays among its members until the next full list: then a ping is not called blocked that may be let in.
    """
    changed = _read_rules(changed_groups)
    lost = [each.known_id for each in unreadable]
    rules = {**known.rules, **changed}
    for id_ in lost:
        rules.pop(id_ or "", None)
    if None in lost:  # it may be any of them
        rules = {}
    members = _with_new_members(known.members, ports)
    if new := _named_groups(changed) - members.keys():
        members |= _members(ports.known, new)
    names = {**known.names, **_read_names(changed_groups)}
    return SecurityGroups(rules=rules, names=names, members=members, date=date)


def _with_new_members(members: Mapping[str, frozenset[str]], ports: MergedPorts) -> dict[str, frozenset[str]]:
    """Return the members with the addresses of ports that changed, without groups that are unknown now."""
    if not ports.known.groups_known:
        return {}
    found: dict[str, set[str]] = {}
    for port in ports.changed:
        for group in port.value.security_groups or ():
            found.setdefault(group, set()).update(port.value.subnets, port.pairs)
    merged = dict(members)
    for group, addresses in found.items():
        if group in merged and not addresses <= merged[group]:
            merged[group] |= addresses
    for fragments in ports.unreadable:
        for group in list(merged) if fragments.groups is None else fragments.groups:
            merged.pop(group, None)
    return merged


def _named_groups(rules: Rules) -> set[str]:
    return {rule.group for of_group in rules.values() for rule in of_group if rule.group}


def _members(ports: KnownPorts, groups: Iterable[str]) -> dict[str, frozenset[str]]:
    """Return the addresses in those of `groups` of which all ports are known."""
    if not ports.complete or not ports.groups_known:
        return {}
    members: dict[str, set[str]] = {group: set() for group in groups}
    for unreadable in ports.unreadable:
        for group in list(members) if unreadable.groups is None else unreadable.groups:
            members.pop(group, None)
    for port in ports.by_id.values():
        for group in port.security_groups or ():
            if group in members:
                members[group].update(port.subnets, ports.pairs.get(port.id, ()))
    return {group: frozenset(addresses) for group, addresses in members.items()}


_ANY = frozenset({"", "any", "0"})
_ICMP = frozenset({"icmp", "1", "icmpv6", "ipv6-icmp", "58"})
"""Neutron accepts IPv4's names for IPv6 rules too; each family has only one ICMP."""
_ECHO_TYPE: Mapping[Family, int] = {4: 8, 6: 128}


def _read_rules(groups: Iterable[GroupEntry]) -> Rules:
    """Return those rules of each group that admit echo requests from at least one sender, by its id."""
    return {intern(group.id): tuple(_echo_rules(group)) for group in groups}


def _read_names(groups: Iterable[GroupEntry]) -> dict[str, str]:
    return {intern(group.id): intern(group.name) for group in groups if group.name}


def _echo_rules(group: GroupEntry) -> Iterator[SecurityRule]:
    for rule in group.security_group_rules:
        if rule.direction != "ingress":
            continue
        family: Family = 6 if rule.ethertype.lower() == "ipv6" else 4
        protocol = str(rule.protocol if rule.protocol is not None else "").lower()
        if protocol in _ICMP:
            # In ICMP rules the two ports are not a range, but the type and the code.
            if rule.port_range_min not in {None, _ECHO_TYPE[family]} or rule.port_range_max not in {None, 0}:
                continue
        elif protocol not in _ANY:
            continue
        yield SecurityRule(
            family=family,
            prefix=intern(rule.remote_ip_prefix) if rule.remote_ip_prefix else None,
            group=rule.remote_group_id and intern(rule.remote_group_id),
            address_group=rule.remote_address_group_id,
            id=rule.id,
        )
