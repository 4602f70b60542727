"""Tokens that sessions with the same credentials share: what each takes over, and what it gets anew."""

import gc
import threading
from collections.abc import Iterator

import pytest

from fping_exporter.cloud.session import Session, connect
from fping_exporter.cloud.tokens import SharedTokens
from fping_exporter.config import Config
from fping_exporter.demo.http import Answer, Request
from tests.cloud.faulty import ADMIN, MEMBER, TOKENS, FaultyCloud, make_servers

SOON = 10.0


@pytest.fixture
def standin() -> Iterator[FaultyCloud]:
    with FaultyCloud(*make_servers(1)) as standin:
        yield standin


def sessions(standin: FaultyCloud) -> tuple[Session, Session]:
    """Two sessions of one user, as those to two regions."""
    tokens = SharedTokens()
    one, two = (connect(Config(), region=standin.region(ADMIN), tokens=tokens) for _ in range(2))
    return one, two


def token(session: Session) -> str:
    headers = session.connection.session.get_auth_headers()
    assert headers
    return str(headers["X-Auth-Token"])


def test_the_second_session_takes_the_token_of_the_first(standin: FaultyCloud) -> None:
    one, two = sessions(standin)
    assert token(one) == token(two)
    assert len(standin.asked(TOKENS)) == 1


def test_what_one_throws_away_the_other_keeps(standin: FaultyCloud) -> None:
    one, two = sessions(standin)
    first = token(one)
    assert token(two) == first
    for _ in range(2):
        one.renew()
        assert token(one) != first
        assert token(two) == first
    assert len(standin.asked(TOKENS)) == 3
    two.renew()
    assert token(two) == token(one), "the newest one serves again"
    assert len(standin.asked(TOKENS)) == 3


def test_a_token_that_was_refused_is_not_taken_again(standin: FaultyCloud) -> None:
    one, two = sessions(standin)
    first = token(one)
    assert token(two) == first
    for session in (one, two):
        session.connection.session.invalidate()
    assert token(one) == token(two) != first
    assert len(standin.asked(TOKENS)) == 2


def test_a_token_that_expires_is_not_taken(standin: FaultyCloud) -> None:
    standin.token_seconds = 60
    one, two = sessions(standin)
    assert token(one) != token(two)


def test_other_credentials_have_other_tokens(standin: FaultyCloud) -> None:
    tokens = SharedTokens()
    one, two = (connect(Config(), region=standin.region(user), tokens=tokens) for user in (ADMIN, MEMBER))
    assert token(one) != token(two)


def test_a_token_without_a_session_is_forgotten(standin: FaultyCloud) -> None:
    tokens = SharedTokens()
    first = token(connect(Config(), region=standin.region(ADMIN), tokens=tokens))
    gc.collect()
    assert token(connect(Config(), region=standin.region(ADMIN), tokens=tokens)) != first


def test_two_that_begin_at_once_ask_once(standin: FaultyCloud) -> None:
    one, two = sessions(standin)
    both = threading.Barrier(2)
    found: list[str] = []

    def begin(session: Session) -> None:
        both.wait(SOON)
        found.append(token(session))

    threads = [threading.Thread(target=begin, args=[session]) for session in (one, two)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SOON)
    assert len(found) == 2
    assert len(set(found)) == len(standin.asked(TOKENS)) == 1


def test_a_session_whose_request_hangs_holds_nobody_up_for_long(standin: FaultyCloud) -> None:
    tokens = SharedTokens(patience=0.1)
    one, two = (connect(Config(), region=standin.region(ADMIN), tokens=tokens) for _ in range(2))
    asking, released = threading.Event(), threading.Event()

    def hang(_request: Request) -> Answer | None:
        asking.set()
        assert released.wait(SOON)
        return None

    standin.fail(TOKENS, hang)
    thread = threading.Thread(target=lambda: token(one))
    thread.start()
    assert asking.wait(SOON)
    assert token(two)
    released.set()
    thread.join(SOON)
