"""The prefix of all paths: which requests it admits, and which flags make it."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from werkzeug.test import Client

from fping_exporter.httpd.prefix import PathPrefix, parse_external_url, parse_prefix

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

PROXY = "https://ops.example.com/fping"


def echo(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
    """Answer with the path for links and the path that is asked for."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode("latin-1")]


def answer(path: str, **flags: str) -> tuple[int, str]:
    response = Client(PathPrefix(echo, **flags)).get(path)
    return response.status_code, response.headers.get("Location", response.text)


@pytest.mark.parametrize(
    ("flags", "path", "expected"),
    [
        ({}, "/metrics", (200, " /metrics")),
        ({}, "/", (200, " /")),
        ({"external_url": "https://ops.example.com"}, "/", (200, " /")),
        ({"external_url": PROXY}, "/fping/metrics", (200, "/fping /metrics")),
        ({"external_url": PROXY}, "/fping/", (200, "/fping /")),
        ({"external_url": PROXY}, "/fping", (200, "/fping /")),
        ({"external_url": PROXY}, "/", (302, "/fping/")),
        ({"external_url": PROXY}, "/fpingx", (404, "Not found. Every path begins with /fping/\n")),
        ({"external_url": PROXY}, "/-/healthy", (404, "Not found. Every path begins with /fping/\n")),
        # The proxy removes the prefix, or has another one.
        ({"external_url": PROXY, "route_prefix": ""}, "/metrics", (200, "/fping /metrics")),
        ({"external_url": PROXY, "route_prefix": "/a"}, "/a/metrics", (200, "/fping /metrics")),
        ({"external_url": PROXY, "route_prefix": "/a"}, "/", (302, "/a/")),
        ({"route_prefix": "/a"}, "/a/metrics", (200, " /metrics")),
        ({"external_url": "https://ops.example.com/a%20b/é"}, "/a b/é/x", (200, "/a b/é /x")),
    ],
)
def test_a_path(flags: dict[str, str], path: str, expected: tuple[int, str]) -> None:
    assert answer(quote(path), **flags) == expected


@pytest.mark.parametrize(
    ("text", "prefix"),
    [("/", ""), ("", ""), ("/a", "/a"), ("a", "/a"), ("//a//", "/a"), ("/a/b/", "/a/b"), ("/a%20b", "/a b")],
)
def test_a_prefix(text: str, prefix: str) -> None:
    assert parse_prefix(text) == prefix


@pytest.mark.parametrize("text", ["/a//b", "/../a", "/a/.", "/a?b", "/a#b", "/a%00", "/%ff", "/a\nb"])
def test_what_is_no_prefix(text: str) -> None:
    with pytest.raises(ValueError, match="expected a path such as /fping, got"):
        parse_prefix(text)


@pytest.mark.parametrize(
    "text", ["https://ops.example.com", "http://[::1]:8080/a/b", "https://ops.example.com/fping/"]
)
def test_an_external_url(text: str) -> None:
    assert parse_external_url(text) == text.rstrip("/")


def test_a_path_begins_with_one_slash_as_in_the_prefix() -> None:
    assert parse_external_url("https://ops.example.com//a/") == "https://ops.example.com/a"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "/fping",
        "ops.example.com/fping",
        "ftp://ops.example.com",
        "https:///fping",
        "https://ops.example.com:x/",
        "https://ops.example.com:99999/",
        "https://user:password@ops.example.com/",
        "https://ops.example.com/?a",
        "https://ops.example.com/#a",
        "https://ops.example.com/../a",
        "https://[ops/",
        "'https://ops.example.com'",
    ],
)
def test_what_is_no_external_url(text: str) -> None:
    with pytest.raises(ValueError, match="expected a URL such as https://ops"):
        parse_external_url(text)


@given(st.text())
@example("/0")
def test_a_url_is_refused_or_has_a_path_that_is_served(text: str) -> None:
    try:
        url = parse_external_url(f"https://ops.example.com/{text}")
    except ValueError:
        return
    path = urlsplit(url).path
    assert answer(f"{path or ''}/metrics", external_url=url)[1].endswith(" /metrics")
