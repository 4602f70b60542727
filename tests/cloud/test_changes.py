"""Between full lists Nova is asked for what changed, and that is merged into what is known."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.servers import UpdateTimes
from fping_exporter.demo.standin import NovaServer, Standin
from fping_exporter.errors import CloudError
from fping_exporter.model import Address, AddressKind, Instance, Inventory
from tests.cloud.faulty import ADMIN, ALPHA, BETA, MEMBER, SERVERS, connect, make_servers
from tests.cloud.neutron import FLOATING, PORTS, NeutronCloud, floating_ip, port

HYPERVISORS = "/compute/v2.1/os-hypervisors/detail"
SERVICES = "/compute/v2.1/os-services"
MINUTE = 60.0


class ChangingCloud(NeutronCloud):
    """A cloud with a Neutron and a clock of its own, where each change is noted at its time."""

    def __init__(self, *servers: NovaServer) -> None:
        super().__init__(*servers)
        self.now = datetime.fromisoformat("2026-11-26T12:00:00Z").timestamp()
        self.clock = lambda: self.now
        self.begin(servers)

    def begin(self, servers: Iterable[NovaServer]) -> None:
        """Have these servers, each with its port."""
        self.servers[:] = servers
        for server in self.servers:
            server.addresses = tuple(
                msgspec.structs.replace(each, mac=f"mac-port-{server.id}") for each in server.addresses
            )
        self.update_times = UpdateTimes(self.servers)
        self.network["ports"] = [
            port(f"port-{server.id}", *(each.ip for each in server.addresses), device=server.id)
            for server in self.servers
        ]

    def server(self, id_: str) -> NovaServer:
        return next(each for each in self.servers if each.id == id_)

    def change(self, id_: str, **changes: Any) -> None:
        """Change a server, and let a minute pass."""
        place = next(place for place, each in enumerate(self.servers) if each.id == id_)
        self.servers[place] = msgspec.structs.replace(self.servers[place], **changes)
        self.tick()

    def create(self, server: NovaServer) -> None:
        self.servers.append(server)
        self.tick()

    def delete(self, id_: str) -> None:
        self.servers.remove(self.server(id_))
        self.tick()

    def tick(self, seconds: float = MINUTE) -> None:
        self.update_times.look(self.servers, now=self.now)
        self.now += seconds

    def since(self) -> list[str | None]:
        """What each list of servers was asked to begin with, as far as it was no second page."""
        asked = [request.query for request in self.asked(SERVERS) if "marker" not in request.query]
        self.requests.clear()
        return [query.get("changes-since") for query in asked]


@pytest.fixture
def standin() -> Iterator[ChangingCloud]:
    with ChangingCloud(*make_servers(3), *make_servers(2, project=BETA)) as cloud:
        yield cloud


def by_id(inventory: Inventory) -> dict[str, Instance]:
    return {instance.id: instance for instance in inventory.instances}


def full(standin: ChangingCloud) -> dict[str, Instance]:
    listed = by_id(connect(standin).cloud.inventory())
    standin.requests.clear()
    return listed


def test_each_list_asks_for_what_changed_two_minutes_before_the_last_answer(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    assert cloud.inventory().full
    assert standin.since() == [None]
    for since in ("2026-11-26T11:58:00Z", "2026-11-26T11:59:00Z"):
        standin.tick()
        assert not cloud.inventory().full
        assert standin.since() == [since]


CHANGES: dict[str, Callable[[ChangingCloud], None]] = {
    "created": lambda cloud: cloud.create(make_servers(4)[3]),
    "deleted": lambda cloud: cloud.delete("alpha-0001"),
    "soft deleted": lambda cloud: cloud.change("alpha-0001", status="SOFT_DELETED"),
    "renamed": lambda cloud: cloud.change("alpha-0001", name="new"),
    "stopped": lambda cloud: cloud.change("alpha-0001", status="SHUTOFF"),
    "migrated": lambda cloud: cloud.change("alpha-0001", hypervisor="kvm-2.example"),
    "labelled": lambda cloud: cloud.change("alpha-0001", metadata={"k": "v"}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_nova_tells_is_merged(standin: ChangingCloud, what: str) -> None:
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())
    CHANGES[what](standin)
    listed = cloud.inventory()
    assert not listed.full
    assert by_id(listed) == full(standin) != before
    unchanged = by_id(listed).keys() - {"alpha-0001", "alpha-0003"}
    assert all(by_id(listed)[id_] is before[id_] for id_ in unchanged)


def test_an_instance_that_is_restored_comes_back(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())
    standin.change("alpha-0001", status="SOFT_DELETED")
    assert by_id(cloud.inventory()).keys() == before.keys() - {"alpha-0001"}
    standin.change("alpha-0001", status="ACTIVE")
    assert by_id(cloud.inventory()) == before


def test_a_full_list_keeps_the_objects_of_what_did_not_change(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())
    standin.change("alpha-0001", name="new")
    after = by_id(cloud.inventory(full=True))
    assert {id_ for id_ in after if after[id_] is not before[id_]} == {"alpha-0001"}


def test_tags_come_with_full_lists_only(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.change("alpha-0000", tags=["silent-by-design"])
    assert by_id(cloud.inventory())["alpha-0000"].tags == ()
    listed = cloud.inventory(full=True)
    assert by_id(listed)["alpha-0000"].tags == ("silent-by-design",)
    assert listed.corrections == 0


def test_an_old_full_list_is_followed_by_another(standin: ChangingCloud) -> None:
    cloud = connect(standin, cache=config.Cache(full_inventory=Duration(0.001))).cloud
    for _ in range(2):
        assert cloud.inventory().full
    assert standin.since() == [None, None]


def test_a_refresh_that_failed_is_followed_by_a_full_list(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.delete("alpha-0000")
    standin.fail(SERVERS, Answer(403))
    with pytest.raises(CloudError):
        cloud.inventory()
    listed = cloud.inventory()
    assert listed.full
    assert by_id(listed) == full(standin)


@pytest.mark.parametrize("status", [400, 404])
def test_all_is_listed_at_once_if_nova_does_not_tell_what_changed(
    standin: ChangingCloud, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.change("alpha-0000", name="new")
    standin.fail(SERVERS, Answer(status))
    listed = cloud.inventory()
    assert listed.full
    assert by_id(listed) == full(standin)
    assert "Nova does not tell what changed" in caplog.text


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 26 Nov 2026 11:00:00 GMT"])
def test_all_is_listed_if_nova_does_not_tell_the_time_or_its_clock_went_back(
    standin: ChangingCloud, date: str
) -> None:
    def misdated(request: Request) -> Answer:
        answer = Standin.answer(standin, request)
        return answer._replace(headers={**answer.headers, "Date": date})

    cloud = connect(standin).cloud
    cloud.inventory()
    standin.change("alpha-0000", name="new")
    standin.fail(SERVERS, *[misdated] * 9)
    listed = cloud.inventory()
    assert listed.full
    assert by_id(listed) == full(standin)


def test_without_neutron_every_list_is_full(standin: ChangingCloud) -> None:
    standin.neutron = None
    cloud = connect(standin).cloud
    assert [cloud.inventory().full for _ in range(3)] == [True] * 3


def test_a_list_without_ports_is_followed_by_a_full_list(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.fail(PORTS, Answer(403))
    assert not cloud.inventory().full
    assert cloud.inventory().full
    assert not cloud.inventory().full


def test_the_list_of_one_host_is_always_full(standin: ChangingCloud) -> None:
    """An instance that moved to another host is not among the changes on this one."""
    cloud = connect(standin, instances=config.Instances(host="kvm-1")).cloud
    cloud.inventory()
    standin.change("alpha-0001", hypervisor="kvm-2.example")
    listed = cloud.inventory()
    assert listed.full
    assert "alpha-0001" not in by_id(listed)


@pytest.mark.parametrize(
    "scope",
    [
        {"all_projects": False},
        {"projects": ("alpha",)},
        {"projects": ("alpha", "beta")},
    ],
)
def test_lists_of_some_projects_are_merged_as_well(standin: ChangingCloud, scope: dict[str, Any]) -> None:
    cloud = connect(standin, ADMIN if "projects" in scope else MEMBER, **scope).cloud
    cloud.inventory()
    standin.since()
    standin.change("alpha-0001", name="new")
    standin.delete("beta-0001")
    standin.delete("alpha-0002")
    merged = cloud.inventory()
    assert None not in standin.since()
    assert by_id(merged) == by_id(cloud.inventory(full=True))


def test_other_projects_than_before_are_listed_anew(standin: ChangingCloud) -> None:
    cloud = connect(standin, projects=("alpha",)).cloud
    cloud.inventory()
    standin.projects = [msgspec.structs.replace(BETA, name="alpha"), msgspec.structs.replace(ALPHA, name="x")]
    listed = cloud.inventory()
    assert listed.full
    assert {instance.project_id for instance in listed.instances} == {BETA.id}


@pytest.mark.parametrize("microversion", [1, 40, 60])
def test_older_versions_of_nova_are_asked_for_changes_as_well(
    standin: ChangingCloud, microversion: int
) -> None:
    standin.max_microversion = microversion
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.change("alpha-0001", name="new")
    listed = cloud.inventory()
    assert not listed.full
    assert by_id(listed) == full(standin)


def test_a_newer_microversion_is_a_new_question(standin: ChangingCloud) -> None:
    standin.max_microversion = 40
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.max_microversion = 96
    cloud.session.renew()
    assert cloud.inventory().full


@pytest.mark.parametrize("max_limit", [1, 2, 1000])
def test_changes_come_in_pages(standin: ChangingCloud, max_limit: int) -> None:
    standin.max_limit = max_limit
    cloud = connect(standin).cloud
    cloud.inventory()
    for id_ in ("alpha-0000", "alpha-0001", "beta-0000"):
        standin.change(id_, name=f"new-{id_}")
    standin.delete("alpha-0002")
    listed = cloud.inventory()
    assert not listed.full
    assert by_id(listed) == full(standin)


def test_few_changes_cost_one_request(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.change("alpha-0000", name="new")
    standin.requests.clear()
    assert not cloud.inventory().full
    assert len(standin.asked(SERVERS)) == 1
    assert len(standin.asked(SERVICES)) == 1
    assert len(standin.asked(HYPERVISORS)) == 0


def test_hypervisors_are_listed_when_their_services_are_on_other_hosts(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    assert [each.up for each in cloud.inventory().hypervisors] == [True, False]
    standin.hypervisors[1].up = True
    assert [each.up for each in cloud.inventory().hypervisors] == [True, True]
    standin.hypervisors.append(
        msgspec.structs.replace(standin.hypervisors[0], name="kvm-3.example", host="kvm-3")
    )
    standin.change("alpha-0001", hypervisor="kvm-3.example")
    assert [each.name for each in cloud.inventory().hypervisors][-1] == "kvm-3.example"


@pytest.mark.parametrize("fault", [{"metadata": 7}, {"tenant_id": None}])
def test_a_change_that_cannot_be_read_leaves_the_instance_with_an_unknown_status(
    standin: ChangingCloud, fault: dict[str, Any]
) -> None:
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())
    standin.change("alpha-0001", name="new")
    standin.rewrite(SERVERS, lambda body: {"servers": [each | fault for each in body["servers"]]})
    unknown = before | {"alpha-0001": msgspec.structs.replace(before["alpha-0001"], status="UNKNOWN")}
    listed = cloud.inventory()
    assert (by_id(listed), listed.skipped, listed.full) == (unknown, {"servers": 1}, False)

    standin.tick(10 * MINUTE)  # so that the next but one does not tell of it any more
    cloud.inventory()
    standin.fail(SERVERS)
    listed = cloud.inventory()
    assert (by_id(listed), listed.skipped, listed.full) == (unknown, {"servers": 1}, False)
    standin.change("alpha-0001", name="newer")
    listed = cloud.inventory()
    assert (by_id(listed), listed.skipped, listed.full) == (full(standin), {}, False)


def test_a_change_without_an_id_is_followed_by_a_full_list(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.change("alpha-0001", name="new")
    standin.rewrite(
        SERVERS,
        lambda body: {"servers": [*({**each, "id": 7} for each in body["servers"]), *body["servers"]]},
    )
    assert cloud.inventory().skipped == {"servers": 1}
    standin.fail(SERVERS)
    assert cloud.inventory().full


def test_a_change_that_cannot_be_read_may_be_a_deletion(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.delete("alpha-0001")
    standin.rewrite(SERVERS, lambda body: {"servers": [{**each, "metadata": 7} for each in body["servers"]]})
    assert "alpha-0001" not in by_id(cloud.inventory())


def test_deletions_that_are_told_need_no_second_list(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.servers[:] = standin.servers[-1:]
    standin.tick()
    assert cloud.inventory().instances == tuple(full(standin).values())


def test_what_a_full_list_shows_otherwise_is_counted(
    standin: ChangingCloud, caplog: pytest.LogCaptureFixture
) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    assert cloud.inventory().corrections == 0
    standin.delete("alpha-0000")
    standin.change("alpha-0001", name="untold")
    standin.update_times.purge()
    standin.tick(10 * MINUTE)
    cloud.inventory()  # asks for changes since nearly now
    standin.update_times.look(standin.servers, now=0)
    with caplog.at_level(logging.INFO):
        listed = cloud.inventory(full=True)
    assert by_id(listed) == full(standin)
    assert listed.corrections == 1  # the other one was told
    assert "1 instances otherwise" in caplog.text


def test_a_full_list_that_lacks_what_was_not_deleted_is_followed_by_another(standin: ChangingCloud) -> None:
    """A cell that was away for a moment: its services answered again when they were asked."""
    cloud = connect(standin).cloud
    cloud.inventory()
    before = by_id(cloud.inventory())
    standin.fail(SERVERS, lambda request: Standin.answer(standin, request)._replace(body={"servers": []}))
    assert cloud.inventory(full=True).corrections == len(before)
    listed = cloud.inventory()
    assert (by_id(listed), listed.full) == (before, True)
    assert not cloud.inventory().full


def test_what_changed_since_the_last_list_is_no_correction(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    cloud.inventory()
    standin.delete("alpha-0000")
    standin.change("alpha-0001", name="new")
    standin.servers.append(make_servers(4)[3])
    assert cloud.inventory(full=True).corrections == 0


def test_a_moved_address_is_taken_from_neutron(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.network["ports"][0]["fixed_ips"] = [{"ip_address": "10.0.0.9", "subnet_id": "sub4"}]
    (address,) = by_id(cloud.inventory())["alpha-0000"].addresses
    assert (address.ip, address.kind, address.network, address.mac) == (
        "10.0.0.9",
        AddressKind.FIXED,
        "net",
        "mac-port-alpha-0000",
    )


def test_an_address_that_a_new_port_of_the_same_instance_has(standin: ChangingCloud) -> None:
    """By its MAC address its port is found, and so where it can be asked."""
    server = standin.server("alpha-0000")
    server.addresses += (Address("192.0.2.9", 4, AddressKind.FLOATING, "net", server.addresses[0].mac),)
    standin.network["floatingips"] = [
        floating_ip("f", "192.0.2.9", "port-alpha-0000", fixed_ip_address="127.1.0.0")
    ]
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())["alpha-0000"]
    standin.network["ports"][0] = port("new", "127.1.0.0", device="alpha-0000")
    standin.network["floatingips"][0]["port_id"] = "new"
    after = by_id(cloud.inventory())["alpha-0000"]
    assert after.addresses == tuple(msgspec.structs.replace(each, mac="mac-new") for each in before.addresses)


def test_a_floating_address_is_taken_from_neutron(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())
    mapped = {
        "id": "f",
        "floating_ip_address": "192.0.2.9",
        "port_id": "port-alpha-0000",
        "fixed_ip_address": "127.1.0.0",
    }
    standin.network["floatingips"] = [mapped]
    for _ in range(2):  # also if nothing is new any more
        addresses = by_id(cloud.inventory())["alpha-0000"].addresses
        assert [(each.ip, each.kind, each.network) for each in addresses] == [
            ("127.1.0.0", AddressKind.FIXED, "net"),
            ("192.0.2.9", AddressKind.FLOATING, "net"),
        ]
    standin.network["floatingips"] = []
    assert by_id(cloud.inventory())["alpha-0000"].addresses == before["alpha-0000"].addresses


def test_an_address_that_is_mapped_during_a_full_list_is_there_after_the_next(
    standin: ChangingCloud,
) -> None:
    """Nova's cache may lack it for some seconds."""
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.network["ports"][0]["fixed_ips"] = [{"ip_address": "10.0.0.9", "subnet_id": "sub4"}]
    assert [each.ip for each in by_id(cloud.inventory(full=True))["alpha-0000"].addresses] == ["127.1.0.0"]
    assert [each.ip for each in by_id(cloud.inventory())["alpha-0000"].addresses] == ["10.0.0.9"]


def test_an_address_that_moves_while_its_cell_is_down_is_taken_from_neutron(running: "RandomCloud") -> None:
    """Nova tells none; its lists are full meanwhile."""
    running.begin_anew()
    running.do("hypervisor", 0, "kvm-2.example")
    cloud = connect(running).cloud
    cloud.inventory()
    running.cell_down = True
    for place, ip in enumerate(("127.2.0.1", "127.2.0.2")):
        running.do("address", 0, ip)
        listed = cloud.inventory()
        (address,) = by_id(listed)["alpha-0000"].addresses
        assert (address.ip, listed.full) == (ip, place > 0)


def test_a_floating_address_that_is_unmapped_while_its_list_fails(standin: ChangingCloud) -> None:
    server = standin.server("alpha-0000")
    server.addresses += (Address("192.0.2.9", 4, AddressKind.FLOATING, "net"),)
    mapped = floating_ip("f", "192.0.2.9", "port-alpha-0000", fixed_ip_address="127.1.0.0")
    standin.network["floatingips"] = [mapped]
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.network["floatingips"] = []
    standin.fail(FLOATING, Answer(403))
    got = []
    for _ in range(2):
        listed = cloud.inventory()
        assert not listed.full
        got.append([each.ip for each in by_id(listed)["alpha-0000"].addresses])
    assert got == [["127.1.0.0", "192.0.2.9"], ["127.1.0.0"]]


@pytest.mark.parametrize("path", [PORTS, FLOATING])
def test_addresses_stay_if_neutron_is_away(standin: ChangingCloud, path: str) -> None:
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())
    standin.fail(path, *[Answer(403)] * 2)
    assert by_id(cloud.inventory()) == before


def test_a_port_that_cannot_be_read_costs_no_address(standin: ChangingCloud) -> None:
    cloud = connect(standin).cloud
    before = by_id(cloud.inventory())
    standin.network["ports"][0]["mac_address"] = 7
    assert by_id(cloud.inventory()) == before


IDS = st.integers(0, 5)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), IDS),
        st.tuples(st.just("delete"), IDS),
        st.tuples(st.just("status"), IDS, st.sampled_from(["ACTIVE", "SHUTOFF", "SOFT_DELETED", "ERROR"])),
        st.tuples(st.just("name"), IDS, st.sampled_from("abc")),
        st.tuples(st.just("hypervisor"), IDS, st.sampled_from(["kvm-1.example", "kvm-2.example"])),
        st.tuples(st.just("metadata"), IDS, st.sampled_from([{}, {"k": "v"}])),
        st.tuples(st.just("address"), IDS, st.sampled_from(["127.2.0.1", "127.2.0.2"])),
        st.tuples(st.just("tags"), IDS, st.sampled_from([[], ["x"]])),
        st.tuples(st.just("clock"), st.integers(-50, 50)),
        st.tuples(st.just("wait"), st.integers(0, 300)),
        st.tuples(st.just("page"), st.sampled_from([1, 2, 3, 1000])),
        st.tuples(st.just("fail"), st.sampled_from([400, 403, 404])),
        st.tuples(st.just("cell"), st.booleans()),
        st.tuples(st.just("list"), st.booleans()),
        st.tuples(st.just("list"), st.just(value=False)),
        st.tuples(st.just("list"), st.just(value=False)),
    ),
    max_size=25,
)


class RandomCloud(ChangingCloud):
    """Six servers at most, of which those on kvm-2 are in a cell that may be down."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = lambda: self.now + self.skew
        self.begin_anew()

    def begin_anew(self) -> None:
        self.begin(make_servers(3))
        self.skew, self.cell_down, self.max_limit = 0, False, 1000

    def answer(self, request: Request) -> Answer:
        answer = super().answer(request)
        if not self.cell_down or answer.status != 200:
            return answer
        body = answer.body
        if request.path == SERVERS:
            body = {
                **body,
                "servers": [each for each in body["servers"] if each["OS-EXT-SRV-ATTR:host"] != "kvm-2"],
            }
        elif request.path == SERVICES:
            lost = {"binary": "nova-compute", "host": "kvm-2", "status": "UNKNOWN"}
            body = {"services": [lost if each["host"] == "kvm-2" else each for each in body["services"]]}
        elif request.path == HYPERVISORS:
            body = {
                "hypervisors": [each for each in body["hypervisors"] if each["service"]["host"] != "kvm-2"]
            }
        return answer._replace(body=body)

    def do(self, kind: str, id_: int, value: Any = None) -> None:
        """Create, delete or change a server, if that is possible."""
        there = next((each for each in self.servers if each.id == f"alpha-{id_:04}"), None)
        if kind == "create" and not there:
            server = make_servers(id_ + 1)[id_]
            self.servers.append(server)
            self.network["ports"].append(port(f"port-{id_}", server.addresses[0].ip, device=server.id))
        elif there and kind == "delete":
            self.servers.remove(there)
            self.network["ports"] = [each for each in self.network["ports"] if each["device_id"] != there.id]
        elif there and kind == "address":
            there.addresses = (Address(value, 4, AddressKind.FIXED, "net", f"mac-{id_}"),)
            for each in self.network["ports"]:
                if each["device_id"] == there.id:
                    each["fixed_ips"] = [{"ip_address": value, "subnet_id": "sub4"}]
        elif there and kind != "create" and not (kind == "hypervisor" and self.cell_down):
            setattr(there, kind, value)  # nothing moves into a cell that is down, or out of it
        self.update_times.look(self.servers, now=self.clock())


def comparable(inventory: Inventory) -> dict[str, Any]:
    """What changes tell; the MAC address of an address that moved is that of the port."""
    return {
        instance.id: (
            msgspec.structs.replace(instance, tags=(), addresses=()),
            {address.ip for address in instance.addresses},
        )
        for instance in inventory.instances
    }


@pytest.fixture(scope="module")
def running() -> Iterator[RandomCloud]:
    with RandomCloud() as cloud:
        yield cloud


@settings(max_examples=6, deadline=None)
@given(steps=STEPS)
def test_the_merged_list_is_the_full_list(running: RandomCloud, steps: list[tuple[Any, ...]]) -> None:
    standin = running
    standin.begin_anew()
    cloud, reference = connect(standin).cloud, connect(standin).cloud

    def compare(*, full: bool = False) -> None:
        merged, expected = cloud.inventory(full=full), reference.inventory(full=True)
        assert comparable(merged) == comparable(expected)

    compare()
    for kind, *values in steps:
        if kind == "clock":
            standin.skew = values[0]
        elif kind == "wait":
            standin.now += values[0]
        elif kind == "page" and not standin.cell_down:
            standin.max_limit = values[0]
        elif kind == "cell":
            compare()  # where an instance was before the cell was lost
            # The stand-in drops what is in the cell from pages that are cut: an empty one would end a list.
            standin.cell_down, standin.max_limit = values[0], 1000
        elif kind == "fail":
            standin.fail(SERVERS, Answer(values[0]))
            with contextlib.suppress(CloudError):
                cloud.inventory()
                reference.inventory(full=True)
            standin.fail(SERVERS)
        elif kind == "list":
            compare(full=values[0])
        elif kind != "page":
            standin.do(kind, *values)
    compare()
