"""Lists of small clouds, with addresses, networks and groups that overlap."""

from hypothesis import strategies as st

from fping_exporter.model import (
    Address,
    AddressKind,
    Hypervisor,
    Instance,
    Inventory,
    Network,
    Port,
    Project,
    SecurityRule,
    Topology,
)

__all__ = ["HOSTS", "IPS", "inventories"]

HOSTS = ("cn-1", "cn-2", "cn-3")
IPS = ("10.0.0.1", "10.0.0.2", "10.0.0.3", "fd00::1", "192.0.2.1")
_IDS = ("a", "b", "c", "d", "e")
_NETWORKS = ("net-1", "net-2", "net-3", "")
_SUBNETS = ("sub-1", "sub-2", "sub-3")
_ROUTERS = ("router-1", "router-2")
_GROUPS = ("group-1", "group-2", "group-3")

_ids, _ips, _networks = map(st.sampled_from, (_IDS, IPS, _NETWORKS))
_groups, _subnets, _routers = map(st.sampled_from, (_GROUPS, _SUBNETS, _ROUTERS))
_macs = st.sampled_from(["m1", "m2"])
_addresses = st.builds(
    lambda ip, kind, mac: Address(ip, 6 if ":" in ip else 4, kind, "net-1", mac),
    _ips,
    st.sampled_from(AddressKind),
    st.just("") | _macs,
)
_ports = st.builds(
    Port,
    _networks,
    _macs,
    st.dictionaries(_ips, _subnets, max_size=2),
    st.none() | st.lists(_groups, max_size=2).map(tuple),
    _ids | st.just("port 1"),
)
_rules = st.builds(
    SecurityRule,
    st.sampled_from([4, 6]),
    st.none() | st.just("10.0.0.0/30"),
    st.none() | _groups,
    st.none() | st.just("addresses"),
)
_port_tuples = st.lists(_ports, max_size=2).map(tuple)
_id_sets = st.frozensets(_ids)
_topologies = st.builds(
    Topology,
    ports=st.dictionaries(_ids, _port_tuples),
    owners=st.dictionaries(_ips, _port_tuples),
    floating=st.dictionaries(_ips, st.lists(st.just("") | _ids, max_size=2).map(tuple)),
    public=st.dictionaries(_ids, st.dictionaries(_ips, _ips, max_size=1)),
    claims=st.dictionaries(_ips, _id_sets),
    metadata_ports=st.dictionaries(_networks, _port_tuples),
    networks=st.dictionaries(_networks.filter(bool), st.none()).map(
        lambda found: {
            id_: Network(id_, f"name-{id_[-1]}", external=id_ == "net-2", shared=False) for id_ in found
        }
    ),
    routers=st.dictionaries(_subnets, st.lists(_routers, max_size=2).map(tuple)),
    distributed=st.frozensets(_routers),
    rules=st.dictionaries(_groups, st.lists(_rules, max_size=2).map(tuple)),
    members=st.dictionaries(_groups, st.frozensets(_ips | st.just("10.0.0.0/31"))),
    address_groups=st.dictionaries(st.just("addresses"), st.just(("10.0.0.2/32",))),
    incomplete=st.frozensets(st.sampled_from(["ports", "floating_ips", "networks"])),
)


@st.composite
def inventories(draw: st.DrawFn) -> Inventory:
    """Draw a list; Nova and Neutron may contradict each other in it."""
    instances = [
        Instance(
            id=id_,
            project_id=f"p-{id_}",
            name=id_,
            status="ACTIVE",
            host=draw(st.sampled_from(HOSTS)),
            hypervisor=draw(st.sampled_from(["", "hv-1"])),
            addresses=tuple(draw(st.lists(_addresses, max_size=3))),
        )
        for id_ in draw(st.lists(_ids, unique=True))
    ]
    return Inventory(
        instances=tuple(instances),
        projects={"p-a": Project("p-a", "alpha"), "p-b": Project("p-b", "beta")},
        contacts={"p-a": "a@example.org"},
        hypervisors=(Hypervisor("hv-1", up=True, host="cn-1"), Hypervisor("hv-2", up=False, host="cn-2")),
        topology=draw(_topologies),
        parts={"ports": True, "contacts": True},
        skipped={"ports": 1},
        listed_at=1_000,
        duration=1,
    )
