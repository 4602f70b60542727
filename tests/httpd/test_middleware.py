"""Passwords, headers and the rate limit, case by case as the exporter-toolkit's own tests publish them.

The names of the cases are those of its ``web/tls_config_test.go``,
``web/handler_test.go`` and ``web/rate_limit_test.go``;
where we differ on purpose, the case says so.
"""

import contextlib
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path

import bcrypt
import pytest

from tests.httpd.toolkit import CERTIFICATE, HASH, HEADERS, OTHER_HASH, USERS, get, serving

# TestUsers and handler_test.go


@pytest.mark.parametrize(
    ("user", "status"),
    [
        (None, 401),
        ("dave:dave123", 200),
        ("carol:carol123", 200),
        ("dave:bad", 401),
        ("dave:", 401),
        ("dave", 401),
        ("dave:carol123", 401),
        ("nonexistent:nonexistent", 401),
        ("dave:dave123" + "x" * 100, 401),
        ("dave:dave123\0", 401),
    ],
)
def test_users(write: Callable[[str], Path], user: str | None, status: int) -> None:
    with serving(write(USERS)) as address:
        got, headers, _ = get(address, user=user)
        assert got == status
        assert headers.get("WWW-Authenticate") == ("Basic" if status == 401 else None)
        assert get(address, user=user)[0] == status  # the same from memory


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic !", "Basic ZGF2ZQ==", "Basic /zp4", "Bearer ZGF2ZTpkYXZlMTIz", "Basic é"],
)
def test_what_is_no_basic_auth_is_refused(write: Callable[[str], Path], authorization: str) -> None:
    with serving(write(USERS)) as address, contextlib.closing(HTTPConnection(*address)) as connection:
        connection.request("GET", "/", headers={"Authorization": authorization})
        assert connection.getresponse().status == 401


def test_with_correct_basic_auth_and_tls(write: Callable[[str], Path], trust: ssl.SSLContext) -> None:
    with serving(write(f"tls_server_config: {{{CERTIFICATE}}}\n{USERS}")) as address:
        assert get(address, trust)[0] == 401
        assert get(address, trust, user="dave:dave123")[0] == 200


def test_open_paths_need_no_password(write: Callable[[str], Path]) -> None:
    with serving(write(USERS)) as address:
        assert get(address, path="/-/healthy")[0] == 200
        assert get(address, path="/-/healthy/../metrics")[0] == 401


def test_a_password_may_be_longer_than_bcrypt_looks(write: Callable[[str], Path]) -> None:
    hashed = bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode()
    with serving(write(f'basic_auth_users: {{dave: "{hashed}"}}')) as address:
        assert get(address, user="dave:" + "x" * 100)[0] == 200


def test_basic_auth_cache(write: Callable[[str], Path]) -> None:
    hashed = bcrypt.hashpw(b"alice123", bcrypt.gensalt(12)).decode()
    with serving(write(f'basic_auth_users: {{alice: "{hashed}"}}')) as address:
        assert get(address, user="alice:alice123")[0] == 200
        assert get(address, user="alice:alice1234")[0] == 401
        started = time.process_time()
        with ThreadPoolExecutor(20) as pool:
            right = [pool.submit(get, address, user="alice:alice123") for _ in range(50)]
            wrong = [pool.submit(get, address, user="alice:alice1234") for _ in range(50)]
        assert {future.result()[0] for future in right} == {200}
        assert {future.result()[0] for future in wrong} == {401}
        assert time.process_time() - started < 5  # hashing each would take some 20 s of CPU


def test_guessing_does_not_make_right_passwords_forgotten(write: Callable[[str], Path]) -> None:
    slow = bcrypt.hashpw(b"dave123", bcrypt.gensalt(12)).decode()
    path = write(USERS.replace(HASH, slow))
    with serving(path) as address:
        assert get(address, user="dave:dave123")[0] == 200
        for number in range(150):
            assert get(address, user=f"carol:{number}")[0] == 401
        started = time.process_time()
        for _ in range(10):
            assert get(address, user="dave:dave123")[0] == 200
        assert time.process_time() - started < 1  # hashing each would take some 2 s of CPU


def test_a_flood_of_guesses_is_told_to_come_later(write: Callable[[str], Path]) -> None:
    slow = bcrypt.hashpw(b"dave123", bcrypt.gensalt(10)).decode()
    with serving(write(f'basic_auth_users: {{dave: "{slow}"}}')) as address, ThreadPoolExecutor(40) as pool:
        assert get(address, user="dave:dave123")[0] == 200
        guesses = [pool.submit(get, address, user=f"dave:{number}") for number in range(40)]
        assert get(address, user="dave:dave123")[0] == 200
        answers = [future.result() for future in guesses]
    assert {status for status, _, _ in answers} == {401, 503}
    assert all(headers["Retry-After"] == "1" for status, headers, _ in answers if status == 503)


def test_basic_auth_with_fakepassword(write: Callable[[str], Path]) -> None:
    with serving(write(USERS)) as address:
        for _ in range(2):
            assert get(address, user="fakeuser:fakepassword")[0] == 401


def test_by_pass_basic_auth_vuln(write: Callable[[str], Path]) -> None:
    """CVE-2022-46146: a cache key that two different logins have in common."""
    with serving(write(USERS)) as address:
        for cost in ("04", "05"):
            decoy = f"$2b${cost}${'.' * 53}"
            assert get(address, user=f"dave{HASH}:fakepassword")[0] == 401
            assert get(address, user=f"dave:{decoy}fakepassword")[0] == 401


def test_a_new_password_is_in_force_for_the_next_request(write: Callable[[str], Path]) -> None:
    with serving(write(USERS)) as address:
        assert get(address, user="dave:dave123")[0] == 200
        write(USERS.replace(HASH, OTHER_HASH))
        assert get(address, user="dave:dave123")[0] == 401
        assert get(address, user="dave:carol123")[0] == 200
        write("")
        assert get(address)[0] == 200


def test_a_configuration_gone_bad_answers_500_on_an_open_connection(
    write: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    with serving(write("")) as address, contextlib.closing(HTTPConnection(*address)) as connection:
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"Hello World!"
        path = write("basic_auth_users: [")
        connection.request("GET", "/-/healthy")
        response = connection.getresponse()
        assert (response.status, response.read()) == (500, b"Internal Server Error\n")
    [record] = caplog.records
    assert str(path) in vars(record)["error"]


@pytest.mark.parametrize("user", ["123", "1.50", "no", "2026-11-26", "0x10"])
def test_a_user_may_be_called_what_yaml_does_not_take_for_text(
    write: Callable[[str], Path], user: str
) -> None:
    with serving(write(f'basic_auth_users: {{{user}: "{HASH}"}}')) as address:
        assert get(address, user=f"{user}:dave123")[0] == 200


def test_a_header_is_as_it_is_written(write: Callable[[str], Path]) -> None:
    with serving(write(HEADERS.replace("X-XSS-Protection: 1", "X-XSS-Protection: 01.0"))) as address:
        assert get(address)[1]["X-XSS-Protection"] == "01.0"


def test_http_headers(write: Callable[[str], Path]) -> None:
    text = """
http_server_config:
  headers:
    Strict-Transport-Security: max-age=31536000; includeSubDomains
    X-Frame-Options: deny
    X-Content-Type-Options: nosniff
    X-XSS-Protection: "1"
    Content-Security-Policy: ""
"""
    with serving(write(USERS + text)) as address:
        for user in ("dave:dave123", "nobody:x"):
            _, headers, _ = get(address, user=user)
            assert headers["Strict-Transport-Security"] == "max-age=31536000; includeSubDomains"
            assert headers["X-Frame-Options"] == "deny"
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-XSS-Protection"] == "1"
            assert "Content-Security-Policy" not in headers


# rate_limit_test.go


def test_valid_rate_limiter_with_an_interval_of_one_second(write: Callable[[str], Path]) -> None:
    with serving(write('rate_limit: {interval: "1s", burst: 0}')) as address:
        assert get(address)[0] == 429


def test_rate_limit_is_reloaded(write: Callable[[str], Path]) -> None:
    limited = "rate_limit: {interval: 1h, burst: 1}"
    with serving(write(limited)) as address:
        assert [get(address)[0] for _ in range(2)] == [200, 429]
        write("http_server_config: {http2: true}")
        assert [get(address)[0] for _ in range(2)] == [200, 200]
        write(limited)
        assert [get(address)[0] for _ in range(2)] == [200, 429]


def test_the_bucket_fills_again(write: Callable[[str], Path]) -> None:
    """Some drops of it while it is emptied, where a machine is busy."""
    with serving(write("rate_limit: {interval: 500ms, burst: 2}")) as address:
        for full in (2, 1):
            statuses = [get(address)[0]]
            while statuses[-1] == 200:
                statuses.append(get(address)[0])
            assert statuses[:full] == [200] * full
            assert statuses[-1] == 429
            time.sleep(0.51)
