"""Instances by what people call them: id, name or address."""

import ipaddress
from collections.abc import Collection, Mapping, Sequence

from fping_exporter.errors import AmbiguousInstanceError, UnknownInstanceError
from fping_exporter.model import Instance, Inventory
from fping_exporter.text import printable

__all__ = ["find_instance", "find_instances"]

_MAX_CANDIDATES = 10
"""Candidates that an error names."""
_MAX_TEXT = 60
"""Characters of a text or a name that an error shows."""


def find_instance(text: str, inventory: Inventory) -> Instance:
    """Return the instance that `text` means; see :func:`find_instances`."""
    [found] = find_instances([text], inventory)
    return found


def find_instances(texts: Sequence[str], inventory: Inventory) -> list[Instance]:
    """Return the instances that `texts` mean, in their order, each once.

    A text is an id, else a name or an address in any notation of :mod:`ipaddress`. Tenants choose names: one
    that is another instance's address means neither of the two. Ids and names are compared as they stand. An
    id is not abbreviated: OpenStack's own commands take none either, and every output has it whole.

    Raises UnknownInstanceError for a text that means no instance, and AmbiguousInstanceError for one that
    means several.
    """
    wanted = set(texts) - {""}  # a name is empty if it is not known
    ips = {text: ip for text in wanted if (ip := _canonical(text))}
    wanted_ips = set(ips.values())
    by_id: dict[str, Instance] = {}
    by_name: dict[str, list[Instance]] = {}
    by_ip: dict[str, list[Instance]] = {}
    for instance in inventory.instances:
        if instance.id in wanted:
            by_id[instance.id] = instance
        if instance.name in wanted:
            by_name.setdefault(instance.name, []).append(instance)
        if wanted_ips:
            for ip in wanted_ips.intersection(each.ip for each in instance.addresses):
                by_ip.setdefault(ip, []).append(instance)
    found: dict[str, Instance] = {}
    for text in texts:
        if text in by_id:
            instance = by_id[text]
        else:
            called = {"name": by_name.get(text, ()), "address": by_ip.get(ips.get(text, ""), ())}
            instance = _only_one(text, called, inventory)
        found[instance.id] = instance
    return list(found.values())


def _only_one(text: str, called: Mapping[str, Collection[Instance]], inventory: Inventory) -> Instance:
    """Return the only instance that was found; raise UnknownInstanceError or AmbiguousInstanceError else.

    `called` are the instances of which `text` is the name, and the address.
    """
    found = {each.id: each for instances in called.values() for each in instances}
    if not found:
        raise UnknownInstanceError(f"no instance has the id, the name or the address {_shown(text)!r}")
    if len(found) == 1:
        [instance] = found.values()
        return instance
    kinds = " or the ".join(kind for kind, instances in called.items() if instances)
    candidates = sorted(
        found.values(), key=lambda each: (inventory.project_name(each.project_id), each.name, each.id)
    )
    named = [_described(each, inventory) for each in candidates[:_MAX_CANDIDATES]]
    if len(candidates) > _MAX_CANDIDATES:
        named.append(f"and {len(candidates) - _MAX_CANDIDATES} more")
    raise AmbiguousInstanceError(
        f"{len(candidates)} instances have the {kinds} {_shown(text)!r}; give the id of one: "
        f"{', '.join(named)}",
        ids=tuple(each.id for each in candidates[:_MAX_CANDIDATES]),
    )


def _described(instance: Instance, inventory: Inventory) -> str:
    project = inventory.project_name(instance.project_id)
    return f"{_shown(instance.id)} ({_shown(project)}/{_shown(instance.name)})"


def _shown(text: str) -> str:
    """Return a text of a user's or a tenant's as an error shows it."""
    text = printable(text)
    return text if len(text) <= _MAX_TEXT else f"{text[: _MAX_TEXT - 3]}..."


def _canonical(text: str) -> str | None:
    """Return an address in the form that instances have it in; None if `text` is none."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return None
