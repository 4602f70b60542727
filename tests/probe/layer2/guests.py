"""Thousands of scripted guests behind one interface, each with a MAC and an address of either family.

``python -m tests.probe.layer2.guests INTERFACE SCRIPT`` plays them in the current network namespace. It
prints a line when it is ready, and what it has seen, as JSON, when it is told to end (SIGTERM).

What a guest does is a :class:`Behaviour`. The table of them says as well what a prober has to make of it.
"""

import errno
import heapq
import itertools
import select
import signal
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec

from fping_exporter.model import Layer2Rejection as Rejection
from fping_exporter.probe.layer2.arrivals import FrameReceiver
from fping_exporter.probe.mmsg import MessageSender

__all__ = ["BEHAVIOURS", "Behaviour", "Script", "ip4", "ip6", "mac"]

EVERYBODY = b"\xff" * 6
ALL_NODES_MAC, ALL_NODES = bytes.fromhex("333300000001"), bytes.fromhex("ff02" + "0" * 27 + "1")
STRANGER = bytes.fromhex("fa163effffff")
"""A MAC that no guest has."""
NOBODY = 0xFF0000
"""The number of a guest that is none."""
REPLY, REQUEST = 2, 1
ADVERTISEMENT, SOLICITATION = 136, 135
SOLICITED, OVERRIDE = 0x40, 0x20


def ip4(number: int) -> bytes:
    """Return the IPv4 address of a guest, from 10.0.1.0 on."""
    return (0x0A000100 + number).to_bytes(4, "big")


def ip6(number: int) -> bytes:
    """Return its IPv6 address, from fd00::100 on."""
    return b"\xfd" + (0x100 + number).to_bytes(15, "big")


def mac(number: int) -> bytes:
    """Return its MAC."""
    return b"\xfa\x16\x3e" + number.to_bytes(3, "big")


class Question(NamedTuple):
    """What a guest was asked, and by whom."""

    number: int
    """Of the guest."""
    asker: bytes
    source: bytes
    ip: bytes

    @property
    def six(self) -> bool:
        """Whether it is a neighbour solicitation."""
        return len(self.ip) == 16

    def address(self, number: int) -> bytes:
        """Return another guest's address of the same family."""
        return ip6(number) if self.six else ip4(number)

    def answer(self, **changes: object) -> bytes:
        """Build the right answer, but for `changes`."""
        own = mac(self.number)
        return (advertisement if self.six else arp)(
            **{
                "to": self.asker,
                "sender": own,
                "owner": own,
                "ip": self.ip,
                "asker": self.asker,
                "recipient": self.source,
            }
            | changes  # type: ignore[arg-type]
        )


def arp(
    *,
    to: bytes,
    sender: bytes,
    owner: bytes,
    ip: bytes,
    asker: bytes,
    recipient: bytes,
    operation: int = REPLY,
    hardware_length: int = 6,
) -> bytes:
    """Build an ARP packet in an Ethernet frame."""
    head = struct.pack("!HHHBBH", 0x0806, 1, 0x0800, hardware_length, 4, operation)
    return b"".join((to, sender, head, owner, ip, asker, recipient))


def advertisement(  # noqa: PLR0913, as many as a frame has fields
    *,
    to: bytes,
    sender: bytes,
    owner: bytes,
    ip: bytes,
    asker: bytes,  # noqa: ARG001, ARP has it
    recipient: bytes,
    source: bytes = b"",
    flags: int = SOLICITED | OVERRIDE,
    hop_limit: int = 255,
    spoil: int = 0,
    code: int = 0,
    option_length: int = 1,
) -> bytes:
    """Build a neighbour advertisement in an Ethernet frame; an empty `owner` makes no option."""
    source = source or ip
    option = bytes((2, option_length)) + owner if owner else b""
    message = struct.pack("!BBHB3x16s", ADVERTISEMENT, code, 0, flags, ip) + option
    total = sum(struct.unpack(f"!{(len(message) + 40) // 2}H", _pseudo_header(source, recipient, message)))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~((total & 0xFFFF) + (total >> 16)) & 0xFFFF ^ spoil
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    header = struct.pack("!HIHBB", 0x86DD, 6 << 28, len(message), 58, hop_limit)
    return b"".join((to, sender, header, source, recipient, message))


def _pseudo_header(source: bytes, destination: bytes, message: bytes) -> bytes:
    return source + destination + struct.pack("!II", len(message), 58) + message


Frames = Iterable[bytes | tuple[float, bytes]]
"""What a guest sends, at once or after so many seconds."""


class Behaviour(NamedTuple):
    """What a guest does when it is asked, and what a prober has to make of it."""

    alive: bool | None
    """None: it is not to be known."""
    answer: Callable[[Question], Frames]
    rejection: Rejection | None
    """As what each answer that does not count is counted, if it gets as far as that."""
    families: Collection[int] = (4, 6)
    """In which it answers anything."""


def _tagged(frame: bytes, vlan: int) -> bytes:
    return frame[:12] + struct.pack("!HH", 0x8100, vlan) + frame[12:]


def _alive(answer: Callable[[Question], Frames], rejection: Rejection | None = None) -> Behaviour:
    return Behaviour(alive=True, answer=answer, rejection=rejection)


def _unclear(answer: Callable[[Question], Frames], rejection: Rejection) -> Behaviour:
    return Behaviour(alive=None, answer=answer, rejection=rejection)


def _lie(answer: Callable[[Question], Frames], rejection: Rejection | None = None) -> Behaviour:
    return Behaviour(alive=False, answer=answer, rejection=rejection)


def _to_all(q: Question) -> Frames:
    if q.six:
        return [q.answer(to=ALL_NODES_MAC, recipient=ALL_NODES, flags=OVERRIDE)]
    return [q.answer(to=EVERYBODY, asker=EVERYBODY, recipient=q.ip)]


def _another(q: Question) -> bytes:
    return q.answer(sender=STRANGER, owner=STRANGER)


def _lie4(rejection: Rejection | None = None, **changes: object) -> Behaviour:
    return Behaviour(False, lambda q: [] if q.six else [q.answer(**changes)], rejection, families=(4,))  # noqa: FBT003


def _lie6(rejection: Rejection | None = None, **changes: object) -> Behaviour:
    return Behaviour(False, lambda q: [q.answer(**changes)] if q.six else [], rejection, families=(6,))  # noqa: FBT003


BEHAVIOURS: Mapping[str, Behaviour] = {
    "answers": _alive(lambda q: [q.answer()]),
    "answers twice": _alive(lambda q: [q.answer(), q.answer()], Rejection.DUPLICATE),
    "answers with padding": _alive(lambda q: [q.answer() + (b"" if q.six else bytes(18))]),
    "answers with a priority tag": _alive(lambda q: [_tagged(q.answer(), 0)]),
    "answers after 0.15 s": _alive(lambda q: [(0.15, q.answer())]),
    "answers without the option": _alive(lambda q: [q.answer(owner=b"") if q.six else q.answer()]),
    "answers from its link-local address": _alive(
        lambda q: [q.answer(source=b"\xfe\x80" + bytes(8) + q.ip[-6:]) if q.six else q.answer()]
    ),
    "answers before another claims its address": _alive(lambda q: [q.answer(), _another(q)], Rejection.MAC),
    "answers after another claims its address": _alive(lambda q: [_another(q), q.answer()], Rejection.MAC),
    "dead": _lie(lambda _: []),
    "announces itself to all": _lie(_to_all, Rejection.BROADCAST),
    "answers to all": _lie(
        lambda q: [q.answer(to=ALL_NODES_MAC if q.six else EVERYBODY)], Rejection.BROADCAST
    ),
    "announces itself to the asker": _lie(
        lambda q: [q.answer(flags=OVERRIDE) if q.six else q.answer(recipient=q.ip)], Rejection.UNSOLICITED
    ),
    "another claims its address": _unclear(lambda q: [_another(q)], Rejection.MAC),
    "a neighbour claims its address": _unclear(
        lambda q: [q.answer(sender=mac(0), owner=mac(0))], Rejection.MAC
    ),
    "names another owner": _unclear(lambda q: [q.answer(owner=STRANGER)], Rejection.MAC),
    "answers from another MAC": _unclear(lambda q: [q.answer(sender=STRANGER)], Rejection.MAC),
    "answers for nobody's address": _lie(lambda q: [q.answer(ip=q.address(NOBODY))], Rejection.ADDRESS),
    "answers for a neighbour's address": _lie(lambda q: [q.answer(ip=q.address(0))], Rejection.MAC),
    "a stranger talks": _lie(
        lambda q: [q.answer(sender=STRANGER, owner=STRANGER, ip=q.address(NOBODY))], Rejection.FOREIGN
    ),
    "answers in another VLAN": _lie(lambda q: [_tagged(q.answer(), 7)], Rejection.TAGGED),
    "answers another's MAC": _lie(lambda q: [q.answer(to=STRANGER)]),
    "names another asker": _lie4(Rejection.RECIPIENT, asker=STRANGER),
    "answers another's address": _lie(lambda q: [q.answer(recipient=q.address(NOBODY))], Rejection.RECIPIENT),
    "answers too little": _lie(lambda q: [q.answer()[: 70 if q.six else 41]], Rejection.MALFORMED),
    "has an odd length of MACs": _lie4(Rejection.MALFORMED, hardware_length=7),
    "has an option of length 0": _lie6(Rejection.MALFORMED, option_length=0),
    "has an option beyond the end": _lie6(Rejection.MALFORMED, option_length=9),
    "asks back": _lie4(operation=REQUEST),
    "answers through a router": _lie6(Rejection.HOP_LIMIT, hop_limit=64),
    "has a wrong checksum": _lie6(Rejection.CHECKSUM, spoil=0x0101),
    "has an odd code": _lie6(Rejection.MALFORMED, code=1),
}
"""By what one can see."""
SLOW = {"answers after 0.7 s": _unclear(lambda q: [(0.7, q.answer())], Rejection.LATE)}
"""Not among the others: an answer that comes in the next sweep is as right as one to it."""


_ALL = {**BEHAVIOURS, **SLOW}


class Script(msgspec.Struct, frozen=True):
    """What the guests do."""

    count: int
    behaviour: str = "answers"
    """Of all that `exceptions` does not name."""
    exceptions: Mapping[int, str] = {}
    responder: Literal["none", "unicast", "broadcast"] = "none"
    """A switch that answers in place of guests what comes in a frame of this kind, whatever MAC it is for."""
    answered_for: tuple[int, ...] | None = None
    """The guests that the switch knows; None: all."""
    once: bool = False
    """Whether a guest takes note of its first question only."""


class Guests:
    """All guests on one packet socket."""

    def __init__(self, interface: str, script: Script) -> None:
        self._script = script
        self._numbers: dict[bytes, int] = {
            address(n): n for address in (ip4, ip6) for n in range(script.count)
        }
        self._due: list[tuple[float, int, bytes]] = []
        self._order = itertools.count()
        self._asked: set[bytes] = set()
        self.seen: Counter[str] = Counter()
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._sock.setblocking(False)  # noqa: FBT003, the standard library's
        for option in (32, 33, 35):  # SO_SNDBUFFORCE, SO_RCVBUFFORCE, SO_TIMESTAMPNS
            self._sock.setsockopt(socket.SOL_SOCKET, option, 1 if option == 35 else 64 << 20)
        for option in (8, 23):  # PACKET_AUXDATA, PACKET_IGNORE_OUTGOING
            self._sock.setsockopt(263, option, 1)
        self._sock.bind((interface, 3))
        self._pings: list[bytes] = []
        self._receiver = FrameReceiver(count=512, size=128)
        self._senders: dict[int, MessageSender] = {}

    def serve(self, stop: list[object]) -> None:
        """Answer until there is something in `stop`."""
        while not stop:
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else 0.1
            select.select([self._sock], [], [], min(timeout, 0.1))
            frames: list[bytes] = []
            while self._due and self._due[0][0] <= time.monotonic():
                frames.append(heapq.heappop(self._due)[2])
            try:
                arrivals = self._receiver.receive(self._sock)
            except OSError:  # nothing is there, or the link is down
                arrivals = []
                time.sleep(0.001)
            for frame, _ in arrivals:
                self._answer(frame, frames)
            self._send(frames)

    def _answer(self, frame: bytes, frames: list[bytes]) -> None:
        question = self._read(frame)
        if question is None:
            return
        script = self._script
        to, to_all = frame[:6], bool(frame[0] & 1)
        if script.once:
            if question.ip in self._asked:
                return
            self._asked.add(question.ip)
        known = script.answered_for is None or question.number in script.answered_for
        if known and script.responder == ("broadcast" if to_all else "unicast"):
            frames.append(question.answer())
            return
        if not to_all and to != mac(question.number):
            self.seen["for nobody"] += 1
            return
        name = script.exceptions.get(question.number, script.behaviour)
        for each in _ALL[name].answer(question):
            if isinstance(each, bytes):
                frames.append(each)
            else:
                heapq.heappush(self._due, (time.monotonic() + each[0], next(self._order), each[1]))

    def _read(self, frame: bytes) -> Question | None:
        if frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\1":
            ip, asker, source = frame[38:42], frame[22:28], frame[28:32]
            self.seen["arp"] += 1
        elif frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == SOLICITATION:
            ip, asker, source = frame[62:78], frame[6:12], frame[22:38]
            self.seen["nd"] += 1
        else:
            if frame[12:14] == b"\x08\0" and frame[23] == 1 and frame[34] == 8:
                self._answer_ping(frame)
            return None
        self.seen["to all"] += frame[0] & 1
        number = self._numbers.get(ip)
        return None if number is None else Question(number, asker, source, ip)

    def _answer_ping(self, frame: bytes) -> None:
        """Answer an echo request at whatever MAC it was sent to, for the comparison with pings."""
        number = self._numbers.get(frame[30:34])
        if number is None or self._script.exceptions.get(number, self._script.behaviour) != "answers":
            return
        checksum = int.from_bytes(frame[36:38], "big") + 0x0800
        checksum = (checksum & 0xFFFF) + (checksum >> 16)
        addresses = frame[30:34] + frame[26:30]
        icmp = b"\0\0" + checksum.to_bytes(2, "big") + frame[38:]
        self._pings.append(frame[6:12] + frame[:6] + frame[12:26] + addresses + icmp)

    def _send(self, frames: Sequence[bytes]) -> None:
        frames = [*frames, *self._pings]
        self._pings.clear()
        for size, group in itertools.groupby(sorted(frames, key=len), key=len):
            sender = self._senders.setdefault(size, MessageSender(count=512, size=size))
            some = list(group)
            while some:
                sender.load(b"".join(some[:512]))
                try:
                    some = some[sender.send(self._sock.fileno(), 0, len(some[:512])) :]
                except OSError as error:
                    self.seen["refused"] += 1
                    if error.errno not in {errno.ENOBUFS, errno.EAGAIN}:  # the link is down
                        break
                    time.sleep(0.001)


def main() -> None:
    """Play the guests of a script."""
    script = msgspec.json.decode(Path(sys.argv[2]).read_bytes(), type=Script)
    guests = Guests(sys.argv[1], script)
    stop: list[object] = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    print("ready", flush=True)  # noqa: T201
    guests.serve(stop)
    print(msgspec.json.encode(guests.seen).decode(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
