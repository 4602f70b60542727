"""Ten thousand requests made up, and each gets an answer that the API's description has."""

import random
import socket
import subprocess
import sys
from collections import Counter
from http.client import HTTPResponse
from pathlib import Path

import pytest

from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import Recorder, StandinWorld, uuid

pytestmark = pytest.mark.fuzz

DESCRIPTION = Path(__file__).parents[2] / "deploy" / "openapi.yml"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
DESCRIBED = {200, 400, 401, 403, 404, 405, 406}
WORDS = (
    *("os-fping", "v2", "v2.1", "servers", "detail", "..", ".", "", "%2e%2e", "%2F", "%00", "%0d%0a", "%ff"),
    *(
        "include",
        "exclude",
        "all_tenants",
        "limit",
        "=",
        "&",
        ";",
        ",",
        "%2C",
        "+",
        "%",
        "%%",
        "%u0041",
        "\\",
    ),
    *(
        "latest",
        "compute ",
        "compute 2.35",
        "2.1",
        "2.36",
        "2.",
        "-1",
        "9" * 30,
        "' OR 1=1",
        "{{7*7}}",
        "<b>",
    ),
    *(
        uuid(1),
        uuid(9),
        uuid(1)[:-1],
        uuid(1).upper(),
        uuid(1).replace("-", ""),
        f"{{{uuid(1)}}}",
        "{project}",
    ),
    *("~", "*", "(", "[]", "a[]", "\u00e9", "%C3%A9", "x" * 300),
)
HEADERS = ("OpenStack-API-Version", "X-OpenStack-Nova-API-Version", "Accept", "X-Project-Id", "Content-Type")


@pytest.fixture
def world(standin: Recorder) -> StandinWorld:
    return StandinWorld(standin)


def made_up(chance: random.Random, project: str) -> str:
    """Return a few words and raw characters in a row."""
    parts = chance.choices(WORDS, k=chance.randint(0, 4))
    if chance.random() < 0.2:
        parts.insert(
            0, "".join(chr(chance.choice([*range(0x21, 0x7F), *range(0xA0, 0x100)])) for _ in range(8))
        )
    return "".join(parts).replace("{project}", project)


def target(chance: random.Random, project: str) -> str:
    """Return a path that is almost right, with a query."""
    root = chance.choice(
        ("", "", "/v2", "/v2.1", "/v2/{project}", "/v2.1/{project}", f"/v2.1/{made_up(chance, project)}")
    )
    path = root.replace("{project}", project) + "/os-fping"
    if chance.random() < 0.5:
        path += "/" + made_up(chance, project)
    names = [chance.choice(("include", "exclude", "all_tenants", made_up(chance, project))) for _ in range(3)]
    query = "&".join(f"{name}={made_up(chance, project)}" for name in names[: chance.randint(0, 3)])
    return f"{path}?{query}".replace(" ", "%20").replace("#", "%23")


def ask(api: Api, method: str, head: str) -> HTTPResponse:
    with socket.create_connection((api.host, api.port), timeout=30) as sock:
        sock.sendall(head.encode("latin-1"))
        response = HTTPResponse(sock, method=method)
        response.begin()
        response.read()
    return response


def test_requests_that_are_almost_right(world: StandinWorld) -> None:
    seed = random.randrange(10**9)  # noqa: S311, of no secret
    chance = random.Random(seed)  # noqa: S311, as above
    tokens = [world.token("alpha"), world.token("alpha"), world.token("admin"), "wrong"]
    project = world.project("alpha")
    seen: Counter[int] = Counter()
    with serving(world.region(), prober=world.prober) as api:
        for number in range(10_000):
            [method] = chance.choices(("GET", "HEAD", "POST"), (20, 1, 1))
            lines = [
                f"{method} {target(chance, project)} HTTP/1.1",
                "Host: localhost",
                "Connection: close",
            ]
            if chance.random() < 0.95:
                lines.append(f"X-Auth-Token: {chance.choice(tokens)}")
            if chance.random() < 0.3:
                lines.append(f"{chance.choice(HEADERS)}: {made_up(chance, project)}")
            response = ask(api, method, "\r\n".join([*lines, "", ""]))
            seen[response.status] += 1
            assert response.status in DESCRIBED, (seed, number, lines)
    assert set(seen) >= DESCRIBED - {406}, seen
    assert seen[200] > 1000, seen


def test_requests_from_the_description(world: StandinWorld, tmp_path: Path) -> None:
    with serving(world.region(), prober=world.prober) as api:
        command: list[str | Path] = [
            Path(sys.executable).with_name("schemathesis"),
            "run",
            DESCRIPTION,
            f"--url={api.url}",
            f"--header=X-Auth-Token: {world.token('alpha')}",
            f"--checks={','.join(CHECKS)}",
            "--phases=coverage,fuzzing",
            "--max-examples=50",
            "--mode=positive",
            "--suppress-health-check=all",
            "--no-color",
        ]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert sum(api.answers(code) for code in range(200, 500)) >= 500
        assert sum(api.answers(code) for code in range(500, 600)) == 0
