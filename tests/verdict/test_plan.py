"""Where each address is asked from."""

import ipaddress
from collections.abc import Mapping

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.model import LOCAL, Address, Inventory, Network, Port, Target, Topology
from fping_exporter.probe.routing import RoutingTable
from fping_exporter.verdict.plan import plan
from tests.build import address, instance, inventory

NET, OTHER, PUBLIC, SHARED = "net", "other", "public", "shared"
ROUTER, SPREAD = "router", "spread"
TOPOLOGY = Topology(
    ports={
        "a": (
            Port(NET, "m1", {"10.0.0.5": "sub4", "fd00::5": "sub6"}, ()),
            Port(OTHER, "m2", {"10.0.0.5": "other4"}, ()),
        ),
        "p": (Port(PUBLIC, "m3", {"192.0.2.9": "public4"}, ()),),
        "s": (Port(SHARED, "m4", {"10.9.0.5": "shared4"}, ()),),
        "d": (Port(NET, "m5", {"10.0.9.5": "spread4"}, ()),),
    },
    networks={
        NET: Network(NET, "private", external=False, shared=False),
        OTHER: Network(OTHER, "provider", external=False, shared=False),
        PUBLIC: Network(PUBLIC, "provider", external=True, shared=False),
        SHARED: Network(SHARED, "office", external=False, shared=True),
    },
    routers={"sub4": (ROUTER,), "spread4": (SPREAD,)},
    distributed=frozenset({SPREAD}),
)
FIRST, SECOND = address("10.0.0.5", mac="m1"), address("10.0.0.5", mac="m2")
SIX = address("fd00::5", mac="m1")
FLOATING = address("192.0.2.1", kind="floating", mac="m1")
SPREADING = address("10.0.9.5", mac="m5")


def places(
    id_: str,
    *addresses: Address,
    vantages: object = "auto",
    namespaces: tuple[str, ...] = (),
    host: str = "here",
    topology: Topology = TOPOLOGY,
    vantages_there: Mapping[str, RoutingTable | None] | None = None,
    **settings: object,
) -> list[str | None]:
    """The vantages of the addresses of an instance on the host `here`."""
    there: Inventory = inventory(instance(id_, *addresses, host="here"), topology=topology)
    probe = config.Probe(vantages=vantages, **settings)  # type: ignore[arg-type]
    (probed,) = plan(
        there.instances,
        there.topology,
        probe,
        vantages=vantages_there or dict.fromkeys(namespaces, RoutingTable()),
        host=host,
    ).values()
    assert all(each.target is None or each.target.ip == each.address.ip for each in probed)
    return [each.target.vantage if each.target else None for each in probed]


def test_one_address_on_two_networks_is_asked_in_both() -> None:
    assert places("a", FIRST, SECOND, namespaces=("qdhcp-net", "qdhcp-other")) == ["qdhcp-net", "qdhcp-other"]
    assert places("a", FIRST, SECOND, namespaces=("qdhcp-other",)) == [None, "qdhcp-other"]


@pytest.mark.parametrize(
    ("namespaces", "host", "expected"),
    [
        (("qdhcp-net", "ovnmeta-net", "qrouter-router"), "here", "qdhcp-net"),
        (("ovnmeta-net", "qrouter-router"), "here", "ovnmeta-net"),
        (("ovnmeta-net", "qrouter-router"), "there", "qrouter-router"),
        (("ovnmeta-net",), "there", None),
        (("ovnmeta-net",), "", None),
        (("qdhcp-other", "ovnmeta-other", "qrouter-net"), "here", None),
    ],
)
def test_the_nearest_namespace_is_chosen(
    namespaces: tuple[str, ...], host: str, expected: str | None
) -> None:
    assert places("a", FIRST, namespaces=namespaces, host=host) == [expected]


WAY = RoutingTable(routes=((ipaddress.ip_network("10.0.0.0/16"), True),))
REFUSED = RoutingTable(routes=((ipaddress.ip_network("10.0.0.0/16"), False),))
NO_WAY = RoutingTable(routes=())


@pytest.mark.parametrize(
    ("vantages", "expected"),
    [
        ({"qdhcp-net": None, "ovnmeta-net": WAY}, "ovnmeta-net"),
        ({"qdhcp-net": NO_WAY, "ovnmeta-net": WAY}, "ovnmeta-net"),
        ({"qdhcp-net": REFUSED, "qrouter-router": WAY}, "qrouter-router"),
        ({"qdhcp-net": NO_WAY, "ovnmeta-net": None, "qrouter-router": WAY}, "qrouter-router"),
        ({"qdhcp-net": NO_WAY, "qrouter-router": None, "snat-router": WAY}, "snat-router"),
        ({"qdhcp-net": WAY, "qrouter-router": WAY}, "qdhcp-net"),
    ],
)
def test_a_namespace_that_is_no_way_is_passed_over(
    vantages: dict[str, RoutingTable | None], expected: str
) -> None:
    assert places("a", FIRST, vantages_there=vantages) == [expected]


@pytest.mark.parametrize("dead", [None, NO_WAY])
def test_a_namespace_that_is_no_way_does_not_hide_local(dead: RoutingTable | None) -> None:
    there = {"qdhcp-net": dead}
    assert places("a", FIRST, vantages_there=there, local_networks=("net",)) == [LOCAL]
    closed = "qdhcp-net" if dead is None else None
    assert places("a", FIRST, vantages_there=there) == [closed], "nothing is sent by a default route"


def test_the_snat_namespace_of_a_distributed_router_reaches_every_host() -> None:
    assert places("d", SPREADING, namespaces=("qrouter-spread", "snat-spread"), host="there") == [
        "snat-spread"
    ]
    assert places("d", SPREADING, namespaces=("qrouter-spread", "snat-spread")) == ["qrouter-spread"]


METADATA = Port(NET, "fa:16:3e:00:00:99", {"10.0.0.2": "sub4"}, ())


@pytest.mark.parametrize(
    ("mac", "own", "host", "expected"),
    [
        (METADATA.mac, "10.0.0.2", "here", "ovnmeta-datapath"),
        (METADATA.mac, "10.0.0.2", "there", None),
        (METADATA.mac, "10.0.0.3", "here", None),
        ("fa:16:3e:00:00:98", "10.0.0.2", "here", None),
    ],
)
def test_an_older_ovn_agents_namespace_is_known_by_its_interface(
    mac: str, own: str, host: str, expected: str | None
) -> None:
    topology = msgspec.structs.replace(TOPOLOGY, metadata_ports={NET: (METADATA,)})
    table = RoutingTable(own=frozenset({own, "169.254.169.254"}), macs=frozenset({mac}), routes=WAY.routes)
    got = places("a", FIRST, vantages_there={"ovnmeta-datapath": table}, host=host, topology=topology)
    assert got == [expected]


def test_a_router_reaches_only_the_subnets_that_it_is_in() -> None:
    assert places("a", FIRST, SIX, namespaces=("qrouter-router",)) == ["qrouter-router", None]


@pytest.mark.parametrize(("host", "expected"), [("here", "qrouter-spread"), ("there", None)])
def test_a_distributed_router_reaches_only_the_guests_on_its_host(host: str, expected: str | None) -> None:
    assert places("d", SPREADING, namespaces=("qrouter-spread",), host=host) == [expected]


def test_floating_addresses_are_asked_from_local_if_that_is_a_vantage() -> None:
    assert places("a", FLOATING, namespaces=("qdhcp-net", "qdhcp-public")) == [LOCAL]
    assert places("a", FLOATING, vantages=("qdhcp",), namespaces=("qdhcp-net",)) == [None]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [None, LOCAL, None]),
        ({"local_networks": ()}, [None, None, None]),
        ({"local_networks": ("net", "shared")}, [LOCAL, None, LOCAL]),
        ({"local_networks": ("provider", "office", "private")}, [None, LOCAL, LOCAL]),
        ({"vantages": ("local",)}, [LOCAL, LOCAL, LOCAL]),
        ({"vantages": ("local",), "local_networks": ("public",)}, [None, LOCAL, None]),
        ({"vantages": ("qdhcp",), "local_networks": ("public",)}, [None, None, None]),
    ],
)
def test_networks_that_local_reaches(settings: dict[str, object], expected: list[str | None]) -> None:
    got = [
        places(id_, each, **settings)[0]  # type: ignore[arg-type]
        for id_, each in (
            ("a", FIRST),
            ("p", address("192.0.2.9", mac="m3")),
            ("s", address("10.9.0.5", mac="m4")),
        )
    ]
    assert got == expected


def test_without_neutron_only_what_is_certain_is_asked() -> None:
    namespaces = ("qdhcp-net",)
    assert places("a", FIRST, FLOATING, namespaces=namespaces, topology=Topology()) == [None, LOCAL]


def test_without_a_mac_the_address_finds_its_port() -> None:
    assert places("a", address("fd00::5"), namespaces=("qdhcp-net",)) == ["qdhcp-net"]
    assert places("a", address("10.0.0.77"), namespaces=("qdhcp-net",)) == [None]


def test_nobody_is_asked_what_the_configuration_leaves_out() -> None:
    there = inventory(instance("a", FIRST, SIX, FLOATING), topology=TOPOLOGY)
    probe = config.Probe(families=(4,), addresses="fixed")
    ((only,),) = plan(there.instances, there.topology, probe).values()
    assert only.target == Target(LOCAL, "10.0.0.5")
