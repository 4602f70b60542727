"""python-novaclient 7.1.2, the last that had ``client.fping``, unmodified, against an exporter of the lab."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.integration.catalog import in_catalog
from tests.integration.lab import Lab
from tests.integration.novaclient import Answer, Novaclient
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import Entry, LabWorld

pytestmark = pytest.mark.lab

UNKNOWN = "ffffffff-ffff-4fff-8fff-ffffffffffff"
VERSIONS = pytest.mark.parametrize(
    ("version", "root"), [("2", "/v2"), ("2.1", "/v2.1"), ("2.35", "/v2.1"), ("2.35", "")]
)


@pytest.fixture(scope="module")
def cloud(lab: Lab) -> LabWorld:
    return LabWorld(lab)


@pytest.fixture(scope="module")
def exporter(cloud: LabWorld) -> Iterator[Api]:
    with serving(cloud.region(), prober=cloud.prober) as api:
        yield api


def found(answer: Answer) -> Mapping[str, Entry]:
    assert answer.found is not None, answer
    return {server["id"]: server for server in answer.found}


@VERSIONS
def test_a_member(novaclient: Novaclient, exporter: Api, cloud: LabWorld, version: str, root: str) -> None:
    def fping(method: str, *args: str, **kwargs: Any) -> Answer:
        return novaclient.fping(
            method, *args, cloud="alpha", version=version, endpoint=exporter.url + root, **kwargs
        )

    servers = cloud.servers("alpha")
    first, second, *_ = servers
    assert found(fping("list")) == servers
    assert found(fping("list", include=[first, second])) == {id_: servers[id_] for id_ in (first, second)}
    assert found(fping("list", include=[UNKNOWN])) == {}
    rest = {id_: server for id_, server in servers.items() if id_ != first}
    assert found(fping("list", exclude=[first])) == rest
    assert found(fping("get", first)) == {first: servers[first]}


@VERSIONS
def test_an_admin(novaclient: Novaclient, exporter: Api, cloud: LabWorld, version: str, root: str) -> None:
    def fping(method: str, *args: str, **kwargs: Any) -> Answer:
        return novaclient.fping(
            method, *args, cloud="admin", version=version, endpoint=exporter.url + root, **kwargs
        )

    servers = cloud.servers("admin")
    first = next(iter(servers))
    own = cloud.project("admin")
    assert {server["project_id"] for server in found(fping("list")).values()} <= {own}
    assert found(fping("list", all_tenants=True)) == servers
    assert found(fping("list", all_tenants=True, include=[first])) == {first: servers[first]}
    assert found(fping("get", first)) == {first: servers[first]}


@VERSIONS
def test_typed_exceptions(
    novaclient: Novaclient, exporter: Api, cloud: LabWorld, version: str, root: str
) -> None:
    def fping(method: str, *args: str, token: str | None = None, **kwargs: Any) -> Answer:
        return novaclient.fping(
            method,
            *args,
            cloud="alpha",
            version=version,
            endpoint=exporter.url + root,
            token=token,
            **kwargs,
        )

    theirs = next(iter(cloud.servers("beta")))
    assert fping("list", token="wrong").error == "Unauthorized"
    assert fping("get", theirs, token="wrong").code == 401
    forbidden = fping("list", all_tenants=True)
    assert (forbidden.error, forbidden.code) == ("Forbidden", 403)
    assert forbidden.message == "Policy doesn't allow os_compute_api:os-fping:all_tenants to be performed."
    missing = fping("get", theirs)
    assert (missing.error, missing.code) == ("NotFound", 404)
    assert missing.message == f"Instance {theirs} could not be found."


def test_one_request_too_many(novaclient: Novaclient, cloud: LabWorld) -> None:
    with serving(cloud.region(), prober=cloud.prober, settings={"rate_limit": "1/hour"}) as api:
        answers = [novaclient.fping("list", cloud="alpha", endpoint=f"{api.url}/v2.1") for _ in range(2)]
    assert found(answers[0]) == cloud.servers("alpha")
    assert (answers[1].error, answers[1].code) == ("RateLimit", 429)


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/$(project_id)s", "/v2/$(project_id)s"])
def test_found_in_the_catalog(lab: Lab, exporter: Api, cloud: LabWorld, path: str) -> None:
    with in_catalog(lab, "fping", exporter.url + path):
        session = cloud.region("alpha").get_session()
        response = session.get("/os-fping", endpoint_filter={"service_type": "fping"})
    assert {server["id"]: server for server in response.json()["servers"]} == cloud.servers("alpha")
