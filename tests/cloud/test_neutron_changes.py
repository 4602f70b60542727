"""What Neutron is asked between two full lists, and what its answers change."""

import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.config import Probe
from fping_exporter.demo.http import Answer, Request
from fping_exporter.model import Address, AddressKind, Network, SecurityRule, Topology
from tests.cloud.faulty import ALPHA, BETA, connect, make_servers
from tests.cloud.neutron import (
    EXTENSIONS,
    FLOATING,
    GROUPS,
    NETWORKS,
    PORTS,
    NeutronCloud,
    floating_ip,
    group,
    port,
    rule,
)

AWAY = Answer(503, {"NeutronError": {"type": "x", "message": "away", "detail": ""}})
BEGIN = 1_795_392_000.0
"""A Unix time; Neutron's clock is far from this machine's."""
GROUPS_ADDRESSES = "/network/v2.0/address-groups"


class ChangingNeutron(NeutronCloud):
    """A cloud with a clock of its own, whose Neutron can be asked for what changed."""

    def __init__(self) -> None:
        super().__init__(*make_servers(2))
        self.tell_changes()
        self.now = BEGIN
        self.clock = lambda: self.now

    def change(self, kind: str, *entries: dict[str, Any]) -> None:
        """Put `entries` in the place of those with the same id, a minute later."""
        self.now += 60
        ids = {entry["id"] for entry in entries}
        kept = [entry for entry in self.network[kind] if entry["id"] not in ids]
        self.network[kind] = kept + [entry | {"updated_at": self.now} for entry in entries]

    def delete(self, kind: str, id_: str) -> None:
        self.network[kind] = [entry for entry in self.network[kind] if entry["id"] != id_]


@pytest.fixture
def standin() -> Iterator[ChangingNeutron]:
    with ChangingNeutron() as cloud:
        cloud.network["ports"] = [
            port("1", "10.0.0.5", device="vm"),
            port("2", "10.0.0.6", device="other"),
            port("3", "10.0.0.1", device="r1", owner="network:router_interface", security_groups=[]),
        ]
        cloud.network["floatingips"] = [
            floating_ip("f1", "192.0.2.1", "1", fixed_ip_address="10.0.0.5"),
            floating_ip("f2", "192.0.2.2"),
        ]
        cloud.network["security_groups"] = [group("default", rule(remote_group_id="default"))]
        yield cloud


def listed(standin: ChangingNeutron, **settings: Any) -> Cloud:
    """A cloud that has been listed once, and is asked for what changed from now on."""
    cloud = connect(standin, **settings).cloud
    cloud.inventory()
    standin.requests.clear()
    return cloud


def devices(topology: Topology, ip: str) -> list[str]:
    return [each.device for each in topology.owners.get(ip, ())]


def test_a_refresh_asks_for_what_changed_since_the_last_answer(standin: ChangingNeutron) -> None:
    """Three requests, each of which reaches two minutes back by Neutron's own clock."""
    cloud = listed(standin)
    standin.now = BEGIN + 60
    before = cloud.inventory().topology
    asked = [request for request in standin.requests if request.path.startswith("/network")]
    assert [request.path for request in asked] == [PORTS, FLOATING, GROUPS]
    assert {request.query["changed_since"] for request in asked} == {"2026-11-22T23:58:00Z"}
    standin.requests.clear()
    assert cloud.inventory().topology == before
    assert standin.asked(PORTS)[0].query["changed_since"] == "2026-11-22T23:59:00Z"


def test_new_and_changed_ports(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    standin.change("ports", port("4", "10.0.0.7", device="new"), port("2", "10.0.0.8", device="other"))
    standin.change("ports", port("3", "10.0.0.1", device="r2", owner="network:router_interface"))
    got = cloud.inventory().topology
    assert {device: [p.subnets for p in ports] for device, ports in got.ports.items()} == {
        "vm": [{"10.0.0.5": "sub4"}],
        "new": [{"10.0.0.7": "sub4"}],
        "other": [{"10.0.0.8": "sub4"}],
    }
    assert got.routers == {"sub4": ("r2",)}
    assert devices(got, "10.0.0.6") == []
    assert got.members["default"] == {"10.0.0.5", "10.0.0.6", "10.0.0.7", "10.0.0.8", "10.0.0.1"}, (
        "what left the group is taken to be let in until the next full list"
    )


def test_a_port_that_no_instance_has_any_more(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    standin.change("ports", port("1", "10.0.0.5"))
    standin.change("floatingips", floating_ip("f2", "192.0.2.2", "2", fixed_ip_address="10.0.0.6"))
    got = cloud.inventory().topology
    assert set(got.ports) == {"other"}
    assert devices(got, "10.0.0.5") == ["port 1"]
    assert got.floating == {"192.0.2.1": ("",), "192.0.2.2": ("other",)}
    assert got.public == {"other": {"10.0.0.6": "192.0.2.2"}}


def test_a_deleted_port_stays_until_somebody_else_has_its_address(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    standin.delete("ports", "2")
    assert devices(cloud.inventory().topology, "10.0.0.6") == ["other"]
    standin.change("ports", port("4", "10.0.0.6", device="heir"))
    got = cloud.inventory().topology
    assert devices(got, "10.0.0.6") == ["heir"]
    assert [each.subnets for each in got.ports["other"]] == [{}], "it is known to Neutron, without an address"
    assert cloud.memory.ports.value.unknown == {"other"}


def test_the_same_address_in_another_network_is_taken_from_nobody(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    standin.change("ports", port("4", "10.0.0.6", device="elsewhere", network_id="net2"))
    assert devices(cloud.inventory().topology, "10.0.0.6") == ["other", "elsewhere"]


def test_two_ports_of_one_answer_that_have_an_address_both_have_it(standin: ChangingNeutron) -> None:
    """It moved from one to the other between two pages; who has it now, the next answer tells."""
    cloud = listed(standin)
    standin.change("ports", port("4", "10.0.0.9", device="one"), port("5", "10.0.0.9", device="two"))
    assert devices(cloud.inventory().topology, "10.0.0.9") == ["one", "two"]
    standin.change("ports", port("4", "10.0.0.8", device="one"))
    assert devices(cloud.inventory().topology, "10.0.0.9") == ["two"]


def test_of_two_that_were_listed_with_an_address_one_may_be_deleted(standin: ChangingNeutron) -> None:
    """The next answer tells, in which the other one is as it was."""
    cloud = listed(standin)
    standin.change("ports", port("4", "10.0.0.9", device="one"), port("5", "10.0.0.9", device="two"))
    cloud.inventory()
    standin.delete("ports", "4")
    assert devices(cloud.inventory().topology, "10.0.0.9") == ["two"]


def test_a_floating_address_that_another_floating_ip_has_by_now(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    standin.delete("floatingips", "f1")
    standin.change("floatingips", floating_ip("f3", "192.0.2.1", "2", fixed_ip_address="10.0.0.6"))
    elsewhere = floating_ip("f4", "192.0.2.2", "1", floating_network_id="public2")
    standin.change("floatingips", elsewhere)
    got = cloud.inventory().topology
    assert got.floating == {"192.0.2.1": ("other",), "192.0.2.2": ("", "vm")}
    assert got.public == {"other": {"10.0.0.6": "192.0.2.1"}}


def test_what_a_silent_instance_has_is_looked_up(standin: ChangingNeutron) -> None:
    """Neutron does not tell that its ports and floating IPs were deleted."""
    cloud = listed(standin)
    standin.delete("ports", "1")
    standin.delete("floatingips", "f1")
    standin.network["ports"].append(port("4", "10.0.0.7", device="other"))
    got = cloud.inventory(silent=["vm", "other", "unheard of"]).topology
    assert {device: [each.id for each in ports] for device, ports in got.ports.items()} == {
        "other": ["2", "4"]
    }
    assert devices(got, "10.0.0.5") == []
    assert set(got.floating) == {"192.0.2.2"}
    asked = [parse_qs(request.query_string) for request in standin.asked(PORTS) + standin.asked(FLOATING)]
    assert [each.get("device_id") for each in asked] == [None, ["other", "unheard of", "vm"], None, None]
    assert asked[-1]["floating_ip_address"] == ["192.0.2.1"]


def test_a_floating_ip_of_a_port_that_is_a_silent_instances_by_now(standin: ChangingNeutron) -> None:
    """It was deleted, too."""
    cloud = listed(standin)
    standin.delete("floatingips", "f1")
    standin.change("ports", port("1", "10.0.0.5", device="heir"))
    assert set(cloud.inventory(silent=["heir"]).topology.floating) == {"192.0.2.2"}


def test_each_silence_is_looked_up_once(standin: ChangingNeutron) -> None:
    """What a full list told after the silence began needs no look."""
    cloud = connect(standin).cloud
    cloud.inventory(silent=["vm"])
    for silent in (["vm"], ["vm", "other"], ["vm", "other"], ["other"], ["vm", "other"]):
        cloud.inventory(silent=silent)
    looked_up = [parse_qs(request.query_string).get("device_id") for request in standin.asked(PORTS)]
    assert [ids for ids in looked_up if ids] == [["other"], ["vm"]]


def test_of_many_that_fall_silent_at_once_a_hundred_are_looked_up(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    silent = [f"vm-{number:03}" for number in range(150)]
    for _ in range(3):
        cloud.inventory(silent=silent)
    looked_up = [parse_qs(request.query_string).get("device_id", []) for request in standin.asked(PORTS)]
    assert [len(ids) for ids in looked_up] == [0, 50, 50, 0, 50, 0]
    assert sorted(id_ for ids in looked_up for id_ in ids) == silent


def test_who_lost_the_address_to_another_port_is_looked_up(standin: ChangingNeutron) -> None:
    """It is known again what it has, if Nova lists it still."""
    standin.network["ports"].append(port("7", "10.0.0.7", "10.0.0.70", device="alpha-0000"))
    cloud = listed(standin)
    standin.change("ports", port("8", "10.0.0.7", device="heir"), port("7", "10.0.0.71", device="alpha-0000"))
    standin.network["ports"][-1]["updated_at"] = 0.0
    got = cloud.inventory().topology
    assert [list(each.subnets) for each in got.ports["alpha-0000"]] == [["10.0.0.71"]]
    assert devices(got, "10.0.0.7") == ["heir"]
    assert devices(got, "10.0.0.70") == []
    assert cloud.memory.ports.value.unknown == set()


def test_who_falls_silent_after_it_was_looked_up_for_another_reason_is_looked_up(
    standin: ChangingNeutron,
) -> None:
    standin.network["ports"].append(port("7", "10.0.0.7", "10.0.0.70", device="alpha-0000"))
    cloud = listed(standin)
    standin.change("ports", port("8", "10.0.0.7", device="heir"))
    standin.network["ports"].append(port("7", "10.0.0.70", device="alpha-0000"))
    cloud.inventory()
    standin.delete("ports", "7")
    assert "alpha-0000" not in cloud.inventory(silent=["alpha-0000"]).topology.ports


@pytest.mark.parametrize("full", [False, True])
def test_a_port_of_another_project_is_not_the_instances_whatever_it_says(
    standin: ChangingNeutron, *, full: bool
) -> None:
    """Any tenant may write any id into the device of its own port; Nova attaches no such port."""
    standin.servers[0].addresses = (Address("10.0.0.7", 4, AddressKind.FIXED, "net"),)
    own = port("7", "10.0.0.7", device="alpha-0000", tenant_id=ALPHA.id)
    standin.network["ports"].append(own)
    cloud = listed(standin)
    standin.change("ports", port("8", "10.0.0.8", device="alpha-0000", tenant_id=BETA.id))
    got = cloud.inventory(full=full)
    (instance,) = (each for each in got.instances if each.id == "alpha-0000")
    assert [each.ip for each in instance.addresses] == ["10.0.0.7"]
    assert [each.id for each in got.topology.ports["alpha-0000"]] == ["7"]
    assert devices(got.topology, "10.0.0.8") == ["port 8"]
    looked_up = cloud.inventory(silent=["alpha-0000"]).topology
    assert looked_up.ports["alpha-0000"] == got.topology.ports["alpha-0000"]


def test_a_rule_that_is_gone(standin: ChangingNeutron) -> None:
    """Neutron counts it as a change of its group (``revises_on_change`` in its model of rules)."""
    cloud = listed(standin)
    standin.change("security_groups", group("default"))
    assert cloud.inventory().topology.rules == {"default": ()}


def test_members_of_a_group_that_a_rule_names_from_now_on(standin: ChangingNeutron) -> None:
    pairs = [{"ip_address": "10.1.0.0/24"}]
    standin.network["ports"].append(
        port("4", "10.0.0.7", device="web", security_groups=["web"], allowed_address_pairs=pairs)
    )
    cloud = listed(standin)
    standin.change("security_groups", group("default", rule(remote_group_id="web")))
    got = cloud.inventory().topology
    assert got.rules == {"default": (SecurityRule(4, group="web"),)}
    assert got.members["web"] == {"10.0.0.7", "10.1.0.0/24"}


def test_address_groups_are_listed_whole(standin: ChangingNeutron) -> None:
    standin.network["security_groups"] = [group("default", rule(remote_address_group_id="a"))]
    standin.network["address_groups"] = [{"id": "a", "addresses": ["192.0.2.0/24"]}]
    cloud = listed(standin)
    standin.network["address_groups"] = [{"id": "a", "addresses": []}]
    assert cloud.inventory().topology.address_groups == {"a": ()}
    (asked,) = standin.asked(GROUPS_ADDRESSES)
    assert "changed_since" not in asked.query


def test_networks_of_new_ports_are_looked_up(standin: ChangingNeutron) -> None:
    standin.network["networks"] = [
        {"id": id_, "name": id_, "router:external": True, "shared": True} for id_ in ("net", "net2")
    ]
    cloud = listed(standin, probe=Probe(vantages=("local", "qdhcp")))
    standin.network["networks"].append({"id": "new", "name": "n", "router:external": False, "shared": False})
    standin.change("ports", port("4", "10.0.0.7", device="vm4", network_id="new"))
    got = cloud.inventory().topology
    assert got.networks["new"] == Network("new", "n", external=False, shared=False)
    assert set(got.networks) == {"net", "net2", "new"}
    assert [request.query["id"] for request in standin.asked(NETWORKS)] == ["new"]
    cloud.inventory()
    assert len(standin.asked(NETWORKS)) == 1


@pytest.mark.parametrize("wish", [{"agents": True}, {"probe": Probe(vantages=("local", "qdhcp"))}])
def test_networks_are_listed_at_once_when_a_reload_needs_them(
    standin: ChangingNeutron, wish: dict[str, Any]
) -> None:
    """As when an exporter becomes a central, whose agents ask for networks by their names."""
    standin.network["networks"] = [{"id": "net", "name": "n", "router:external": True, "shared": True}]
    before = listed(standin, probe=Probe(vantages=("qdhcp",)))
    assert not before.inventory().topology.networks
    after = connect(standin, **{"probe": Probe(vantages=("qdhcp",)), **wish}).cloud
    after.take_over(before)
    for _ in range(2):
        got = after.inventory()
        assert (set(got.topology.networks), got.full) == ({"net"}, False)
    assert len(standin.asked(NETWORKS)) == 1


def test_ports_that_cannot_be_read_any_more(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    broken = port("1", "10.0.0.5", "10.0.0.50", device="vm") | {"mac_address": 7}
    standin.change("ports", broken)
    got = cloud.inventory().topology
    assert set(got.ports) == {"other"}, "nothing is claimed of it"
    assert devices(got, "10.0.0.5") == devices(got, "10.0.0.50") == ["vm"]
    assert got.members == {}, "its group has addresses that are not known"
    assert got.incomplete == set()
    standin.change("ports", port("4", "10.0.0.51", device="vm"), broken | {"id": 7, "fixed_ips": "x"})
    got = cloud.inventory().topology
    assert set(got.ports) == {"other"}, "not until the next full list"
    assert got.incomplete == {"ports"}


def test_floating_ips_and_groups_that_cannot_be_read_any_more(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    standin.change("floatingips", floating_ip("f1", "192.0.2.1") | {"port_id": 7})
    standin.change("security_groups", group("default") | {"security_group_rules": 7})
    got = cloud.inventory().topology
    assert got.floating == {"192.0.2.1": ("",), "192.0.2.2": ("",)}
    assert got.rules == {}
    standin.change("floatingips", {"id": 7})
    standin.change("security_groups", {"id": 7})
    assert cloud.inventory().topology.incomplete == {"floating_ips"}


@pytest.mark.parametrize("path", [PORTS, FLOATING, GROUPS])
def test_after_a_failure_the_list_is_whole(standin: ChangingNeutron, path: str) -> None:
    """What was deleted meanwhile is known then, and no answer is missing between."""
    cloud = listed(standin)
    standin.fail(path, *[AWAY] * 4)
    cloud.inventory()
    standin.requests.clear()
    assert all(cloud.inventory().parts.values())
    assert "changed_since" not in standin.asked(path)[0].query
    assert ("changed_since" in standin.asked(PORTS)[0].query) == (path != PORTS)


def test_without_the_extension_lists_are_whole(standin: ChangingNeutron) -> None:
    standin.network_api.extensions = ("standard-attr-revisions", "port-security")
    cloud = listed(standin)
    standin.delete("ports", "2")
    assert set(cloud.inventory().topology.ports) == {"vm"}
    assert not standin.asked(EXTENSIONS), "they are asked for with the full lists only"


def test_a_neutron_that_counts_no_revisions_has_its_groups_listed_whole(standin: ChangingNeutron) -> None:
    standin.network_api.extensions = ("standard-attr-timestamp",)
    cloud = listed(standin)
    standin.network["security_groups"] = []
    got = cloud.inventory().topology
    assert got.rules == {}
    assert ["changed_since" in request.query for request in standin.asked(PORTS) + standin.asked(GROUPS)] == [
        True,
        False,
    ]


def test_a_neutron_that_refuses_the_filter(
    standin: ChangingNeutron, caplog: pytest.LogCaptureFixture
) -> None:
    """So does one with ``filter_validation: true``, the default, although it has the extension."""
    caplog.set_level(logging.INFO, "fping_exporter")
    cloud = listed(standin)
    standin.network_api.extensions = ()
    standin.delete("ports", "2")
    for _ in range(3):
        assert set(cloud.inventory().topology.ports) == {"vm"}
    assert len(standin.asked(PORTS)) == 4, "it is tried once"
    (message,) = caplog.messages
    assert "refuses changed_since" in message


def test_a_neutron_that_does_not_tell_the_time(standin: ChangingNeutron) -> None:
    """Without the header ``Date`` nobody knows what to ask for."""

    def undated(request: Request) -> Answer:
        return standin.network_api.answer("ports", request, now=standin.now)._replace(
            headers={"Date": "soon"}
        )

    standin.fail(PORTS, *[undated] * 9)
    cloud = listed(standin)
    standin.delete("ports", "2")
    assert set(cloud.inventory().topology.ports) == {"vm"}
    assert "changed_since" not in standin.asked(PORTS)[0].query


def test_a_clock_that_went_back(standin: ChangingNeutron) -> None:
    """What changed since then has earlier times than what changed before."""
    cloud = listed(standin)
    standin.now -= 121
    standin.delete("ports", "2")
    standin.delete("floatingips", "f2")
    standin.delete("security_groups", "default")
    got = cloud.inventory().topology
    assert (set(got.ports), set(got.floating), got.rules) == ({"vm"}, {"192.0.2.1"}, {})


def test_a_clock_that_goes_back_between_two_answers(standin: ChangingNeutron) -> None:
    cloud = listed(standin)
    standin.delete("floatingips", "f2")
    standin.delete("security_groups", "default")

    def turn_back(_request: Request) -> None:
        standin.now -= 121

    standin.fail(FLOATING, turn_back)
    got = cloud.inventory().topology
    assert (set(got.floating), got.rules) == ({"192.0.2.1"}, {})


def test_an_older_port_that_is_listed_again_has_its_address_again(standin: ChangingNeutron) -> None:
    """Its change was not in the database yet when the other port's was."""
    cloud = listed(standin)
    standin.change("ports", port("4", "10.0.0.6", device="other port"))
    cloud.inventory()
    standin.change("ports", port("4", "10.0.0.9", device="other port"))
    standin.change("ports", port("2", "10.0.0.6", device="other"))
    assert devices(cloud.inventory().topology, "10.0.0.6") == ["other"]


@pytest.mark.parametrize("extensions", [Answer(403, b""), Answer(200, b"[]"), AWAY])
def test_extensions_that_cannot_be_listed_cost_nothing_else(
    standin: ChangingNeutron, extensions: Answer
) -> None:
    standin.fail(EXTENSIONS, *[extensions] * 4)
    cloud = connect(standin).cloud
    assert all(cloud.inventory().parts.values())
    standin.delete("ports", "2")
    assert set(cloud.inventory().topology.ports) == {"vm"}
    standin.delete("ports", "1")
    assert bool(cloud.inventory().topology.ports) == (extensions is AWAY), "they are asked for once more"
