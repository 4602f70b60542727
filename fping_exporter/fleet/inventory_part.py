"""The part of an inventory that one agent needs, and no more.

The agent plans and judges its instances by the same functions as the central. So the part holds all that
these look at for the chosen instances, and so much of other instances as tells whose answer a ping would get:
who else has the address, in which network.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from fping_exporter.model import Address, AddressKind, Instance, Inventory, Port, Topology

__all__ = ["MOST_MEMBERS", "cut"]

MOST_MEMBERS = 4096
"""Addresses in a security group, as a bound for the size of the part. The members of a larger one are left
out: then nothing is claimed of what its rules keep out."""

_T = TypeVar("_T")


def cut(
    inventory: Inventory,
    chosen: Sequence[Instance],
    *,
    hosts: Collection[str] = (),
    most_members: float = MOST_MEMBERS,
) -> Inventory:
    """Return the inventory with only the `chosen` instances, and what an agent needs to ping them.

    `inventory` is the selected one, so that its `Topology.claims` are those of all instances. Its hypervisors
    are those of the instances and those on `hosts`. Security groups with more than `most_members` addresses
    come without them. E-mail addresses of contacts and counts of unreadable entries stay with
    the central, which exports them.
    """
    projects = {instance.project_id for instance in chosen}
    hypervisors = {instance.hypervisor for instance in chosen}
    return Inventory(
        instances=tuple(chosen),
        projects=_only(inventory.projects, projects),
        hypervisors=tuple(
            each for each in inventory.hypervisors if each.name in hypervisors or each.host in hosts
        ),
        topology=_cut_topology(inventory.topology, chosen, most_members=most_members),
        parts={name: had for name, had in inventory.parts.items() if name != "contacts"},
        listed_at=inventory.listed_at,
        duration=inventory.duration,
    )


def _cut_topology(topology: Topology, chosen: Sequence[Instance], *, most_members: float) -> Topology:
    own = {instance.id for instance in chosen}
    addresses = [address for instance in chosen for address in instance.addresses]
    ips = {address.ip for address in addresses}
    ports = _only(topology.ports, own)
    claims = _only(topology.claims, ips)
    owners = {ip: tuple(map(_owner, found)) for ip, found in _only(topology.owners, ips).items()}
    own_ports = [port for found in ports.values() for port in found]
    own_networks = {port.network_id for port in own_ports}
    subnets = {subnet for port in own_ports for subnet in port.subnets.values()}
    routers = _only(topology.routers, subnets)
    rules = _only(topology.rules, (group for port in own_ports for group in port.security_groups or ()))
    named = [rule for group in rules.values() for rule in group]
    senders = [rule.group for rule in named if rule.group]
    members = _only(topology.members, senders)
    return Topology(
        ports=dict.fromkeys(_others_with_ports(claims, topology, own), ()) | ports,
        owners=owners,
        floating=_only(topology.floating, ips) | _not_floating(topology, addresses),
        public=_only(topology.public, own),
        claims=claims,
        metadata_ports={
            network: tuple(msgspec.structs.replace(port, security_groups=None) for port in found)
            for network, found in _only(topology.metadata_ports, own_networks).items()
        },
        networks=_only(
            topology.networks, own_networks | {port.network_id for found in owners.values() for port in found}
        ),
        routers=routers,
        distributed=topology.distributed.intersection(each for found in routers.values() for each in found),
        rules=rules,
        group_names=_only(topology.group_names, (*rules, *senders)),
        members={group: found for group, found in members.items() if len(found) <= most_members},
        address_groups=_only(
            topology.address_groups, (rule.address_group for rule in named if rule.address_group)
        ),
        incomplete=topology.incomplete,
        loopback=topology.loopback,
    )


def _owner(port: Port) -> Port:
    """Return what decides whose an answer is: in which network who has the address."""
    return Port(network_id=port.network_id, mac="", subnets={}, security_groups=None, device=port.device)


def _others_with_ports(
    claims: Mapping[str, frozenset[str]], topology: Topology, own: Collection[str]
) -> Iterable[str]:
    """Return the other instances that Nova lists with an address, of which Neutron knows ports.

    Neutron's word on them goes before Nova's.
    """
    return sorted({id_ for ids in claims.values() for id_ in ids if id_ not in own and id_ in topology.ports})


def _not_floating(topology: Topology, addresses: Iterable[Address]) -> dict[str, tuple[str, ...]]:
    """Return entries for the floating addresses that Neutron maps to nobody, if it tells of any.

    Without an entry, the agent would take it that Neutron told nothing, and believe Nova.
    """
    if not topology.floating:
        return {}
    return {
        address.ip: ()
        for address in addresses
        if address.kind is AddressKind.FLOATING and address.ip not in topology.floating
    }


def _only(values: Mapping[str, _T], keys: Iterable[str]) -> dict[str, _T]:
    return {key: values[key] for key in keys if key in values}
