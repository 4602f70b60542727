"""What an answer proves, without a link: frames come from the scripted guests as bytes."""

import socket
import time

import pytest

from fping_exporter.model import Layer2Rejection, Layer2Target
from fping_exporter.probe.layer2.arrivals import Arrival, FrameReceiver
from fping_exporter.probe.layer2.link import Link
from fping_exporter.probe.layer2.segment import Segment, parse_target
from fping_exporter.probe.layer2.trust import decoy
from tests.probe.layer2.guests import BEHAVIOURS, Question, arp, ip4, ip6, mac

ME = bytes.fromhex("fa163e999999")
SOURCE = {4: bytes((10, 0, 0, 1)), 16: bytes.fromhex("fe80" + "00" * 6 + "1122334455667788")}
RECEIVER = FrameReceiver(count=8, size=128)
SECOND = 1_000_000_000


class PaperLink(Link):
    """A link on which only what a test puts there comes in."""

    def __init__(self) -> None:
        self.vantage, self.name, self.mac, self.room = "qdhcp-1", "tap0", ME, 100
        self.arrivals: list[Arrival] = []
        self.wrong = ""
        self.drops = 0

    def source(self, ip: bytes) -> bytes:
        return SOURCE[len(ip)]

    def fault(self) -> str:
        return self.wrong

    def lost(self) -> int:
        return self.drops

    def receive(self, receiver: FrameReceiver) -> tuple[list[Arrival], str]:
        batch, self.arrivals = self.arrivals[: receiver.count], self.arrivals[receiver.count :]
        return batch, ""

    def bring(self, *frames: bytes, later: float = 0, status: int = 0, tag: int = 0) -> None:
        """Let these come in now, or so many seconds later by the wall clock."""
        at = time.time_ns() + round(later * SECOND)
        self.arrivals += [(frame, (at // SECOND, at % SECOND, status, tag)) for frame in frames]


def target(number: int, *, six: bool = False) -> Layer2Target:
    family, address = (socket.AF_INET6, ip6) if six else (socket.AF_INET, ip4)
    return Layer2Target("qdhcp-1", socket.inet_ntop(family, address(number)), mac(number).hex(":"))


class World:
    """A segment that was asked a moment ago."""

    def __init__(self, *targets: Layer2Target, timeout: float = 0.0) -> None:
        self.link = PaperLink()
        self.segment = Segment(self.link, [p for p in map(parse_target, targets) if p], timeout=timeout or 60)
        self.segment.begin_round()
        self.segment.book_sent(self.segment.guests, time.monotonic_ns())

    def alive(self) -> dict[str, bool | None]:
        self.segment.receive(RECEIVER)
        return {guest.target.ip: self.segment.verdict(guest, rounds=0) for guest in self.segment.guests}


@pytest.mark.parametrize("six", [False, True])
@pytest.mark.parametrize("name", BEHAVIOURS)
def test_every_kind_of_answer(name: str, six: bool) -> None:  # noqa: FBT001
    behaviour, asked = BEHAVIOURS[name], target(7, six=six)
    world = World(asked, target(0, six=six))
    question = Question(7, ME, SOURCE[16 if six else 4], (ip6 if six else ip4)(7))
    for each in behaviour.answer(question):
        frame = each if isinstance(each, bytes) else each[1]
        if frame[12:14] == b"\x81\0":  # the kernel takes a tag out
            world.link.bring(frame[:12] + frame[16:], status=1 << 4, tag=int.from_bytes(frame[14:16], "big"))
        else:
            world.link.bring(frame)
    assert world.alive()[asked.ip] is behaviour.alive
    assert world.segment.rejected.total() <= 1
    if behaviour.rejection and (6 if six else 4) in behaviour.families:
        assert world.segment.rejected == {behaviour.rejection: 1}


def right(number: int = 7) -> bytes:
    return arp(to=ME, sender=mac(number), owner=mac(number), ip=ip4(number), asker=ME, recipient=SOURCE[4])


def test_an_answer_before_the_question_proves_nothing() -> None:
    link = PaperLink()
    parsed = parse_target(target(7))
    assert parsed
    segment = Segment(link, [parsed], timeout=1)
    link.bring(right())
    segment.receive(RECEIVER)
    assert segment.rejected == {Layer2Rejection.UNSOLICITED: 1}
    assert not segment.guests[0].answered


def test_an_answer_counts_by_its_arrival_not_by_its_reading() -> None:
    world = World(target(7), target(8), timeout=0.05)
    world.link.bring(right(7))
    time.sleep(0.1)
    world.link.bring(right(8))
    assert world.alive() == {"10.0.1.7": True, "10.0.1.8": None}
    assert world.segment.rejected == {Layer2Rejection.LATE: 1}


def test_an_answer_that_comes_too_late_for_a_decoy_clears_nobody() -> None:
    """As that of a switch, to a process that was stopped just before it sent."""
    parsed = parse_target(target(7))
    assert parsed
    link = PaperLink()
    segment = Segment(link, [decoy(parsed)], timeout=0.05)
    (guest,) = segment.guests
    segment.begin_round()
    segment.book_sent([guest], time.monotonic_ns())
    time.sleep(0.1)
    answer = arp(to=ME, sender=guest.mac, owner=guest.mac, ip=ip4(7), asker=ME, recipient=SOURCE[4])
    link.bring(answer)
    segment.receive(RECEIVER)
    segment.end_round()
    assert segment.unmasked(guest) is None


@pytest.mark.parametrize("hours", [-3600, 3600])
def test_a_wall_clock_that_is_set_spoils_no_answer(hours: float) -> None:
    world = World(target(7))
    world.link.bring(right(), later=hours)
    assert world.alive() == {"10.0.1.7": True}


def test_more_answers_than_one_call_reads() -> None:
    world = World(*map(target, range(50)))
    world.link.bring(*map(right, range(50)))
    assert set(world.alive().values()) == {True}


def test_nobody_is_silent_on_a_link_that_breaks() -> None:
    world = World(target(7), target(8))
    world.link.bring(right(7))
    world.segment.receive(RECEIVER)
    world.link.wrong = "the interface has no carrier"
    world.segment.end_round()
    assert world.alive() == {"10.0.1.7": True, "10.0.1.8": None}


@pytest.mark.parametrize("lost", [(1, 0), (0, 1)])
def test_a_round_that_lost_frames_is_none(lost: tuple[int, int]) -> None:
    """The other one alone is not the two that silence takes."""
    world = World(target(7), timeout=0.01)
    (guest,) = world.segment.guests
    for drops in lost:
        world.segment.begin_round()
        world.segment.book_sent([guest], time.monotonic_ns())
        time.sleep(0.02)
        world.link.drops = drops
        world.segment.end_round()
    assert world.segment.verdict(guest, rounds=2) is None
    assert world.segment.verdict(guest, rounds=1) is False


def test_whoever_was_not_asked_in_every_round_is_not_silent() -> None:
    world = World(target(7))
    (guest,) = world.segment.guests
    assert world.segment.verdict(guest, rounds=1) is None
    assert world.segment.verdict(guest, rounds=0) is False


@pytest.mark.parametrize(
    ("ip", "mac"),
    [("10.0.0", "fa:16:3e:00:00:01"), ("10.0.0.1\0", "fa:16:3e:00:00:01"), ("10.0.0.1", "01:00:5e:00:00:01")],
)
def test_what_is_no_target(ip: str, mac: str) -> None:
    assert parse_target(Layer2Target("qdhcp-1", ip, mac)) is None


def test_our_own_mac_is_not_asked() -> None:
    world = World(Layer2Target("qdhcp-1", "10.0.1.7", ME.hex(":")))
    assert world.segment.guests == []
