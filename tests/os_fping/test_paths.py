"""The paths of the API: stated once, and the same in the router, the description and the proxy's snippet."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.exceptions import HTTPException
from werkzeug.routing import Map, Rule

from fping_exporter.os_fping.paths import FIRST_SEGMENTS, LIST_PATHS, SHOW_PATHS, is_os_fping

DEPLOY = Path(__file__).parents[2] / "deploy"
SNIPPET = DEPLOY / "nginx-os-fping.conf"
PATHS = (*LIST_PATHS, *SHOW_PATHS)
FILLED = [path.replace("<project_id>", "5fa0").replace("<server_id>", "1") for path in PATHS]
OTHERS = ["/", "/metrics", "/os-fping/", "/os-fping/1/2", "/v3/os-fping", "/v2.1/5fa0/metrics", "/os-fping\n"]
SEGMENTS = st.sampled_from(["os-fping", "v2", "v2.1", "metrics", "5fa0", "..", ""]) | st.text(max_size=3)


def test_the_first_segments() -> None:
    assert {"os-fping", "v2", "v2.1"} == FIRST_SEGMENTS


@pytest.mark.parametrize("path", FILLED)
def test_paths_that_ask_for_tokens(path: str) -> None:
    assert is_os_fping(path)


@given(segments=st.lists(SEGMENTS, max_size=5))
def test_no_other_page_is_open_without_a_password(segments: list[str]) -> None:
    """What is open without a password is routed to this API, or nowhere."""
    path = "/" + "/".join(segments)
    routes = Map([Rule(rule, endpoint=rule) for rule in [*PATHS, "/metrics"]], merge_slashes=False).bind("")
    try:
        endpoint, _ = routes.match(path)
    except HTTPException:
        assert not is_os_fping(path)
    else:
        assert is_os_fping(path) <= (endpoint in PATHS)


def test_the_description_has_the_same_paths() -> None:
    described = yaml.safe_load((DEPLOY / "openapi.yml").read_text())["paths"]
    ours = [path.replace("<", "{").replace(">", "}") for path in PATHS]
    assert sorted(path for path in described if "os-fping" in path) == sorted(ours)


def test_the_proxy_takes_the_same_paths() -> None:
    [pattern] = re.findall(
        r"^location ~ (\S+) \{$", (DEPLOY / "nginx-os-fping.conf").read_text(), re.MULTILINE
    )
    location = re.compile(pattern.replace("(?<", "(?P<"))
    for prefix in ("", "/compute"):
        for path in FILLED:
            match = location.search(prefix + path)
            assert match, path
            assert match["os_fping"] == path
        for path in OTHERS[:-1]:  # `$` of Python's matches before a newline
            assert not location.search(prefix + path), path
