"""The addresses of an instance: whose each is, from where it is asked or why not, and what came of it."""

from collections.abc import Collection, Iterator

from fping_exporter.explanation import icmp_errors
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.explanation.layer2 import explain_layer2
from fping_exporter.explanation.security import explain_security
from fping_exporter.explanation.values import AddressFacts, Claimant, IcmpErrorFacts, Layer2Facts
from fping_exporter.model import LOCAL, Address, AddressKind, IcmpError, Port, Probed, Target, Verdict
from fping_exporter.verdict.host_addresses import is_host_address
from fping_exporter.verdict.ownership import AddressOwners
from fping_exporter.verdict.plan import networks_from_local, port_of

__all__ = ["explain_addresses"]


_MOST_OTHERS = 10
"""Others that may have an address and are named: where networks overlap, there may be thousands."""


def explain_addresses(verdict: Verdict, evidence: Evidence) -> tuple[AddressFacts, ...]:
    """Explain each address that Nova lists, in Nova's order."""
    addresses = _Addresses(verdict, evidence)
    return tuple(map(addresses.explain, verdict.instance.addresses))


class _Addresses:
    def __init__(self, verdict: Verdict, evidence: Evidence) -> None:
        self._verdict = verdict
        self._evidence = evidence
        self._topology = evidence.inventory.topology
        self._networks = networks_from_local(self._topology, evidence.probe)
        self._owners = AddressOwners([verdict.instance], self._topology, networks=self._networks)
        self._probed = {each.address: each for each in verdict.probed}

    def explain(self, address: Address) -> AddressFacts:
        evidence, topology = self._evidence, self._topology
        probed = self._probed.get(address)
        target = probed.target if probed else None
        outcome = probed.outcome if probed else None
        port = port_of(self._verdict.instance, address, topology)
        source = evidence.sources.get(target) if target else None
        others = self._others(address, target)
        return AddressFacts(
            ip=address.ip,
            kind=address.kind,
            network=address.network,
            network_id=(port.network_id if port and address.kind is AddressKind.FIXED else "") or None,
            port_id=(port.id if port else "") or None,
            mac=(port.mac if port else address.mac) or None,
            owner=self._owner(address, probed, others),
            others=tuple(self._claimants(sorted(others)[:_MOST_OTHERS])),
            others_count=len(others),
            vantage=target.vantage if target else None,
            why_not_asked=None if outcome else self._why_not_asked(address, probed, port),
            source=source,
            sent=outcome.sent if outcome else None,
            received=outcome.received if outcome else None,
            rtt_seconds=outcome.rtt if outcome else None,
            icmp_error=_explain_error(outcome.error, address) if outcome and outcome.error else None,
            security=explain_security(port, source, topology),
            layer2=explain_layer2(self._verdict, probed, evidence.sweep.layer2, topology)
            if evidence.packets_kept
            else Layer2Facts(asked=False, alive=None, mac=None, text="not known: it is not kept"),
        )

    def _others(self, address: Address, target: Target | None) -> frozenset[str]:
        """Return who else may answer: in a network's own namespace nobody can."""
        if target and target.vantage != LOCAL:
            return frozenset()
        return self._owners.others(self._verdict.instance.id, address)

    def _claimants(self, ids: Collection[str]) -> Iterator[Claimant]:
        if ids:
            names = {each.id: each.name for each in self._evidence.inventory.instances if each.id in ids}
            for id_ in ids:
                yield Claimant(id_, names.get(id_) or None)

    def _owner(self, address: Address, probed: Probed | None, others: Collection[str]) -> str:
        if probed and probed.target and probed.target.vantage != LOCAL:
            return "this instance: addresses are unique in its network"
        if others:
            return "not this instance alone: others may have it too"
        only = self._owners.is_only_owner(self._verdict.instance.id, address)
        if not only or (probed and probed.ambiguous):
            return "not known: a port or a floating IP that cannot be read may have it"
        if self._owners.known_to_neutron(address):
            return "this instance alone, by Neutron"
        return "this instance alone, by Nova's list; Neutron does not say"

    def _why_not_asked(self, address: Address, probed: Probed | None, port: Port | None) -> str:
        if probed is None:
            return self._why_not_planned(address)
        if probed.ambiguous:
            return "nothing tells whose the answer would be"
        if probed.target is None:
            return self._why_no_vantage(address, port)
        if not self._evidence.packets_kept:
            return "what came of the packets is not kept"
        why = self._evidence.sweep.unsent.get(probed.target)
        return f"nothing could be sent to it: {why}" if why else "nothing could be sent to it"

    def _why_not_planned(self, address: Address) -> str:
        probe = self._evidence.probe
        if address.family not in probe.families:
            return f"IPv{address.family} is not asked (probe.families)"
        if probe.addresses not in ("all", address.kind):
            return f"{address.kind} addresses are not asked (probe.addresses: {probe.addresses})"
        if not is_host_address(address.ip):
            return "it is none that a guest can have"
        own = "one of this host's own, or a broadcast address"
        # Of one that is another member's part, the merged verdict has no plan, as if it had no such address.
        may_be_anothers = self._verdict.witnesses or self._verdict.alive is None
        if may_be_anothers and not self._verdict.probed:
            return f"this exporter leaves it to another one, or it is {own}"
        return f"it is {own}"

    def _why_no_vantage(self, address: Address, port: Port | None) -> str:
        if address.kind is AddressKind.FLOATING:
            return "floating addresses are pinged from local, which is not in probe.vantages"
        if self._networks is None:
            return "no place to ping it from is known"
        if port is None:
            return "Neutron does not tell its network, so no place to ping it from is known"
        host = self._verdict.instance.host
        elsewhere = f"; some of these serve guests of their own host only, and this one is on {host}"
        return (
            f"this host has no namespace of network {port.network_id} and its routers that may be used "
            f"(probe.vantages){elsewhere if host else ''}; and local does not reach it (probe.local_networks)"
        )


def _explain_error(error: IcmpError, address: Address) -> IcmpErrorFacts:
    return IcmpErrorFacts(
        sender=error.sender or None,
        type=error.type,
        code=error.code,
        meaning=icmp_errors.describe(error, address.family),
    )
