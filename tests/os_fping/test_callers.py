"""Tokens: validated by themselves, remembered for a while, and the only right that a caller has."""

import time

import pytest

from fping_exporter.cloud import Cloud
from fping_exporter.cloud.session import connect
from fping_exporter.config import Config
from fping_exporter.errors import AuthError, CloudError, ForbiddenError, NotFoundError
from fping_exporter.os_fping.keystone import KeystoneCallers
from tests.os_fping.worlds import SERVERS, Recorder, StandinWorld, uuid


@pytest.fixture
def world(standin: Recorder) -> StandinWorld:
    return StandinWorld(standin)


@pytest.fixture
def callers(world: StandinWorld) -> KeystoneCallers:
    return KeystoneCallers(Cloud(Config(), region=world.region()).session)


IDENTITY = "/identity/v3/auth/tokens"


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
        caller = callers.admit(token)
        assert (caller.user_id, caller.project_id) == ("alpha", world.project("alpha"))
    assert validations(standin) == [(token, token)]


def test_every_request_for_a_caller_carries_the_callers_token(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    tokens = {user: world.token(user) for user in ("alpha", "admin")}
    caller = callers.admit(tokens["alpha"])
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
    assert len(callers.admit(tokens["admin"]).list(all_tenants=True)) == 9


def test_after_a_while_a_token_is_validated_again(standin: Recorder, world: StandinWorld) -> None:
    callers = KeystoneCallers(connect(Config(), region=world.region()), believed_seconds=0.05)
    token = world.token("alpha")
    callers.admit(token)
    time.sleep(0.06)
    standin.forget_tokens()
    with pytest.raises(AuthError):
        callers.admit(token)
    assert len(validations(standin)) == 2


def test_a_token_is_not_believed_past_its_end(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    callers.admit(world.token("admin"))  # the exporter's own token lives on
    standin.token_seconds = 0.3
    token = world.token("alpha")
    callers.admit(token)
    time.sleep(0.31)
    with pytest.raises(AuthError):
        callers.admit(token)


def test_nova_has_the_last_word_on_a_revoked_token(
    standin: Recorder, world: StandinWorld, callers: KeystoneCallers
) -> None:
    caller = callers.admit(world.token("alpha"))
    standin.forget_tokens()
    with pytest.raises(AuthError):
        caller.list(all_tenants=False)


def test_wrong_tokens_are_not_remembered(standin: Recorder, callers: KeystoneCallers) -> None:
    for _ in range(2):
        with pytest.raises(AuthError):
            callers.admit("wrong")
    assert validations(standin) == [("wrong", "wrong")] * 2


@pytest.mark.parametrize("token", ["", " ", "a b", "a\r\nX-Auth-Token: b", "é", "x" * 8193])
def test_what_cannot_be_a_token_is_not_sent(standin: Recorder, callers: KeystoneCallers, token: str) -> None:
    with pytest.raises(AuthError):
        callers.admit(token)
    assert standin.requests == []


def test_no_token_is_kept(world: StandinWorld, callers: KeystoneCallers) -> None:
    token = world.token("alpha")
    callers.admit(token)
    [(key, known)] = callers._known.items()  # noqa: SLF001, what it is about
    assert token not in repr(known)
    assert token.encode() not in key
    assert callers._key != KeystoneCallers(Cloud(Config(), region=world.region()).session)._key  # noqa: SLF001, likewise


def test_the_oldest_is_forgotten_first(standin: Recorder, world: StandinWorld) -> None:
    callers = KeystoneCallers(connect(Config(), region=world.region()), remembered=2)
    tokens = [world.token("alpha") for _ in range(3)]
    for token in [*tokens, tokens[2], tokens[1], tokens[0]]:
        callers.admit(token)
    assert [token for token, _ in validations(standin)] == [*tokens, tokens[0]]


@pytest.fixture
def locked_out(standin: Recorder, world: StandinWorld) -> KeystoneCallers:
    """KeystoneCallers of an exporter whose own password has become wrong."""
    region = world.region()
    standin.users = [user for user in standin.users if user.name != "admin"]
    return KeystoneCallers(Cloud(Config(), region=region).session)


def test_a_fault_of_the_exporters_credentials_is_not_the_callers(
    locked_out: KeystoneCallers, world: StandinWorld
) -> None:
    with pytest.raises(CloudError) as caught:
        locked_out.admit(world.token("alpha"))
    assert not isinstance(caught.value, AuthError)
