"""Compressed answers: which are, for whom, and what they have in their headers."""

import gzip

import pytest
from flask import Flask, Response
from hypothesis import example, given
from hypothesis import strategies as st

from fping_exporter.model import Inventory
from fping_exporter.web.compression import GzippedBody, compress_response
from tests.build import instance, inventory
from tests.web.pages import Exporter, Pinger


def cloud() -> Inventory:
    return inventory(*(instance(f"id-{n}", f"10.0.0.{n}") for n in range(1, 41)))


EXPORTER = Exporter(cloud, Pinger({}))
EXPORTER.sweep()
TEXTS = ["/", "/instance/id-1", "/sd", "/os-fping", "/static/style.css"]


@pytest.mark.parametrize("path", TEXTS)
def test_all_that_is_text_goes_out_compressed(path: str) -> None:
    plain = EXPORTER.client.get(path)
    packed = EXPORTER.client.get(path, headers={"Accept-Encoding": "br, GZIP;q=0.5"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
    assert packed.content_length == len(packed.data) < len(plain.data) / 2
    if path not in {"/", "/instance/id-1"}:  # these say how old the results are
        assert gzip.decompress(packed.data) == plain.data


@pytest.mark.parametrize("path", [*TEXTS, "/-/healthy", "/gone", "/metrics", "/static/icon.svg"])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_a_cache_is_told_that_the_answer_varies(path: str, encoding: str) -> None:
    answer = EXPORTER.client.get(path, headers={"Accept-Encoding": encoding})
    vary = ",".join(answer.headers.getlist("Vary"))
    assert vary.count("Accept-Encoding") == 1


def test_a_header_vary_of_os_fping_is_kept() -> None:
    vary = EXPORTER.client.get("/v2.1/os-fping").headers.getlist("Vary")
    assert vary == ["OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "Accept-Encoding"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("gzip", True),
        ("*", True),
        ("br;q=1, gzip;q=0.1", True),
        ("gzip;q=1.0, identity; q=0.5, *;q=0", True),
        ("gzip;q=0.5, identity", False),
        ("gzip;q=0", False),
        ("gzip;q=0, *", False),
        ("br", False),
        ("identity", False),
        ("", False),
    ],
)
def test_the_client_chooses(accept: str, expected: bool) -> None:  # noqa: FBT001, a value of the table
    for path in ("/", "/sd"):
        answer = EXPORTER.client.get(path, headers={"Accept-Encoding": accept})
        assert ("Content-Encoding" in answer.headers) is expected


@given(st.text(st.characters(codec="latin-1", exclude_categories=["Cc"])))
@example("gzip;q=2")
@example("gzip;q=-1")
@example("gzip;q=x, *;q=")
def test_no_accept_encoding_is_an_error(accept: str) -> None:
    for path in ("/sd", "/config"):
        answer = EXPORTER.client.get(path, headers={"Accept-Encoding": accept})
        assert answer.status_code == 200
        packed = answer.headers.get("Content-Encoding") == "gzip"
        assert (gzip.decompress(answer.data) if packed else answer.data)[:1] in b"[c"


@pytest.mark.parametrize("path", ["/sd", "/config", "/static/style.css"])
@pytest.mark.parametrize("encoding", ["gzip", ""])
def test_the_headers_of_head_are_those_of_get(path: str, encoding: str) -> None:
    headers = {"Accept-Encoding": encoding}
    get, head = (ask(path, headers=headers) for ask in (EXPORTER.client.get, EXPORTER.client.head))
    assert head.headers == get.headers
    assert get.content_length == len(get.data)
    assert head.data == b""


@pytest.mark.parametrize(
    ("response", "packed"),
    [
        (Response("a" * 1024), True),
        (Response("a" * 1023), False),
        (Response("a" * 5000, content_type="image/png"), False),
        (Response("a" * 5000, headers={"Content-Encoding": "br"}), False),
        (Response("a" * 5000, headers={"ETag": '"abc"'}), False),
        (Response(status=304), False),
        (Response(iter(["a" * 5000])), True),
        (Response(iter(["a" * 5000]), direct_passthrough=True), False),
    ],
)
def test_what_is_compressed(response: Response, packed: bool) -> None:  # noqa: FBT001, a value of the table
    with Flask(__name__).test_request_context(headers={"Accept-Encoding": "gzip"}):
        before = response.headers.get("Content-Encoding")
        after = compress_response(response).headers.get("Content-Encoding")
    assert (after != before) is packed


@pytest.mark.parametrize("path", ["/sd", "/sd?alive=1", "/static/style.css", "/static/icon.svg"])
@pytest.mark.parametrize("encoding", ["gzip", ""])
def test_who_has_the_body_gets_it_not_again(path: str, encoding: str) -> None:
    first = EXPORTER.client.get(path, headers={"Accept-Encoding": encoding})
    headers = {"Accept-Encoding": encoding, "If-None-Match": first.headers["ETag"]}
    again = EXPORTER.client.get(path, headers=headers)
    assert (again.status_code, again.data) == (304, b"")
    assert again.headers["ETag"] == first.headers["ETag"]
    assert "Content-Encoding" not in again.headers
    other = EXPORTER.client.get(path, headers=headers | {"If-None-Match": 'W/"other"'})
    assert (other.status_code, other.data) == (200, first.data)


@given(st.binary(max_size=5000))
def test_a_body_comes_out_as_it_went_in(plain: bytes) -> None:
    body = GzippedBody.pack(plain)
    with Flask(__name__).test_request_context():
        assert body.respond("text/plain").data == plain
    with Flask(__name__).test_request_context(headers={"Accept-Encoding": "gzip"}):
        assert gzip.decompress(body.respond("text/plain").data) == plain
