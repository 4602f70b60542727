"""Tokens: validated by themselves, remembered for a while, and the only right that a caller has."""

import contextlib
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import pytest

from fping_exporter.cloud.session import connect
from fping_exporter.config import Config
from fping_exporter.errors import AuthError, CloudError, ForbiddenError, NotFoundError, RateLimitError
from fping_exporter.os_fping.keystone import KeystoneCallers
from fping_exporter.os_fping.rate_limit import RateLimits, client_network
from tests.os_fping.worlds import SERVERS, Recorder, StandinWorld, uuid


@pytest.fixture
def world(standin: Recorder) -> StandinWorld:
    return StandinWorld(standin)


@pytest.fixture
def callers(world: StandinWorld) -> KeystoneCallers:
    return KeystoneCallers(connect(Config(), region=world.region()), rate_limits=RateLimits())


IDENTITY = "/identity/v3/auth/tokens"
CLIENT = "192.0.2.1"


def validations(standin: Recorder) -> list[tuple[str, str]]:
    return [
        (request.headers["X-Auth-Token"], request.headers["X-Subject-Token"])
        for request in standin.requests
        if request.method == "GET" and request.path == IDENTITY
    ]


def test_a_token_validates_itself_once(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    token = world.token("alpha")
    for _ in range(3):
        caller = callers.authenticate(token, client=CLIENT)
        assert (caller.user_id, caller.project_id) == ("alpha", world.project("alpha"))
    assert validations(standin) == [(token, token)]


def test_every_request_for_a_caller_carries_the_callers_token(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    tokens = {user: world.token(user) for user in ("alpha", "admin")}
    caller = callers.authenticate(tokens["alpha"], client=CLIENT)
    standin.requests.clear()
    assert len(caller.list(all_tenants=False)) == 7
    with pytest.raises(ForbiddenError):
        caller.list(all_tenants=True)
    assert caller.find(uuid(1)).name == "fixed"
    with pytest.raises(NotFoundError):
        caller.find(uuid(9))
    compute = [r for r in standin.requests if r.path.startswith("/compute/v2.1/servers")]
    assert {request.headers["X-Auth-Token"] for request in compute} == {tokens["alpha"]}
    assert len(compute) >= 1 + len(SERVERS) // standin.max_limit
    assert len(callers.authenticate(tokens["admin"], client=CLIENT).list(all_tenants=True)) == 9


def test_a_list_as_a_whole_has_an_end(standin: Recorder, world: StandinWorld) -> None:
    session = connect(Config(), region=world.region())
    patient = KeystoneCallers(session, rate_limits=RateLimits())
    assert len(patient.authenticate(world.token("alpha"), client=CLIENT).list(all_tenants=False)) == 7
    callers = KeystoneCallers(session, rate_limits=RateLimits(), list_seconds=0.3)
    caller = callers.authenticate(world.token("alpha"), client=CLIENT)
    standin.max_limit, standin.seconds = 1, 0.1
    with pytest.raises(CloudError, match=r"no time left|no complete response"):
        caller.list(all_tenants=False)


def test_after_a_while_a_token_is_validated_again(standin: Recorder, world: StandinWorld) -> None:
    callers = KeystoneCallers(
        connect(Config(), region=world.region()), rate_limits=RateLimits(), remembered_seconds=0.05
    )
    token = world.token("alpha")
    callers.authenticate(token, client=CLIENT)
    time.sleep(0.06)
    standin.forget_tokens()
    with pytest.raises(AuthError):
        callers.authenticate(token, client=CLIENT)
    assert len(validations(standin)) == 2


def test_a_token_is_not_believed_past_its_end(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    callers.authenticate(world.token("admin"), client=CLIENT)  # the exporter's own token lives on
    standin.token_seconds = 0.3
    for _ in range(10):  # on a busy machine, one may have ended before it is believed
        token = world.token("alpha")
        with contextlib.suppress(AuthError):
            callers.authenticate(token, client=CLIENT)
            break
    else:
        pytest.fail("no token is believed")
    time.sleep(0.31)
    with pytest.raises(AuthError):
        callers.authenticate(token, client=CLIENT)


def test_nova_has_the_last_word_on_a_revoked_token(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    caller = callers.authenticate(world.token("alpha"), client=CLIENT)
    standin.forget_tokens()
    with pytest.raises(AuthError):
        caller.list(all_tenants=False)


def test_a_wrong_token_is_remembered(standin: Recorder, callers: KeystoneCallers) -> None:
    for _ in range(3):
        with pytest.raises(AuthError):
            callers.authenticate("wrong", client=CLIENT)
    assert validations(standin) == [("wrong", "wrong")]


def test_wrong_tokens_do_not_push_out_valid_ones(standin: Recorder, world: StandinWorld) -> None:
    callers = KeystoneCallers(
        connect(Config(), region=world.region()), rate_limits=RateLimits(), remembered_tokens=2
    )
    token = world.token("alpha")
    callers.authenticate(token, client=CLIENT)
    for number in range(5):
        with pytest.raises(AuthError):
            callers.authenticate(f"wrong-{number}", client=CLIENT)
    standin.requests.clear()
    callers.authenticate(token, client=CLIENT)
    assert validations(standin) == []


def authenticate_wrong(callers: KeystoneCallers, clients: Iterable[str]) -> Counter[type[Exception]]:
    """Try a wrong token from each client, another one each time; return how often each error came."""
    errors: Counter[type[Exception]] = Counter()
    for number, client in enumerate(clients):
        with pytest.raises((AuthError, RateLimitError)) as caught:
            callers.authenticate(f"wrong-{number}", client=client)
        errors[caught.type] += 1
    return errors


def test_one_client_cannot_have_many_tokens_validated(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    token = world.token("alpha")
    callers.authenticate(token, client=CLIENT)
    assert authenticate_wrong(callers, [CLIENT] * 100) == {AuthError: 59, RateLimitError: 41}
    with pytest.raises(RateLimitError, match="60 per 1 minute") as caught:
        callers.authenticate("another", client=CLIENT)
    assert 50 <= caught.value.retry_after <= 60
    assert len(validations(standin)) == 60
    callers.authenticate(token, client=CLIENT)  # it is known
    callers.authenticate(world.token("alpha"), client="192.0.2.2")


def test_all_clients_together_are_limited_too(standin: Recorder, callers: KeystoneCallers) -> None:
    clients = (f"192.0.2.{number % 100}" for number in range(650))
    assert authenticate_wrong(callers, clients) == {AuthError: 600, RateLimitError: 50}
    assert len(validations(standin)) == 600


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(address: str, key: str) -> None:
    assert client_network(address) == key


def test_requests_with_one_new_token_cause_one_validation(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    token = world.token("alpha")
    with ThreadPoolExecutor(20) as pool:
        users = pool.map(lambda _: callers.authenticate(token, client=CLIENT).user_id, range(20))
        assert set(users) == {"alpha"}
    assert validations(standin) == [(token, token)]


def test_a_clock_ahead_of_keystones_is_said_once(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers, caplog: pytest.LogCaptureFixture
) -> None:
    tokens = [world.token("alpha") for _ in range(2)]
    standin.clock_offset = -7200
    for token in [*tokens, tokens[0]]:
        assert callers.authenticate(token, client=CLIENT).user_id == "alpha"
    assert len(validations(standin)) == 3  # it is not remembered: nobody knows how long it is valid
    [record] = caplog.records
    assert "the clock of this machine is ahead of Keystone's" in record.getMessage()


def test_a_token_service_that_is_not_there_is_no_fault_of_the_token(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    token = world.token("alpha")
    standin.missing = "/identity"
    with pytest.raises(CloudError) as caught:
        callers.authenticate(token, client=CLIENT)
    assert type(caught.value) is CloudError
    standin.missing = None
    assert callers.authenticate(token, client=CLIENT).user_id == "alpha"


@pytest.mark.parametrize("token", ["", " ", "a b", "a\r\nX-Auth-Token: b", "é", "x" * 8193])
def test_what_cannot_be_a_token_is_not_sent(standin: Recorder, callers: KeystoneCallers, token: str) -> None:
    with pytest.raises(AuthError):
        callers.authenticate(token, client=CLIENT)
    assert standin.requests == []


def test_no_token_is_kept(world: StandinWorld, callers: KeystoneCallers) -> None:
    token = world.token("alpha")
    callers.authenticate(token, client=CLIENT)
    with pytest.raises(AuthError):
        callers.authenticate("wrong", client=CLIENT)
    memory = [*callers._valid.items(), *callers._invalid.items()]  # noqa: SLF001, what it is about
    assert len(memory) == 2
    for key, remembered in memory:
        assert token not in repr(remembered)
        assert "wrong" not in repr(remembered)
        assert token.encode() not in key
    other = KeystoneCallers(connect(Config(), region=world.region()), rate_limits=RateLimits())
    assert callers._hash_key != other._hash_key  # noqa: SLF001, likewise


def test_the_oldest_is_forgotten_first(standin: Recorder, world: StandinWorld) -> None:
    callers = KeystoneCallers(
        connect(Config(), region=world.region()), rate_limits=RateLimits(), remembered_tokens=2
    )
    tokens = [world.token("alpha") for _ in range(3)]
    for token in [*tokens, tokens[2], tokens[1], tokens[0]]:
        callers.authenticate(token, client=CLIENT)
    assert [token for token, _ in validations(standin)] == [*tokens, tokens[0]]


@pytest.fixture
def locked_out(standin: Recorder, world: StandinWorld) -> KeystoneCallers:
    """KeystoneCallers of an exporter whose own password has become wrong."""
    region = world.region()
    standin.users = [user for user in standin.users if user.name != "admin"]
    return KeystoneCallers(connect(Config(), region=region), rate_limits=RateLimits())


def test_a_fault_of_the_exporters_credentials_is_not_the_callers(
    locked_out: KeystoneCallers, world: StandinWorld
) -> None:
    with pytest.raises(CloudError) as caught:
        locked_out.authenticate(world.token("alpha"), client=CLIENT)
    assert not isinstance(caught.value, AuthError)
