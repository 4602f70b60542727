"""How questions are sent, over a link whose queue is full for a while; no frame leaves the test."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fping_exporter.probe.layer2.exchange import Exchange
from fping_exporter.probe.layer2.segment import Segment, parse_target
from fping_exporter.probe.pacing import Pacer
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
