"""What Nova's os-fping did, case by case, on a stand-in of OpenStack and on a real one."""

import re
from urllib.parse import quote

import pytest

from tests.os_fping.exporter import Api, Reply
from tests.os_fping.worlds import Entry, World

UNKNOWN = "ffffffff-ffff-4fff-8fff-ffffffffffff"
NOT_FOUND = (404, "itemNotFound", "The resource could not be found.")
NO_METHOD = (405, "badMethod", "The method specified is not allowed for this resource.")
NO_TENANTS = (403, "forbidden", "Policy doesn't allow os_compute_api:os-fping:all_tenants to be performed.")
NO_TOKEN = (401, "unauthorized", "The request you have made requires authentication.")


def listed(reply: Reply) -> dict[str, Entry]:
    """Return the servers of a list by id; there is nothing else in the answer."""
    assert reply.status == 200, reply.body
    assert list(reply.body) == ["servers"]
    servers = {server["id"]: server for server in reply.body["servers"]}
    assert len(servers) == len(reply.body["servers"])
    return servers


@pytest.fixture(scope="module")
def one(world: World) -> Entry:
    """A server of alpha's that is alive."""
    return next(server for server in world.servers("alpha").values() if server["alive"])


# ------------------------------------------------------------------ requests


@pytest.mark.parametrize("root", ["", "/v2", "/v2/{project}", "/v2.1", "/v2.1/{project}"])
def test_roots(api: Api, world: World, alpha: str, one: Entry, root: str) -> None:
    path = root.format(project=world.project("alpha")) + "/os-fping"
    assert listed(api.get(path, alpha)) == world.servers("alpha")
    assert api.get(f"{path}/{one['id']}", alpha).body == {"server": one}


@pytest.mark.parametrize(
    "path",
    [
        "/os-fping/",
        "/os-fping/a/b",
        "/os-fping/a%2Fb",
        "/os-fping//a",
        "/v2.1",
        "/v2.1/",
        "/v2.1/servers",
        "/v2.1/a/b/os-fping",
        "/v2/os-fping/",
        "/v2.1/os-fping/../os-fping",
    ],
)
def test_nothing_else_is_routed(api: Api, alpha: str, path: str) -> None:
    reply = api.get(path, alpha)
    assert reply.fault() == NOT_FOUND
    assert reply.headers["x-openstack-request-id"]


@pytest.mark.parametrize(
    "path", ["/v3/os-fping", "/v2.0/os-fping", "/V2/os-fping", "/os-fping.json", "/nova/v2/os-fping"]
)
def test_elsewhere_nobody_speaks_nova(api: Api, alpha: str, path: str) -> None:
    reply = api.get(path, alpha)
    assert reply.status == 404
    assert reply.body is None


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "HEAD", "FPING"])
@pytest.mark.parametrize("path", ["/os-fping", "/v2/os-fping/x", "/v2.1/p/os-fping/x"])
def test_other_methods(api: Api, alpha: str, method: str, path: str) -> None:
    reply = api.get(path, alpha, method=method)
    assert reply.status == 405
    assert reply.headers["Allow"] == "GET"
    assert method == "HEAD" or reply.fault() == NO_METHOD


@pytest.mark.parametrize(
    "query", ["all_tenants=1", "all_tenants", "all_tenants=", "all_tenants=0", "a=1&all_tenants=no"]
)
def test_all_tenants_by_its_presence(api: Api, world: World, alpha: str, admin: str, query: str) -> None:
    assert listed(api.get(f"/v2.1/os-fping?{query}", admin)) == world.servers("admin")
    assert api.get(f"/v2.1/os-fping?{query}", alpha).fault() == NO_TENANTS


def test_an_admin_without_it_gets_the_own_project(api: Api, admin: str, world: World) -> None:
    own = world.project("admin")
    mine = {id_: server for id_, server in world.servers("admin").items() if server["project_id"] == own}
    assert listed(api.get("/os-fping", admin)) == mine


def test_include(api: Api, world: World, alpha: str) -> None:
    servers = world.servers("alpha")
    first, second, *_ = servers
    chosen = {id_: servers[id_] for id_ in (first, second)}
    for separator in (",", "%2C", "%2c"):
        assert listed(api.get(f"/os-fping?include={first}{separator}{second}", alpha)) == chosen
    assert listed(api.get(f"/os-fping?include={first}&exclude={first}", alpha)) == {first: servers[first]}
    assert listed(api.get(f"/os-fping?include={second}&include={first}", alpha)) == {first: servers[first]}


@pytest.mark.parametrize("include", [UNKNOWN, ",", "x,", "%20", quote("../é\0\"'"), "a" * 5000])
def test_unknown_ids_are_ignored(api: Api, world: World, alpha: str, include: str) -> None:
    assert api.get(f"/os-fping?include={include}", alpha).body == {"servers": []}
    assert listed(api.get(f"/os-fping?exclude={include}", alpha)) == world.servers("alpha")


def test_ids_are_not_trimmed(api: Api, alpha: str, one: Entry) -> None:
    for text in (f"%20{one['id']}", f"{one['id']}+", f"{one['id']}%0A"):
        assert api.get(f"/os-fping?include={text}", alpha).body == {"servers": []}


def test_another_tenants_server_cannot_be_included(api: Api, world: World, alpha: str) -> None:
    theirs = next(iter(world.servers("beta")))
    assert api.get(f"/os-fping?include={theirs}", alpha).body == {"servers": []}


def test_exclude(api: Api, world: World, alpha: str) -> None:
    servers = world.servers("alpha")
    first, second, *_ = servers
    rest = {id_: server for id_, server in servers.items() if id_ not in (first, second)}
    assert listed(api.get(f"/os-fping?exclude={first},{second},{UNKNOWN}", alpha)) == rest
    assert listed(api.get(f"/os-fping?include=&exclude={first}%2C{second}", alpha)) == rest
    assert listed(api.get("/os-fping?exclude=", alpha)) == servers


def test_other_parameters_are_ignored(api: Api, world: World, alpha: str) -> None:
    query = "limit=1&marker=x&ids=a&Include=a&status=ERROR&=&&&%00=%00&all_tenant=1"
    assert listed(api.get(f"/os-fping?{query}", alpha)) == world.servers("alpha")


@pytest.mark.parametrize("query", ["%ff", "a=%ff", "include=%c3%28", "all_tenants=%80"])
def test_a_query_that_is_no_text(api: Api, alpha: str, query: str) -> None:
    assert api.get(f"/v2.1/os-fping?{query}", alpha).fault() == (
        400,
        "badRequest",
        "Query string is not UTF-8 encoded",
    )


# ------------------------------------------------------------------- answers


def test_every_server_with_its_truth(api: Api, world: World, alpha: str, admin: str) -> None:
    truth = world.servers("admin")
    assert {server["alive"] for server in truth.values()} == {True, False}
    assert listed(api.get("/v2.1/os-fping?all_tenants=1", admin)) == truth
    assert listed(api.get("/v2.1/os-fping", alpha)) == world.servers("alpha")


def test_one_server_with_its_truth(api: Api, world: World, alpha: str) -> None:
    for id_, server in list(world.servers("alpha").items())[:8]:
        assert api.get(f"/v2.1/os-fping/{id_}", alpha).body == {"server": server}


def test_an_admin_sees_one_of_another_project(api: Api, admin: str, one: Entry) -> None:
    assert api.get(f"/os-fping/{one['id']}", admin).body == {"server": one}


@pytest.mark.parametrize("root", ["", "/v2.1"])
def test_headers(api: Api, alpha: str, one: Entry, root: str) -> None:
    for path in ("/os-fping", f"/os-fping/{one['id']}", f"/os-fping/{UNKNOWN}", "/os-fping?all_tenants"):
        headers = api.get(root + path, alpha).headers
        assert headers["OpenStack-API-Version"] == "compute 2.1"
        assert headers["X-OpenStack-Nova-API-Version"] == "2.1"
        vary = ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "Accept-Encoding"]
        assert headers.get_all("Vary") == vary
        assert re.fullmatch(
            r"req-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", headers["x-openstack-request-id"]
        )
        assert headers["x-compute-request-id"] == headers["x-openstack-request-id"]


def test_v2_has_no_microversions(api: Api, alpha: str) -> None:
    reply = api.get("/v2/os-fping", alpha, X_OpenStack_Nova_API_Version="2.99")
    assert reply.status == 200
    assert "OpenStack-API-Version" not in reply.headers
    assert "X-OpenStack-Nova-API-Version" not in reply.headers
    assert reply.headers["x-openstack-request-id"]


@pytest.mark.parametrize(
    ("headers", "version"),
    [
        ({"X_OpenStack_Nova_API_Version": "2.1"}, "2.1"),
        ({"X_OpenStack_Nova_API_Version": "2.35"}, "2.35"),
        ({"X_OpenStack_Nova_API_Version": "2.99, 2.20"}, "2.20"),
        ({"OpenStack_API_Version": "compute 2.35"}, "2.35"),
        ({"OpenStack_API_Version": "Compute  2.7 "}, "2.7"),
        ({"OpenStack_API_Version": "compute 2.99,identity 3,compute 2.6,volume 3.1"}, "2.6"),
        ({"OpenStack_API_Version": "compute 2.8", "X_OpenStack_Nova_API_Version": "2.9"}, "2.8"),
        ({"OpenStack_API_Version": "volume 3.50"}, "2.1"),
        ({"OpenStack_API_Version": "compute"}, "2.1"),
        ({"OpenStack_API_Version": "volume 3.50", "X_OpenStack_Nova_API_Version": "2.9"}, "2.9"),
    ],
)
def test_a_microversion_is_echoed(api: Api, alpha: str, headers: dict[str, str], version: str) -> None:
    reply = api.get("/v2.1/os-fping", alpha, **headers)
    assert reply.status == 200
    assert reply.headers["OpenStack-API-Version"] == f"compute {version}"
    assert reply.headers["X-OpenStack-Nova-API-Version"] == version


@pytest.mark.parametrize("version", ["2.36", "2.60", "highest", "latest"])
@pytest.mark.parametrize("path", ["/v2.1/os-fping", "/os-fping/x"])
def test_later_microversions_have_no_os_fping(
    api: Api, world: World, alpha: str, version: str, path: str
) -> None:
    asked = world.max_microversion if version == "highest" else version
    reply = api.get(path, alpha, OpenStack_API_Version=f"compute {asked}")
    assert reply.fault() == NOT_FOUND
    echoed = world.max_microversion if version == "latest" else asked
    assert reply.headers["OpenStack-API-Version"] == f"compute {echoed}"


@pytest.mark.parametrize("version", ["2.0", "1.1", "3.0", "9.9", "2.1000"])
def test_microversions_that_nova_does_not_know(api: Api, alpha: str, version: str) -> None:
    assert api.get("/v2.1/os-fping", alpha, OpenStack_API_Version=f"compute {version}").fault() == (
        406,
        "computeFault",
        f"Version {version} is not supported by the API. Minimum is 2.1 and maximum is 2.35.",
    )


@pytest.mark.parametrize("version", ["2", "2.", "2.01", "abc", "2.1.1", "-2.1", "", "2. 1"])
def test_microversions_of_no_form(api: Api, alpha: str, version: str) -> None:
    assert api.get("/v2.1/os-fping", alpha, X_OpenStack_Nova_API_Version=version).fault() == (
        400,
        "badRequest",
        f"API Version String {version} is of invalid format. Must be of format MajorNum.MinorNum.",
    )


# ------------------------------------------------------- who may see what


@pytest.mark.parametrize("token", [None, "", "x", "gAAAAABk" + "x" * 175, "é", "a b", "x" * 9000])
@pytest.mark.parametrize("path", ["/os-fping", "/v2/os-fping?all_tenants", "/v2.1/p/os-fping/x"])
def test_no_or_a_wrong_token(api: Api, world: World, path: str, token: str | None) -> None:
    reply = api.get(path, token)
    assert reply.fault() == NO_TOKEN
    keystone = world.region().config["auth"]["auth_url"]
    assert reply.headers["WWW-Authenticate"] == f'Keystone uri="{keystone}"'


@pytest.mark.parametrize(
    "path", ["/v2.1/{theirs}/os-fping", "/v2/{theirs}/os-fping/x", "/v2.1/no-project/os-fping"]
)
def test_another_project_in_the_path(api: Api, world: World, alpha: str, path: str) -> None:
    theirs, mine = world.project("beta"), world.project("alpha")
    in_path = theirs if "{" in path else "no-project"
    assert api.get(path.format(theirs=theirs), alpha).fault() == (
        400,
        "badRequest",
        f"Malformed request URL: URL's project_id '{in_path}' doesn't match Context's project_id '{mine}'",
    )


@pytest.mark.parametrize("id_", [UNKNOWN, "x", "detail", "..", "%2e%2e", "%C3%A9", "0", "a" * 3000])
def test_no_such_server(api: Api, alpha: str, id_: str) -> None:
    status, name, message = api.get(f"/v2.1/os-fping/{id_}", alpha).fault()
    assert (status, name) == (404, "itemNotFound")
    assert re.fullmatch("Instance .* could not be found.", message)
    assert id_.startswith("%") or f" {id_} " in message


def test_another_tenants_server_is_not_there(api: Api, world: World, alpha: str) -> None:
    theirs = next(iter(world.servers("beta")))
    assert api.get(f"/os-fping/{theirs}", alpha).fault() == (
        404,
        "itemNotFound",
        f"Instance {theirs} could not be found.",
    )


def test_answers_are_counted(api: Api, alpha: str) -> None:
    before = api.answers(200), api.answers(404)
    api.get("/os-fping", alpha)
    api.get(f"/os-fping/{UNKNOWN}", alpha)
    api.get("/v2.1/servers", alpha)
    assert (api.answers(200) - before[0], api.answers(404) - before[1]) == (1, 2)
