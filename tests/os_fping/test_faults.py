"""What goes wrong around the API: too many requests, no ping, no Keystone, no Nova, a bug."""

import logging
import time
from collections import Counter
from collections.abc import Collection, Iterator

import pytest

from fping_exporter import config
from fping_exporter.errors import ProbeError, SocketPermissionError
from fping_exporter.model import NOT_ASKED, Sweep, Target
from tests.build import sweep
from tests.integration.lab import Lab, Service
from tests.os_fping.exporter import Api, serving
from tests.os_fping.worlds import Guests, LabWorld, Recorder, StandinWorld, uuid

NO_KEYSTONE = (503, "serviceUnavailable", "Keystone cannot be asked at the moment. Please try again later.")
NO_NOVA = (503, "serviceUnavailable", "Nova cannot be asked at the moment. Please try again later.")
NO_PING = (503, "serviceUnavailable", "This server cannot ping at the moment: its log says why.")


NO_RESULTS = (503, "serviceUnavailable", "This server has no recent results: its log says why.")


def no_permission() -> None:
    raise SocketPermissionError("no ICMP socket may be opened")


def bug() -> None:
    raise ZeroDivisionError("secret")


class Broken(Guests):
    """A prober with a fault."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error

    def probe(self, targets: Collection[Target]) -> Sweep:  # noqa: ARG002, it never gets to them
        raise self.error


class OutOfSockets(Guests):
    """A prober that can send nothing, and then not even open a socket."""

    def probe(self, targets: Collection[Target]) -> Sweep:
        if self.asked:
            raise ProbeError("no more sockets")
        self.asked.append(set(targets))
        return sweep(dict.fromkeys(targets, NOT_ASKED))


@pytest.fixture
def small(standin: Recorder) -> StandinWorld:
    """A cloud of this test's own."""
    return StandinWorld(standin)


@pytest.fixture
def limited(small: StandinWorld) -> Iterator[Api]:
    with serving(small.region(), prober=small.prober, settings={"rate_limit": "3/minute"}) as api:
        yield api


# ---------------------------------------------------------------- rate limit


def test_too_many_requests(small: StandinWorld, limited: Api) -> None:
    token = small.token("alpha")
    for _ in range(3):
        assert limited.get("/os-fping", token).status == 200
    for path in ("/os-fping", "/v2/os-fping/x"):
        reply = limited.get(path, token)
        assert reply.fault() == (
            429,
            "overLimit",
            "This request was rate-limited: 3 per 1 minute are allowed.",
        )
        assert 50 <= int(reply.headers["Retry-After"]) <= 60
        assert reply.body["overLimit"]["retryAfter"] == reply.headers["Retry-After"]
    assert limited.answers(429) == 2


def test_the_limit_is_each_users_whatever_the_token(small: StandinWorld, limited: Api) -> None:
    for _ in range(3):
        assert limited.get("/os-fping", small.token("alpha")).status == 200
    assert limited.get("/os-fping", small.token("alpha")).status == 429
    assert limited.get("/os-fping", small.token("beta")).status == 200


def test_every_request_of_a_known_user_counts(small: StandinWorld, limited: Api) -> None:
    token = small.token("alpha")
    for path, status in (("/os-fping/x", 404), ("/os-fping?all_tenants", 403), ("/v2/p/os-fping", 400)):
        assert limited.get("/os-fping", "wrong").status == 401
        assert limited.get("/os-fping", token, method="DELETE").status == 405
        assert limited.get(path, token).status == status
    assert limited.get("/os-fping", token).status == 429


def test_the_window_moves(small: StandinWorld) -> None:
    token = small.token("alpha")
    with serving(small.region(), prober=small.prober, settings={"rate_limit": "2/second"}) as api:
        for _ in range(10):  # on a busy machine, three may take longer than the window
            statuses = [api.get("/os-fping", token).status for _ in range(3)]
            if statuses[2] == 429:
                break
            time.sleep(1.1)
        assert statuses == [200, 200, 429]
        begun = time.monotonic()
        assert api.get("/os-fping", token).headers["Retry-After"] == "1"
        time.sleep(max(0, begun + 1.2 - time.monotonic()))
        assert api.get("/os-fping", token).status == 200


# ----------------------------------------------------------- the right to ping


def test_the_order_of_errors(small: StandinWorld) -> None:
    token = small.token("alpha")
    with serving(small.region(), prober=small.prober, check=no_permission) as api:
        assert api.get("/os-fping", "wrong").status == 401
        assert api.get("/v2/p/os-fping", token).status == 400
        assert api.get("/os-fping?all_tenants=1", token).status == 403
        for path in ("/os-fping", f"/os-fping/{uuid(1)}", f"/os-fping/{uuid(9)}", "/os-fping/x"):
            assert api.get(path, token).fault() == NO_PING
    with serving(small.region(), prober=Broken(ProbeError("no more sockets"))) as api:
        assert api.get(f"/os-fping/{uuid(9)}", token).status == 404
        assert api.get(f"/os-fping/{uuid(1)}", token).fault() == NO_RESULTS
        assert api.get("/os-fping?include=x", token).status == 200


def test_no_more_sockets_after_a_sweep_that_could_not_send(small: StandinWorld) -> None:
    with serving(small.region(), prober=OutOfSockets()) as api:
        assert api.get(f"/os-fping/{uuid(1)}", small.token("alpha")).fault() == NO_PING


def test_a_server_that_was_not_asked(small: StandinWorld) -> None:
    token = small.token("alpha")
    with serving(small.region(), prober=small.prober, probe=config.Probe(vantages=("ovnmeta",))) as api:
        reply = api.get(f"/os-fping/{uuid(1)}", token)
        status, name, message = reply.fault()
        assert (status, name) == (503, "serviceUnavailable")
        assert message.endswith("alive is not known: this exporter has no vantage that reaches it.")
        assert reply.headers["Retry-After"] == reply.body["serviceUnavailable"]["retryAfter"] == "15"
        assert api.unasked == 1
        without_address = [small.servers("alpha")[uuid(number)] for number in (6, 7)]
        assert api.get("/os-fping", token).body == {"servers": without_address}
        assert api.unasked == 6


def test_a_bug_tells_nothing(small: StandinWorld, caplog: pytest.LogCaptureFixture) -> None:
    token = small.token("alpha")
    with serving(small.region(), prober=small.prober, check=bug) as api:
        reply = api.get("/v2.1/os-fping", token)
        assert reply.fault() == (500, "computeFault", "Unexpected API Error.")
        assert reply.headers["OpenStack-API-Version"] == "compute 2.1"
        assert api.answers(500) == 1
    assert "which is a bug" in caplog.text
    assert token not in caplog.text


# ------------------------------------------------------- OpenStack is not there


def test_without_keystone(small: StandinWorld) -> None:
    known, new = small.token("alpha"), small.token("alpha")
    with serving(small.region(), prober=small.prober) as api:
        assert api.get("/os-fping", known).status == 200
        small.standin.away = {"identity"}
        assert api.get("/os-fping", new).fault() == NO_KEYSTONE
        assert [each.headers.get("X-Subject-Token") for each in small.standin.requests].count(new) == 1
        assert api.get("/os-fping", known).status == 200  # for a minute


def test_without_keystone_from_the_start(small: StandinWorld) -> None:
    token = small.token("alpha")
    small.standin.away = {"identity"}
    with serving(small.region(), prober=small.prober) as api:
        assert api.get("/os-fping", token).fault() == NO_KEYSTONE
        assert api.get("/os-fping").status == 401


def test_without_nova(small: StandinWorld, caplog: pytest.LogCaptureFixture) -> None:
    token = small.token("alpha")
    small.standin.away = {"compute"}
    with serving(small.region(), prober=small.prober) as api:
        assert api.get("/os-fping", token).fault() == NO_NOVA
        assert api.get(f"/os-fping/{uuid(1)}", token).fault() == NO_NOVA
        asked = [each for each in small.standin.requests if each.headers.get("X-Auth-Token") == token]
        assert len([each for each in asked if each.path.startswith("/compute/")]) == 2, "once for each"
    assert "HTTP 503" in caplog.text
    assert caplog.text.count("could not be asked for a caller") == 1, "callers do not fill the log"
    assert token not in caplog.text


def test_while_nobody_knows_the_microversions_of_nova(small: StandinWorld) -> None:
    token = small.token("alpha")
    with serving(small.region(), prober=small.prober) as api:
        small.standin.away = {"compute"}
        for version in ("2.40", "2.1000", "latest"):
            reply = api.get("/os-fping", token, OpenStack_API_Version=f"compute {version}")
            assert reply.status == 404
        small.standin.away = set()
        assert api.get("/os-fping", token, OpenStack_API_Version="compute 2.1000").status == 406


@pytest.mark.parametrize("path", ["/identity", "/identity/v3/auth/tokens"])
def test_keystone_is_not_where_it_should_be(small: StandinWorld, path: str) -> None:
    token = small.token("alpha")
    with serving(small.region(), prober=small.prober) as api:
        small.standin.missing = path
        assert api.get("/os-fping", token).fault() == NO_KEYSTONE


def test_too_many_unknown_tokens(small: StandinWorld) -> None:
    known = small.token("alpha")
    with serving(small.region(), prober=small.prober) as api:
        assert api.get("/os-fping", known).status == 200
        small.standin.requests.clear()
        replies = [api.get("/os-fping", f"wrong-{number}") for number in range(100)]
        assert Counter(reply.status for reply in replies) == {401: 59, 429: 41}
        assert len(small.standin.requests) == 59
        assert replies[-1].fault() == (
            429,
            "overLimit",
            "The validation of tokens was rate-limited: 60 per 1 minute are allowed.",
        )
        assert 50 <= int(replies[-1].headers["Retry-After"]) <= 60
        assert api.get("/os-fping", known).status == 200


def test_nova_is_not_where_it_should_be(small: StandinWorld) -> None:
    token = small.token("alpha")
    small.standin.missing = "/compute/v2.1/servers"
    with serving(small.region(), prober=small.prober) as api:
        assert api.get("/os-fping", token).fault() == NO_NOVA


def test_a_connection_that_was_given_up(small: StandinWorld) -> None:
    known, new = small.token("alpha"), small.token("alpha")
    with serving(small.region(), prober=small.prober) as api:
        assert api.get("/os-fping", known).status == 200
        for token in (known, new):
            small.standin.hang_ups = 1
            assert api.get("/os-fping", token).status == 200
        small.standin.hang_ups = 2
        assert api.get("/os-fping", known).fault() == NO_NOVA


@pytest.mark.lab
@pytest.mark.parametrize(
    ("service", "fault"), [(Service.KEYSTONE, NO_KEYSTONE), (Service.NOVA, NO_NOVA)], ids=["keystone", "nova"]
)
def test_without_a_real_one(lab: Lab, service: Service, fault: tuple[int, str, str]) -> None:
    world = LabWorld(lab)
    token, other = world.token("alpha"), world.token("alpha")
    with serving(world.region(), prober=world.prober) as api:
        assert api.get("/os-fping", token).status == 200
        with world.lab.without(service):
            begun = time.monotonic()
            assert api.get("/os-fping", other).fault() == fault
            assert time.monotonic() - begun < 10
        assert api.get("/os-fping", other).status == 200


def test_nothing_secret_is_logged(small: StandinWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    token = small.token("alpha")
    caplog.clear()
    with serving(small.region(), prober=small.prober) as api:
        assert api.get("/os-fping", token).status == 200
        assert api.get("/os-fping?all_tenants", token).status == 403
    assert token not in caplog.text
