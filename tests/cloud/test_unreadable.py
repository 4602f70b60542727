"""One entry that cannot be read costs that entry: it is left out, counted and logged."""

import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fping_exporter.cloud import Cloud, unreadable
from fping_exporter.config import Instances, Probe
from fping_exporter.model import Inventory, Reason
from fping_exporter.verdict.selection import select
from tests.cloud.faulty import ALPHA, BETA, connect
from tests.cloud.neutron import PORTS, rule
from tests.cloud.unreadable import BY_NETWORK, EVERYWHERE, AlteredCloud, judged, without_names

PART = {
    "servers": "servers",
    "services": "hypervisors",
    "hypervisors": "hypervisors",
    "projects": "projects",
    "users": "contacts",
    "role_assignments": "contacts",
    "ports": "ports",
    "networks": "ports",
    "floatingips": "floating_ips",
    "security_groups": "security_groups",
    "address_groups": "security_groups",
}


@pytest.fixture(scope="module")
def running() -> Iterator[AlteredCloud]:
    with AlteredCloud() as cloud:
        yield cloud


@pytest.fixture
def standin(running: AlteredCloud) -> Iterator[AlteredCloud]:
    before = copy.deepcopy((running.network, running.keystone))
    yield running
    running.network, running.keystone = before
    running.changes = {}


def exporter(standin: AlteredCloud, probe: Probe = BY_NETWORK) -> Cloud:
    return connect(standin, contacts_from_keystone=True, probe=probe).cloud


def inventory(standin: AlteredCloud) -> Inventory:
    return exporter(standin).inventory()


def test_the_truth(standin: AlteredCloud) -> None:
    there = inventory(standin)
    assert set(there.parts) == set(PART.values()) - {"servers"}
    assert there.contacts == {ALPHA.id: "ann@example.org", BETA.id: "bob@example.org"}
    assert not there.skipped
    for probe, moved in ((EVERYWHERE, Reason.AMBIGUOUS_ADDRESS), (BY_NETWORK, Reason.NO_VANTAGE)):
        said = {id_: (v.alive, v.reason) for id_, v in judged(there, probe).items()}
        assert said == TRUTH | {"moved": (None, moved)}


TRUTH = {
    "answers": (True, None),
    "blocked": (False, Reason.ICMP_BLOCKED),
    "friendly": (False, Reason.NO_REPLY),
    "mapped": (None, Reason.AMBIGUOUS_ADDRESS),
    "other": (False, Reason.NO_REPLY),
    "twinned": (None, Reason.AMBIGUOUS_ADDRESS),
}


@pytest.mark.parametrize("odd", [None, "text", 7, [], {}])
@pytest.mark.parametrize("key", list(PART))
def test_an_entry_that_is_none_costs_nothing_else(
    standin: AlteredCloud, caplog: pytest.LogCaptureFixture, key: str, odd: object
) -> None:
    cloud = exporter(standin)
    before = cloud.inventory(full=True)
    standin.changes[key] = lambda entries: [odd, *entries, odd] if entries else []
    for _ in range(2):
        after = cloud.inventory(full=True)
        assert all(after.parts.values())
        assert after.skipped == {PART[key]: 2}
        assert after.instances == before.instances
        assert (after.projects, after.contacts, after.hypervisors) == (
            before.projects,
            before.contacts,
            before.hypervisors,
        )
    (message,) = [each.message for each in caplog.records if each.name == unreadable.__name__]
    assert message.startswith(f"{PART[key]}: left out, as it cannot be read: an entry without an id: ")


@pytest.mark.parametrize("key", sorted(PART.keys() - {"servers"}))
@pytest.mark.parametrize("whole", [None, {}, "text", [None], [7, "x"]])
def test_what_is_no_list_is_a_part_that_is_missing(standin: AlteredCloud, key: str, whole: Any) -> None:
    standin.changes[key] = lambda _entries: whole
    there = inventory(standin)
    assert not there.parts[PART[key]]
    assert not there.skipped


@pytest.mark.parametrize(
    "change", [{"email": ["b@x.org"]}, {"enabled": "True"}, {"enabled": 1}, {"email": {"b": "x"}}]
)
def test_a_user_that_cannot_be_read_costs_nobody_else_the_mail(
    standin: AlteredCloud, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    standin.keystone["users"][1] |= change
    there = inventory(standin)
    assert there.contacts == {ALPHA.id: "ann@example.org"}
    assert there.parts["contacts"]
    assert there.skipped == {"contacts": 1}
    (message,) = caplog.messages
    assert message.startswith("contacts: left out, as it cannot be read: 'u2': Expected ")
    assert "x.org" not in message


def test_null_fields_have_their_defaults(standin: AlteredCloud, caplog: pytest.LogCaptureFixture) -> None:
    standin.keystone["users"][0]["enabled"] = None
    standin.network["ports"][0]["allowed_address_pairs"] = None
    standin.network["networks"][0]["shared"] = None
    standin.changes = {
        "servers": lambda servers: [{**server, "tags": None, "metadata": None} for server in servers],
        "projects": lambda projects: [{**project, "domain_id": None} for project in projects],
    }
    there = inventory(standin)
    assert all(there.parts.values())
    assert not there.skipped
    assert {(instance.tags, *instance.metadata) for instance in there.instances} == {((),)}
    assert there.projects[ALPHA.id].domain_id == ""
    assert there.contacts[ALPHA.id] == "ann@example.org"
    assert caplog.messages == []


@pytest.mark.parametrize("prefix", ["10.0.0.0/33", "fd00::/129", "everywhere"])
def test_a_prefix_that_is_none_makes_its_group_unknown_and_not_a_filter(
    standin: AlteredCloud, prefix: str
) -> None:
    standin.network["security_groups"][1]["security_group_rules"] = [rule(remote_ip_prefix=prefix)]
    there = inventory(standin)
    assert there.parts["security_groups"]
    assert there.skipped == {"security_groups": 1}
    assert judged(there)["blocked"].reason is Reason.NO_REPLY
    assert judged(there)["answers"].alive


def test_a_prefix_of_a_rule_that_lets_nothing_in_does_not_matter(standin: AlteredCloud) -> None:
    rules = [rule(direction="egress", remote_ip_prefix="10.0.0.0/33")]
    standin.network["security_groups"][1]["security_group_rules"] = rules
    there = inventory(standin)
    assert not there.skipped
    assert judged(there)["blocked"].reason is Reason.ICMP_BLOCKED


@pytest.mark.parametrize("ip", ["fd00:::1", "fd00::zz/64", "10.0.0.300", "", "fd00::1%"])
def test_an_address_of_a_port_that_is_none_makes_the_instances_ports_unknown(
    standin: AlteredCloud, ip: str
) -> None:
    standin.network["ports"][1]["fixed_ips"].append({"ip_address": ip, "subnet_id": "s"})
    there = inventory(standin)
    assert there.parts["ports"]
    assert there.skipped == {"ports": 1}
    assert "blocked" not in there.topology.ports
    assert {"answers", "friendly", "moved", "other"} <= there.topology.ports.keys()
    assert judged(there)["blocked"].reason is Reason.NO_REPLY
    assert judged(there)["friendly"].reason is Reason.NO_REPLY


def test_a_member_that_cannot_be_read_may_have_been_let_in(standin: AlteredCloud) -> None:
    for fault in (
        {"fixed_ips": None},
        {"security_groups": None},
        {"security_groups": [7]},
        {"network_id": 7},
    ):
        before = standin.network["ports"][-1]
        standin.network["ports"][-1] = before | fault
        assert judged(inventory(standin))["friendly"].reason is Reason.NO_REPLY
        standin.network["ports"][-1] = before


@pytest.mark.parametrize(
    "fault",
    [{"network_id": None}, {"mac_address": 5}, {"device_id": None}, {"fixed_ips": None}, {"id": None}],
)
def test_an_owner_that_cannot_be_read_keeps_its_address(standin: AlteredCloud, fault: dict[str, Any]) -> None:
    standin.network["ports"][6] |= fault
    there = inventory(standin)
    assert there.parts["ports"]
    got = judged(there)
    assert (got["moved"].alive, got["moved"].reason) == (None, Reason.AMBIGUOUS_ADDRESS)
    assert got["answers"].alive
    assert got["blocked"].reason is Reason.ICMP_BLOCKED


@pytest.mark.parametrize(
    "fault", [{"port_id": 7}, {"floating_ip_address": None}, {"floating_ip_address": "x"}]
)
def test_a_floating_address_that_cannot_be_read_is_nobodys(
    standin: AlteredCloud, fault: dict[str, Any]
) -> None:
    standin.network["floatingips"][0] |= fault
    there = inventory(standin)
    assert there.skipped == {"floating_ips": 1}
    assert judged(there)["mapped"].alive is None


def test_an_instance_of_which_no_address_can_be_read_is_not_called_dead(standin: AlteredCloud) -> None:
    def alter(servers: list[Any]) -> list[Any]:
        for server in servers[:1]:
            server["addresses"]["net"][0]["addr"] = 7
        for server in servers[1:2]:
            server["addresses"]["net"][0]["addr"] = "10.0.0.300"
        return servers

    standin.changes["servers"] = alter
    there = inventory(standin)
    assert len(there.instances) == 5
    assert there.skipped == {"servers": 2}


@pytest.mark.parametrize(
    "fault", [{"metadata": 7}, {"tenant_id": None}, {"addresses": {"net": [{"addr": 7}]}}]
)
def test_a_server_that_cannot_be_read_any_more_stays_as_it_was_with_an_unknown_status(
    standin: AlteredCloud, fault: dict[str, Any]
) -> None:
    """It is listed, so it is not gone: its series do not vanish, and neither do alerts on it."""
    cloud = exporter(standin)
    before = {each.id: each for each in cloud.inventory(full=True).instances}
    standin.changes["servers"] = lambda servers: [
        server | fault if server["id"] == "friendly" else server for server in servers
    ]
    for _ in range(2):
        there = cloud.inventory(full=True)
        after = {each.id: each for each in there.instances}
        assert after == before | {"friendly": msgspec.structs.replace(before["friendly"], status="UNKNOWN")}
        assert there.skipped == {"servers": 1}
    standin.changes["servers"] = lambda servers: [server for server in servers if server["id"] != "friendly"]
    assert {each.id for each in cloud.inventory(full=True).instances} == before.keys() - {"friendly"}


def test_a_server_that_cannot_be_read_but_is_deleted_does_not_stay(standin: AlteredCloud) -> None:
    cloud = exporter(standin)
    cloud.inventory(full=True)
    standin.changes["servers"] = lambda servers: [
        server | {"metadata": 7, "status": "DELETED"} if server["id"] == "friendly" else server
        for server in servers
    ]
    assert "friendly" not in {each.id for each in cloud.inventory(full=True).instances}


@pytest.mark.parametrize("fault", [{"metadata": 7}, {"id": 7}])
def test_a_server_that_cannot_be_read_may_answer_for_another_one(
    standin: AlteredCloud, fault: dict[str, Any]
) -> None:
    """Without Neutron only Nova tells that an address has two owners."""
    standin.changes["ports"] = lambda _ports: [7]  # no list of ports
    standin.changes["servers"] = lambda servers: [
        server | fault | {"addresses": servers[0]["addresses"]} if server["id"] == "friendly" else server
        for server in servers
    ]
    cloud = exporter(standin)
    for _ in range(2):
        there = select(cloud.inventory(full=True), Instances())
        assert "friendly" not in {each.id for each in there.instances}
        assert (judged(there)["answers"].alive, judged(there)["answers"].reason) == (
            None,
            Reason.AMBIGUOUS_ADDRESS,
        )


def test_a_port_that_is_deleted_between_two_pages_begins_the_list_once_more(standin: AlteredCloud) -> None:
    standin.network_api.page = 3
    before = inventory(standin)
    deleted = standin.network["ports"][2]

    def delete(_request: object) -> None:
        standin.network["ports"].remove(deleted)

    already = len(standin.asked(PORTS))
    standin.fail(PORTS, None, delete)
    there = inventory(standin)
    standin.network_api.page = 1000
    assert there.parts["ports"]
    assert there.topology.ports.keys() == before.topology.ports.keys() - {"friendly"}
    assert len(there.topology.owners["10.0.0.1"]) == 1
    asked = [request.query.get("marker") for request in standin.asked(PORTS)[already:]]
    assert asked[:3] == [None, "port-friendly", None]


class Change(NamedTuple):
    """One field of one entry of a list is dropped, nulled or gets another type."""

    key: str
    entry: int
    path: tuple[str | int, ...]
    values: tuple[Any, ...]
    """The new value; empty: the field is dropped."""

    def apply(self, entries: list[Any]) -> list[Any]:
        if len(entries) <= self.entry:  # of a page after the last
            return entries
        holder = entries[self.entry]
        for step in self.path[:-1]:
            holder = holder[step]
        if self.values:
            holder[self.path[-1]] = self.values[0]
        else:
            del holder[self.path[-1]]
        return entries


OTHERS: tuple[Any, ...] = ([1], {"a": 1}, 5.5, True, "text")


def changes(lists: dict[str, list[Any]]) -> Iterator[Change]:
    """Every change to a field at any depth, and to entries themselves."""
    for key, entries in lists.items():
        for number, entry in enumerate(entries):
            yield from (Change(key, number, path, values) for path, values in _changes_to(entry))


def _changes_to(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], tuple[Any, ...]]]:
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    for name, inner in items:
        here = (*path, name)
        if isinstance(value, dict):
            yield here, ()
        yield here, (None,)
        for other in OTHERS:
            if type(other) is not type(inner) and not (inner is None and other == "text"):
                yield here, (other,)
        yield from _changes_to(inner, here)


def check(standin: AlteredCloud, cloud: Cloud, change: Change, truth: Inventory) -> None:
    """List with a change; whatever it costs, nothing else is lost and nothing untrue is said."""
    standin.changes = {change.key: change.apply}
    try:
        there = cloud.inventory(full=True)
    finally:
        standin.changes = {}
    assert all(there.parts.values())
    altered = truth.instances[change.entry].id if change.key == "servers" else None
    assert {i.id: without_names(i) for i in there.instances if i.id != altered} == {
        i.id: without_names(i) for i in truth.instances if i.id != altered
    }
    for probe in (EVERYWHERE, BY_NETWORK):
        verdicts = judged(there, probe)
        assert {id_ for id_, verdict in verdicts.items() if verdict.alive} <= {"answers", hidden(change)}
        assert {id_ for id_, v in verdicts.items() if v.reason is Reason.ICMP_BLOCKED} <= {"blocked"}
        if change.key != "servers":
            assert verdicts["answers"].alive is not False
        if change.key not in {"servers", "ports", "networks"}:
            assert verdicts["answers"].alive


def hidden(change: Change) -> str:
    """Return the instance whose twin cannot be known, as the address of that one is unreadable."""
    return "twinned" if (change.key, change.entry, *change.path[:1]) == ("ports", 8, "fixed_ips") else ""


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_no_change_to_a_field_costs_or_claims_more_than_its_entry(
    standin: AlteredCloud, data: st.DataObject
) -> None:
    cloud = exporter(standin)
    truth = inventory(standin)
    change = data.draw(st.sampled_from(list(changes(standin.lists(cloud)))))
    check(standin, cloud, change, truth)


@pytest.mark.fuzz
def test_every_single_change_to_a_field(standin: AlteredCloud) -> None:
    cloud = exporter(standin)
    truth = inventory(standin)
    every = list(changes(standin.lists(cloud)))
    assert len(every) > 1000
    for change in every:
        try:
            check(standin, cloud, change, truth)
        except Exception as error:
            error.add_note(f"{change}")
            raise
