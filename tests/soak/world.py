"""Two thousand guests in network namespaces, the cloud that lists them, and the changes of both."""

import contextlib
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from enum import Enum, auto
from ipaddress import IPv4Network
from typing import Self

import msgspec

from fping_exporter.demo.http import Answer, Request
from fping_exporter.demo.standin import NovaServer
from fping_exporter.model import Address, AddressKind
from tests.cloud.faulty import ALPHA, BETA
from tests.cloud.neutron import NeutronCloud, group, port, rule
from tests.netns import ALIVE_NETWORKS, Namespace, Network
from tests.soak.truth import Span, Truth

__all__ = ["NETWORK", "SoakCloud", "World"]

NETWORK, OTHER = "6f2a1a1e-5d2b-4b0c-9a53-0d5b8a5f0c01", "6f2a1a1e-5d2b-4b0c-9a53-0d5b8a5f0c02"
"""Networks: the one that is reached from local, and the one that has a namespace."""
_IN_NAMESPACE = 50
_TICK = 0.25

Fault = Callable[[Request], Answer | None]


class _Fate(Enum):
    """What happens to a guest: it dies or comes back; it is stopped or started; it is deleted."""

    PING = auto()
    POWER = auto()
    DELETION = auto()


class SoakCloud(NeutronCloud):
    """Nova, Neutron and Keystone, which answer as :attr:`fault` says, and well where it returns None."""

    def __init__(self) -> None:
        super().__init__()
        self.fault: Fault | None = None
        self.network["networks"] = [
            {"id": NETWORK, "name": "reached", "router:external": True, "shared": False},
            {"id": OTHER, "name": "isolated", "router:external": False, "shared": False},
        ]
        self.network["security_groups"] = [group("default", rule())]

    def answer(self, request: Request) -> Answer:
        if (fault := self.fault) and (answer := fault(request)):
            return answer
        try:
            answer = super().answer(request)
        except ValueError:  # the object of the marker was deleted between two pages
            answer = Answer(404, {"NeutronError": {"type": "PortNotFound", "message": "", "detail": ""}})
        self.requests.clear()  # nobody reads them here
        return answer


class World:
    """Guests that die and come back, are stopped, started, deleted and created, so many times a second.

    The thread that makes one is within the prober's network namespace from ``with`` on, and so is every
    thread and process that it starts.
    """

    def __init__(self, *, instances: int, changes: float, seed: int) -> None:
        """Prepare `instances` guests and `changes` a second."""
        self._random = random.Random(seed)  # noqa: S311, no secret
        self._instances = instances
        self._changes = round(changes * _TICK)
        self._addresses = map(str, IPv4Network(ALIVE_NETWORKS[0]).hosts())
        self._stack = contextlib.ExitStack()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="changes")
        self._running: dict[str, NovaServer] = {}
        self.network = Network("soak")
        self.isolated = Isolated()
        self.answers: dict[str, Truth] = {}
        """By the id of an instance, whether its guest answers pings. Of deleted ones too."""
        self.active: dict[str, Truth] = {}
        """By the id, whether Nova calls it ACTIVE."""
        self.changed = 0

    def __enter__(self) -> Self:
        with self._stack:
            self._stack.enter_context(self.network)
            self._stack.enter_context(self.network.near.entered())
            self._stack.enter_context(self.isolated)
            self.cloud = self._stack.enter_context(SoakCloud())
            now = time.time()
            for number in range(self._instances):
                ip = f"10.0.0.{10 + number}" if number < _IN_NAMESPACE else next(self._addresses)
                self._create(ip, OTHER if number < _IN_NAMESPACE else NETWORK, now)
            self._publish()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Change it all the time, within ``with``."""
        self._thread.start()
        try:
            yield
        finally:
            self._over.set()
            self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._over.wait(max(0, due - time.monotonic())):
            due += _TICK
            self._change()

    def _change(self) -> None:
        """Make the changes of one tick: first those of the guests, then those that Nova knows of."""
        guests = [each for each in self._running.values() if each.addresses[0].network == "reached"]
        chosen = self._random.sample(guests, self._changes)
        fates = self._random.choices(list(_Fate), [6, 3, 1], k=len(chosen))
        begin = time.time()
        self._turn(zip(chosen, fates, strict=True), begin)
        for server, fate in zip(chosen, fates, strict=True):
            if fate is _Fate.POWER:
                server.status = "SHUTOFF" if server.status == "ACTIVE" else "ACTIVE"
            elif fate is _Fate.DELETION:
                del self._running[server.id]
                self._create(next(self._addresses), NETWORK, begin)
        self._publish()
        span = Span(begin, time.time())
        for server in chosen:
            if (active := server.status == "ACTIVE") != self.active[server.id].now:
                self.active[server.id].change(active, span)
        self.changed += len(chosen)

    def _turn(self, fates: Iterable[tuple[NovaServer, "_Fate"]], begin: float) -> None:
        """Let guests begin or cease to answer."""
        turned: dict[bool, list[NovaServer]] = {True: [], False: []}
        for server, fate in fates:
            active, alive = server.status == "ACTIVE", self.answers[server.id].now
            answers = {
                _Fate.PING: active and not alive,
                _Fate.POWER: not active,
                _Fate.DELETION: False,
            }[fate]
            if answers != alive:
                turned[answers].append(server)
        rules = [
            f"{verb} element inet fpx silent4 {{ {', '.join(each.addresses[0].ip for each in servers)} }}\n"
            for verb, servers in (("delete", turned[True]), ("add", turned[False]))
            if servers
        ]
        if rules:
            self.network.far.nft("".join(rules))
        span = Span(begin, time.time())
        for answers, servers in turned.items():
            for server in servers:
                self.answers[server.id].change(answers, span)

    def _create(self, ip: str, network: str, at: float) -> None:
        id_ = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        name = "isolated" if network == OTHER else "reached"
        self.answers[id_], self.active[id_] = Truth(at, value=True), Truth(at, value=True)
        self._running[id_] = NovaServer(
            id=id_,
            name=f"vm-{id_[:8]}",
            project_id=self._random.choice([ALPHA, BETA]).id,
            hypervisor=self._random.choice(["kvm-1.example", "kvm-2.example"]),
            addresses=(Address(ip, 4, AddressKind.FIXED, name, f"mac-{id_}"),),
        )

    def _publish(self) -> None:
        """Let the cloud show what is there now: new lists, since those that are being sent may not change."""
        servers = list(self._running.values())
        self.cloud.servers = [msgspec.structs.replace(server) for server in servers]
        self.cloud.network["ports"] = [
            port(
                server.id,
                server.addresses[0].ip,
                device=server.id,
                network_id=OTHER if server.addresses[0].network == "isolated" else NETWORK,
            )
            for server in servers
        ]


class Isolated:
    """The namespace of a network of Neutron's, with its guests, which :meth:`delete` takes away."""

    def __init__(self) -> None:
        self._near = Namespace("")
        self._near.name = f"qdhcp-{OTHER}"
        self._far = Namespace("soak-isolated")

    def __enter__(self) -> Self:
        self.create()
        return self

    def __exit__(self, *_: object) -> None:
        self.delete()

    def create(self) -> None:
        """Make both."""
        self._far.__enter__()
        self._near.__enter__()
        self._near.ip(
            f"link add tap0 type veth peer name eth0 netns {self._far.name}",
            "link set tap0 up",
            "addr add 10.0.0.2/16 dev tap0",
        )
        self._far.ip(
            "link set eth0 up",
            *(f"addr add 10.0.0.{10 + number}/16 dev eth0" for number in range(_IN_NAMESPACE)),
        )

    def delete(self) -> None:
        """Delete both."""
        self._near.__exit__()
        self._far.__exit__()
