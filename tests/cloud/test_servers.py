import contextlib
import logging
from collections.abc import Iterator, Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter.cloud.servers import list_servers, read_server, read_servers
from fping_exporter.cloud.unreadable import SkippedEntries
from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import NovaServer
from fping_exporter.errors import CloudError, ListingError
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Address, AddressKind, Instance
from tests.cloud.faulty import ALPHA, MEMBER, SERVERS, FaultyCloud, connect, make_servers


@pytest.fixture
def standin() -> Iterator[FaultyCloud]:
    with FaultyCloud(*make_servers(20)) as cloud:
        yield cloud


def ids(standin: FaultyCloud) -> list[str]:
    return [instance.id for instance in connect(standin).cloud.inventory().instances]


EVERY = [server.id for server in make_servers(20)]


@pytest.mark.parametrize("max_limit", [1, 3, 10, 19, 20, 21, 1000])
def test_every_server_is_listed_however_small_the_pages_that_nova_allows(
    standin: FaultyCloud, max_limit: int
) -> None:
    standin.max_limit = max_limit
    assert ids(standin) == EVERY


def test_pages_are_asked_for_in_an_order_that_new_servers_do_not_upset(standin: FaultyCloud) -> None:
    standin.max_limit = 10
    ids(standin)
    first, second, last = (dict(request.query) for request in standin.asked(SERVERS))
    assert first == {
        "all_tenants": "1",
        "limit": "1000",
        "sort_key": "created_at",
        "sort_dir": "asc",
    }
    assert second == {**first, "marker": "alpha-0009"}
    assert last == {**first, "marker": "alpha-0019"}


def test_a_cloud_without_servers_has_an_empty_list(standin: FaultyCloud) -> None:
    standin.servers.clear()
    assert ids(standin) == []


def test_a_short_page_is_not_the_last_one(standin: FaultyCloud) -> None:
    standin.max_limit = 5
    dropped = EVERY[2]

    def without_it(body: dict[str, list[dict[str, str]]]) -> object:
        return {"servers": [server for server in body["servers"] if server["id"] != dropped]}

    standin.rewrite(SERVERS, without_it)
    assert ids(standin) == [id_ for id_ in EVERY if id_ != dropped]


def test_a_server_that_comes_twice_is_listed_once_as_it_was_told_last(standin: FaultyCloud) -> None:
    standin.max_limit = 10

    def moves(_request: Request) -> None:
        standin.servers[3] = NovaServer(
            id=EVERY[3], name="renamed", project_id=ALPHA.id, created="2026-01-01T00:00:15.5Z"
        )

    standin.fail(SERVERS, None, moves)
    instances = connect(standin).cloud.inventory().instances
    assert [instance.id for instance in instances] == EVERY
    assert instances[3].name == "renamed"


def test_a_marker_that_does_not_move_is_an_error(standin: FaultyCloud) -> None:
    first_page = {"servers": [{"id": "x", "tenant_id": "p", "status": "ACTIVE"}]}
    standin.fail(SERVERS, *[Answer(200, first_page)] * 3)
    with pytest.raises(ListingError, match="the list does not end: a second page ends with 'x'"):
        ids(standin)
    assert len(standin.asked(SERVERS)) == 2


def test_pages_that_go_round_in_a_circle_are_an_error(standin: FaultyCloud) -> None:
    pages = [Answer(200, {"servers": [{"id": id_, "tenant_id": "p", "status": "ACTIVE"}]}) for id_ in "xyzx"]
    standin.fail(SERVERS, *pages)
    with pytest.raises(ListingError, match="does not end"):
        ids(standin)


def test_a_marker_that_was_deleted_meanwhile_begins_the_list_once_more(standin: FaultyCloud) -> None:
    standin.max_limit = 10

    def deletes_the_marker(request: Request) -> None:
        standin.servers[:] = [server for server in standin.servers if server.id != request.query["marker"]]

    standin.fail(SERVERS, None, deletes_the_marker)
    assert ids(standin) == [id_ for id_ in EVERY if id_ != "alpha-0009"]
    asked = [request.query.get("marker") for request in standin.asked(SERVERS)]
    assert asked == [None, "alpha-0009", None, "alpha-0010", "alpha-0019"]

    standin.fail(SERVERS, None, deletes_the_marker, None, deletes_the_marker)
    with pytest.raises(CloudError, match=r"HTTP 400: marker \[alpha-0011\] not found"):
        ids(standin)


def test_a_first_page_that_is_refused_is_not_asked_for_again(standin: FaultyCloud) -> None:
    standin.fail(SERVERS, Answer(400, b"no"))
    with pytest.raises(CloudError, match="HTTP 400"):
        ids(standin)
    assert len(standin.asked(SERVERS)) == 1


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"flavor": {"original_name": "m1", "ram": 1}, "image": {"id": "i", "links": []}, "user_id": "u"},
            ("m1", "i", "u"),
        ),
        ({"flavor": {"id": "42", "links": []}, "image": "", "user_id": None}, ("42", "", "")),
        ({"flavor": None, "image": None}, ("", "", "")),
        ({}, ("", "", "")),
    ],
    ids=["2.47", "2.1, from a volume", "nulls", "a cell that is down"],
)
def test_what_a_server_was_made_of(fields: dict[str, object], expected: tuple[str, ...]) -> None:
    server = {"id": "x", "tenant_id": "p", "status": "ACTIVE"} | fields
    found = read_server(msgspec.json.encode({"server": server}))
    assert (found.flavor, found.image, found.user_id) == expected


@pytest.mark.parametrize(
    ("text", "timestamp"),
    [
        ("2026-01-02T03:04:05.000000", 1_767_323_045.0),  # as Nova writes it
        ("2026-01-02T03:04:05Z", 1_767_323_045.0),
        (None, None),  # in BUILD
        ("yesterday", None),
    ],
)
def test_when_a_server_was_launched(standin: FaultyCloud, text: str | None, timestamp: float | None) -> None:
    server = {"id": "x", "tenant_id": "p", "status": "ACTIVE", "OS-SRV-USG:launched_at": text}
    standin.fail(SERVERS, Answer(200, {"servers": [server]}), Answer(200, {"servers": []}))
    (instance,) = connect(standin).cloud.inventory().instances
    assert instance.launched_at == timestamp


def test_what_is_deleted_is_left_out(standin: FaultyCloud) -> None:
    for server, status in zip(standin.servers, ["SOFT_DELETED", "DELETED", "SHELVED", "ERROR"], strict=False):
        server.status = status
    assert ids(standin) == EVERY[2:]


@pytest.mark.parametrize(
    ("newest", "chosen"), [(96, "2.69"), (69, "2.69"), (68, "2.53"), (53, "2.53"), (52, "2.1"), (1, "2.1")]
)
def test_the_microversion_is_the_best_of_those_that_are_known(
    standin: FaultyCloud, newest: int, chosen: str
) -> None:
    standin.max_microversion = newest
    assert ids(standin) == EVERY
    asked = {request.headers["OpenStack-API-Version"] for request in standin.asked(SERVERS)}
    assert asked == {f"compute {chosen}"}


def test_a_nova_that_tells_of_no_microversions_is_listed_without_one(standin: FaultyCloud) -> None:
    silent = {"version": "", "min_version": ""}
    standin.rewrite("/compute/v2.1", lambda body: {"version": body["version"] | silent})
    standin.rewrite("/compute", lambda body: {"versions": [body["versions"][0] | silent]})
    assert ids(standin) == EVERY
    assert not any("OpenStack-API-Version" in request.headers for request in standin.asked(SERVERS))


def test_tags_are_had_where_nova_shows_them(standin: FaultyCloud) -> None:
    standin.servers[0].tags = ["blue", "prod"]
    assert connect(standin).cloud.inventory().instances[0].tags == ("blue", "prod")
    standin.max_microversion = 25
    assert connect(standin).cloud.inventory().instances[0].tags == ()


def test_an_admin_sees_all_of_a_server(standin: FaultyCloud) -> None:
    standin.servers[:] = [
        NovaServer(
            id="x",
            name="web",
            project_id=ALPHA.id,
            task_state="rebooting",
            hypervisor="kvm-2.example",
            metadata={"role": "web"},
            addresses=(
                Address("10.0.0.5", 4, AddressKind.FIXED, "net", "fa:16:3e:00:00:0a"),
                Address("192.0.2.7", 4, AddressKind.FLOATING, "net", "fa:16:3e:00:00:0a"),
                Address("FD00:0:0::0A", 6, AddressKind.FIXED, "six", "fa:16:3e:00:00:0b"),
            ),
        )
    ]
    (instance,) = connect(standin).cloud.inventory().instances
    assert instance == Instance(
        id="x",
        project_id=ALPHA.id,
        name="web",
        status="ACTIVE",
        power_state="RUNNING",
        task_state="rebooting",
        host="kvm-2",
        hypervisor="kvm-2.example",
        availability_zone="nova",
        addresses=(
            Address("10.0.0.5", 4, AddressKind.FIXED, "net", "fa:16:3e:00:00:0a"),
            Address("192.0.2.7", 4, AddressKind.FLOATING, "net", "fa:16:3e:00:00:0a"),
            Address("fd00::a", 6, AddressKind.FIXED, "six", "fa:16:3e:00:00:0b"),
        ),
        metadata={"role": "web"},
        launched_at=1_767_225_600.0,
        created_at=1_767_225_600.0,
        flavor="m1.tiny",
        image="0f5a2a4e-6d0f-4c8e-9f57-5d5f0a0d8a11",
        user_id="3f0c5f4d6d3b4f6f8a5a4a7d9b1e2c3d",
    )


def test_what_a_member_may_not_see_is_empty(standin: FaultyCloud) -> None:
    standin.servers[:] = make_servers(1)
    (instance,) = connect(standin, MEMBER, all_projects=False).cloud.inventory().instances
    assert (instance.name, instance.host, instance.hypervisor) == ("vm-0", "", "")


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (0, "NOSTATE"),
        (1, "RUNNING"),
        (3, "PAUSED"),
        (4, "SHUTDOWN"),
        (6, "CRASHED"),
        (7, "SUSPENDED"),
        (9, ""),
        (None, ""),
    ],
)
def test_power_states_are_words(number: int | None, word: str) -> None:
    assert listed({**PLAIN, "OS-EXT-STS:power_state": number})[0].power_state == word


def skip_silently(_unreadable: object) -> None:
    """Be told of servers that cannot be read."""


def listed(*servers: object) -> list[Instance]:
    """Read the servers as one page."""
    skipped = SkippedEntries(LogLimit())
    pages = iter([msgspec.json.encode({"servers": servers}), b'{"servers": []}'])
    return list(list_servers(lambda _params: next(pages), {}, skip=skipped.of("servers")).values())


PLAIN = {"id": "x", "tenant_id": "p", "status": "ACTIVE", "name": "vm"}


def test_a_server_that_is_as_it_was_known_is_the_same_object() -> None:
    def read(*servers: object, known: Mapping[str, Instance] = {}) -> Mapping[str, Instance]:
        pages = iter([msgspec.json.encode({"servers": servers}), b'{"servers": []}'])
        return read_servers(lambda _params: next(pages), {}, known=known).instances

    other = {**PLAIN, "id": "y"}
    before = read(PLAIN, other)
    after = read(PLAIN, {**other, "status": "SHUTOFF"}, known=before)
    assert after["x"] is before["x"]
    assert after["y"] == msgspec.structs.replace(before["y"], status="SHUTOFF")


def test_of_a_server_in_a_cell_that_is_down_little_is_known() -> None:
    (instance,) = listed({"id": "x", "tenant_id": "p", "status": "UNKNOWN", "created": "", "links": []})
    assert instance == Instance(id="x", project_id="p", name="", status="UNKNOWN")


@pytest.mark.parametrize(
    "odd",
    [
        None,
        [],
        "text",
        {},
        {"id": "y"},
        {"id": "y", "tenant_id": "p"},
        {"id": "y", "status": "ACTIVE"},
        {**PLAIN, "id": 7},
        {**PLAIN, "id": None},
        {**PLAIN, "name": 5},
        {**PLAIN, "status": None},
        {**PLAIN, "addresses": "none"},
        {**PLAIN, "metadata": {"a": 1}},
        {**PLAIN, "tags": "blue"},
        {**PLAIN, "OS-EXT-STS:power_state": "on"},
    ],
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_an_odd_server_costs_itself_alone(odd: object, place: int, caplog: pytest.LogCaptureFixture) -> None:
    servers: list[object] = [{**PLAIN, "id": "a"}, {**PLAIN, "id": "b"}]
    servers.insert(place, odd)
    assert [instance.id for instance in listed(*servers)] == ["a", "b"]
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage().startswith("servers: left out, as it cannot be read: ")


@pytest.mark.parametrize(
    "odd",
    [
        {"addr": "not-an-address"},
        {"addr": ""},
        {"addr": "10.0.0"},
        {"addr": "10.0.0.010"},
        {"addr": "fe80::1%eth0"},
        {"addr": None},
        {"addr": 167772160},
        {"version": 4},
        None,
        "10.0.0.1",
        ["10.0.0.1"],
    ],
)
def test_an_odd_address_costs_itself_alone(odd: object, caplog: pytest.LogCaptureFixture) -> None:
    good = {"addr": "10.0.0.9", "OS-EXT-IPS:type": "fixed"}
    (instance,) = listed({**PLAIN, "addresses": {"net": [odd, good]}})
    assert [address.ip for address in instance.addresses] == ["10.0.0.9"]
    (message,) = caplog.messages
    assert message.startswith("servers: left out, as it cannot be read: 'x': one of its addresses")


def test_odd_addresses_of_a_network_leave_the_other_networks() -> None:
    (instance,) = listed({**PLAIN, "addresses": {"bad": 5, "empty": None, "net": [{"addr": "10.0.0.9"}]}})
    assert instance.addresses == (Address("10.0.0.9", 4, AddressKind.FIXED, "net"),)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"servers": {}}',
        b'{"servers": [{}]}',
        b'{"servers": ["\xff"]}',
        b"[" * 9999,
    ],
)
def test_what_is_no_list_of_servers_is_an_error(body: bytes) -> None:
    with pytest.raises(ListingError, match="Nova's answer is no list of servers"):
        list_servers(lambda _params: body, {}, skip=skip_silently)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=4,
)
SERVER = st.fixed_dictionaries(
    {},
    optional={
        "id": st.text(max_size=3) | JSON,
        "tenant_id": st.just("p") | JSON,
        "status": st.sampled_from(["ACTIVE", "DELETED"]) | JSON,
        "name": JSON,
        "addresses": st.dictionaries(
            st.text(max_size=3), st.lists(st.fixed_dictionaries({"addr": JSON}) | JSON)
        )
        | JSON,
        "metadata": JSON,
        "tags": JSON,
        "OS-EXT-STS:power_state": JSON,
        "OS-EXT-STS:task_state": JSON,
        "OS-EXT-SRV-ATTR:host": JSON,
    },
)


@settings(max_examples=30)
@given(st.lists(SERVER | JSON, max_size=4))
def test_no_json_is_so_odd_that_it_costs_more_than_itself(odd: list[object]) -> None:
    found = listed(*odd, {**PLAIN, "id": "good", "addresses": {"net": [{"addr": "10.0.0.9"}]}})
    assert any(instance.id == "good" and instance.addresses for instance in found)


@given(st.binary(max_size=40) | JSON.map(msgspec.json.encode))
def test_no_answer_is_so_odd_that_it_raises_anything_else(body: bytes) -> None:
    pages = iter([body, b'{"servers": []}'])
    with contextlib.suppress(ListingError):
        assert list_servers(lambda _params: next(pages), {}, skip=skip_silently) == {}


def one_page(servers: int, addresses: int, *, network: str = "net") -> Iterator[bytes]:
    """Yield Nova's list of servers with this many addresses each, then the empty page."""
    yield msgspec.json.encode(
        {
            "servers": [
                {
                    "id": f"{server}",
                    "tenant_id": "p",
                    "status": "ACTIVE",
                    "addresses": {
                        network: [
                            {"addr": f"10.{server >> 8}.{server & 255}.{number}"}
                            for number in range(addresses)
                        ]
                    },
                }
                for server in range(servers)
            ]
        }
    )
    yield b'{"servers": []}'


def addresses_listed(servers: int, addresses: int, *, network: str = "net") -> list[Address]:
    bodies = one_page(servers, addresses, network=network)
    found = list_servers(lambda _query: next(bodies), {}, skip=skip_silently)
    return [address for instance in found.values() for address in instance.addresses]


def test_a_large_cloud_has_the_same_addresses_in_every_listing() -> None:
    before = addresses_listed(300, 250)
    assert len(before) > 1 << 16
    assert all(one is other for one, other in zip(before, addresses_listed(300, 250), strict=True))
    addresses_listed(1, 1, network="small")  # a project's list makes the cloud's no slower
    assert addresses_listed(300, 250)[0] is before[0]
