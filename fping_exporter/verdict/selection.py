"""Which instances are selected: the include and exclude rules of the configuration."""

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping

import msgspec

from fping_exporter import config
from fping_exporter.config import patterns
from fping_exporter.model import Instance, Inventory
from fping_exporter.verdict.ownership import find_claims

__all__ = ["select"]

Test = Callable[[Instance], bool]


def select(inventory: Inventory, instances: config.Instances) -> Inventory:
    """Return the inventory with only the instances that the rules select.

    Addresses that others share with them stay known as such (`Topology.claims`).
    """
    names = {project.id: project.name for project in inventory.projects.values()}
    include = [_compile(rule, names) for rule in instances.include]
    exclude = [_compile(rule, names) for rule in instances.exclude]
    taken = tuple(
        instance
        for instance in inventory.instances
        if (not include or any(rule(instance) for rule in include))
        and not any(rule(instance) for rule in exclude)
    )
    claims = find_claims(inventory.instances)
    for ip, ids in inventory.topology.claims.items():  # of servers that cannot be read
        claims[ip] = claims.get(ip, frozenset()) | ids
    topology = msgspec.structs.replace(inventory.topology, claims=claims)
    return msgspec.structs.replace(inventory, instances=taken, topology=topology)


def _compile(rule: config.Rule, project_names: Mapping[str, str]) -> Test:
    """One test for a whole rule: all its keys must match."""
    tests = [
        test
        for test in (
            _text(rule.id, lambda i: (i.id,)),
            _text(rule.project, lambda i: (i.project_id, project_names.get(i.project_id, ""))),
            _text(rule.name, lambda i: (i.name,)),
            _text(rule.status, lambda i: (i.status,), flags=re.IGNORECASE),
            _text(rule.hypervisor, lambda i: (i.hypervisor, i.host)),
            _text(rule.availability_zone, lambda i: (i.availability_zone,)),
            _text(rule.network, lambda i: (address.network for address in i.addresses)),
            _text(rule.tag, lambda i: i.tags),
            _address(rule.address),
            *(_metadata(key, values) for key, values in (rule.metadata or {}).items()),
        )
        if test
    ]
    return lambda instance: all(test(instance) for test in tests)


def _text(
    globs: config.Patterns | None, values: Callable[[Instance], Iterable[str]], *, flags: int = 0
) -> Test | None:
    if globs is None:
        return None
    matches = _compile_globs(globs, flags=flags)
    return lambda instance: any(value and matches(value) for value in values(instance))


def _metadata(key: str, globs: config.Patterns) -> Test:
    """Return a test of one metadata key; an empty value matches like any other, an absent key never."""
    matches = _compile_globs(globs)
    return lambda instance: key in instance.metadata and bool(matches(instance.metadata[key]))


def _compile_globs(globs: config.Patterns, *, flags: int = 0) -> Callable[[str], re.Match[str] | None]:
    return re.compile("|".join(map(fnmatch.translate, patterns(globs))), flags).match


def _address(cidrs: config.Patterns | None) -> Test | None:
    if cidrs is None:
        return None
    networks = [ipaddress.ip_network(cidr) for cidr in patterns(cidrs)]
    return lambda instance: any(
        ipaddress.ip_address(address.ip) in network for address in instance.addresses for network in networks
    )
