"""How questions and decoys are sent, over a link that is full or shaken; no frame leaves the test."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fping_exporter.model import LOCAL, Layer2Doubt
from fping_exporter.probe.first_hop import count_carrier_changes
from fping_exporter.probe.layer2.exchange import Exchange
from fping_exporter.probe.layer2.segment import Segment, parse_target
from fping_exporter.probe.layer2.sweep import Layer2Prober, _Tally
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
from tests.probe.layer2.test_segment import PaperLink, target


class CountingPacer(Pacer):
    """One that remembers how many packets were reserved."""

    def __init__(self) -> None:
        super().__init__(rate=20_000)
        self.reserved = 0

    def reserve(self, packets: int) -> float:
        self.reserved += packets
        return super().reserve(packets)


class Pipe(PaperLink):
    """A link to the test itself, which holds few frames."""

    def __init__(self) -> None:
        super().__init__()
        self.sock, self.far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.settimeout(0)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)  # the kernel makes it its least
        self.far.settimeout(0)

        # As if it were on this machine's loopback interface, which is steady.
        self.vantage, self.index, self.addresses = LOCAL, 1, ()
        self.carrier_changes = count_carrier_changes().get(self.index)

    def close(self) -> None:
        self.sock.close()
        self.far.close()

    def drain(self) -> int:
        count = 0
        while True:
            try:
                self.far.recv(200)
            except BlockingIOError:
                return count
            count += 1


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.close()


def test_frames_that_wait_for_a_full_queue_are_reserved_once(pipe: Pipe) -> None:
    pacer = CountingPacer()
    parsed = [parse_target(target(number)) for number in range(100)]
    segment = Segment(pipe, [each for each in parsed if each], timeout=0.5)
    taken = 0

    def empty_the_queue() -> None:
        nonlocal taken
        for _ in range(30):
            time.sleep(0.02)
            taken += pipe.drain()

    thread = threading.Thread(target=empty_the_queue)
    thread.start()
    with Exchange([segment], pacer=pacer, timeout=0.3) as exchange:
        exchange.ask()
    thread.join()
    assert (exchange.sent, taken + pipe.drain(), segment.fault) == (100, 100, "")
    assert pacer.reserved == 100


@pytest.mark.parametrize(("shaken", "asked"), [(False, 3), (True, 1)])
def test_a_decoy_over_a_link_that_was_shaken_clears_no_suspect(
    pipe: Pipe,
    shaken: bool,  # noqa: FBT001
    asked: int,
) -> None:
    """It may have been lost, and the answer of a switch that lies would be believed."""
    if shaken:
        pipe.carrier_changes = (pipe.carrier_changes or 0) + 2
    one = target(7)._replace(vantage=LOCAL)
    parsed = parse_target(one)
    assert parsed
    prober = Layer2Prober(timeout=0.05, pacer=CountingPacer(), sockets=SocketBudget(1))
    tally = _Tally()
    prober._ask([(pipe, [parsed])], {one}, tally)  # noqa: SLF001, what a sweep does with an open link
    assert pipe.drain() == tally.sent == asked
    assert (tally.alive, tally.doubtful) == (
        ({}, {one: Layer2Doubt.UNTESTED}) if shaken else ({one: False}, {})
    )
