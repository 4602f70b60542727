"""Any query and any path: the API answers in Nova's form, with what Nova would have chosen."""

import string
from collections.abc import Iterator, Mapping
from urllib.parse import quote_from_bytes, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from fping_exporter.os_fping import nova_http as nova
from fping_exporter.os_fping.nova_http import Fault, Version
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import Recorder, StandinWorld, World

IDS = st.sampled_from([f"00000000-0000-4000-8000-{number:012}" for number in range(1, 12)])
TEXT = st.text(st.characters(exclude_characters=",", exclude_categories=["Cs"]), max_size=6)
LISTS = st.lists(IDS | TEXT, max_size=5).map(",".join)
NAMES = st.sampled_from(["include", "exclude", "limit", "Include", "all_tenant", ""])
QUERIES = st.lists(st.tuples(NAMES, LISTS), max_size=5)
HIGHEST = Version(2, 96)
many = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The stand-in alone: what is read of a request is the same everywhere."""
    with Recorder() as standin:
        yield StandinWorld(standin)


@pytest.fixture(scope="module")
def api(world: World) -> Iterator[Api]:
    with serving(world.region(), prober=world.prober) as api:
        yield api


@pytest.fixture(scope="module")
def alpha(world: World) -> str:
    return world.token("alpha")


def chosen(ids: set[str], query: Mapping[str, str]) -> set[str]:
    """Return what the Nova of old would have chosen of `ids`."""
    if query.get("include"):
        return ids & set(query["include"].split(","))
    if query.get("exclude"):
        return ids - set(query["exclude"].split(","))
    return ids


@many
@given(query=QUERIES, separator=st.sampled_from([",", "%2C", "%2c"]))
def test_any_query(api: Api, world: World, alpha: str, query: list[tuple[str, str]], separator: str) -> None:
    text = urlencode(query).replace("%2C", separator)
    reply = api.get(f"/os-fping?{text}", alpha)
    assert reply.status == 200
    assert {server["id"] for server in reply.body["servers"]} == chosen(
        set(world.servers("alpha")), dict(query)
    )


@many
@given(query=st.text(string.printable.translate({ord(c): None for c in " #\t\n\r\x0b\x0c"}), max_size=60))
def test_a_query_of_any_characters(api: Api, alpha: str, query: str) -> None:
    assert api.get(f"/v2.1/os-fping?{query}", alpha).status in {200, 400, 403}


@many
@given(query=st.binary(max_size=20))
def test_a_query_of_any_bytes(api: Api, alpha: str, query: bytes) -> None:
    reply = api.get(f"/v2.1/os-fping?include=x{quote_from_bytes(query)}", alpha)
    try:
        query.decode()
    except UnicodeDecodeError:
        assert reply.status == 400
    else:
        assert reply.body == {"servers": []}


@many
@given(segment=st.binary(min_size=1, max_size=20))
def test_a_path_of_any_bytes(api: Api, alpha: str, segment: bytes) -> None:
    text = quote_from_bytes(segment, safe="")
    for path in (f"/os-fping/{text}", f"/v2.1/os-fping/{text}", f"/v2/os-fping/{text}"):
        status, name, _ = api.get(path, alpha).fault()
        assert (status, name) == (404, "itemNotFound")
    for path in (f"/v2.1/{text}/os-fping", f"/v2/{text}/os-fping/x"):
        assert api.get(path, alpha).fault()[0] in {400, 404}
    assert api.get(f"/v2.1/{text}").fault()[0] in {401, 404}


@many
@given(token=st.text(st.characters(codec="latin-1", exclude_characters="\r\n\0"), max_size=40))
def test_a_token_of_any_characters(api: Api, token: str) -> None:
    assert api.get("/os-fping", token).status in {400, 401}


@given(
    major=st.integers(1, 3) | st.integers(1, 10**9 - 1), minor=st.integers(0, 100) | st.integers(0, 10**9 - 1)
)
def test_every_microversion_is_read(major: int, minor: int) -> None:
    text = f"{major}.{minor}"
    headers = Headers({"OpenStack-API-Version": f"volume 1,compute {text}"})
    version = nova.requested_version(headers, latest=lambda: HIGHEST)
    assert version == Version(major, minor)
    assert str(version) == text
    try:
        nova.check_offered(version, latest=lambda: HIGHEST)
    except Fault as fault:
        assert fault.status == (404 if major == 2 and 35 < minor <= 96 else 406)
    else:
        assert major == 2
        assert 1 <= minor <= 35


@given(text=st.text())
def test_any_text_is_a_microversion_or_a_fault(text: str) -> None:
    headers = Headers([("X-OpenStack-Nova-API-Version", text.replace("\n", "").replace("\r", ""))])
    try:
        nova.requested_version(headers, latest=lambda: None)
    except Fault as fault:
        assert fault.status in {400, 404}
