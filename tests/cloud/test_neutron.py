"""What is read of Neutron, what is asked of it, and what is left when it is away."""

from collections.abc import Iterator
from typing import Any

import pytest

from fping_exporter.cloud.session import DEMO_SERVICE
from fping_exporter.config import Instances, Probe
from fping_exporter.demo.http import Answer
from fping_exporter.model import Inventory, Network, Port, SecurityRule, Topology
from tests.cloud.faulty import TOKENS, connect, make_servers
from tests.cloud.neutron import FLOATING, GROUPS, NETWORKS, PORTS, NeutronCloud, group, port, rule

FORBIDDEN = Answer(403, {"NeutronError": {"type": "PolicyNotAuthorized", "message": "no", "detail": ""}})
AWAY = Answer(503, {"NeutronError": {"type": "x", "message": "away", "detail": ""}})
NAMESPACES = Probe(vantages=("local", "qdhcp"))


@pytest.fixture
def standin() -> Iterator[NeutronCloud]:
    with NeutronCloud(*make_servers(2)) as cloud:
        cloud.network["ports"] = [
            port("1", "10.0.0.5", "FD00:0::5", device="vm"),
            port(
                "2",
                "10.0.0.6",
                device="vm",
                port_security_enabled=False,
                security_groups=[],
                network_id="net2",
            ),
            port("3", "10.0.0.1", device="r1", owner="network:router_interface", security_groups=[]),
            port("4", "fd00::1", device="r2", owner="network:router_interface_distributed"),
            port("5", "10.0.0.2", device="dhcp", owner="network:dhcp", security_groups=[]),
            port("6", "10.0.0.9", owner=""),
        ]
        cloud.network["networks"] = [
            {"id": "net", "name": "private", "router:external": False, "shared": False},
            {"id": "net2", "name": "public", "router:external": True, "shared": True},
        ]
        cloud.network["security_groups"] = [group("default", rule(remote_group_id="default"))]
        yield cloud


def topology(standin: NeutronCloud, probe: Probe = Probe()) -> Topology:  # noqa: B008, it is frozen
    inventory = connect(standin, probe=probe).cloud.inventory()
    assert inventory.parts["ports"]
    assert inventory.parts["security_groups"]
    return inventory.topology


def test_a_central_lists_networks_for_its_agents_whatever_it_pings_itself(standin: NeutronCloud) -> None:
    for agents, known in ((False, set()), (True, {"net", "net2"})):
        listed = connect(standin, probe=Probe(), agents=agents)
        assert set(listed.cloud.inventory().topology.networks) == known


def test_ports_networks_and_routers(standin: NeutronCloud) -> None:
    got = topology(standin, NAMESPACES)
    assert got.ports == {
        "vm": (
            Port("net", "mac-1", {"10.0.0.5": "sub4", "fd00::5": "sub6"}, ("default",), "vm", id="1"),
            Port("net2", "mac-2", {"10.0.0.6": "sub4"}, None, "vm", id="2"),
        )
    }
    assert got.networks == {
        "net": Network("net", "private", external=False, shared=False),
        "net2": Network("net2", "public", external=True, shared=True),
    }
    assert got.routers == {"sub4": ("r1",), "sub6": ("r2",)}
    assert got.distributed == {"r2"}
    assert got.members == {"default": {"10.0.0.5", "fd00::5", "fd00::1", "10.0.0.9"}}


@pytest.mark.parametrize(
    ("details", "driver"),
    [
        ({"bound_drivers": {"0": "ovn"}, "connectivity": "l2"}, "ovn"),
        ({"bound_drivers": {"0": "arista", "1": "openvswitch"}}, "openvswitch"),
        ({"bound_drivers": {"9": "arista", "10": "ovn"}}, "ovn"),
        ({"bound_drivers": {}}, ""),
        ({"bound_drivers": ["ovn"]}, ""),
        ({"bound_drivers": {"x": "ovn"}}, ""),
        ({}, ""),
        (None, ""),
        ("odd", ""),
    ],
)
def test_the_driver_that_binds_a_port(standin: NeutronCloud, details: Any, driver: str) -> None:
    """It is at the lowest level of a hierarchical binding. Whoever may not see it is not told."""
    standin.network["ports"] = [port("1", "10.0.0.5", device="vm", **{"binding:vif_details": details})]
    (found,) = topology(standin).ports["vm"]
    assert found.driver == driver


def test_only_what_is_needed_is_asked(standin: NeutronCloud) -> None:
    topology(standin)
    assert [len(standin.asked(path)) for path in (PORTS, GROUPS, NETWORKS)] == [1, 1, 0]
    assert all("fields" in request.query for request in standin.asked(PORTS) + standin.asked(GROUPS))


def test_lists_come_in_pages(standin: NeutronCloud) -> None:
    whole = topology(standin)
    standin.network_api.page = 2
    assert topology(standin) == whole
    assert [request.query.get("marker") for request in standin.asked(PORTS)] == [None, None, "2", "4", "6"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (rule(), SecurityRule(4)),
        (rule(direction="egress"), None),
        (rule(ethertype="IPv6"), SecurityRule(6)),
        *((rule(protocol=protocol), SecurityRule(4)) for protocol in ("icmp", "ICMP", "1", 1, "any", 0, "0")),
        *((rule(protocol=protocol), None) for protocol in ("tcp", "6", "udp", 17, "igmp")),
        *(
            (rule(protocol=protocol, ethertype="IPv6"), SecurityRule(6))
            for protocol in ("icmp", "icmpv6", "ipv6-icmp", "58", 58)
        ),
        (rule(protocol="icmp", port_range_min=8), SecurityRule(4)),
        (rule(protocol="icmp", port_range_min=8, port_range_max=0), SecurityRule(4)),
        (rule(protocol="icmp", port_range_min=8, port_range_max=1), None),
        (rule(protocol="icmp", port_range_min=0), None),
        (rule(protocol="icmp", port_range_min=128), None),
        (rule(protocol="icmp", port_range_min=0, port_range_max=255), None),
        (rule(protocol="icmpv6", ethertype="IPv6", port_range_min=128), SecurityRule(6)),
        (rule(protocol="icmpv6", ethertype="IPv6", port_range_min=8), None),
        (rule(remote_ip_prefix="10.0.0.0/8"), SecurityRule(4, prefix="10.0.0.0/8")),
        (rule(remote_group_id="g"), SecurityRule(4, group="g")),
    ],
)
def test_rules_that_admit_an_echo_request(
    standin: NeutronCloud, given: dict[str, Any], expected: SecurityRule | None
) -> None:
    standin.network["security_groups"] = [group("default", given)]
    assert topology(standin).rules == {"default": (expected,) if expected else ()}


def test_members_have_allowed_address_pairs_too(standin: NeutronCloud) -> None:
    pairs = [{"ip_address": "10.1.0.0/24"}, {"ip_address": "10.2.0.1"}, {"ip_address": "odd"}]
    standin.network["ports"] = [port("1", "10.0.0.5", device="vm", allowed_address_pairs=pairs)]
    assert topology(standin).members == {"default": {"10.0.0.5", "10.1.0.0/24", "10.2.0.1"}}


def test_address_groups_are_asked_for_if_a_rule_names_one(standin: NeutronCloud) -> None:
    standin.network["address_groups"] = [
        {"id": "a", "addresses": ["192.0.2.0/24"]},
        {"id": "b", "addresses": ["192.0.2.0/24", "odd"]},
    ]
    assert topology(standin).address_groups == {}
    standin.network["security_groups"] = [group("default", rule(remote_address_group_id="a"))]
    assert topology(standin).address_groups == {"a": ("192.0.2.0/24",)}


def test_one_host_has_its_own_ports_listed_only(standin: NeutronCloud) -> None:
    standin.network["ports"][0]["binding:host_id"] = "kvm-1"
    listed = connect(standin, probe=Probe(vantages=("qrouter",)), instances=Instances(host="kvm-1"))
    got = listed.cloud.inventory().topology
    assert [port.mac for port in got.ports["vm"]] == ["mac-1"]
    assert got.routers == {"sub4": ("r1",), "sub6": ("r2",)}
    assert got.members == {}, "those on other hosts are not known"
    assert got.networks == {}, "there is no local to choose them for"
    assert [request.query["id"] for request in standin.asked(GROUPS)] == ["default"]


def test_who_has_an_address(standin: NeutronCloud) -> None:
    standin.network["ports"] += [
        port("7", "10.0.0.5", device="other", network_id="net2"),
        port("8", "192.0.2.5", owner="network:floatingip"),
        port("9", "10.0.0.3", owner="network:distributed", device="ovnmeta-net"),
    ]
    got = topology(standin)
    assert {ip: [each.device for each in ports] for ip, ports in got.owners.items()} == {
        "10.0.0.5": ["vm", "other"],
        "fd00::5": ["vm"],
        "10.0.0.6": ["vm"],
        "10.0.0.1": ["port 3"],
        "fd00::1": ["port 4"],
        "10.0.0.2": ["port 5"],
        "10.0.0.9": ["port 6"],
        "10.0.0.3": ["port 9"],
    }
    assert [each.mac for each in got.metadata_ports["net"]] == ["mac-5", "mac-9"]


def test_where_floating_addresses_are_mapped(standin: NeutronCloud) -> None:
    standin.network["floatingips"] = [
        {"id": "f1", "floating_ip_address": "192.0.2.1", "port_id": "1", "fixed_ip_address": "10.0.0.5"},
        {"id": "f2", "floating_ip_address": "192.0.2.2", "port_id": None, "fixed_ip_address": None},
        {"id": "f3", "floating_ip_address": "192.0.2.3", "port_id": "3"},
        {"id": "f4", "floating_ip_address": "192.0.2.4", "port_id": "not listed"},
        {"id": "f5", "floating_ip_address": "192.0.2.1", "port_id": "2"},
    ]
    standin.network_api.page = 2
    found = topology(standin)
    assert found.public == {"vm": {"10.0.0.5": "192.0.2.1"}}
    assert found.floating == {
        "192.0.2.1": ("vm", "vm"),
        "192.0.2.2": ("",),
        "192.0.2.3": ("",),
        "192.0.2.4": ("",),
    }
    asked = standin.asked(FLOATING)
    assert [request.query.get("marker") for request in asked] == [None, "f2", "f4"]
    assert all("fields" in request.query for request in asked)


def test_floating_addresses_away_the_last_answer_stays_in_use(standin: NeutronCloud) -> None:
    standin.network["floatingips"] = [{"id": "f", "floating_ip_address": "192.0.2.1", "port_id": "1"}]
    cloud = connect(standin).cloud
    before = cloud.inventory().topology
    standin.fail(FLOATING, *[AWAY] * 4)
    away = cloud.inventory()
    assert unanswered(away) == {"floating_ips"}
    assert away.topology == before


def test_one_host_asks_who_else_has_its_guests_addresses(standin: NeutronCloud) -> None:
    """Whoever has them on other hosts may answer as well, where several networks are reached from local."""
    standin.servers = make_servers(1)
    standin.network["ports"] += [
        port("7", "127.1.0.0", device="alpha-0000", **{"binding:host_id": "kvm-1"}),
        port("8", "127.1.0.0", device="elsewhere", network_id="net2"),
    ]
    listed = connect(standin, instances=Instances(host="kvm-1"))
    got = listed.cloud.inventory().topology
    assert [each.device for each in got.owners["127.1.0.0"]] == ["alpha-0000", "elsewhere"]
    assert set(got.ports) == {"alpha-0000"}


def test_one_host_lists_the_metadata_ports_of_its_networks(standin: NeutronCloud) -> None:
    standin.network["ports"][0]["binding:host_id"] = "kvm-1"
    standin.network["ports"].append(port("9", "10.0.0.3", owner="network:distributed", device="ovnmeta-net"))
    listed = connect(standin, probe=Probe(vantages=("ovnmeta",)), instances=Instances(host="kvm-1"))
    metadata_ports = listed.cloud.inventory().topology.metadata_ports
    assert [each.mac for each in metadata_ports["net"]] == ["mac-5", "mac-9"]
    (asked,) = [request for request in standin.asked(PORTS) if "network_id" in request.query]
    assert asked.query["network_id"] == "net"


def test_only_the_demos_catalog_says_that_guests_are_on_loopback(standin: NeutronCloud) -> None:
    assert topology(standin).loopback

    def as_any_cloud(body: Any) -> Any:
        catalog = body["token"]["catalog"]
        body["token"]["catalog"] = [each for each in catalog if each["type"] != DEMO_SERVICE]
        return body

    standin.rewrite(TOKENS, as_any_cloud)
    assert not connect(standin).cloud.inventory().topology.loopback


def unanswered(inventory: Inventory) -> set[str]:
    return {part for part, had in inventory.parts.items() if not had}


def test_neutron_away_the_last_answer_stays_in_use(standin: NeutronCloud) -> None:
    cloud = connect(standin).cloud
    before = cloud.inventory().topology
    standin.fail(PORTS, *[AWAY] * 4)
    away = cloud.inventory()
    assert unanswered(away) == {"ports", "floating_ips", "security_groups"}
    assert away.topology == before
    assert len(away.instances) == 2


def test_who_takes_over_knows_what_was_known(standin: NeutronCloud) -> None:
    first = connect(standin).cloud
    before = first.inventory().topology
    standin.fail(PORTS, *[AWAY] * 4)
    second = connect(standin).cloud
    second.take_over(first)
    assert second.inventory().topology == before


def test_nobody_listens_at_neutrons_endpoint(standin: NeutronCloud) -> None:
    def where_nobody_listens(body: Any) -> Any:
        (entry,) = [each for each in body["token"]["catalog"] if each["type"] == "network"]
        for endpoint in entry["endpoints"]:
            endpoint["url"] = "http://127.0.0.1:1"
        return body

    standin.rewrite(TOKENS, where_nobody_listens)
    assert unanswered(connect(standin).cloud.inventory()) == {"ports", "floating_ips", "security_groups"}


def test_groups_away_ports_are_still_refreshed(standin: NeutronCloud) -> None:
    cloud = connect(standin).cloud
    before = cloud.inventory().topology
    standin.network["ports"].append(port("7", "10.0.0.7", device="new"))
    standin.fail(GROUPS, *[AWAY] * 4)
    away = cloud.inventory()
    assert unanswered(away) == {"security_groups"}
    assert set(away.topology.ports) == {"vm", "new"}
    assert away.topology.rules == before.rules


@pytest.mark.parametrize("path", [PORTS, GROUPS, NETWORKS])
def test_without_the_right_nothing_is_claimed(
    standin: NeutronCloud, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    standin.fail(path, *[FORBIDDEN] * 9)
    cloud = connect(standin, probe=NAMESPACES).cloud
    for _ in range(2):
        got = cloud.inventory()
    assert "security_groups" in unanswered(got)
    assert got.topology.rules == {}
    assert len([record for record in caplog.records if "no right" in record.message]) == 1


def test_an_answer_that_is_no_list_is_a_part_that_is_missing(standin: NeutronCloud) -> None:
    standin.fail(PORTS, Answer(200, {"ports": [{"id": 1}]}))
    assert unanswered(connect(standin).cloud.inventory()) == {"ports", "floating_ips", "security_groups"}
    standin.fail(PORTS, Answer(200, {"something": []}))
    assert unanswered(connect(standin).cloud.inventory()) == {"ports", "floating_ips", "security_groups"}
