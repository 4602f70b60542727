"""The stand-in of a cloud, made to fail as real ones do."""

import contextlib
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import msgspec

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config
from fping_exporter.demo.http import Answer, LoopbackServer, Request
from fping_exporter.demo.standin import KeystoneUser, NovaHypervisor, NovaServer, Standin
from fping_exporter.model import Address, AddressKind, Project

__all__ = ["ADMIN", "ALPHA", "BETA", "MEMBER", "SERVERS", "FaultyCloud", "Listed", "make_servers"]

SERVERS = "/compute/v2.1/servers/detail"
TOKENS = "/identity/v3/auth/tokens"

ALPHA = Project("a" * 32, "alpha", "default")
BETA = Project("b" * 32, "beta", "default")
_ADMIN_PROJECT = Project("c" * 32, "admin", "default")
ADMIN = KeystoneUser("root", "secret-of-root", _ADMIN_PROJECT, "admin")
MEMBER = KeystoneUser("joe", "secret-of-joe", ALPHA, "member")

Fault = Callable[[Request], Answer | None]


class FaultyCloud(Standin):
    """Two projects, two hypervisors, as many servers as a test puts in; it keeps what it was asked."""

    def __init__(self, *servers: NovaServer) -> None:
        super().__init__(
            servers=servers,
            projects=[_ADMIN_PROJECT, ALPHA, BETA],
            hypervisors=[
                NovaHypervisor("kvm-1.example", "kvm-1"),
                NovaHypervisor("kvm-2.example", "kvm-2", up=False),
            ],
            users=[ADMIN, MEMBER],
        )
        self.requests: list[Request] = []
        self._faults: dict[str, Iterator[Answer | Fault | None]] = {}
        self._stopped = False

    def fail(self, path: str, *faults: Answer | Fault | None) -> None:
        """Answer the next requests for `path` with `faults`, one each; None: as if nothing were wrong."""
        self._faults[path] = iter(faults)

    def answer(self, request: Request) -> Answer:
        if self._stopped:  # asked over a connection that was open before
            raise ConnectionAbortedError
        self.requests.append(request)
        fault = next(self._faults.get(request.path.rstrip("/"), iter(())), None)
        answer = fault(request) if callable(fault) else fault
        return answer or super().answer(request)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Refuse connections to all services and end those that are open; then listen at the same port again.

        Meanwhile the port is taken, lest it become the client's own.
        """
        port = self._http.server_port
        self._stopped = True
        self._http.stop()
        with socket.socket() as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            yield
            self._http = LoopbackServer(self.answer, port=port)
        assert self._http.server_port == port
        self._stopped = False
        self._http.start()

    def connections(self) -> int:
        """Count the TCP connections to here that the client has open, be they open at this end or not."""
        port = f":{urlsplit(self.url).port:04X}"
        rows = [line.split() for line in Path("/proc/self/net/tcp").read_text().splitlines()[1:]]
        return sum(row[2].endswith(port) and row[3] in {"01", "08"} for row in rows)

    def rewrite(self, path: str, change: Callable[[Any], Any]) -> None:
        """Let `change` alter every JSON body that `path` is answered with, until it is failed otherwise."""

        def changed(request: Request) -> Answer:
            answer = Standin.answer(self, request)
            body = change(msgspec.json.decode(msgspec.json.encode(answer.body)))
            return answer._replace(body=body)

        self._faults[path] = iter(lambda: changed, None)


class Listed(NamedTuple):
    """A Cloud on a stand-in, and what it reports meanwhile."""

    cloud: Cloud
    slept: list[float]
    observed: Counter[tuple[str, int]]


def connect(standin: Standin, user: KeystoneUser = ADMIN, **settings: Any) -> Listed:
    slept: list[float] = []
    observed: Counter[tuple[str, int]] = Counter()
    cloud = Cloud(
        Config(**settings),
        region=standin.region(user),
        sleep=slept.append,
        observe=lambda service, code: observed.update([(service, code)]),
    )
    return Listed(cloud, slept, observed)


def make_servers(
    count: int, *, project: Project = ALPHA, hypervisor: str = "kvm-1.example", **changes: Any
) -> list[NovaServer]:
    return [
        NovaServer(
            id=f"{project.name}-{number:04}",
            name=f"vm-{number}",
            project_id=project.id,
            hypervisor=hypervisor,
            addresses=(Address(f"127.1.0.{number}", 4, AddressKind.FIXED, "net"),),
            created=f"2026-01-01T00:{number // 60:02}:{number % 60:02}Z",
            **changes,
        )
        for number in range(count)
    ]
