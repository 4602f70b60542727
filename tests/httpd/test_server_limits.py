"""What clients may take together: places, memory and open files."""

import contextlib
import os
import resource
import select
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest

from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer, Limits
from fping_exporter.model import Inventory
from tests.build import instance, inventory
from tests.web.pages import Exporter, Pinger

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

MIB = 1024 * 1024


@contextlib.contextmanager
def serving(app: "WSGIApplication", limits: Limits) -> Iterator[TcpAddress]:
    server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)], limits=limits)
    server.start()
    [address] = server.addresses
    assert isinstance(address, TcpAddress)
    try:
        yield address
    finally:
        server.stop(5)


def ask(address: TcpAddress, path: str = "/", *headers: str) -> socket.socket:
    """Ask, and read nothing of the response for now."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(5)
    client.connect(address)
    client.sendall("\r\n".join([f"GET {path} HTTP/1.1", "Host: x", *headers, "", ""]).encode())
    return client


def get(address: TcpAddress, path: str = "/") -> tuple[int, bytes]:
    with contextlib.closing(HTTPConnection(*address, timeout=5)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read()


def received(client: socket.socket) -> int:
    """Read until the server hangs up."""
    count = 0
    with contextlib.suppress(TimeoutError, ConnectionResetError):
        while data := client.recv(MIB):
            count += len(data)
    return count


def hello(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
    start_response("200 OK", [])
    return [b"hello"]


def test_a_want_of_files_is_logged_once_and_not_at_every_try(caplog: pytest.LogCaptureFixture) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(hello, Limits()) as address, socket.socket() as client:
        assert get(address) == (200, b"hello")
        time.sleep(0.2)  # now the server has opened what it needs, and closed that connection
        free = os.dup(client.fileno())
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            client.connect(address)
            deadline = time.monotonic() + 5
            while "cannot accept a connection" not in caplog.messages:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            time.sleep(0.3)  # it is tried again every tenth of a second
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert get(address) == (200, b"hello")
    assert caplog.messages.count("cannot accept a connection") == 1


# Bytes that wait to be sent


def test_clients_who_do_not_read_share_the_bytes() -> None:
    text = b"instance_alive 1\n" * (2 * MIB // 17)
    answered = threading.Semaphore(0)

    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [])
        answered.release()
        return [text, b"# EOF\n"]

    with serving(app, Limits()) as address, contextlib.ExitStack() as stack:
        tracemalloc.start()
        try:
            for _ in range(20):
                stack.enter_context(ask(address))
                assert answered.acquire(timeout=5)
            time.sleep(0.1)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4 * MIB


def test_a_client_who_does_not_read_is_dropped_where_too_much_waits() -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(8 * MIB)]

    with serving(app, Limits(pending_bytes=16 * MIB)) as address, contextlib.ExitStack() as stack:
        stalled = []
        for _ in range(6):
            stalled.append(stack.enter_context(ask(address, "/", "Connection: close")))
            time.sleep(0.02)
        assert len(get(address)[1]) == 8 * MIB
        complete = [received(client) > 8 * MIB for client in stalled]
    assert complete.count(True) <= 2
    assert complete == sorted(complete), "the first to stall are dropped first"


def test_a_client_who_reads_on_is_not_dropped_for_those_who_do_not() -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(3 * MIB)]

    with serving(app, Limits(pending_bytes=6 * MIB)) as address, contextlib.ExitStack() as stack:
        reader = stack.enter_context(ask(address, "/", "Connection: close"))
        count = 0
        asked = 0
        while data := reader.recv(65_536):
            count += len(data)
            if count >= asked * MIB // 2:  # more than the kernel holds: the server has sent since the last
                asked += 1
                stack.enter_context(ask(address))
    assert count > 3 * MIB


def test_a_response_larger_than_the_limit_is_sent_beside_another() -> None:
    def app(_: dict[str, Any], start_response: "StartResponse") -> list[bytes]:
        start_response("200 OK", [])
        return [bytes(8 * MIB)]

    with serving(app, Limits(pending_bytes=1)) as address, ask(address, "/", "Connection: close") as first:
        assert first.recv(1) == b"H"
        assert len(get(address)[1]) == 8 * MIB
        assert received(first) > 8 * MIB


# Places


@pytest.fixture
def stuck() -> Iterator[Exporter]:
    """An exporter whose first list of instances does not come."""
    released = threading.Event()

    def cloud() -> Inventory:
        assert released.wait(30)
        return inventory(instance("a", "10.0.0.1"))

    yield Exporter(cloud, Pinger({}))
    released.set()


FOR_EVER = "X-Prometheus-Scrape-Timeout-Seconds: 1e9"


def test_a_scraper_who_has_hung_up_frees_its_place(stuck: Exporter) -> None:
    with serving(stuck.app, Limits(connections=4)) as address:
        for _ in range(4):
            ask(address, "/metrics", FOR_EVER).close()
        started = time.monotonic()
        assert get(address, "/-/healthy")[0] == 200
        assert time.monotonic() - started < 5


@pytest.mark.parametrize("newcomer", ["/-/healthy", "/metrics"])
def test_a_new_client_gets_a_place_where_scrapers_hold_all(stuck: Exporter, newcomer: str) -> None:
    with serving(stuck.app, Limits(connections=4)) as address, contextlib.ExitStack() as stack:
        scrapers = [stack.enter_context(ask(address, "/metrics", FOR_EVER)) for _ in range(4)]
        time.sleep(0.1)
        started = time.monotonic()
        with ask(address, newcomer, "X-Prometheus-Scrape-Timeout-Seconds: 0.6") as client:
            assert client.recv(65_536).startswith(b"HTTP/1.1 200 OK\r\n")
        assert time.monotonic() - started < 5
        answered, _, _ = select.select(scrapers, [], [], 0.05)
        [scraper] = answered
        response = scraper.recv(65_536)
        assert response.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in response


# Open files


SHORT_OF_FILES = """
import os, resource, socket, time
from http.client import HTTPConnection
from fping_exporter.httpd.listen import TcpAddress
from fping_exporter.httpd.server import HttpServer

def app(environ, start_response):
    start_response("200 OK", [])
    return [b"ok"]

clients = [socket.socket() for _ in range(24)]  # whose descriptors are taken before they are short
scraper = socket.socket()
server = HttpServer(app, listen=[TcpAddress("127.0.0.1", 0)])
server.start()
resource.setrlimit(resource.RLIMIT_NOFILE, (scraper.fileno() + 18,) * 2)
for client in clients:
    client.connect(server.addresses[0])
time.sleep(0.6)
scraper.settimeout(10)
scraper.connect(server.addresses[0])
scraper.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n")
started = time.monotonic()
assert scraper.recv(9) == b"HTTP/1.1 "
print(time.monotonic() - started, flush=True)
os._exit(0)  # past the threads, whose end opens a file
"""


def test_idle_clients_make_way_where_open_files_are_short() -> None:
    child = subprocess.run(
        [sys.executable, "-c", SHORT_OF_FILES], capture_output=True, text=True, check=False, timeout=20
    )
    assert child.returncode == 0, child.stderr
    assert float(child.stdout) < 8  # idle connections may stay for two minutes
