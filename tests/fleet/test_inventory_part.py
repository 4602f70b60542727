"""The part of a list that an agent gets: with it, an agent judges as the central would."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.fleet.inventory_part import MOST_MEMBERS, cut
from fping_exporter.fleet.wire import decode, encode
from fping_exporter.model import (
    Address,
    AddressKind,
    Inventory,
    Network,
    Port,
    SecurityRule,
    Topology,
)
from fping_exporter.probe.routing import RoutingTable
from fping_exporter.verdict.plan import plan, port_of
from fping_exporter.verdict.security_groups import blocks_echo
from fping_exporter.verdict.selection import select
from tests.build import address, instance, inventory
from tests.fleet.worlds import HOSTS, IPS, inventories

NAMESPACES = ("qdhcp-net-1", "ovnmeta-net-2", "ovnmeta-old", "qrouter-router-1", "snat-router-2")
ALL = config.Instances()


def travelled(whole: Inventory, *hosts: str) -> Inventory:
    """What an agent has, that asked for the instances on `hosts`, after its own selection."""
    selected = select(whole, ALL)
    chosen = [each for each in selected.instances if each.host in hosts]
    document = decode(encode(cut(selected, chosen, hosts=hosts), cloud="", region=""))
    part = Inventory(instances=document.instances, topology=document.topology, listed_at=0, duration=0)
    return select(part, ALL)


probes = st.builds(
    config.Probe,
    vantages=st.sampled_from([("local",), "auto", ("local", "ovnmeta")]),
    local_networks=st.none() | st.lists(st.sampled_from(["net-1", "net-2", "name-2"]), max_size=2).map(tuple),
    addresses=st.sampled_from(["all", "fixed", "floating"]),
)


@settings(max_examples=300, deadline=None)
@given(inventories(), st.sampled_from(HOSTS), probes, st.sets(st.sampled_from(NAMESPACES)))
def test_an_agent_plans_as_the_central_would(
    whole: Inventory, host: str, probe: config.Probe, namespaces: set[str]
) -> None:
    table = RoutingTable(own=frozenset({"10.0.0.3"}), macs=frozenset({"m1"}))
    vantages = dict.fromkeys(namespaces, table) | {"local": RoutingTable()}

    def planned(there: Inventory) -> object:
        of_all = plan(there.instances, there.topology, probe, vantages=vantages, host=host)
        return {each.id: of_all[each.id] for each in there.instances if each.host == host}

    assert planned(travelled(whole, host)) == planned(select(whole, ALL))


@settings(max_examples=300, deadline=None)
@given(inventories(), st.sampled_from(HOSTS), st.sampled_from(IPS))
def test_an_agent_blames_security_groups_as_the_central_would(
    whole: Inventory, host: str, sender: str
) -> None:
    def blamed(topology: Topology) -> object:
        return {
            (each.id, each_address.ip): (port_of(each, each_address, topology), each.id in topology.ports)
            and [
                blocks_echo(port, sender=sender, topology=topology)
                for port in topology.ports.get(each.id, ())
            ]
            for each in whole.instances
            if each.host == host
            for each_address in each.addresses
        }

    assert blamed(travelled(whole, host).topology) == blamed(whole.topology)


def test_an_agent_learns_nothing_of_others_but_where_they_have_its_addresses() -> None:
    mine = instance("mine", "10.0.0.5", host="cn-1", project_id="p1")
    others = instance("others", "10.0.0.5", "10.0.0.6", host="cn-2", project_id="p2", name="secret")
    port = Port("net-1", "m1", {"10.0.0.5": "sub-1"}, ("group",), "mine")
    other = Port("net-2", "m2", {"10.0.0.5": "sub-2", "10.0.0.6": "sub-2"}, ("other group",), "others")
    whole = inventory(
        mine,
        others,
        contacts={"p1": "one@example.org"},
        topology=Topology(
            ports={"mine": (port,), "others": (other,)},
            owners={"10.0.0.5": (port, other), "10.0.0.6": (other,)},
            networks={
                id_: Network(id_, id_, external=False, shared=False) for id_ in ("net-1", "net-2", "net-3")
            },
            rules={"group": (), "other group": ()},
        ),
    )
    part = cut(select(whole, ALL), [mine], hosts=["cn-1"])
    assert part.instances == (mine,)
    assert part.contacts == {}
    assert part.topology == Topology(
        ports={"mine": (port,), "others": ()},
        owners={
            "10.0.0.5": (
                Port("net-1", "", {}, None, "mine"),
                Port("net-2", "", {}, None, "others"),
            )
        },
        claims={"10.0.0.5": frozenset({"mine", "others"})},
        networks={id_: whole.topology.networks[id_] for id_ in ("net-1", "net-2")},
        rules={"group": ()},
    )


def test_members_of_a_security_group_are_sent_unless_they_are_too_many() -> None:
    for count, known in ((MOST_MEMBERS, True), (MOST_MEMBERS + 1, False)):
        members = frozenset(f"10.{number >> 8}.{number & 255}.1" for number in range(count))
        topology = Topology(
            ports={"a": (Port("net-1", "m", {"10.0.0.5": "sub-1"}, ("group",), "a"),)},
            rules={"group": (SecurityRule(4, group="members"),)},
            members={"members": members},
        )
        guest = instance("a", "10.0.0.5", host="cn-1")
        part = cut(inventory(guest, topology=topology), [guest])
        assert part.topology.members == ({"members": members} if known else {})
        (port,) = part.topology.ports["a"]
        assert blocks_echo(port, sender="192.0.2.1", topology=part.topology) is known


def test_an_agent_knows_that_neutron_maps_a_floating_address_to_nobody() -> None:
    guest = instance("a", address("10.0.0.5"), address("192.0.2.1", kind="floating"), host="cn-1")
    elsewhere = {"192.0.2.9": ("other",)}
    part = cut(inventory(guest, topology=Topology(floating=elsewhere)), [guest])
    assert part.topology.floating == {"192.0.2.1": ()}
    assert cut(inventory(guest), [guest]).topology.floating == {}
    assert guest.addresses[1] == Address("192.0.2.1", 4, AddressKind.FLOATING, "private")
