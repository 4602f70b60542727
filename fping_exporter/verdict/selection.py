"""Which instances are selected: the include and exclude rules of the configuration."""

import fnmatch
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from itertools import compress, filterfalse
from operator import attrgetter, is_not

import msgspec

from fping_exporter import config
from fping_exporter.config import patterns
from fping_exporter.model import Instance, Inventory
from fping_exporter.verdict.ownership import Claims

__all__ = ["Selector", "select"]

Test = Callable[[Instance], bool]


def select(inventory: Inventory, instances: config.Instances) -> Inventory:
    """Return the inventory with only the instances that the rules select; see :class:`Selector`."""
    return Selector(instances)(inventory)


class Selector:
    """Selects the instances of one list after the other; those that did not change are looked at once.

    An instance did not change if it is the same object as in the list before.
    """

    def __init__(self, instances: config.Instances) -> None:
        """Select by the rules of `instances`."""
        self._rules = instances
        self._project_names: Mapping[str, str] = {}
        self._known: dict[str, Instance] = {}
        self._left_out: set[str] = set()
        self._claims = Claims()

    def __call__(self, inventory: Inventory) -> Inventory:
        """Return the inventory with only the instances that the rules select.

        Addresses that others share with them stay known as such (`Topology.claims`).
        """
        names = {project.id: project.name for project in inventory.projects.values()}
        # No step of this is Python code that runs once for each instance: there may be 100,000.
        instances = inventory.instances
        ids = list(map(attrgetter("id"), instances))
        before, known = self._known, dict(zip(ids, instances, strict=True))
        changed = list(compress(instances, map(is_not, instances, map(before.get, ids))))
        self._known = known
        self._claims.remove(before[id_] for id_ in filterfalse(known.__contains__, before))
        self._claims.remove(before[instance.id] for instance in changed if instance.id in before)
        self._claims.add(changed)

        taken = inventory.instances
        if self._rules.include or self._rules.exclude:
            if names != self._project_names:
                changed, self._project_names = list(taken), names
            self._left_out &= known.keys()
            self._left_out.difference_update(instance.id for instance in changed)
            self._left_out.update(instance.id for instance in self._exclude(changed))
            taken = tuple(instance for instance in taken if instance.id not in self._left_out)
        claims = dict(self._claims.of_several)
        for ip, several in inventory.topology.claims.items():  # of servers that cannot be read
            claims[ip] = claims.get(ip, frozenset()) | several
        topology = msgspec.structs.replace(inventory.topology, claims=claims)
        return msgspec.structs.replace(inventory, instances=taken, topology=topology)

    def _exclude(self, instances: Iterable[Instance]) -> Iterable[Instance]:
        include = [_compile(rule, self._project_names) for rule in self._rules.include]
        exclude = [_compile(rule, self._project_names) for rule in self._rules.exclude]
        return (
            instance
            for instance in instances
            if (include and not any(rule(instance) for rule in include))
            or any(rule(instance) for rule in exclude)
        )


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
