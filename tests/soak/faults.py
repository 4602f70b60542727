"""What goes wrong in a soak: each fault lasts as long as its context."""

import contextlib
import dataclasses
import itertools
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from fping_exporter.demo.http import Answer, Request
from tests.cloud.faulty import SERVERS, TOKENS
from tests.cloud.neutron import GROUPS, PORTS
from tests.soak.world import Fault, World

__all__ = ["FAULTS", "STOPPED", "Soaked"]

_CLIENTS = 200
_BAD_SETTING = "probe: {timeout: soon}\n"


@dataclasses.dataclass(frozen=True)
class Soaked:
    """The exporter that is tried, and all that a fault may touch."""

    world: World
    address: tuple[str, int]
    send_signal: Callable[[signal.Signals], None]
    config: Path


def _cloud(fault: Fault) -> Callable[[Soaked], AbstractContextManager[None]]:
    """Let the cloud answer as `fault` says."""

    @contextmanager
    def during(soaked: Soaked) -> Iterator[None]:
        soaked.world.cloud.fault = fault
        try:
            yield
        finally:
            soaked.world.cloud.fault = None

    return during


def _every(answer: Answer, *, path: str = "/") -> Callable[[Soaked], AbstractContextManager[None]]:
    return _cloud(lambda request: answer if request.path.startswith(path) else None)


def _reset(_request: Request) -> Answer:
    raise ConnectionResetError


def _trickle(_request: Request) -> Answer:
    def pieces() -> Iterator[bytes]:
        for _ in range(60):
            time.sleep(1)
            yield b" "

    return Answer(200, pieces(), {"Content-Length": "300000000"})


def _flood(request: Request) -> Answer | None:
    if request.path != SERVERS:
        return None
    return Answer(200, itertools.repeat(b" " * 65_536, 4800), {"Content-Length": str(65_536 * 4800)})


def _halves(request: Request) -> Answer | None:
    """End a body in its midst."""
    if request.path != SERVERS:
        return None
    return Answer(200, iter([b'{"servers": [{"id": ']), {"Content-Length": "100000"})


def _changed(path: str, change: Callable[[Any], None]) -> Callable[[Soaked], AbstractContextManager[None]]:
    """Let `change` alter what `path` is answered with."""

    @contextmanager
    def during(soaked: Soaked) -> Iterator[None]:
        cloud = soaked.world.cloud

        def fault(request: Request) -> Answer | None:
            if request.path.rstrip("/") != path:
                return None
            cloud.fault = None  # ask without it; the requests at the same time may go well
            answer = cloud.answer(request)
            cloud.fault = fault
            if answer.status >= 400:
                return answer
            encoded = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
            body = msgspec.json.decode(encoded)
            change(body)
            return answer._replace(body=body)

        cloud.fault = fault
        try:
            yield
        finally:
            cloud.fault = None

    return during


def _null_servers(body: Any) -> None:
    body["servers"][::100] = [None] * len(body["servers"][::100])


def _odd_ports(body: Any) -> None:
    for port in body["ports"][::100]:
        port["fixed_ips"] = [{"ip_address": "fd00::no", "subnet_id": None}]


def _odd_rule(body: Any) -> None:
    for group in body["security_groups"]:
        group["security_group_rules"].append({"direction": "ingress", "remote_ip_prefix": "10.0.0.0/33"})


def _empty_list(body: Any) -> None:
    body["servers"] = []


def _half_list(body: Any) -> None:
    del body["servers"][len(body["servers"]) // 3 :]


@contextmanager
def _wrong_password(soaked: Soaked) -> Iterator[None]:
    cloud = soaked.world.cloud
    user = cloud.users[0]
    right, user.password = user.password, "changed"
    cloud.forget_tokens()
    try:
        yield
    finally:
        user.password = right


@contextmanager
def _tokens_forgotten(soaked: Soaked) -> Iterator[None]:
    soaked.world.cloud.forget_tokens()
    yield


@contextmanager
def _namespace_deleted(soaked: Soaked) -> Iterator[None]:
    soaked.world.isolated.delete()
    try:
        yield
    finally:
        soaked.world.isolated.create()


@contextmanager
def _stopped(soaked: Soaked) -> Iterator[None]:
    soaked.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        soaked.send_signal(signal.SIGCONT)


@contextmanager
def _link_down(soaked: Soaked) -> Iterator[None]:
    """The prober loses its carrier: nothing can be said of a guest."""
    network = soaked.world.network
    network.far.ip("link set veth0 down")
    try:
        yield
    finally:
        network.far.ip("link set veth0 up")


@contextmanager
def _reloaded(soaked: Soaked) -> Iterator[None]:
    soaked.send_signal(signal.SIGHUP)
    yield


@contextmanager
def _bad_reload(soaked: Soaked) -> Iterator[None]:
    good = soaked.config.read_text(encoding="utf-8")
    soaked.config.write_text(_BAD_SETTING, encoding="utf-8")
    soaked.send_signal(signal.SIGHUP)
    try:
        yield
    finally:
        soaked.config.write_text(good, encoding="utf-8")


def _clients(request: bytes) -> Callable[[Soaked], AbstractContextManager[None]]:
    """Let many clients connect, send this, and read nothing."""

    @contextmanager
    def during(soaked: Soaked) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for _ in range(_CLIENTS):
                with contextlib.suppress(OSError):
                    client = stack.enter_context(socket.create_connection(soaked.address, timeout=1))
                    client.sendall(request)
            yield

    return during


def _request(target: str, **headers: str) -> bytes:
    lines = [f"GET {target} HTTP/1.1", "Host: x", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


_HTML = Answer(200, b"<html>a captive portal</html>", {"Content-Type": "text/html"})

FAULTS: Mapping[str, Callable[[Soaked], AbstractContextManager[None]]] = {
    "429": _every(Answer(429, b"{}", {"Retry-After": "1"})),
    "429, for an hour": _every(Answer(429, b"{}", {"Retry-After": "3600"})),
    "503": _every(Answer(503, b"away")),
    "resets": _cloud(_reset),
    "redirects": _every(Answer(302, b"", {"Location": "/identity/v3"})),
    "HTML": _every(_HTML),
    "HTML for the list": _every(_HTML, path=SERVERS),
    "a body cut short": _cloud(_halves),
    "a body of 300 MB": _cloud(_flood),
    "a body without end": _cloud(_trickle),
    "Keystone's versions behind a password": _every(Answer(401, b"{}"), path="/identity/v3"),
    "Keystone away": _every(Answer(503), path="/identity"),
    "no tokens": _every(Answer(500), path=TOKENS),
    "Neutron away": _every(Answer(503), path="/network"),
    "Nova away": _every(Answer(503), path="/compute"),
    "a wrong password": _wrong_password,
    "tokens forgotten": _tokens_forgotten,
    "servers that are null": _changed(SERVERS, _null_servers),
    "odd ports": _changed(PORTS, _odd_ports),
    "an odd rule": _changed(GROUPS, _odd_rule),
    "an empty list": _changed(SERVERS, _empty_list),
    "a list that ends early": _changed(SERVERS, _half_list),
    "a namespace deleted": _namespace_deleted,
    "SIGSTOP": _stopped,
    "no carrier": _link_down,
    "SIGHUP": _reloaded,
    "SIGHUP, a bad file": _bad_reload,
    "idle clients": _clients(_request("/-/healthy")),
    "clients that do not read": _clients(_request("/metrics") * 20),
    "scrapes that wait": _clients(_request("/metrics", **{"X-Prometheus-Scrape-Timeout-Seconds": "1e9"})),
    "rubbish": _clients(b"\x16\x03\x01 rubbish\r\n\r\n" * 10),
    "rubbish tokens": _clients(_request("/os-fping", **{"X-Auth-Token": "rubbish"})),
}
"""By a name for the report."""

STOPPED = frozenset({"SIGSTOP"})
"""Those during which no scrape can be answered."""
