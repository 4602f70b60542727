"""The border: what may pass is tried again, everything else becomes one line of ours."""

import contextlib
import socket
import threading
from typing import Any

import pytest
from openstack.config import OpenStackConfig

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.demo.http import Answer, Request
from fping_exporter.errors import AuthError, CloudError
from tests.cloud.faulty import ADMIN, MEMBER, SERVERS, TOKENS, FaultyCloud, connect

BUSY = Answer(503, b"busy")


@pytest.mark.parametrize("code", [429, 500, 502, 503, 504])
@pytest.mark.parametrize("path", ["/identity/v3", TOKENS, SERVERS])
def test_what_may_pass_is_tried_again_with_longer_and_longer_waits(
    standin: FaultyCloud, path: str, code: int
) -> None:
    standin.fail(path, *[Answer(code, b"")] * 3)
    listed = connect(standin)
    assert len(listed.cloud.inventory().instances) == 4
    assert listed.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("path", ["/identity/v3", TOKENS, SERVERS])
def test_the_tries_end(standin: FaultyCloud, path: str) -> None:
    standin.fail(path, *[BUSY] * 9)
    listed = connect(standin)
    with pytest.raises(CloudError, match="HTTP 503"):
        listed.cloud.inventory()
    assert listed.slept == [0.5, 1.0, 2.0]


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("retry_after", "slept"), [("7", 7.0), ("30", 30.0), ("0", 0.5), ("soon", 0.5), ("-5", 0.5)]
)
def test_retry_after_is_heeded(standin: FaultyCloud, code: int, retry_after: str, slept: float) -> None:
    standin.fail(SERVERS, Answer(code, b"", {"Retry-After": retry_after}))
    listed = connect(standin)
    assert len(listed.cloud.inventory().instances) == 4
    assert listed.slept == [slept]


def test_failures_leave_no_connections_open(standin: FaultyCloud) -> None:
    standin.fail(SERVERS, *[Answer(404, b"")] * 5)
    cloud = connect(standin).cloud
    kept: list[CloudError] = []
    for _ in range(5):
        with pytest.raises(CloudError) as failure:
            cloud.inventory()
        kept.append(failure.value)  # or a garbage collection might close them
    assert standin.connections() == 1
    cloud.close()
    assert standin.connections() == 0
    with pytest.raises(CloudError):
        cloud.look_up("none")
    assert standin.connections() == 0


def test_a_server_that_wants_a_long_pause_gets_it_from_the_caller(standin: FaultyCloud) -> None:
    limit = {"overLimit": {"code": 429, "message": "Too many requests.", "retryAfter": "31"}}
    standin.fail(SERVERS, Answer(429, limit, {"Retry-After": "31"}))
    listed = connect(standin)
    with pytest.raises(CloudError, match="HTTP 429: Too many requests"):
        listed.cloud.inventory()
    assert listed.slept == []


@pytest.mark.parametrize("code", [400, 401, 403, 404, 413, 501])
def test_what_will_not_pass_is_not_tried_again(standin: FaultyCloud, code: int) -> None:
    standin.fail(SERVERS, *[Answer(code, b"")] * 2)
    listed = connect(standin)
    with pytest.raises(CloudError, match=f"HTTP {code}"):
        listed.cloud.inventory()
    assert listed.slept == []


def test_a_token_that_is_no_longer_valid_is_renewed(standin: FaultyCloud) -> None:
    listed = connect(standin)
    listed.cloud.inventory()
    standin.forget_tokens()
    assert len(listed.cloud.inventory().instances) == 4
    assert len(standin.asked(TOKENS)) == 2
    assert listed.observed["compute", 401] == 1


def test_a_token_that_is_about_to_expire_is_renewed_before(standin: FaultyCloud) -> None:
    standin.token_seconds = 5
    listed = connect(standin)
    listed.cloud.inventory()
    listed.cloud.inventory()
    assert len(standin.asked(TOKENS)) > 2
    assert not listed.observed["compute", 401]


def test_wrong_credentials_are_one_line_without_the_password(standin: FaultyCloud) -> None:
    region = standin.region(MEMBER)
    standin.users.remove(MEMBER)
    with pytest.raises(AuthError) as caught:
        Cloud(Config(), region=region).inventory()
    assert str(caught.value) == (
        f"the credentials were not accepted: {standin.url}{TOKENS}: HTTP 401: "
        "The request you have made requires authentication."
    )


def test_every_response_is_counted_by_service_and_code(standin: FaultyCloud) -> None:
    standin.fail(SERVERS, BUSY)
    listed = connect(standin)
    listed.cloud.inventory()
    codes = {"/identity/v3": 200, TOKENS: 201}
    assert listed.observed == {
        ("identity", 200): 2,  # versions, projects
        ("identity", 201): 1,  # token
        ("compute", 200): 5,  # versions, two pages, services, hypervisors
        ("compute", 503): 1,
    }
    assert listed.observed.total() == len(standin.requests)
    assert {request.path: codes[request.path] for request in standin.requests[:2]} == codes


def test_the_exporter_says_who_it_is(standin: FaultyCloud) -> None:
    connect(standin).cloud.inventory()
    assert all(request.headers["User-Agent"].startswith("fping-exporter") for request in standin.requests)


def test_nobody_listening_is_told_in_one_line(standin: FaultyCloud) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        standin.url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        listed = connect(standin)
        with pytest.raises(CloudError) as caught:
            listed.cloud.inventory()
    assert str(caught.value) == f"{standin.url}/identity/v3: no connection: [Errno 111] Connection refused"
    assert listed.slept == [0.5, 1.0, 2.0]


def test_a_server_that_breaks_off_is_asked_again(standin: FaultyCloud) -> None:
    short = Answer(200, b'{"servers": ', {"Content-Length": "99", "Connection": "close"})
    standin.fail(SERVERS, short)
    listed = connect(standin)
    assert len(listed.cloud.inventory().instances) == 4
    assert listed.slept == [0.5]


def test_a_server_that_does_not_answer_is_given_up_at_the_timeout(standin: FaultyCloud) -> None:
    over = threading.Event()

    def hangs(_request: Request) -> None:
        over.wait(5)

    standin.fail(SERVERS, hangs)
    settings = OpenStackConfig(load_yaml_config=False, load_envvars=False)
    region = settings.get_one(**standin.cloud(), api_timeout=0.1)
    try:
        with pytest.raises(CloudError) as caught:
            Cloud(Config(), region=region).inventory()
    finally:
        over.set()
    assert str(caught.value) == f"{standin.url}{SERVERS}: no connection: timed out"
    assert len(standin.asked(SERVERS)) == 1


@pytest.mark.parametrize("path", ["/identity/v3", TOKENS, "/compute/v2.1", SERVERS, "/identity/v3/projects"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b"{}",
        b'{"token": {}}',
        b'{"token": {"catalog": [{}]}}',
        b'{"version": []}',
    ],
)
@pytest.mark.parametrize("code", [200, 404])
def test_nonsense_never_ends_in_anything_but_our_errors(
    standin: FaultyCloud, path: str, body: bytes, code: int
) -> None:
    standin.fail(path, *[Answer(code, body, {"X-Subject-Token": "t"})] * 9)
    with contextlib.suppress(CloudError):
        connect(standin).cloud.inventory()


@pytest.mark.parametrize("error", [TypeError("5"), ValueError("6"), KeyError("7"), AttributeError("8")])
def test_a_bug_of_ours_is_not_called_an_unreadable_answer(standin: FaultyCloud, error: Exception) -> None:
    def observe(_service: str, _code: int) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        Cloud(Config(), region=standin.region(ADMIN), observe=observe).inventory()
    assert caught.value is error


@pytest.mark.parametrize("body", [b'{"token": {}}', b'{"token": 5}', b"7"])
def test_a_new_token_that_cannot_be_read_is_an_error_of_the_clouds(standin: FaultyCloud, body: bytes) -> None:
    cloud = connect(standin).cloud
    cloud.inventory()
    standin.forget_tokens()
    standin.fail(TOKENS, *[Answer(201, body, {"X-Subject-Token": "t"})] * 9)
    with pytest.raises(CloudError):
        cloud.inventory()


def test_an_endpoint_of_the_configuration_goes_before_the_catalogs(standin: FaultyCloud) -> None:
    settings = OpenStackConfig(load_yaml_config=False, load_envvars=False)
    override = f"{standin.url}/compute/v2.1"
    region = settings.get_one(**standin.cloud(), compute_endpoint_override=override)
    standin.rewrite(TOKENS, _without_compute)
    assert len(Cloud(Config(), region=region).inventory().instances) == 4


def _without_compute(body: Any) -> Any:
    body["token"]["catalog"] = [each for each in body["token"]["catalog"] if each["type"] != "compute"]
    return body


def test_a_catalog_without_nova_is_one_clear_error(standin: FaultyCloud) -> None:
    standin.rewrite(TOKENS, _without_compute)
    with pytest.raises(CloudError, match="public endpoint for compute service in RegionOne region not found"):
        connect(standin).cloud.inventory()


def test_the_client_of_a_service_is_made_once_a_session(standin: FaultyCloud) -> None:
    session = connect(standin).cloud.session
    made = session.connection.adapter("compute")
    assert made.service_type == "compute"
    assert session.connection.adapter("compute") is made
    assert session.connection.adapter("network").service_type == "network"
    session.renew()
    assert session.connection.adapter("compute") is not made
