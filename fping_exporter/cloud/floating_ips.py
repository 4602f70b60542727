"""Neutron's floating IPs: to which instance each is mapped, by a full list, and by what changed since."""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

import msgspec

from fping_exporter.cloud.neutron_lists import FloatingIpEntry
from fping_exporter.cloud.ports import KnownPorts, is_of_instance
from fping_exporter.cloud.unreadable import Unreadable
from fping_exporter.cloud.unreadable_ports import read_floating_address

__all__ = ["FloatingAddresses", "find_addresses", "know_floating_ips", "merge_floating_ips"]


class FloatingAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """What Neutron maps its floating addresses to."""

    instances: Mapping[str, tuple[str, ...]] = {}
    """As ``Topology.floating``."""
    public: Mapping[str, Mapping[str, str]] = {}
    """As in :class:`fping_exporter.model.Topology`."""
    by_id: Mapping[str, FloatingIpEntry] = {}
    unreadable: frozenset[str] = frozenset()
    """Addresses of floating IPs that cannot be read otherwise."""
    complete: bool = True
    """Whether the address of every floating IP could be read."""
    date: float | None = None
    """Unix time of the last answer, by Neutron's clock; None where it does not say."""


def know_floating_ips(
    ports: KnownPorts,
    listed: Iterable[FloatingIpEntry],
    unreadable: Iterable[Unreadable],
    *,
    date: float | None,
) -> FloatingAddresses:
    """Return what a full list tells."""
    addresses = [read_floating_address(each.entry) for each in unreadable]
    empty = FloatingAddresses(
        unreadable=frozenset(filter(None, addresses)), complete=all(addresses), date=date
    )
    return _mapped(empty, ports, {each.id: each for each in listed})


def find_addresses(known: FloatingAddresses, ports: KnownPorts, instances: AbstractSet[str]) -> set[str]:
    """Return the floating addresses that some instances had, or have as the owners of their ports now."""
    had = {ip for id_ in instances for ip in known.public.get(id_, {}).values()}
    return had.union(
        each.floating_ip_address
        for each in (known.by_id.values() if instances else ())
        if each.port_id and (port := ports.by_id.get(each.port_id)) and port.device in instances
    )


def merge_floating_ips(
    known: FloatingAddresses,
    ports: KnownPorts,
    listed: Iterable[FloatingIpEntry],
    unreadable: Iterable[Unreadable],
    *,
    looked_up: AbstractSet[str] = frozenset(),
    date: float | None,
) -> FloatingAddresses:
    """Return the `known` floating IPs with those that were `listed` since, mapped to the `ports` of now.

    In an external network, an address is one floating IP's only: an older one that had it was deleted. Of the
    addresses that were `looked_up`, the listed floating IPs are all there are.
    """
    changed = {each.id: each for each in listed}
    taken = {(each.floating_ip_address, each.floating_network_id) for each in changed.values()}
    faults = list(unreadable)
    lost = {each.known_id for each in faults}
    addresses = [read_floating_address(each.entry) for each in faults]
    by_id = {
        id_: each
        for id_, each in known.by_id.items()
        if (each.floating_ip_address, each.floating_network_id) not in taken
        and each.floating_ip_address not in looked_up
        and id_ not in lost
    }
    merged = msgspec.structs.replace(
        known,
        unreadable=known.unreadable.union(filter(None, addresses)),
        complete=known.complete and all(addresses),
        date=date,
    )
    return _mapped(merged, ports, by_id | changed)


def _mapped(
    known: FloatingAddresses, ports: KnownPorts, by_id: Mapping[str, FloatingIpEntry]
) -> FloatingAddresses:
    """Return the floating IPs `by_id`, each mapped to the instance that has its port.

    It is mapped to an empty text if it is none's, or it cannot be read whose. Two external networks may have
    the same address, and one fixed address may be mapped to in both: then the lower one is its public one.
    """
    port_by_id = ports.by_id
    instances: dict[str, tuple[str, ...]] = {}
    public: dict[str, dict[str, str]] = {}
    for each in by_id.values():
        port = port_by_id.get(each.port_id) if each.port_id else None
        device = port.device if port and is_of_instance(port) else ""
        ip = each.floating_ip_address
        instances[ip] = (*instances.get(ip, ()), device)
        if device and each.fixed_ip_address:
            of_device = public.setdefault(device, {})
            of_device[each.fixed_ip_address] = min(ip, of_device.get(each.fixed_ip_address, ip))
    for ip in known.unreadable:
        instances[ip] = (*instances.get(ip, ()), "")
    return msgspec.structs.replace(known, instances=instances, public=public, by_id=by_id)
