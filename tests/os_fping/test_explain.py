"""``GET /v1/explain/<id>``, on a stand-in of OpenStack."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fping_exporter.demo.servers import NovaServer
from fping_exporter.explanation.values import Explanation
from fping_exporter.os_fping.paths import is_os_fping
from tests.build import address
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import BETA, Guests, Recorder, StandinWorld, uuid

OPENAPI = Path(__file__).parents[2] / "deploy" / "openapi.yml"


@pytest.fixture
def cloud(standin: Recorder) -> StandinWorld:
    return StandinWorld(standin)


@pytest.fixture
def guests() -> Guests:
    return Guests("10.0.0.1", "10.0.0.9")


@pytest.fixture
def serving_api(cloud: StandinWorld, guests: Guests) -> Iterator[Api]:
    with serving(cloud.region(), prober=guests) as api:
        yield api


def test_a_member_sees_what_nova_shows_and_no_more(cloud: StandinWorld, serving_api: Api) -> None:
    reply = serving_api.get(f"/v1/explain/{uuid(1)}", cloud.token("alpha"))
    assert reply.status == 200
    told = msgspec.convert(reply.body, Explanation)
    assert (told.id, told.name, told.alive, told.anew) == (uuid(1), "fixed", True, True)
    assert (told.nova.host, told.nova.hypervisor, told.nova.status) == (None, None, "ACTIVE")
    assert reply.headers["x-openstack-request-id"]
    assert "OpenStack-API-Version" not in reply.headers


def test_an_admin_sees_the_host(standin: Recorder, cloud: StandinWorld, serving_api: Api) -> None:
    standin.servers[0].hypervisor = "n1"
    told = serving_api.get(f"/v1/explain/{uuid(1)}", cloud.token("admin")).body
    assert told["nova"]["hypervisor"] == "n1"
    hidden = serving_api.get(f"/v1/explain/{uuid(1)}", cloud.token("alpha")).body
    assert hidden["nova"]["hypervisor"] is None


def test_a_silent_one(cloud: StandinWorld, serving_api: Api) -> None:
    told = serving_api.get(f"/v1/explain/{uuid(2)}", cloud.token("alpha")).body
    assert (told["alive"], told["reason"]) == (False, "no_reply")
    assert told["next"]["command"].startswith("openstack console log show ")


def test_those_who_ask_at_once_share_the_pings(cloud: StandinWorld, guests: Guests, serving_api: Api) -> None:
    path, token = f"/v1/explain/{uuid(2)}", cloud.token("alpha")
    serving_api.get(f"{path}?cached", token)
    sweeps = len(guests.asked)
    for _ in range(3):
        assert serving_api.get(path, token).body["anew"] is True
    asked = guests.asked[sweeps:]
    assert [{target.ip for target in each} for each in asked] == [{"10.0.0.2"}]


def test_cached_sends_nothing(cloud: StandinWorld, guests: Guests, serving_api: Api) -> None:
    token = cloud.token("alpha")
    serving_api.get("/os-fping", token)
    sweeps = len(guests.asked)
    told = serving_api.get(f"/v1/explain/{uuid(1)}?cached", token).body
    assert (told["alive"], told["anew"]) == (True, False)
    assert len(guests.asked) == sweeps


@pytest.mark.parametrize(
    ("query", "anew"),
    [("", True), ("cached", False), ("cached=True", False), ("cached=0", True), ("cached=false", True)],
)
def test_what_counts_as_cached(cloud: StandinWorld, serving_api: Api, query: str, *, anew: bool) -> None:
    told = serving_api.get(f"/v1/explain/{uuid(1)}?{query}", cloud.token("alpha")).body
    assert told["anew"] is anew


def test_what_says_neither_cached_nor_not(cloud: StandinWorld, serving_api: Api) -> None:
    token = cloud.token("alpha")
    reply = serving_api.get(f"/v1/explain/{uuid(1)}?cached=maybe", token)
    assert reply.fault() == (
        400,
        "badRequest",
        "Invalid value for cached: expected true or false, got 'maybe'",
    )
    assert serving_api.get(f"/v1/explain/{uuid(1)}?cached=%ff", token).status == 400


def test_a_server_that_is_newer_than_the_list(
    standin: Recorder, cloud: StandinWorld, serving_api: Api
) -> None:
    token = cloud.token("alpha")
    serving_api.get("/os-fping", token)
    new = msgspec.structs.replace(standin.servers[0], id=uuid(77), addresses=(address("10.0.0.9"),))
    standin.servers.append(new)
    told = serving_api.get(f"/v1/explain/{uuid(77)}", token).body
    assert told["reason"] == "ambiguous_address"
    [at] = told["addresses"]
    assert (at["others"], at["others_count"]) == ([{"id": None, "name": None}], 1)
    assert uuid(9) not in str(told), "which is beta's"
    cached = serving_api.get(f"/v1/explain/{uuid(77)}?cached", token)
    assert cached.fault() == (404, "itemNotFound", f"Instance {uuid(77)} was not in the last sweep.")


def test_the_status_is_the_one_that_the_verdict_goes_by(
    standin: Recorder, cloud: StandinWorld, serving_api: Api
) -> None:
    """A server that was started after the last list is asked as what Nova calls it to the caller."""
    token, silent = cloud.token("alpha"), standin.servers[1]
    silent.status = "SHUTOFF"
    serving_api.get("/os-fping", token)
    silent.status = "ACTIVE"
    told = serving_api.get(f"/v1/explain/{silent.id}", token).body
    assert (told["nova"]["status"], told["reason"]) == ("ACTIVE", "no_reply")
    cached = serving_api.get(f"/v1/explain/{silent.id}?cached", token).body
    assert (cached["nova"]["status"], cached["reason"]) == ("SHUTOFF", "not_active")


def test_anothers_server_is_not_found(cloud: StandinWorld, serving_api: Api) -> None:
    mine, theirs = cloud.token("alpha"), uuid(9)
    fault = (404, "itemNotFound", f"Instance {theirs} could not be found.")
    assert serving_api.get(f"/v1/explain/{theirs}", mine).fault() == fault
    assert serving_api.get(f"/v1/explain/{theirs}?cached", mine).fault() == fault
    assert serving_api.get(f"/v1/explain/{theirs}", cloud.token("beta")).status == 200


def test_without_a_token(serving_api: Api) -> None:
    assert serving_api.get(f"/v1/explain/{uuid(1)}").status == 401
    assert serving_api.get(f"/v1/explain/{uuid(1)}", "x", method="POST").status == 405


def test_questions_count_as_those_to_os_fping(cloud: StandinWorld, guests: Guests) -> None:
    with serving(cloud.region(), prober=guests, settings={"rate_limit": "2/hour"}) as api:
        token = cloud.token("alpha")
        statuses = [api.get(path, token).status for path in ("/os-fping", f"/v1/explain/{uuid(1)}") * 2]
    assert statuses == [200, 200, 429, 429]


def test_no_recent_results(standin: Recorder, cloud: StandinWorld, serving_api: Api) -> None:
    token = cloud.token("alpha")
    standin.away = {"compute"}
    assert serving_api.get(f"/v1/explain/{uuid(1)}", token).status == 503


def test_without_tokens_everything_is_told(standin: Recorder, cloud: StandinWorld, guests: Guests) -> None:
    twin = NovaServer(id=uuid(70), name="twin", project_id=BETA.id, addresses=(address("10.0.0.1"),))
    standin.servers.append(twin)
    with serving(cloud.region(), prober=guests, settings={"auth": "none"}) as api:
        told = api.get(f"/v1/explain/{uuid(1)}").body
    assert [other["name"] for other in told["addresses"][0]["others"]] == ["twin"]


def test_the_path_asks_for_a_token_instead_of_a_password() -> None:
    assert is_os_fping("/v1/explain/x")
    assert not is_os_fping("/v1/inventory")
    assert not is_os_fping("/v1/explain/")


def test_the_description_has_the_same_fields() -> None:
    described = yaml.safe_load(OPENAPI.read_text("utf-8"))["components"]["schemas"]
    _, made = msgspec.json.schema_components([Explanation], ref_template="#/components/schemas/{name}")
    for name, schema in made.items():
        assert _plain(described[name]) == _plain(schema), name


def _plain(schema: Mapping[str, Any]) -> Any:
    """Return a schema without texts, and with one notation of what may be null."""
    if options := schema.get("anyOf"):
        kinds = [_plain(each) for each in options]
        return {"type": sorted(each["type"] for each in kinds)} if "$ref" not in str(kinds) else kinds
    plain: dict[str, Any] = {}
    for key, value in schema.items():
        if key in {"title", "description", "additionalProperties"}:
            continue
        if key == "properties":
            plain[key] = {name: _plain(each) for name, each in value.items()}
        elif isinstance(value, dict):
            plain[key] = _plain(value)
        else:
            plain[key] = sorted(value) if key in {"type", "enum"} and isinstance(value, list) else value
    return plain
