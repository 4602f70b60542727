"""The guests that are asked over one link, and which of them an answer proves to be alive."""

import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import msgspec

from fping_exporter.model import Layer2Doubt, Layer2Rejection, Layer2Target
from fping_exporter.probe.layer2.arrivals import FrameReceiver
from fping_exporter.probe.layer2.frames import (
    ARP_BYTES,
    IPV4_BYTES,
    Answer,
    Asker,
    parse_answer,
    parse_question,
)
from fping_exporter.probe.layer2.link import Link

__all__ = ["Guest", "ParsedTarget", "Segment", "parse_target"]

_MAC_BYTES = 6
_NO_MAC = bytes(_MAC_BYTES)
_GROUP = 1
"""The bit of a MAC's first byte that says: for several."""
_VLAN_VALID, _CHECKSUM_MISSING = 1 << 4, 1 << 3
"""Bits of PACKET_AUXDATA's status, TP_STATUS_VLAN_VALID and TP_STATUS_CSUMNOTREADY."""
_VLAN_ID = 0x0FFF
"""The part of a tag that names a VLAN; 0 is none, and the tag only a priority."""
_AT_ONCE = 64
"""Full buffers to read before the caller goes on, so that a flood does not hold it up."""


class ParsedTarget(msgspec.Struct, frozen=True, gc=False):
    """A target with its addresses as bytes."""

    target: Layer2Target
    ip: bytes
    mac: bytes


class Guest(msgspec.Struct, gc=False):
    """What was sent to one guest and came back."""

    target: Layer2Target
    ip: bytes
    mac: bytes
    source: bytes
    frame: bytes
    """The question."""
    sent_at: int = 0
    """When it was last asked, by the monotonic clock, in nanoseconds; 0 if it never was."""
    rounds: int = 0
    """Those in which it was asked and had its time, and nothing was lost."""
    answered: bool = False
    doubtful: bool = False
    """Whether an answer came that may have been one to the kernel, or that came too late."""


class Segment:
    """A link, and the guests that are asked over it."""

    def __init__(self, link: Link, targets: Iterable[ParsedTarget], *, timeout: float) -> None:
        """Prepare the questions; an answer counts until `timeout` seconds after the last one to its guest."""
        self.link = link
        self.fault = ""
        """Why nothing more can be learned from it; what has answered before then has."""
        self.rejected: Counter[Layer2Rejection] = Counter()
        self.unread = 0
        """Questions sent since it was last read: so many answers may wait in its buffer."""
        self.waiting = 0
        """Guests that were asked in this round and have not answered."""
        self._round_began = 0
        self._timeout = round(timeout * 1e9)
        self._askers: dict[bytes, Asker] = {}
        """By the IP address that is asked from."""
        self._by_reply: dict[bytes, Guest] = {}
        """Guests with IPv4 by the whole ARP reply that they have to give: only its padding is unknown."""
        self._by_address: dict[bytes, Guest] = {}
        """Guests with IPv6 by IP address and MAC, joined."""
        self._impersonated: set[bytes] = set()
        """The IP addresses for which another MAC has answered what was asked."""
        self._broadcast: set[bytes] = set()
        """The IP addresses for which the kernel has asked all."""
        self._questioned: set[bytes] = set()
        """Those for which it has asked anybody."""
        for target in targets:
            self._add(target)
        self.guests = [*self._by_reply.values(), *self._by_address.values()]
        """All that are asked, each once."""

    def _add(self, target: ParsedTarget) -> None:
        ip, mac = target.ip, target.mac
        if mac == self.link.mac:
            return
        source = self.link.source(ip)
        asker = self._askers.get(source)
        if asker is None:
            asker = self._askers[source] = Asker(self.link.mac, source)
        guest = Guest(target.target, ip, mac, source, asker.question(mac, ip))
        if len(ip) == IPV4_BYTES:
            self._by_reply[asker.arp_reply(mac, ip)] = guest
        else:
            self._by_address[ip + mac] = guest

    @cached_property
    def _by_ip(self) -> dict[bytes, Guest]:
        """Needed only where something else than the right answer comes."""
        return {guest.ip: guest for guest in self.guests}

    @cached_property
    def _macs(self) -> frozenset[bytes]:
        """Of all guests; needed no more often."""
        return frozenset(guest.mac for guest in self.guests)

    def batches(self, size: int) -> Iterator[Sequence[Guest]]:
        """Yield the guests that have not answered, `size` or fewer at once, with frames of equal length."""
        size = min(size, self.link.room)
        silent = [guest for guest in self.guests if not guest.answered]
        for family in (True, False):
            some = [guest for guest in silent if (len(guest.ip) == IPV4_BYTES) is family]
            for start in range(0, len(some), size):
                yield some[start : start + size]

    def book_sent(self, guests: Sequence[Guest], at: int) -> None:
        """Note that these were asked, at a time of the monotonic clock in nanoseconds."""
        for guest in guests:
            guest.sent_at = at
        self.unread += len(guests)
        self.waiting += len(guests)

    def begin_round(self) -> None:
        """Look whether frames can get through, and forget those that were lost before."""
        self.link.lost()
        self.fault = self.fault or self.link.fault()
        self._round_began = time.monotonic_ns()

    def end_round(self) -> None:
        """Note who was asked in this round and has had the time to answer, unless answers were lost."""
        self.waiting = 0
        self.fault = self.fault or self.link.fault()
        if self.link.lost() or self.fault:
            return
        over = time.monotonic_ns() - self._timeout
        for guest in self.guests:
            if self._round_began <= guest.sent_at <= over:
                guest.rounds += 1

    def verdict(self, guest: Guest, *, rounds: int) -> bool | None:
        """Whether a guest lives; None where it was not asked in all `rounds`, or may have answered.

        Where something is wrong with the link, nobody is called silent who has not answered yet. Where
        another MAC has answered, the question may not have got as far as the guest.
        """
        if guest.answered:
            return True
        return None if self.doubt(guest, rounds=rounds) else False

    def doubt(self, guest: Guest, *, rounds: int) -> Layer2Doubt | None:
        """Return why nothing is known of a guest that has not answered; None if it is silent."""
        if self.fault:
            return Layer2Doubt.LINK
        if guest.doubtful:
            return Layer2Doubt.LATE
        if guest.ip in self._impersonated:
            return Layer2Doubt.OTHER_MAC
        return Layer2Doubt.UNFINISHED if guest.rounds < rounds else None

    def unmasked(self, decoy: Guest) -> bool | None:
        """Whether somebody has answered what was sent to a MAC that nobody has; None if that is not clear.

        The answer to a question of the kernel's looks the same.
        """
        if decoy.answered or decoy.ip in self._impersonated:
            return None if decoy.ip in self._questioned else True
        return self.verdict(decoy, rounds=1)

    def receive(self, receiver: FrameReceiver) -> None:
        """Take in, without waiting, all that has come."""
        self.unread = 0
        by_reply = self._by_reply
        for _ in range(_AT_ONCE):
            arrivals, fault = self.link.receive(receiver)
            self.fault = self.fault or fault
            now = time.monotonic_ns()
            ahead = time.time_ns() - now
            for frame, (seconds, nanoseconds, status, tag) in arrivals:
                found: Guest | Layer2Rejection | None = None
                if not status & _VLAN_VALID:
                    found = by_reply.get(frame[:ARP_BYTES])
                if found is None:
                    found = self._identify(frame, status, tag)
                if isinstance(found, Guest):
                    at = seconds * 1_000_000_000 + nanoseconds - ahead
                    found = self._book(found, min(at, now), now)
                if found is not None:
                    self.rejected[found] += 1
            if len(arrivals) < receiver.count:
                return

    def _book(self, guest: Guest, at: int, now: int) -> Layer2Rejection | None:
        """Book an answer that came `at` a time and is read `now`; return why it does not count, if so.

        Both are of the monotonic clock, in nanoseconds. A time before the question is that of a wall clock
        that was set meanwhile.
        """
        if not guest.sent_at:
            return Layer2Rejection.UNSOLICITED
        if guest.answered:
            return Layer2Rejection.DUPLICATE
        if guest.ip in self._broadcast:
            guest.doubtful = True
            return Layer2Rejection.KERNEL
        if (at if at >= guest.sent_at else now) - guest.sent_at > self._timeout:
            guest.doubtful = True
            return Layer2Rejection.LATE
        guest.answered = True
        self.waiting -= 1
        return None

    def _identify(self, frame: bytes, status: int, tag: int) -> Guest | Layer2Rejection | None:
        """Return the guest that a frame proves to be alive, or what is wrong; None for one that we sent."""
        me = self.link.mac
        if frame[6:12] == me:
            self._note_question(frame)
            return None
        if status & _VLAN_VALID and tag & _VLAN_ID:
            return Layer2Rejection.TAGGED
        answer = parse_answer(frame, me=me, summed=not status & _CHECKSUM_MISSING)
        return answer if isinstance(answer, Layer2Rejection) else self._attribute(answer)

    def _attribute(self, answer: Answer) -> Guest | Layer2Rejection:
        """Return the guest whose answer it is, or why it is none's."""
        ip, owner, sender, recipient = answer
        asked = self._by_address.get(ip + owner) or self._by_ip.get(ip)
        if asked is None:
            return Layer2Rejection.ADDRESS if owner in self._macs else Layer2Rejection.FOREIGN
        if recipient != asked.source:
            return Layer2Rejection.RECIPIENT
        if owner == sender == asked.mac:
            return asked
        if asked.sent_at:
            self._impersonated.add(ip)
        return Layer2Rejection.MAC

    def _note_question(self, frame: bytes) -> None:
        """Note what this machine itself asks, be it the kernel or another program."""
        asked = parse_question(frame)
        if asked and asked[0] in self._by_ip:
            self._questioned.add(asked[0])
            if asked[1]:
                self._broadcast.add(asked[0])


def parse_target(target: Layer2Target) -> ParsedTarget | None:
    """Parse the addresses of a target; None unless both are such, and the MAC is that of one interface."""
    try:
        ip = socket.inet_pton(socket.AF_INET6 if ":" in target.ip else socket.AF_INET, target.ip)
        mac = bytes.fromhex(target.mac.replace(":", ""))
    except (OSError, ValueError):
        return None
    if len(mac) != _MAC_BYTES or mac[0] & _GROUP or mac == _NO_MAC:
        return None
    return ParsedTarget(target, ip, mac)
