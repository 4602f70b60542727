"""Whatever changes in Neutron: what is claimed between two full lists is true, and a full list agrees."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter.cloud.floating_ips import (
    FloatingAddresses,
    find_addresses,
    know_floating_ips,
    merge_floating_ips,
)
from fping_exporter.cloud.neutron_lists import FloatingIpEntry, GroupEntry, PortEntry
from fping_exporter.cloud.ports import PORTS, KnownPorts, ListedPort, know_ports, merge_ports
from fping_exporter.cloud.security_groups import (
    SecurityGroups,
    know_security_groups,
    merge_security_groups,
)
from fping_exporter.model import Instance, Topology
from fping_exporter.verdict.ownership import AddressOwners
from fping_exporter.verdict.security_groups import blocks_echo
from tests.build import address, instance
from tests.cloud.neutron import floating_ip, group, port, rule

INSTANCES = ("a", "b", "c")
NETS = ("net", "net2")
IPS = ("10.0.0.1", "10.0.0.2", "10.0.0.3")
FLOATING_IPS = ("192.0.2.1", "192.0.2.2")
GROUPS = ("g", "h")
SENDER = IPS[0]

PORT_IDS, FLOATING_IDS = st.sampled_from("123"), st.sampled_from("67")
CHANGES = st.one_of(
    st.tuples(st.just("delete port"), PORT_IDS),
    st.tuples(
        st.just("port"),
        PORT_IDS,
        st.sampled_from((*INSTANCES, "")),
        st.sampled_from(NETS),
        st.lists(st.sampled_from(IPS), max_size=2, unique=True),
        st.lists(st.sampled_from(GROUPS), max_size=2, unique=True),
    ),
    st.tuples(st.just("delete floating"), FLOATING_IDS),
    st.tuples(
        st.just("floating"),
        FLOATING_IDS,
        st.sampled_from(FLOATING_IPS),
        st.sampled_from(NETS),
        st.none() | PORT_IDS,
    ),
    st.tuples(st.just("group"), st.sampled_from(GROUPS), st.sampled_from(("", "all", *GROUPS))),
    st.tuples(st.just("refresh"), st.sampled_from([(), INSTANCES[:2], INSTANCES])),
    st.tuples(st.just("refresh"), st.just(())),
    st.just(("full",)),
)


class Truth:
    """A Neutron in which addresses are unique in each network, and what changed since it was last asked."""

    def __init__(self) -> None:
        self.ports: dict[str, dict[str, Any]] = {}
        self.floating: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {id_: group(id_) for id_ in GROUPS}
        self.changed: set[str] = set()
        self.changed_before: set[str] = set()
        """What an answer shows once more, since each question reaches back two minutes."""

    def apply(self, change: tuple[Any, ...]) -> None:
        match change:
            case ("delete port", id_):
                self.ports.pop(id_, None)
                self._disassociate(id_)
            case ("port", id_, device, net, ips, groups):
                taken = {
                    fixed["ip_address"]
                    for other in self.ports.values()
                    if other["id"] != id_ and other["network_id"] == net
                    for fixed in other["fixed_ips"]
                }
                free = [ip for ip in ips if ip not in taken]
                self.ports[id_] = port(id_, *free, device=device, network_id=net, security_groups=groups)
                self._disassociate(id_, unless=free)
                self.changed.add(id_)
            case ("delete floating", id_):
                self.floating.pop(id_, None)
            case ("floating", id_, ip, net, port_id):
                others = [each for each in self.floating.values() if each["id"] != id_]
                if any((o["floating_ip_address"], o["floating_network_id"]) == (ip, net) for o in others):
                    return
                fixed = [f["ip_address"] for f in self.ports.get(port_id, {}).get("fixed_ips", ())]
                self.floating[id_] = floating_ip(
                    id_,
                    ip,
                    port_id if fixed else None,
                    fixed_ip_address=fixed[0] if fixed else None,
                    floating_network_id=net,
                )
                self.changed.add(id_)
            case ("group", id_, admits):
                rules = [] if not admits else [rule(remote_group_id=None if admits == "all" else admits)]
                self.groups[id_] = group(id_, *rules)
                self.changed.add(id_)

    def _disassociate(self, port_id: str, *, unless: Iterable[str] = ()) -> None:
        for id_, each in self.floating.items():
            if each["port_id"] == port_id and each["fixed_ip_address"] not in unless:
                self.floating[id_] = each | {"port_id": None, "fixed_ip_address": None}
                self.changed.add(id_)

    def holders(self, ip: str, nets: Iterable[str]) -> set[str]:
        """Who has an address in one of the networks, or as a floating one."""
        having = {
            each["device_id"] or f"port {each['id']}"
            for each in self.ports.values()
            if each["network_id"] in nets and any(f["ip_address"] == ip for f in each["fixed_ips"])
        }
        mapped = {
            self.ports.get(each["port_id"], {}).get("device_id", "")
            for each in self.floating.values()
            if each["floating_ip_address"] == ip
        }
        return having | mapped


class Known(NamedTuple):
    """What the exporter knows of it."""

    ports: KnownPorts
    floating: FloatingAddresses
    security: SecurityGroups

    @property
    def topology(self) -> Topology:
        return msgspec.structs.replace(
            self.ports.topology,
            floating=self.floating.instances,
            public=self.floating.public,
            rules=self.security.rules,
            members=self.security.members,
        )


def read_ports(entries: Iterable[dict[str, Any]]) -> list[ListedPort]:
    convert = PORTS.convert
    assert convert
    return [convert(msgspec.convert(each, PortEntry)) for each in entries]


def read_floating(entries: Iterable[dict[str, Any]]) -> list[FloatingIpEntry]:
    return [msgspec.convert(each, FloatingIpEntry) for each in entries]


def read_groups(entries: Iterable[dict[str, Any]]) -> list[GroupEntry]:
    return [msgspec.convert(each, GroupEntry) for each in entries]


def list_all(truth: Truth) -> Known:
    truth.changed, truth.changed_before = set(), truth.changed
    ports = know_ports(read_ports(truth.ports.values()), complete=True)
    return Known(
        ports,
        know_floating_ips(ports, read_floating(truth.floating.values()), [], date=None),
        know_security_groups(ports, read_groups(truth.groups.values()), date=None),
    )


def refresh(known: Known, truth: Truth, looked_up: Collection[str]) -> Known:
    told = truth.changed | truth.changed_before
    truth.changed, truth.changed_before = set(), truth.changed
    before = known.topology
    copy = msgspec.json.encode(before)
    merged = merge_ports(known.ports, read_ports(each for id_, each in truth.ports.items() if id_ in told))
    if looked_up:
        found = [each for each in truth.ports.values() if each["device_id"] in looked_up]
        after = merge_ports(merged.known, read_ports(found), looked_up=frozenset(looked_up))
        merged = after._replace(changed=[*merged.changed, *after.changed])
    addresses = find_addresses(known.floating, merged.known, frozenset(looked_up))
    floating = merge_floating_ips(
        known.floating,
        merged.known,
        read_floating(
            each
            for id_, each in truth.floating.items()
            if id_ in told or each["floating_ip_address"] in addresses
        ),
        [],
        looked_up=addresses,
        date=None,
    )
    groups = read_groups(each for id_, each in truth.groups.items() if id_ in told)
    security = merge_security_groups(known.security, merged, groups, [], date=None)
    assert msgspec.json.encode(before) == copy, "what others still read is never changed"
    return Known(merged.known, floating, security)


NOVA = st.lists(
    st.tuples(st.sampled_from(INSTANCES), st.sampled_from((*IPS, *FLOATING_IPS))), max_size=6, unique=True
)


def instances(listed: Iterable[tuple[str, str]]) -> list[Instance]:
    return [
        instance(
            id_,
            *(
                address(ip, kind="floating" if ip in FLOATING_IPS else "fixed")
                for owner, ip in listed
                if owner == id_
            ),
        )
        for id_ in INSTANCES
    ]


def check_claims(known: Known, truth: Truth, nova: Iterable[tuple[str, str]]) -> None:
    """Whoever is the only owner of an address is, or nobody has it any more."""
    for nets in (None, {"net"}):
        owners = AddressOwners(instances(nova), known.topology, networks=nets)
        for each in instances(nova):
            for had in each.addresses:
                if owners.is_only_owner(each.id, had):
                    assert truth.holders(had.ip, nets or NETS) <= {each.id}


def check_ports(known: Known, truth: Truth) -> None:
    """Every port that exists is known as it is; it is blocked only if it is."""
    everything = list_all_quietly(truth)
    for id_, value in everything.ports.by_id.items():
        assert known.ports.by_id[id_] == value
        if blocks_echo(value, sender=SENDER, topology=known.topology):
            assert blocks_echo(value, sender=SENDER, topology=everything.topology)
    for id_, ports in everything.ports.topology.ports.items():
        assert {each.id for each in ports} <= {each.id for each in known.ports.topology.ports[id_]}
    for ip, of_address in everything.ports.topology.owners.items():
        assert {each.id for each in of_address} <= {each.id for each in known.ports.topology.owners[ip]}


def check_lookups(known: Known, truth: Truth, looked_up: Iterable[str]) -> None:
    """Of instances that were looked up, nothing is known that is no more."""
    everything = list_all_quietly(truth)
    for id_ in looked_up:
        assert ports_of(known, id_) == ports_of(everything, id_)
        assert known.floating.public.get(id_, {}) == everything.floating.public.get(id_, {})
        assert id_ not in known.ports.unknown


def ports_of(known: Known, id_: str) -> dict[str, object]:
    return {each.id: each for each in known.ports.topology.ports.get(id_, ())}


def list_all_quietly(truth: Truth) -> Known:
    changed = truth.changed, truth.changed_before
    known = list_all(truth)
    truth.changed, truth.changed_before = changed
    return known


@settings(deadline=None)
@given(changes=st.lists(CHANGES, min_size=8, max_size=30), nova=NOVA)
def test_what_is_claimed_is_true(changes: list[tuple[Any, ...]], nova: list[tuple[str, str]]) -> None:
    truth = Truth()
    known = list_all(truth)
    for change in [*changes, ("refresh", INSTANCES)]:
        match change:
            case ("full",):
                known = list_all(truth)
            case ("refresh", looked_up):
                known = refresh(known, truth, looked_up)
                check_claims(known, truth, nova)
                check_ports(known, truth)
                check_lookups(known, truth, looked_up)
            case _:
                truth.apply(change)


@settings(deadline=None)
@given(changes=st.lists(CHANGES, min_size=8, max_size=30))
def test_what_changed_says_what_a_full_list_says_unless_something_was_deleted(
    changes: list[tuple[Any, ...]],
) -> None:
    truth = Truth()
    known = list_all(truth)
    for change in changes:
        if change[0] not in {"delete port", "delete floating", "full", "refresh"}:
            truth.apply(change)
        elif change[0] == "refresh":
            known = refresh(known, truth, ())
    known, everything = refresh(known, truth, ()), list_all(truth)
    one, other = known.topology, everything.topology
    assert {id_: set(ports) for id_, ports in by_id(one.ports)} == {
        id_: set(ports) for id_, ports in by_id(other.ports)
    }
    assert by_device(one) == by_device(other)
    assert {ip: sorted(ids) for ip, ids in one.floating.items()} == {
        ip: sorted(ids) for ip, ids in other.floating.items()
    }
    assert (one.public, one.rules) == (other.public, other.rules)
    assert not known.ports.unknown


def by_id(ports: Any) -> Iterable[tuple[str, list[str]]]:
    return [(id_, [each.id for each in of_instance]) for id_, of_instance in ports.items()]


def by_device(topology: Topology) -> dict[str, list[str]]:
    return {ip: sorted(each.id for each in ports) for ip, ports in topology.owners.items()}


class CountedText(str):
    """A text that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __eq__(self, other: object) -> bool:
        CountedText.compared += 1
        return str.__eq__(self, other)

    def __ne__(self, other: object) -> bool:
        CountedText.compared += 1
        return str.__ne__(self, other)

    __hash__ = str.__hash__


def test_a_private_address_of_many_tenants_costs_no_look_at_all_of_them_for_each() -> None:
    """Each has it in a network of its own, and all their ports are replaced at once."""
    many = 200

    def ports_of_tenants(generation: str) -> list[ListedPort]:
        listed = read_ports(port("", IPS[0], network_id=f"net-{number}") for number in range(many))
        return [
            msgspec.structs.replace(
                each, value=msgspec.structs.replace(each.value, id=CountedText(f"{generation}-{number}"))
            )
            for number, each in enumerate(listed)
        ]

    known = know_ports(ports_of_tenants("old"), complete=True)
    CountedText.compared = 0
    merged = merge_ports(known, ports_of_tenants("new"))
    assert {each.id for each in merged.known.topology.owners[IPS[0]]} == {f"new-{n}" for n in range(many)}
    assert CountedText.compared < 10 * many
