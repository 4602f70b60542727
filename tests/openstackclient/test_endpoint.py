"""Where os-fping is, and what it may answer."""

import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml
from keystoneauth1.noauth import NoAuth
from keystoneauth1.session import Session

from fping_exporter.demo.http import Answer, LoopbackServer, Request
from fping_exporter.openstackclient.client import OsFping, OsFpingError
from tests.openstackclient.conftest import Catalog, Run
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import ALPHA, Guests, uuid


class FakeOsFping:
    """os-fping at the wire, which answers what a test wants."""

    def __init__(self) -> None:
        self.next = Answer(200, {"servers": []})
        self.asked: list[Request] = []
        self.http = LoopbackServer(self.answer)
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def answer(self, request: Request) -> Answer:
        self.asked.append(request)
        return self.next


@pytest.fixture(scope="module")
def server() -> Iterator[FakeOsFping]:
    fake = FakeOsFping()
    fake.http.start()
    yield fake
    fake.http.stop()


@pytest.fixture
def fake(server: FakeOsFping) -> FakeOsFping:
    server.asked.clear()
    return server


def fault(code: int, message: str, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(code, {"fault": {"code": code, "message": message}}, headers or {})


@pytest.mark.parametrize("type_", ["fping", "os-fping"])
def test_the_catalog(type_: str, run: Run, cloud: Catalog, fake: FakeOsFping) -> None:
    fake.next = Answer(200, {"servers": []})
    cloud.fping = {type_: f"{fake.url}/v2.1"}
    assert run("server", "ping", "list").code == 0
    cloud.fping = {}
    [request] = fake.asked
    assert request.path == "/v2.1/os-fping"
    assert request.headers["X-Auth-Token"]


def test_an_option_goes_before_a_variable_and_that_before_the_catalog(
    run: Run, cloud: Catalog, fake: FakeOsFping
) -> None:
    fake.next = Answer(200, {"servers": []})
    cloud.fping = {"fping": f"{fake.url}/catalog"}
    run("server", "ping", "list", endpoint=f"{fake.url}/variable/")
    run(
        "--os-fping-endpoint", f"{fake.url}/option", "server", "ping", "list", endpoint=f"{fake.url}/variable"
    )
    cloud.fping = {}
    assert [request.path for request in fake.asked] == ["/variable/os-fping", "/option/os-fping"]


def test_an_override_of_clouds_yaml(
    run: Run, cloud: Catalog, fake: FakeOsFping, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.next = Answer(200, {"servers": []})
    entry = cloud.cloud() | {"fping_endpoint_override": f"{fake.url}/override"}
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"mine": entry}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(tmp_path / "clouds.yaml"))
    assert run("--os-cloud", "mine", "server", "ping", "list").code == 0
    assert [request.path for request in fake.asked] == ["/override/os-fping"]


def test_nowhere(run: Run) -> None:
    done = run("server", "ping", "list")
    assert (done.code, done.out) == (1, "")
    assert len(done.err.splitlines()) == 1
    for part in (
        "OS_FPING_ENDPOINT",
        "--os-fping-endpoint",
        "openstack service create",
        "openstack endpoint create",
    ):
        assert part in done.err


@pytest.mark.parametrize(
    "endpoint", ["exporter:10605", "exporter.example", "http://", "ftp://h", "http://h:99999", "http://[::1"]
)
def test_an_endpoint_that_is_no_url(run: Run, endpoint: str) -> None:
    done = run("server", "ping", "list", endpoint=endpoint)
    said = "os-fping's endpoint: expected a URL such as http://exporter.example:10605/v2.1, got"
    assert (done.code, done.out, done.err) == (1, "", f"{said} {endpoint!r}\n")


@pytest.mark.parametrize("path", ["/v2.1", "/v2.1/", "/v2.1/os-fping", "/v2.1/os-fping/"])
def test_an_endpoint_with_the_path_of_the_api(fake: FakeOsFping, path: str) -> None:
    fake.next = Answer(200, {"servers": []})
    assert OsFping(Session(auth=NoAuth()), f"{fake.url}{path}").list_servers() == {}
    assert [request.path for request in fake.asked] == ["/v2.1/os-fping"]


def test_nobody_is_there(run: Run) -> None:
    done = run("server", "ping", "list", endpoint="http://127.0.0.1:9/v2.1")
    assert done.code == 1
    assert done.err == (
        "os-fping cannot be reached: http://127.0.0.1:9/v2.1/os-fping: no connection: "
        "[Errno 111] Connection refused\n"
    )


def test_no_error_has_the_password_of_a_url(run: Run, fake: FakeOsFping) -> None:
    fake.next = Answer(502, b"<html>")
    for url in ("http://user:secret@127.0.0.1:9", fake.url.replace("://", "://user:secret@")):
        done = run("server", "ping", "list", endpoint=url)
        assert (done.code, done.out) == (1, "")
        assert "http://127.0.0.1:" in done.err
        assert "secret" not in done.err


HOUR = {"Retry-After": "3600"}


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            fault(401, "The request you have made requires authentication."),
            (
                "os-fping does not accept the token: The request you have made requires authentication. "
                "Is URL of this cloud?"
            ),
        ),
        (fault(403, "Policy doesn't allow it."), "Policy doesn't allow it."),
        (fault(404, "Instance 1 could not be found."), "Instance 1 could not be found."),
        (
            fault(429, "This request was rate-limited: 12 per 1 hour are allowed.", HOUR),
            (
                "os-fping was asked too often: This request was rate-limited: 12 per 1 hour are allowed. "
                "Ask again in 3600 s."
            ),
        ),
        (fault(503, "It is not known.", {"Retry-After": "15"}), "It is not known. Ask again in 15 s."),
        (fault(503, "Soon.", {"Retry-After": "soon"}), "Soon."),
        (fault(503, "Late.", {"Retry-After": "9" * 5000}), "Late."),
        (fault(500, "Unexpected API Error."), "os-fping failed: Unexpected API Error. (HTTP 500)"),
        (fault(503, "a\\n\x1b[2Jb"), "a\\n\N{REPLACEMENT CHARACTER}[2Jb"),
        (Answer(502, b"<html>"), "URL is not os-fping, or its exporter is away: HTTP 502"),
        (Answer(404, {"error": "x"}), "URL is not os-fping, or its exporter is away: HTTP 404"),
        (Answer(200, b"<html>"), "URL is not os-fping: JSON is malformed: invalid character (byte 0)"),
        (Answer(200, b"\xff"), "URL is not os-fping: JSON is malformed: invalid character (byte 0)"),
        (
            Answer(500, b'{"a":{"b":' + b"[" * 100_000),
            "URL is not os-fping, or its exporter is away: HTTP 500",
        ),
        (
            Answer(200, {"servers": [{"id": 1}]}),
            "URL is not os-fping: Expected `str`, got `int` - at `$.servers[0].id`",
        ),
    ],
)
def test_every_error_is_one_line(fake: FakeOsFping, answer: Answer, said: str) -> None:
    fake.next = answer
    with pytest.raises(OsFpingError) as raised:
        OsFping(Session(auth=NoAuth()), fake.url).list_servers()
    assert str(raised.value) == said.replace("URL", f"{fake.url}/os-fping")


def test_an_answer_that_trickles_ends(fake: FakeOsFping) -> None:
    over = threading.Event()

    def pieces() -> Iterator[bytes]:
        while not over.wait(0.005):
            yield b" "

    fake.next = Answer(200, pieces(), {"Content-Length": "300000000"})
    with pytest.raises(OsFpingError, match=r"os-fping did not answer: .* no complete response") as raised:
        OsFping(Session(auth=NoAuth()), fake.url, answer_seconds=0.2).list_servers()
    over.set()
    assert raised.value.may_pass


def test_an_error_is_what_openstackclient_prints(run: Run, fake: FakeOsFping) -> None:
    fake.next = fault(401, "The request you have made requires authentication.")
    done = run("server", "ping", "list", endpoint=fake.url)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        "os-fping does not accept the token: The request you have made requires authentication. "
        f"Is {fake.url}/os-fping of this cloud?\n"
    )


def test_a_limit_that_is_used_up(run: Run, cloud: Catalog) -> None:
    with serving(cloud.region(), prober=Guests("10.0.0.1"), settings={"rate_limit": "1/hour"}) as api:
        assert run("server", "ping", "show", "fixed", endpoint=api.url).code == 0
        done = run("server", "ping", "wait", "fixed", endpoint=api.url)
    assert done.code == 1
    assert done.out.startswith(
        f"{uuid(1)}  fixed  is not known to answer or not: os-fping was asked too often:"
    )


def test_a_url_with_the_project(run: Run, api: Api) -> None:
    assert run("server", "ping", "show", "fixed", endpoint=f"{api.url}/v2.1/{ALPHA.id}").code == 0


def test_a_few_ids_are_put_into_the_url(run: Run, fake: FakeOsFping) -> None:
    fake.next = Answer(200, {"servers": []})
    for option in ("--include", "--exclude"):
        run("server", "ping", "list", option, "fixed", option, "off", endpoint=fake.url)
    assert [request.query for request in fake.asked] == [
        {"include": f"{uuid(1)},{uuid(5)}"},
        {"exclude": f"{uuid(1)},{uuid(5)}"},
    ]


def test_many_ids_are_not(fake: FakeOsFping) -> None:
    fake.next = Answer(
        200,
        {"servers": [{"id": str(number), "project_id": "p", "alive": True} for number in range(300)]},
    )
    client = OsFping(Session(auth=NoAuth()), fake.url)
    ids = [str(number) for number in range(201)]
    assert client.list_servers(include=ids) == dict.fromkeys(ids, True)
    assert client.list_servers(exclude=ids) == {str(number): True for number in range(201, 300)}
    assert [request.query for request in fake.asked] == [{}, {}]
