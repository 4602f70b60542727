"""The HTTP server as its clients see it: real sockets on loopback."""

import contextlib
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection, HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any
from wsgiref.validate import validator

import pytest
import trustme

from fping_exporter.errors import ConfigError
from fping_exporter.httpd.listen import ListenAddress, TcpAddress, UnixAddress
from fping_exporter.httpd.server import HttpServer, Limits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

LOOPBACK = TcpAddress("127.0.0.1", 0)
QUICK = Limits(request=0.3, idle=0.3, response=0.3)
Serve = Callable[..., HttpServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as stack:

        def start(
            app: "WSGIApplication",
            *,
            listen: tuple[ListenAddress, ...] = (LOOPBACK,),
            tls: Callable[[], ssl.SSLContext | None] | None = None,
            limits: Limits | None = None,
        ) -> HttpServer:
            server = HttpServer(app, listen=listen, tls=tls, limits=limits or Limits())
            stack.callback(server.stop, 5)
            server.start()
            return server

        yield start


def connect(server: HttpServer) -> socket.socket:
    address = server.addresses[0]
    assert isinstance(address, TcpAddress)
    return socket.create_connection(address, timeout=5)


def talk(server: HttpServer, request: bytes) -> bytes:
    """Send `request` and return everything until the server closes."""
    with connect(server) as client:
        client.sendall(request)
        return b"".join(iter(lambda: client.recv(65536), b""))


def get(server: HttpServer, path: str = "/", **headers: str) -> HTTPResponse:
    address = server.addresses[0]
    assert isinstance(address, TcpAddress)
    connection = HTTPConnection(*address, timeout=5)
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    connection.close()
    return response


def hello(environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"hello ", environ["PATH_INFO"].encode("latin-1")]


class Recorder:
    """An application that keeps the environment of its requests and the bodies that it read."""

    def __init__(self) -> None:
        self.environs: list[dict[str, Any]] = []
        self.bodies: list[bytes] = []

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        self.environs.append(environ)
        self.bodies.append(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"ok"]


class Gate:
    """An application whose requests wait until they are let go."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        self.entered.release()
        assert self.open.wait(10)
        return hello(environ, start_response)


# What a response looks like


def test_a_response_has_its_length_and_the_connection_stays(serve: Serve) -> None:
    with connect(serve(hello)) as client:
        for _ in range(2):
            client.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
            response = HTTPResponse(client)
            response.begin()
            assert response.read() == b"hello /a"
            assert response.version == 11
            assert response.headers["Content-Length"] == "8"
            assert response.headers["Connection"] == "keep-alive"
            assert response.headers["Content-Type"] == "text/plain"
            assert response.headers["Date"]
            assert "Server" not in response.headers


@pytest.mark.parametrize(
    ("request_head", "kept"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, keep-alive\r\nUpgrade: h2c\r\n\r\n", True),
    ],
)
def test_who_asks_for_it_gets_the_connection_closed_or_kept(
    serve: Serve, request_head: bytes, *, kept: bool
) -> None:
    with connect(serve(hello)) as client:
        client.sendall(request_head)
        response = HTTPResponse(client)
        response.begin()
        assert response.headers["Connection"] == ("keep-alive" if kept else "close")
        response.read()
        client.settimeout(0.1)
        if kept:
            with pytest.raises(TimeoutError):
                client.recv(1)
        else:
            assert client.recv(1) == b""


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    both = b"GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = talk(serve(hello), both)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert answer.index(b"hello /1") < answer.index(b"hello /2")


@pytest.mark.parametrize("body_for_head", [[b"four"], []])
def test_head_has_the_length_but_no_body(serve: Serve, body_for_head: list[bytes]) -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [("Content-Length", "4")])
        return body_for_head

    answer = talk(serve(app), b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"\r\nContent-Length: 4\r\n" in answer
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_a_status_without_a_body_has_none(serve: Serve, status: str) -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response(status, [])
        return []

    answer = talk(serve(app), b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status.encode())
    assert b"Content-Length" not in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_wrong_length_of_the_application_is_put_right(serve: Serve) -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [("content-length", "99")])
        return [b"body"]

    response = get(serve(app))
    assert response.headers.get_all("Content-Length") == ["4"]


# What the application sees


@pytest.mark.parametrize("own", [[], [("Date", "Mon, 23 Nov 2026 00:00:00 GMT")]])
def test_a_response_has_one_date(serve: Serve, own: list[tuple[str, str]]) -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", own)
        return [b"ok"]

    dates = get(serve(app)).headers.get_all("Date")
    assert len(dates or ()) == 1
    assert not own or dates == [own[0][1]]


def test_the_interface_is_wsgi(serve: Serve) -> None:
    def app(environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        write = start_response("200 OK", [("Content-Type", "text/plain")])
        write(environ["wsgi.input"].read(2))
        return [environ["wsgi.input"].read(2)]

    request = b"POST /p HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nabcd"
    answer = talk(serve(validator(app)), request)
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"abcd")


def test_a_client_that_expects_100_continue_gets_it(serve: Serve) -> None:
    app = Recorder()
    with connect(serve(app)) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"abcd")
        assert client.recv(100).startswith(b"HTTP/1.1 200 OK\r\n")
    assert app.bodies == [b"abcd"]


def test_the_environment_tells_the_request(serve: Serve) -> None:
    app = Recorder()
    server = serve(app)
    talk(
        server,
        b"GET /a%20b/%C3%A9?q=%20&r HTTP/1.1\r\nHost: example\r\nX-One: 1\r\nX-One: 2\r\n"
        b"X_Auth_Token: forged\r\nConnection: close\r\n\r\n",
    )
    [environ] = app.environs
    address = server.addresses[0]
    assert isinstance(address, TcpAddress)
    assert environ["PATH_INFO"].encode("latin-1").decode() == "/a b/é"
    assert environ["QUERY_STRING"] == "q=%20&r"
    assert environ["HTTP_HOST"] == "example"
    assert environ["HTTP_X_ONE"] == "1,2"
    assert "HTTP_X_AUTH_TOKEN" not in environ
    assert environ["REMOTE_ADDR"] == environ["SERVER_NAME"] == "127.0.0.1"
    assert environ["SERVER_PORT"] == str(address.port)
    assert environ["wsgi.url_scheme"] == "http"
    assert "SSL_CLIENT_CERT" not in environ


def test_the_next_request_begins_after_a_body_that_was_not_read(serve: Serve) -> None:
    answer = talk(
        serve(hello),
        b"POST /1 HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n12345"
        b"GET /2 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    )
    assert b"hello /1" in answer
    assert answer.endswith(b"hello /2")


@pytest.mark.parametrize(
    ("target", "path", "host"),
    [
        (b"//metrics", "//metrics", "x"),
        (b"http://y:1/metrics?q", "/metrics", "y:1"),
        (b"HTTPS://y?q", "/", "y"),
        (b"/%2F%61", "//a", "x"),
    ],
)
def test_a_target_is_a_path_or_a_url(serve: Serve, target: bytes, path: str, host: str) -> None:
    app = Recorder()
    talk(serve(app), b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    [environ] = app.environs
    assert (environ["PATH_INFO"], environ["HTTP_HOST"]) == (path, host)
    assert environ["QUERY_STRING"] == ("q" if b"?" in target else "")


def test_the_server_itself_answers_options(serve: Serve) -> None:
    app = Recorder()
    answer = talk(serve(app), b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
    assert app.environs == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody\r\n",
        b"POST / HTTP/1.1\nHost: x\nContent-Length: 4\n\nbody",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nbody",
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2;x=y\r\nbo\r\n2\r\ndy\r\n0\r\nX: y\r\n\r\n"
        ),
        b"POST / HTTP/1.1\r\nHost: x\r\nX-A: folded\r\n  value\r\nContent-Length: 4\r\n\r\nbody",
    ],
    ids=["after empty lines", "bare LF", "one length twice", "chunked", "folded"],
)
def test_a_request_may_be_written_otherwise(serve: Serve, request_bytes: bytes) -> None:
    app = Recorder()
    last = b"GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = talk(serve(app), request_bytes + last)
    assert answer.count(b"HTTP/1.1 200 OK") == 2
    assert app.bodies == [b"body", b""]
    assert "HTTP_TRANSFER_ENCODING" not in app.environs[0]
    assert app.environs[0].get("HTTP_X_A") in {None, "folded value"}
    assert app.environs[1]["PATH_INFO"] == "/last"


# What is refused


HOST = b"Host: x\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("status", "request_bytes"),
    [
        (400, b"GET / HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"),
        (400, b"nonsense\r\n\r\n"),
        (400, b"GET / FTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"GET metrics HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"GET http://user@x/metrics HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"GET ftp://x/metrics HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"GET * HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"CONNECT x:443 HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"HEAD metrics HTTP/1.1\r\n" + HOST + b"\r\n"),
        (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\rb\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n" + HOST + b"X: a\0b\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length : 5\r\n\r\nhello"),
        (400, b"GET / HTTP/1.1\r\n" + HOST + b"no colon\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: -1\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: +1\r\n\r\na"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"Content-Length: 5\r\n\r\n0\r\n\r\n"),
        (400, b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\nxyz\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n" + b"4000\r\n%b\r\n" % bytes(0x4000) * 5),
        (501, b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
        (413, b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 100000\r\n\r\n" + b"x" * 100_000),
        (431, b"GET /" + b"a" * 250_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + HOST + b"X-Big: " + b"a" * 250_000 + b"\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + HOST + (b"X-Big: " + b"a" * 60_000 + b"\r\n") * 20 + b"\r\n"),
        (431, b"GET / HTTP/1.1\r\n" + HOST + b"X: 1\r\n" * 50_000 + b"\r\n"),
        (505, b"GET / HTTP/2.0\r\n" + HOST + b"\r\n"),
    ],
    ids=lambda value: value if isinstance(value, int) else repr(value[:60]),
)
def test_a_bad_request_is_told_what_it_is_and_the_connection_closed(
    serve: Serve, status: int, request_bytes: bytes
) -> None:
    app = Recorder()
    answer = talk(serve(app), request_bytes)
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"\r\nConnection: close\r\n" in answer
    assert b"nonsense" not in answer
    assert app.environs == []


def test_a_large_but_allowed_request_passes(serve: Serve) -> None:
    app = Recorder()
    request = (
        b"POST /?" + b"q" * 60_000 + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Big: " + b"a" * 60_000
    )
    answer = talk(serve(app), request + b"\r\nContent-Length: 65536\r\n\r\n" + b"b" * 65_536)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert app.bodies == [b"b" * 65_536]


# When something goes wrong


def test_a_malformed_header_of_the_application_gives_500(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [("X-Name", "a\r\nSet-Cookie: b")])
        return [b"body"]

    response = get(serve(app))
    assert response.status == 500
    assert "Set-Cookie" not in response.headers
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "response malformed"


def test_a_failing_application_gives_500_and_a_log_without_the_query(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    def app(*_: object) -> list[bytes]:
        raise LookupError

    response = get(serve(app), "/path?token=secret")
    assert response.status == 500
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.getMessage() == "request failed"
    assert "secret" not in str(vars(record))


def test_the_result_is_closed_even_when_it_fails(serve: Serve) -> None:
    class Result:
        closed = False

        def __iter__(self) -> Iterator[bytes]:
            yield b"half"
            raise LookupError

        def close(self) -> None:
            self.closed = True

    result = Result()

    def app(_: dict[str, Any], start_response: "StartResponse") -> Result:
        start_response("200 OK", [])
        return result

    assert get(serve(app)).status == 500
    assert result.closed


def test_requests_are_logged_at_debug_without_the_query(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = serve(hello)
    talk(server, b"GET /p?token=secret HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    talk(server, b"GET /p?token=secret HTTP/1.1\r\n\r\n")
    records = [record for record in caplog.records if record.name.startswith("fping_exporter")]
    assert [(record.levelno, vars(record)["status"]) for record in records] == [
        (logging.DEBUG, 200),
        (logging.DEBUG, 400),
    ]
    assert [vars(record)["path"] for record in records] == ["/p", ""]
    assert "secret" not in caplog.text


def test_a_request_that_is_cut_off_in_its_headers_is_not_run(serve: Serve) -> None:
    app = Recorder()
    with connect(serve(app)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1) == b""
    assert app.environs == []


def test_a_client_that_has_said_all_it_will_gets_its_answer(serve: Serve) -> None:
    with connect(serve(hello)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"hello /")


@pytest.mark.parametrize("sent", [b"", b"GET", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n1"])
def test_a_client_that_leaves_is_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], sent: bytes
) -> None:
    app = Recorder()
    server = serve(app)
    with connect(server) as client:
        client.sendall(sent)
    assert server.stop(5)
    assert caplog.records == []
    assert capfd.readouterr().err == ""
    assert app.environs == []


def test_a_client_that_does_not_wait_for_its_answer_is_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    gate = Gate()

    def app(environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        gate(environ, start_response)
        return [b"x" * 10_000_000]

    server = serve(app)
    with connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert gate.entered.acquire(timeout=5)
    gate.open.set()
    assert server.stop(5)
    assert caplog.records == []
    assert capfd.readouterr().err == ""


# How long a client may take, and how many there may be


def test_an_idle_connection_is_closed_without_a_word(serve: Serve) -> None:
    with connect(serve(hello, limits=QUICK)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        response = HTTPResponse(client)
        response.begin()
        response.read()
        started = time.monotonic()
        assert client.recv(1) == b""
        assert 0.2 < time.monotonic() - started < 5


def test_a_client_that_does_not_take_its_response_is_dropped(serve: Serve) -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * 50_000_000]

    server = serve(app, limits=QUICK)
    with connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.recv(1) == b"H"
        time.sleep(0.5)
        received = 1
        with contextlib.suppress(ConnectionResetError):
            while data := client.recv(1_000_000):
                received += len(data)
        assert received < 50_000_000


def test_a_new_client_displaces_the_one_that_kept_us_waiting_longest(serve: Serve) -> None:
    server = serve(hello, limits=Limits(connections=2, request=30))
    with connect(server) as first, connect(server) as second:
        assert get(server).status == 200
        assert first.recv(1) == b""
        second.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert second.recv(1) == b"H"


def test_nobody_displaces_a_request_at_work(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate, limits=Limits(connections=1))
    with connect(server) as first, connect(server) as second:
        for client in (first, second):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert gate.entered.acquire(timeout=5)
        assert not gate.entered.acquire(timeout=0.2)
        gate.open.set()
        for client in (first, second):
            assert b"".join(iter(lambda: client.recv(65536), b"")).endswith(b"hello /")  # noqa: B023, used at once


# Stopping


def test_stop_lets_running_requests_finish_and_takes_no_new_ones(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate)
    results: list[bool] = []
    with connect(server) as idle, connect(server) as busy:
        busy.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert gate.entered.acquire(timeout=5)
        stopping = threading.Thread(target=lambda: results.append(server.stop(5)))
        stopping.start()
        assert idle.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect(server)
        gate.open.set()
        answer = b"".join(iter(lambda: busy.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 200 OK")
        assert b"\r\nConnection: close\r\n" in answer
        assert answer.endswith(b"hello /")
        stopping.join()
    assert results == [True]
    assert server.stop(0)  # once more does no harm


def test_stop_waits_no_longer_than_it_is_told(serve: Serve) -> None:
    gate = Gate()
    server = serve(gate)
    with connect(server) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert gate.entered.acquire(timeout=5)
        started = time.monotonic()
        assert not server.stop(0.1)
        assert time.monotonic() - started < 5
        assert client.recv(1) == b""
    gate.open.set()


def test_a_server_that_was_not_started_can_be_stopped() -> None:
    assert HttpServer(hello, listen=[LOOPBACK]).stop(0)


# Addresses


def test_it_serves_several_addresses(serve: Serve, tmp_path: Path) -> None:
    path = str(tmp_path / "http.sock")
    app = Recorder()
    server = serve(app, listen=(LOOPBACK, TcpAddress("::1", 0), UnixAddress(path), TcpAddress("", 0)))
    v4, v6, unix, both = server.addresses
    assert isinstance(v4, TcpAddress)
    assert isinstance(v6, TcpAddress)
    assert isinstance(both, TcpAddress)
    assert unix == UnixAddress(path)
    for target in (v4, v6, ("127.0.0.1", both.port), ("::1", both.port)):
        with socket.create_connection(target) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(9) == b"HTTP/1.1 "
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        assert client.recv(9) == b"HTTP/1.1 "
    assert [environ["REMOTE_ADDR"] for environ in app.environs] == [
        "127.0.0.1",
        "::1",
        "127.0.0.1",
        "::1",
        "unix",
    ]
    server.stop(5)
    assert not Path(path).exists()


def test_one_bad_address_leaves_none_open(tmp_path: Path) -> None:
    path = tmp_path / "http.sock"
    with pytest.raises(ConfigError, match="cannot listen on"):
        HttpServer(hello, listen=[UnixAddress(str(path)), UnixAddress(str(tmp_path / "no" / "such"))])
    assert not path.exists()


# TLS


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def server_context(authority: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def get_tls(server: HttpServer, context: ssl.SSLContext) -> HTTPResponse:
    address = server.addresses[0]
    assert isinstance(address, TcpAddress)
    connection = HTTPSConnection(*address, context=context, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse()
    finally:
        connection.close()


def test_the_client_certificate_is_in_the_environment(serve: Serve, authority: trustme.CA) -> None:
    app = Recorder()
    tls = server_context(authority)
    server = serve(app, tls=lambda: tls)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    assert get_tls(server, context).status == 200
    certificate = authority.issue_cert("cn-2.jones@example.org", "cn-1.example", "192.0.2.1")
    certificate.configure_cert(context)
    assert get_tls(server, context).status == 200
    without, with_certificate = app.environs
    assert "fping_exporter.client_names" not in without
    assert with_certificate["fping_exporter.client_names"] == ("cn-1.example",)
    assert without["wsgi.url_scheme"] == "https"
    assert "SSL_CLIENT_CERT" not in without
    sent = certificate.cert_chain_pems[0].bytes().decode()
    assert ssl.PEM_cert_to_DER_cert(with_certificate["SSL_CLIENT_CERT"]) == ssl.PEM_cert_to_DER_cert(sent)


def test_each_connection_asks_anew_what_to_encrypt_with(
    serve: Serve, authority: trustme.CA, caplog: pytest.LogCaptureFixture
) -> None:
    current: list[ssl.SSLContext | ConfigError | None] = []

    def tls() -> ssl.SSLContext | None:
        if isinstance(current[-1], ConfigError):
            raise current[-1]
        return current[-1]

    server = serve(hello, tls=tls)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    current.append(server_context(authority))
    assert get_tls(server, context).status == 200
    current.append(server_context(authority, "elsewhere.example"))
    with pytest.raises(ssl.SSLCertVerificationError):
        get_tls(server, context)
    current.append(ConfigError("server.pem: cannot be read"))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        get_tls(server, context)
    [record] = caplog.records
    assert vars(record)["error"] == "server.pem: cannot be read"
    current.append(None)
    assert get(server).status == 200


@pytest.mark.parametrize("method", [b"GET", b"OPTIONS"])
def test_plain_http_to_a_tls_port_is_told_so(serve: Serve, authority: trustme.CA, method: bytes) -> None:
    tls = server_context(authority)
    app = Recorder()
    answer = talk(serve(app, tls=lambda: tls), method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert answer.endswith(b"\r\n\r\n" + PLAIN_HTTP)
    assert app.environs == []


PLAIN_HTTP = b"This port speaks HTTPS, and the request was plain HTTP: use https:// in the URL.\n"


def test_a_large_response_goes_through_tls(serve: Serve, authority: trustme.CA) -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [])
        return [b"x" * 3_000_000]

    tls = server_context(authority)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = serve(app, tls=lambda: tls)
    address = server.addresses[0]
    assert isinstance(address, TcpAddress)
    with contextlib.closing(HTTPSConnection(*address, context=context, timeout=5)) as connection:
        connection.request("GET", "/")
        assert len(connection.getresponse().read()) == 3_000_000
