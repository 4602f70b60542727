"""The client of Prometheus's API: what it sends, which answers it takes, and what it says of the others."""

import base64
import gzip
import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.config import Fleet
from fping_exporter.demo.http import Answer
from fping_exporter.errors import ConfigError, FleetError
from fping_exporter.fleet.prometheus import Prometheus
from tests.fleet.api import FakePrometheus, vector

SOON = 5.0


@pytest.fixture
def server() -> Iterator[FakePrometheus]:
    with FakePrometheus() as server:
        yield server


def deadline(seconds: float = SOON) -> float:
    return time.monotonic() + seconds


def fault(server: FakePrometheus, answer: Answer, **settings: int) -> str:
    """Return what is said of an answer."""
    server.faults = iter([answer])
    with pytest.raises(FleetError) as caught:
        Prometheus(Fleet(prometheus=server.url), **settings).query("up{}", deadline=deadline())
    text = str(caught.value)
    assert text.startswith(f"{server.url}/api/v1/query: ")
    assert len(text.splitlines()) == 1
    return text.removeprefix(f"{server.url}/api/v1/query: ")


def test_a_vector_is_read_and_the_servers_time_with_it(server: FakePrometheus) -> None:
    server.faults = iter([Answer(200, vector(({"id": "a"}, 1), ({"id": "b"}, float("nan")), now=1e9))])
    answer = Prometheus(Fleet(prometheus=f"{server.url}/")).query("up{}", deadline=deadline())
    assert [(each.metric, each.value) for each in answer.elements] == [
        ({"id": "a"}, (1e9, "1.0")),
        ({"id": "b"}, (1e9, "nan")),
    ]
    assert not answer.partial
    # The evaluation may be of an earlier time than the answer, as VictoriaMetrics has it by default.
    assert answer.now == pytest.approx(time.time(), abs=3)
    [request] = server.requests
    assert (request.method, request.path) == ("POST", "/api/v1/query")
    assert b"nocache=1" in request.body


def test_a_path_before_the_api_and_headers_are_sent(server: FakePrometheus) -> None:
    settings = Fleet(prometheus=f"{server.url}/prometheus", headers={"X-Scope-OrgID": "prod"})
    Prometheus(settings).query("up{}", deadline=deadline())
    [request] = server.requests
    assert request.path == "/prometheus/api/v1/query"
    assert request.headers["X-Scope-OrgID"] == "prod"
    assert "Authorization" not in request.headers


def test_gzip_is_asked_for_and_read(server: FakePrometheus) -> None:
    body = gzip.compress(json.dumps(vector(({"id": "a"}, 1))).encode())
    server.faults = iter([Answer(200, body, {"Content-Encoding": "gzip"})])
    answer = Prometheus(Fleet(prometheus=server.url)).query("up{}", deadline=deadline())
    assert len(answer.elements) == 1
    assert server.requests[0].headers["Accept-Encoding"] == "gzip"


@pytest.mark.parametrize("extra", [{"warnings": ["store 2 is away"]}, {"isPartial": True}])
def test_a_warning_is_noticed(server: FakePrometheus, extra: dict[str, object]) -> None:
    server.extra = extra
    assert Prometheus(Fleet(prometheus=server.url)).query("up{}", deadline=deadline()).partial


def test_infos_and_what_is_new_are_not_in_the_way(server: FakePrometheus) -> None:
    server.extra = {"infos": ["metric might not be a counter"], "stats": {"seriesFetched": "3"}}
    assert not Prometheus(Fleet(prometheus=server.url)).query("up{}", deadline=deadline()).partial


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            Answer(400, {"status": "error", "errorType": "bad_data", "error": "1:4: parse\nerror"}),
            "HTTP 400: bad_data: 1:4: parse error",
        ),
        (
            Answer(200, {"status": "error", "errorType": "execution", "error": "too many samples"}),
            "HTTP 200: execution: too many samples",
        ),
        (Answer(503, b"<html>busy</html>"), "HTTP 503"),
        (Answer(401, {"message": "who are you?"}), "HTTP 401"),
        (Answer(200, {"status": "success"}), "HTTP 200: no result"),
        (Answer(302, b"", {"Location": "https://sso.example/"}), "HTTP 302: redirects are not followed"),
        (Answer(200, b"<html>Sign in</html>"), "not an answer of Prometheus: JSON is malformed"),
        (
            Answer(200, {"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}),
            "not an answer of Prometheus: Invalid enum value 'scalar'",
        ),
        (Answer(200, b"\x1f\x8b", {"Content-Encoding": "gzip"}), "not an answer of Prometheus"),
        (Answer(200, b"abc", {"Content-Encoding": "gzip"}), "Error -3 while decompressing data"),
        (Answer(200, b'{"status":', {"Content-Length": "100", "Connection": "close"}), ""),
    ],
)
def test_what_is_wrong_is_said_in_one_line(server: FakePrometheus, answer: Answer, said: str) -> None:
    assert fault(server, answer).startswith(said)


def test_an_answer_has_a_bound_when_it_is_decompressed(server: FakePrometheus) -> None:
    bomb = Answer(200, gzip.compress(b" " * (3 << 20)), {"Content-Encoding": "gzip"})
    said = fault(server, bomb, max_body_bytes=2 << 20)
    assert said.startswith("the answer is larger than 2 MiB")


def test_an_answer_that_trickles_ends_at_the_deadline(server: FakePrometheus) -> None:
    def trickle() -> Iterator[bytes]:
        for _ in range(100):
            yield b" "
            time.sleep(0.02)

    server.faults = iter([Answer(200, trickle(), {"Content-Length": "1000"})])
    with pytest.raises(FleetError, match="no complete answer within"):
        Prometheus(Fleet(prometheus=server.url)).query("up{}", deadline=deadline(0.5))


def test_a_server_that_is_silent_is_given_up(server: FakePrometheus) -> None:
    server.hold.clear()
    with pytest.raises(FleetError):
        Prometheus(Fleet(prometheus=server.url)).query("up{}", deadline=deadline(0.1))


def test_nothing_is_asked_when_the_time_is_over(server: FakePrometheus) -> None:
    with pytest.raises(FleetError, match="there is no time left"):
        Prometheus(Fleet(prometheus=server.url)).query("up{}", deadline=deadline(-1))
    assert not server.requests


def test_a_closed_port() -> None:
    with FakePrometheus() as server:
        url = server.url
    with pytest.raises(FleetError, match="no connection: Connection refused"):
        Prometheus(Fleet(prometheus=url)).query("up{}", deadline=deadline())


def test_a_password_is_read_from_its_file_each_time(server: FakePrometheus, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    client = Prometheus(Fleet(prometheus=server.url, username="mé", password_file=str(file)))
    for password in ("first", "sécond"):
        file.write_text(f"{password}\n", encoding="utf-8")
        client.query("up{}", deadline=deadline())
        scheme, _, sent = server.requests[-1].headers["Authorization"].partition(" ")
        assert scheme == "Basic"
        assert base64.b64decode(sent).decode() == f"mé:{password}"
    file.unlink()
    with pytest.raises(ConfigError, match=r"fleet.password_file: .*: cannot be read: No such file"):
        client.query("up{}", deadline=deadline())


def test_a_token_is_sent_and_is_in_no_error(server: FakePrometheus, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("s3cret-token")
    settings = Fleet(prometheus=server.url, bearer_token_file=str(file))
    client = Prometheus(settings)
    server.faults = iter([Answer(403, {"status": "error", "errorType": "forbidden", "error": "no"})])
    with pytest.raises(FleetError) as caught:
        client.query("up{}", deadline=deadline())
    assert server.requests[0].headers["Authorization"] == "Bearer s3cret-token"
    assert "s3cret" not in str(caught.value)
    for content in (b"s3cret\nmore", b"", b"s3cret token", b"\xff"):
        file.write_bytes(content)
        with pytest.raises(ConfigError, match=r"fleet.bearer_token_file: .*: expected") as refused:
            Prometheus(settings)
        assert "s3cret" not in str(refused.value)


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(server: FakePrometheus, authority: trustme.CA) -> FakePrometheus:
    """The server behind TLS, for localhost only, and only for clients with a certificate of the same CA."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    server.url = server.url.replace("http://127.0.0.1", "https://localhost")
    return server


def test_certificates(tls: FakePrometheus, authority: trustme.CA, tmp_path: Path) -> None:
    ca, cert, key = (str(tmp_path / name) for name in ("ca.pem", "cert.pem", "key.pem"))
    authority.cert_pem.write_to_path(ca)
    ours = authority.issue_cert("central.example")
    ours.cert_chain_pems[0].write_to_path(cert)
    ours.private_key_pem.write_to_path(key)

    def query(url: str = tls.url, **files: Any) -> None:
        Prometheus(Fleet(prometheus=url, **files)).query("up{}", deadline=deadline())

    query(ca_file=ca, cert_file=cert, key_file=key)
    with pytest.raises(FleetError, match="its certificate is refused: "):
        query(cert_file=cert, key_file=key)
    with pytest.raises(FleetError, match=r"its certificate is refused: .*127\.0\.0\.1"):
        query(tls.url.replace("localhost", "127.0.0.1"), ca_file=ca, cert_file=cert, key_file=key)
    with pytest.raises(FleetError):
        query(ca_file=ca)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({"ca_file": "none"}, "fleet.ca_file: none: cannot be read: No such file or directory"),
        ({"ca_file": __file__}, f"fleet.ca_file: {__file__}: no certificate in PEM"),
        (
            {"cert_file": __file__, "key_file": __file__},
            f"fleet: {__file__} and {__file__} cannot be used as certificate and key: ",
        ),
    ],
)
def test_files_that_cannot_be_used_are_refused_at_once(names: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Prometheus(Fleet(prometheus="https://localhost", **names))
    assert str(caught.value).startswith(said)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["success", "vector"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["status", "data", "resultType", "result", "metric", "value", "warnings", "error"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(JSON, st.sampled_from([200, 400]))
def test_any_json_is_an_answer_or_an_error_in_one_line(body: object, status: int) -> None:
    client = Prometheus(Fleet(prometheus="http://127.0.0.1"))
    try:
        client.parse(status, {}, json.dumps(body).encode())
    except FleetError as error:
        assert len(str(error).splitlines()) == 1
    else:
        assert status == 200


@given(st.binary())
def test_any_bytes_are_an_answer_or_an_error_in_one_line(body: bytes) -> None:
    with pytest.raises(FleetError) as caught:
        Prometheus(Fleet(prometheus="http://127.0.0.1")).parse(200, {"Date": repr(body)}, body)
    assert len(str(caught.value).splitlines()) == 1
