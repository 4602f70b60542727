"""Which addresses are asked, and the vantage from which each is reached."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from fping_exporter import config
from fping_exporter.hosts import same_host
from fping_exporter.model import (
    LOCAL,
    Address,
    AddressKind,
    Instance,
    Port,
    Probed,
    Target,
    Topology,
)

__all__ = ["Plan", "plan", "port_of"]

Plan = Mapping[str, tuple[Probed, ...]]
"""The addresses of each instance that are asked, by the instance's id."""


def plan(
    instances: Iterable[Instance],
    topology: Topology,
    probe: config.Probe,
    *,
    namespaces: Collection[str] = (),
    host: str = "",
) -> Plan:
    """Choose the targets of every instance, whatever Nova calls its state.

    An address is asked in the first of these that is there: the namespace of its network
    (``qdhcp``, then ``ovnmeta``), that of a router with an interface in its subnet, and ``local`` if
    it is a floating address or in a network that is reached from there. `namespaces` are the
    names of those on this host. ``ovnmeta`` and the routers that every host has a part of reach
    the guests on the same host only, which is `host`. Neutron's ports tell the network of
    an address: Nova's names of networks are not unique.
    """
    vantage = _chooser(topology, probe, namespaces=namespaces, host=host)
    return {
        instance.id: tuple(
            Probed(address, Target(place, address.ip) if (place := vantage(instance, address)) else None)
            for address in instance.addresses
            if address.family in probe.families and probe.addresses in ("all", address.kind)
        )
        for instance in instances
    }


def port_of(instance: Instance, address: Address, topology: Topology) -> Port | None:
    """Return the port that has the address, or to which it is mapped; None if it is not known."""
    ports = topology.ports.get(instance.id, ())
    if address.mac:
        ports = tuple(port for port in ports if port.mac == address.mac)
    having = [port for port in ports if address.ip in port.subnets]
    if having:
        return having[0]
    return ports[0] if address.kind is AddressKind.FLOATING and address.mac and ports else None


Chooser = Callable[[Instance, Address], str | None]
"""Returns the vantage for an address of an instance; None if there is none here."""


def _chooser(topology: Topology, probe: config.Probe, *, namespaces: Collection[str], host: str) -> Chooser:
    local = "local" in probe.kinds
    if probe.kinds == {"local"} and probe.local_networks is None:
        return lambda _instance, _address: LOCAL
    reached = _local_networks(topology, probe.local_networks)

    def choose(instance: Instance, address: Address) -> str | None:
        floating = address.kind is AddressKind.FLOATING
        port = None if floating else port_of(instance, address, topology)
        if port:
            here = same_host(instance.host, host)
            for name in _candidates(port, port.subnets[address.ip], topology, here=here):
                if name in namespaces:
                    return name
        if local and (floating or (port and port.network_id in reached)):
            return LOCAL
        return None

    return choose


def _candidates(port: Port, subnet: str, topology: Topology, *, here: bool) -> Iterator[str]:
    """Yield the namespaces that would reach an address of the port, best first."""
    yield f"qdhcp-{port.network_id}"
    if here:
        yield f"ovnmeta-{port.network_id}"
    for router in topology.routers.get(subnet, ()):
        if here or router not in topology.distributed:
            yield f"qrouter-{router}"


def _local_networks(topology: Topology, given: Collection[str] | None) -> frozenset[str]:
    """Return the ids of the networks that are reached from ``local``.

    A name stands for networks that are shared or external, as any project may give a network of
    its own that name.
    """
    return frozenset(
        network.id
        for network in topology.networks.values()
        if (
            network.external
            if given is None
            else network.id in given or (network.name in given and (network.shared or network.external))
        )
    )
