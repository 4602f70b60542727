"""Fifty hostile clients, and scrapes that must go on.

This is the trial that the HTTP server was chosen by; docs/decisions/web-server.md has the one of Tornado.
What other servers did in it, over TLS, with Python 3.11 on two cores; scrapes gave up after 3 s:

- prometheus_client 0.26.0 shakes hands in its accept loop: behind one silent client no scrape was
  answered at all. Slow request lines and silent clients were not dropped within 20 s.
- cheroot 11.1.2 shakes hands in its accept loop, for 10 s each: behind one silent client scrapes waited
  until it was dropped, behind fifty none was answered. With fifty slow request lines in its ten
  threads none was answered either, and not one of them was dropped within 20 s.
- werkzeug 3.1.9: behind fifty silent clients no scrape was answered; slow request lines were not
  dropped within 20 s.
"""

import contextlib
import itertools
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import prometheus_client
import pytest
import trustme

from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer, Limits

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

HOSTILE = 50
SCRAPES = 100
LIMITS = Limits(request=0.5)
PATIENCE = 10
"""Seconds that a busy machine may take. A server of one client after the other would take 25."""
CLIENT_HELLO = bytes.fromhex("16030102000100 01fc0303") + bytes(500)

Act = Callable[[socket.socket], None]
"""What a hostile client does until the server hangs up."""


def silent(client: socket.socket) -> None:
    """Say nothing. On a TLS port: not even to begin the handshake."""
    client.recv(1)


def half_closed(client: socket.socket) -> None:
    """Say that nothing will come, and wait."""
    client.shutdown(socket.SHUT_WR)
    client.recv(1)


def drip(client: socket.socket, data: Iterable[int]) -> None:
    """Send a byte every 20 ms, so that no wait for the next byte is ever long."""
    client.settimeout(0.02)
    for byte in data:
        client.sendall(bytes([byte]))
        with contextlib.suppress(TimeoutError):
            if client.recv(65536) == b"":
                return


def slow_handshake(client: socket.socket) -> None:
    drip(client, CLIENT_HELLO)


def in_tls(act: Act) -> Act:
    """Shake hands as one should, and be hostile then."""

    def wrapped(client: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        with context.wrap_socket(client) as tls:
            act(tls)

    wrapped.__name__ = f"{act.__name__}_in_tls"
    return wrapped


def slow_request_line(client: socket.socket) -> None:
    drip(client, itertools.chain(b"GET /", itertools.repeat(ord("a"))))


def slow_headers(client: socket.socket) -> None:
    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")
    drip(client, itertools.cycle(b"X: 1\r\n"))


def slow_body(client: socket.socket) -> None:
    client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n")
    drip(client, itertools.repeat(ord("a")))


def half_closed_in_a_header(client: socket.socket) -> None:
    client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x")
    half_closed(client)


def megabyte_header(client: socket.socket) -> None:
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: " + b"a" * 1_000_000)
    assert client.recv(65536).startswith(b"HTTP/1.1 431 ")


PLAIN: tuple[Act, ...] = (
    slow_request_line,
    slow_headers,
    slow_body,
    half_closed,
    half_closed_in_a_header,
    megabyte_header,
)


def app(environ: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
    start_response("200 OK", [("Content-Type", environ["SERVER_PROTOCOL"])])
    return [b"instance_alive 1\n" * 1000]


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextlib.contextmanager
def serving(tls: ssl.SSLContext | None) -> Iterator[TcpAddress]:
    server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)], tls=lambda: tls, limits=LIMITS)
    server.start()
    [address] = server.addresses
    assert isinstance(address, TcpAddress)
    yield address
    assert server.stop(5)


def held(address: TcpAddress, act: Act) -> float:
    """Be hostile; return after how many seconds the server hung up."""
    started = time.monotonic()
    hung_up = contextlib.suppress(ConnectionError, ssl.SSLError)
    with socket.create_connection(address, timeout=30) as client, hung_up:
        act(client)
    return time.monotonic() - started


def scrape(address: TcpAddress, trust: ssl.SSLContext | None, *, timeout: float = PATIENCE) -> None:
    """Scrape over a connection of its own."""
    connection = (
        HTTPSConnection(*address, context=trust, timeout=timeout)
        if trust
        else HTTPConnection(*address, timeout=timeout)
    )
    with contextlib.closing(connection):
        connection.request("GET", "/metrics")
        assert connection.getresponse().read()


def seconds_to_scrape(address: TcpAddress, trust: ssl.SSLContext | None) -> float:
    """Scrape, and again where a busy machine is so slow that the server drops it like the hostile clients."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE:
        began = time.monotonic()
        try:
            scrape(address, trust)
        except (ConnectionError, ssl.SSLError):
            if time.monotonic() - began < LIMITS.request:
                raise
        else:
            break
    return time.monotonic() - started


def try_out(address: TcpAddress, trust: ssl.SSLContext | None, act: Act) -> None:
    with ThreadPoolExecutor(HOSTILE) as pool:
        hostile = [pool.submit(held, address, act) for _ in range(HOSTILE)]
        scrapes = [seconds_to_scrape(address, trust) for _ in range(SCRAPES)]
        assert max(scrapes) < PATIENCE
        assert max(future.result() for future in hostile) < PATIENCE


@pytest.mark.parametrize("act", [silent, *PLAIN], ids=lambda act: act.__name__)
def test_hostile_clients_hold_nobody_up_and_are_dropped(act: Act) -> None:
    with serving(None) as address:
        try_out(address, None, act)


@pytest.mark.parametrize(
    "act", [silent, half_closed, slow_handshake, *map(in_tls, PLAIN)], ids=lambda act: act.__name__
)
def test_hostile_clients_of_a_tls_port_hold_nobody_up_and_are_dropped(
    authority: trustme.CA, trust: ssl.SSLContext, act: Act
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    with serving(tls) as address:
        try_out(address, trust, act)


def test_why_not_the_server_of_prometheus_client(
    authority: trustme.CA, trust: ssl.SSLContext, tmp_path: Path
) -> None:
    """One silent client is enough. When this fails, that server may have become the simpler choice."""
    pem = tmp_path / "server.pem"
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(pem)
    server, thread = prometheus_client.start_http_server(
        0, "127.0.0.1", certfile=str(pem), keyfile=str(pem), registry=prometheus_client.CollectorRegistry()
    )
    address = TcpAddress("127.0.0.1", server.server_port)
    with socket.create_connection(address):
        time.sleep(0.1)  # it has to be the first to be accepted
        with pytest.raises(TimeoutError):
            scrape(address, trust, timeout=0.5)
    server.shutdown()
    server.server_close()
    thread.join()
