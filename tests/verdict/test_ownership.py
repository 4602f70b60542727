"""Nobody is alive by somebody else's answer."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.model import (
    LOCAL,
    Address,
    Instance,
    Inventory,
    Network,
    Outcome,
    Port,
    Reason,
    Target,
    Topology,
    Verdict,
)
from fping_exporter.probe.routing import RoutingTable
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.ownership import AddressOwners, find_claims
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, address, instance, inventory, sweep
from tests.fleet.worlds import inventories

NOTHING_KNOWN = Topology()
IP, OTHER_IP, FLOATING_IP = "10.0.0.5", "10.0.0.6", "192.0.2.5"


def verdicts(
    *instances: Instance,
    topology: Topology = NOTHING_KNOWN,
    answers: tuple[str, ...] = (IP,),
    **probe: object,
) -> dict[str, Verdict]:
    """Judge after a sweep in which these addresses answer, by instance."""
    there = inventory(*instances, topology=topology)
    targets = plan(instances, topology, config.Probe(**probe))  # type: ignore[arg-type]
    asked = {each.target for probed in targets.values() for each in probed if each.target}
    outcomes = {target: ALIVE if target.ip in answers else SILENT for target in asked}
    return {v.instance.id: v for v in judge(there, targets=targets, sweep=sweep(outcomes)).verdicts}


def port(device: str, ip: str, *, network: str = "n") -> Port:
    return Port(network, f"mac of {device}", {ip: f"subnet of {network}"}, (), device)


def neutron(*ports: Port, **changes: object) -> Topology:
    owners: dict[str, tuple[Port, ...]] = {}
    for each in ports:
        for ip in each.subnets:
            owners[ip] = (*owners.get(ip, ()), each)
    return Topology(
        ports={each.device: (each,) for each in ports if not each.device.startswith("port ")},
        owners=owners,
        **changes,  # type: ignore[arg-type]
    )


def test_an_address_of_two_instances_is_evidence_for_neither() -> None:
    got = verdicts(instance("a", IP), instance("b", IP), instance("c", OTHER_IP))
    assert {id_: (v.alive, v.reason) for id_, v in got.items()} == {
        "a": (None, Reason.AMBIGUOUS_ADDRESS),
        "b": (None, Reason.AMBIGUOUS_ADDRESS),
        "c": (False, Reason.NO_REPLY),
    }
    assert not any(each.target for id_ in "ab" for each in got[id_].probed), "it is not asked at all"


def test_forty_instances_on_ten_addresses_of_four_tenants() -> None:
    guests = [instance(f"{tenant}{n}", f"10.0.0.{n}") for tenant in "abcd" for n in range(10, 20)]
    ports = [port(f"{tenant}{n}", f"10.0.0.{n}", network=tenant) for tenant in "abcd" for n in range(10, 20)]
    for topology in (Topology(), neutron(*ports)):
        got = verdicts(*guests, topology=topology, answers=tuple(f"10.0.0.{n}" for n in range(10, 20)))
        assert {v.alive for v in got.values()} == {None}
    networks = {tenant: Network(tenant, "private", external=False, shared=False) for tenant in "abcd"}
    told = verdicts(
        *guests,
        topology=neutron(*ports, networks=networks),
        answers=("10.0.0.10",),
        local_networks=("b",),
    )
    assert {id_ for id_, v in told.items() if v.alive} == {"b10"}
    assert {v.alive for id_, v in told.items() if id_[0] != "b"} == {None}


def test_an_address_that_nova_lists_twice_for_an_instance_is_its_own() -> None:
    twice = instance("a", address(IP, mac="m"), address(IP, mac="m"), address(IP, mac="other"))
    assert verdicts(twice)["a"].alive
    both = neutron(port("a", IP), port("a", IP, network="other"))
    assert verdicts(instance("a", IP, IP), topology=both)["a"].alive


def test_an_address_of_ones_own_decides() -> None:
    got = verdicts(instance("a", IP, OTHER_IP), instance("b", IP), answers=(IP, OTHER_IP))
    assert (got["a"].alive, got["a"].reason) == (True, None)
    assert got["b"].alive is None
    silent = verdicts(instance("a", IP, OTHER_IP), instance("b", IP), answers=(IP,))
    assert (silent["a"].alive, silent["a"].reason) == (False, Reason.NO_REPLY)


def test_neutrons_word_goes_before_novas() -> None:
    """The address was used again: Nova's cache still has it at the instance that had it before."""
    got = verdicts(
        instance("old", IP), instance("new", IP), topology=neutron(port("new", IP), port("old", OTHER_IP))
    )
    assert (got["old"].alive, got["old"].reason) == (None, Reason.AMBIGUOUS_ADDRESS)
    assert got["new"].alive


@pytest.mark.parametrize("owner", ["port router", "gone"])
def test_an_address_that_neutron_gives_to_somebody_else(owner: str) -> None:
    """Be it a router's, or of an instance that the configuration leaves out."""
    assert verdicts(instance("a", IP), topology=neutron(port(owner, IP)))["a"].alive is None
    own = port("a", IP, network="other")
    assert verdicts(instance("a", IP), topology=neutron(port(owner, IP), own))["a"].alive is None


def test_instances_that_the_configuration_leaves_out_count_as_well() -> None:
    claims = find_claims([instance("a", IP), instance("left out", IP)])
    assert verdicts(instance("a", IP), topology=Topology(claims=claims))["a"].alive is None


class CountedOwners(tuple[Port, ...]):
    """Owners of an address that count how often all of them are looked at."""

    __slots__ = ()
    looked_at = 0

    def __iter__(self) -> Iterator[Port]:
        CountedOwners.looked_at += 1
        return super().__iter__()


def test_the_owners_of_an_address_are_looked_at_once_for_all_instances_that_have_it() -> None:
    """Thousands of tenants may use one private address."""
    instances = [instance(f"i{number}", IP) for number in range(9)]
    owners = CountedOwners(port(each.id, IP, network=each.id) for each in instances)
    CountedOwners.looked_at = 0
    planned = plan(instances, Topology(owners={IP: owners}), config.Probe())
    assert all(probed.ambiguous for (probed,) in planned.values())
    assert CountedOwners.looked_at == 1


@pytest.mark.parametrize(
    ("floating", "old", "new"),
    [
        ({}, None, None),
        ({FLOATING_IP: ("new",)}, None, True),
        ({FLOATING_IP: ("old",)}, True, None),
        ({FLOATING_IP: ("",)}, None, None),
        ({FLOATING_IP: ("old", "new")}, None, None),
    ],
)
def test_a_floating_address_on_the_move(
    floating: Mapping[str, tuple[str, ...]], *, old: bool | None, new: bool | None
) -> None:
    """Neutron says whose it is, while Nova's cache has it at both."""
    moved = address(FLOATING_IP, kind="floating")
    topology = neutron(port("old", IP), port("new", OTHER_IP), floating=floating)
    got = verdicts(
        instance("old", moved),
        instance("new", moved),
        topology=topology,
        answers=(FLOATING_IP,),
        addresses="floating",
    )
    assert (got["old"].alive, got["new"].alive) == (old, new)


def test_a_floating_address_that_a_tenants_own_network_has_as_well() -> None:
    guest = instance("a", address(FLOATING_IP, kind="floating"))
    ports = (port("a", IP), port("b", FLOATING_IP, network="tenant"))
    networks = {"n": Network("n", "public", external=True, shared=False)}
    topology = neutron(*ports, networks=networks, floating={FLOATING_IP: ("a",)})
    said = {"topology": topology, "answers": (FLOATING_IP,), "addresses": "floating"}
    assert verdicts(guest, **said)["a"].alive is None  # type: ignore[arg-type]
    assert verdicts(guest, **said, local_networks=("n",))["a"].alive  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "ip", ["127.0.0.5", "::1", "224.0.0.1", "ff02::1", "0.0.0.0", "255.255.255.255", "fe80::1"]
)
def test_what_is_no_guests_address_counts_as_none(ip: str) -> None:
    got = verdicts(instance("a", ip), answers=(ip,))["a"]
    assert (got.alive, got.reason, got.probed) == (False, Reason.NO_ADDRESS, ())


def test_the_vantages_own_addresses_count_as_none() -> None:
    guest = instance("a", IP, "192.0.2.255", OTHER_IP)
    table = RoutingTable(own=frozenset({IP, "192.0.2.255"}))
    (probed,) = plan([guest], Topology(), config.Probe(), vantages={LOCAL: table}).values()
    assert [each.target for each in probed] == [Target(LOCAL, OTHER_IP)]


def test_the_demos_guests_are_on_loopback_and_their_addresses_have_one_owner() -> None:
    demo = Topology(loopback=True)
    got = verdicts(instance("a", "127.10.0.1"), topology=demo, answers=("127.10.0.1",))
    assert got["a"].alive
    got = verdicts(
        instance("a", "127.10.0.1"), instance("b", "127.10.0.1"), topology=demo, answers=("127.10.0.1",)
    )
    assert {v.reason for v in got.values()} == {Reason.AMBIGUOUS_ADDRESS}
    assert verdicts(instance("a", "224.0.0.1"), topology=demo)["a"].reason is Reason.NO_ADDRESS


IPS = [f"10.0.0.{n}" for n in range(1, 5)]
NETWORKS = {
    "ext": Network("ext", "public", external=True, shared=False),
    "one": Network("one", "private", external=False, shared=False),
    "two": Network("two", "private", external=False, shared=False),
}


@st.composite
def clouds(draw: st.DrawFn) -> tuple[dict[str, list[tuple[str, str]]], dict[str, str]]:
    """Who really has which address in which network, and where floating addresses are mapped."""
    ids = [f"i{n}" for n in range(draw(st.integers(1, 6)))]
    truth: dict[str, list[tuple[str, str]]] = {id_: [] for id_ in ids}
    for network in NETWORKS:
        for ip in IPS:
            owner = draw(st.sampled_from([None, None, "port x", *ids]))
            if owner:
                truth.setdefault(owner, []).append((network, ip))
    floating = {
        ip: draw(st.sampled_from(ids))
        for ip in draw(st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), unique=True))
    }
    return truth, floating


@given(clouds(), st.data())
def test_whatever_nova_lists_no_instance_is_alive_by_anothers_answer(
    cloud: tuple[dict[str, list[tuple[str, str]]], dict[str, str]], data: st.DataObject
) -> None:
    """Nova's list is a cache: it may have what was, and lack what is. Neutron's is the truth."""
    truth, floating = cloud
    ports = [port(id_, ip, network=network) for id_, held in truth.items() for network, ip in held]
    by_device: dict[str, tuple[Port, ...]] = {}
    for each in ports:
        if not each.device.startswith("port "):
            by_device[each.device] = (*by_device.get(each.device, ()), each)
    owners = {ip: tuple(p for p in ports if ip in p.subnets) for ip in IPS}
    topology = Topology(
        ports=by_device,
        owners={ip: held for ip, held in owners.items() if held},
        floating={ip: (id_,) for ip, id_ in floating.items()},
        networks=NETWORKS,
    )
    stale = st.lists(st.sampled_from(IPS), max_size=3).map(lambda ips: [address(ip) for ip in ips])
    stale_floating = st.lists(st.sampled_from(["192.0.2.1", "192.0.2.2"]), max_size=2)
    instances = []
    for id_ in (id_ for id_ in truth if not id_.startswith("port ")):
        listed: list[Address] = [address(ip, mac=f"mac of {id_}") for _, ip in truth[id_]]
        listed += data.draw(stale)
        listed += [address(ip, kind="floating") for ip in data.draw(stale_floating)]
        instances.append(instance(id_, *listed, host="here"))
    kept = data.draw(st.lists(st.sampled_from(instances), unique_by=lambda each: each.id))
    probe = config.Probe(
        vantages=data.draw(st.sampled_from([("local",), ("local", "qdhcp"), "auto"])),
        local_networks=data.draw(st.sampled_from([None, ("one",), ("ext", "two"), ()])),
    )
    vantages = {
        name: RoutingTable()
        for name in data.draw(st.sets(st.sampled_from(["qdhcp-one", "qdhcp-two", "ovnmeta-one"])))
    }
    planned = plan(kept, topology, probe, vantages={LOCAL: RoutingTable(), **vantages}, host="here")
    reached = (
        set(NETWORKS)
        if probe.all_from_local
        else {"ext"}
        if probe.local_networks is None
        else set(probe.local_networks)
    )

    def who_may_answer(target: Target) -> set[str]:
        networks = reached if target.vantage == LOCAL else {target.vantage.partition("-")[2]}
        there = {p.device for p in owners.get(target.ip, ()) if p.network_id in networks}
        return there | ({floating[target.ip]} if target.vantage == LOCAL and target.ip in floating else set())

    for id_, all_probed in planned.items():
        for probed in all_probed:
            assert not (probed.ambiguous and probed.target)
            if probed.target:
                assert who_may_answer(probed.target) <= {id_}
    # Symmetric: no two instances are asked at one target.
    asked = [
        (target, id_) for id_, probed in planned.items() for target in {p.target for p in probed if p.target}
    ]
    assert len({target for target, _ in asked}) == len(asked)


@given(st.lists(st.lists(st.sampled_from(IPS), max_size=3), min_size=1, max_size=6), st.data())
def test_without_neutron_an_address_of_several_is_asked_for_none_of_them(
    listed: list[list[str]], data: st.DataObject
) -> None:
    instances = [instance(f"i{n}", *ips) for n, ips in enumerate(listed)]
    truth = data.draw(st.sets(st.sampled_from(IPS)))
    outcomes: dict[Target, Outcome] = {Target(LOCAL, ip): ALIVE if ip in truth else SILENT for ip in IPS}
    planned = plan(instances, Topology(), config.Probe())
    got = judge(inventory(*instances), targets=planned, sweep=sweep(outcomes)).verdicts
    for verdict in got:
        others = {a.ip for each in instances if each.id != verdict.instance.id for a in each.addresses}
        own = {a.ip for a in verdict.instance.addresses} - others
        if verdict.instance.addresses:
            assert verdict.alive is (bool(own & truth) if own else None)
        assert (verdict.reason is Reason.AMBIGUOUS_ADDRESS) == (bool(verdict.instance.addresses) and not own)


@settings(deadline=None)
@given(inventories(), st.sampled_from([None, frozenset({"net-1"}), frozenset[str]()]))
def test_others_are_named_where_an_instance_is_not_the_only_owner(
    cloud: Inventory, networks: frozenset[str] | None
) -> None:
    owners = AddressOwners(cloud.instances, cloud.topology, networks=networks)
    for one in cloud.instances:
        for each in one.addresses:
            others = owners.others(one.id, each)
            assert one.id not in others
            if owners.is_only_owner(one.id, each):
                assert not others
            elif not others and not owners.known_to_neutron(each):
                assert cloud.topology.incomplete, "somebody who cannot be read may have it"
