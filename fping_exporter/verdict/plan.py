"""Which addresses are asked, and the vantage from which each is reached."""

from collections.abc import Collection, Iterator, Mapping

from fping_exporter import config
from fping_exporter.hosts import is_loopback, same_host
from fping_exporter.model import LOCAL, Address, AddressKind, Instance, Port, Probed, Target, Topology
from fping_exporter.probe.routing import RoutingTable
from fping_exporter.verdict.host_addresses import is_host_address
from fping_exporter.verdict.instance_errors import InstanceErrors
from fping_exporter.verdict.ownership import AddressOwners

__all__ = ["Plan", "networks_from_local", "plan", "port_of", "unknown"]

Plan = Mapping[str, tuple[Probed, ...]]
"""The addresses of each instance that are asked, by the instance's id."""

Vantages = Mapping[str, RoutingTable | None]
"""What each vantage of this host has, by its name; None: it cannot be entered."""

_LOCAL_UNKNOWN: Vantages = {LOCAL: RoutingTable()}


def plan(
    instances: Collection[Instance],
    topology: Topology,
    probe: config.Probe,
    *,
    vantages: Vantages = _LOCAL_UNKNOWN,
    host: str = "",
    errors: InstanceErrors | None = None,
) -> Plan:
    """Choose the targets of every instance, whatever Nova calls its state.

    An address is asked in the first of these that is on this host and has a way there: the namespace of
    its network (``qdhcp``, then ``ovnmeta``), that of a router with an interface in its subnet (``qrouter``,
    then ``snat``), and ``local`` if it is a floating address or in a network that is reached from there.
    ``ovnmeta`` and the routers that every host has a part of reach the guests on the same host only, which
    is `host`. Neutron's ports tell the network of an address: Nova's names of networks are not unique.

    An address that can be no guest's, or is one of the vantage's own, is left out. One that somebody else may
    answer for is ambiguous, and not asked: in a namespace addresses are unique, as Neutron sees to it; from
    ``local`` several networks may be reached.

    `errors` gets the instances that cannot be planned because of a bug. None of their addresses is asked.
    """
    errors = errors or InstanceErrors()
    networks = networks_from_local(topology, probe)
    choose = _VantageChooser(topology, probe, vantages=vantages, networks=networks, host=host)
    owners = AddressOwners(instances, topology, networks=networks)

    def plan_one(instance: Instance) -> tuple[Probed, ...]:
        try:
            return tuple(
                [
                    probed
                    for address in instance.addresses
                    if address.family in probe.families
                    and probe.addresses in ("all", address.kind)
                    and (probed := _probed(instance, address, choose, owners))
                ]
            )
        except Exception as error:  # noqa: BLE001, a bug costs one instance
            errors.note(instance, error)
            return unknown(instance)

    return {instance.id: plan_one(instance) for instance in instances}


def unknown(instance: Instance) -> tuple[Probed, ...]:
    """Return the plan of an instance of which nothing can be known: none of its addresses is asked."""
    return tuple([Probed(address, None) for address in instance.addresses])


def _probed(
    instance: Instance, address: Address, choose: "_VantageChooser", owners: AddressOwners
) -> Probed | None:
    """Return how an address is asked; None where it counts as no address."""
    ip = address.ip
    if is_host_address(ip):
        vantage = choose.vantage(instance, address)
        if vantage and choose.is_own(vantage, ip):
            return None
    elif choose.loopback and is_loopback(ip):  # it is this machine's own, and stands for a guest's
        vantage = LOCAL if choose.local else None
    else:
        return None
    if vantage is None:
        return Probed(address, None)
    if vantage == LOCAL and not owners.is_only_owner(instance.id, address):
        return Probed(address, None, ambiguous=True)
    return Probed(address, Target(vantage, ip))


def port_of(instance: Instance, address: Address, topology: Topology) -> Port | None:
    """Return the port that has the address, or to which it is mapped; None if it is not known."""
    ports = topology.ports.get(instance.id, ())
    if address.mac:
        ports = tuple(port for port in ports if port.mac == address.mac)
    having = [port for port in ports if address.ip in port.subnets]
    if having:
        return having[0]
    return ports[0] if address.kind is AddressKind.FLOATING and address.mac and ports else None


class _VantageChooser:
    """Chooses the vantage for each address of a plan."""

    def __init__(
        self,
        topology: Topology,
        probe: config.Probe,
        *,
        vantages: Vantages,
        networks: Collection[str] | None,
        host: str,
    ) -> None:
        """`networks` are the ids of those that are reached from ``local``; None: all."""
        self._topology = topology
        self.local = LOCAL in probe.kinds
        """Whether the exporter's own namespace is a vantage."""
        self.loopback = topology.loopback
        """Whether guests may be at loopback addresses."""
        self._vantages = vantages
        self._networks = networks
        self._host = host
        self._has_route: dict[tuple[str, str], bool] = {}
        """By vantage and subnet: a route is one for all addresses of a subnet."""
        self._by_mac: dict[str, list[str]] = {}
        """Namespaces of OVN's metadata agents by the MAC addresses of their interfaces."""
        for name, table in vantages.items():
            if table and name.startswith("ovnmeta-"):
                for mac in table.macs:
                    self._by_mac.setdefault(mac, []).append(name)

    def vantage(self, instance: Instance, address: Address) -> str | None:
        """Return the vantage for an address of an instance; None if there is none here.

        Where namespaces are there, but none can be entered, the first of them is returned: nothing can be
        sent from it, which is logged and counted as the vantage's fault.
        """
        if self._networks is None:
            return LOCAL
        floating = address.kind is AddressKind.FLOATING
        port = None if floating else port_of(instance, address, self._topology)
        closed = None
        if port:
            here = same_host(instance.host, self._host)
            for name in self._candidates(port, port.subnets[address.ip], here=here):
                if self._leads_to(name, port.subnets[address.ip], address.ip):
                    return name
                if self._vantages[name] is None:
                    closed = closed or name
        if self.local and (floating or (port and port.network_id in self._networks)):
            return LOCAL
        return closed

    def is_own(self, vantage: str, ip: str) -> bool:
        """Whether an address is one of the vantage's own, or a broadcast address there."""
        table = self._vantages.get(vantage)
        return table is not None and table.is_own(ip)

    def _leads_to(self, name: str, subnet: str, ip: str) -> bool:
        known = self._has_route.get((name, subnet))
        if known is None:
            table = self._vantages[name]
            known = self._has_route[name, subnet] = table is not None and table.has_route(ip)
        return known

    def _candidates(self, port: Port, subnet: str, *, here: bool) -> Iterator[str]:
        """Yield the namespaces of this host that are in the port's network or subnet, best first."""
        there = self._vantages
        network, topology = port.network_id, self._topology
        if (name := f"qdhcp-{network}") in there:
            yield name
        if here:
            if (name := f"ovnmeta-{network}") in there:
                yield name
            yield from self._by_metadata_port(network)
        routers = topology.routers.get(subnet, ())
        for router in routers:
            if (here or router not in topology.distributed) and (name := f"qrouter-{router}") in there:
                yield name
        for router in routers:
            if (name := f"snat-{router}") in there:
                yield name

    def _by_metadata_port(self, network: str) -> Iterator[str]:
        """Yield the namespaces whose interface is the network's metadata port, whatever they are called.

        Before Neutron 19 (Xena) their names had the id of OVN's datapath instead of the network's.
        """
        for port in self._topology.metadata_ports.get(network, ()):
            for name in self._by_mac.get(port.mac, ()):
                table = self._vantages[name]
                if table and not table.own.isdisjoint(port.subnets):
                    yield name


def networks_from_local(topology: Topology, probe: config.Probe) -> frozenset[str] | None:
    """Return the ids of the networks that are reached from ``local``; None: all of them.

    A name stands for networks that are shared or external, as any project may give a network of
    its own that name.
    """
    if probe.all_from_local:
        return None
    given = probe.local_networks
    return frozenset(
        network.id
        for network in topology.networks.values()
        if (
            network.external
            if given is None
            else network.id in given or (network.name in given and (network.shared or network.external))
        )
    )
