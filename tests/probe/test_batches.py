"""Batches do what single messages do: what they send, what they refuse, and how they read what comes in.

A UDP socket on loopback plays the ICMP socket: the kernel hands on whatever a test writes.
"""

import errno
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.model import Family
from fping_exporter.probe import addresses, mmsg, packet
from fping_exporter.probe.batches import Batches
from fping_exporter.probe.sockets import IcmpSocket, Kind
from fping_exporter.probe.transport import CHUNK, OneByOne, Received, Transport
from tests.permission import need_ping
from tests.probe.wire import checksum

SOURCE = {4: "127.0.0.1", 6: "::1"}
SOCKETS = st.sampled_from([(4, Kind.RAW), (4, Kind.DATAGRAM), (6, Kind.RAW), (6, Kind.DATAGRAM)])


class Wire:
    """A socket that is read as an ICMP socket of a kind, and one that writes to it."""

    def __init__(self, family: Family) -> None:
        domain = socket.AF_INET if family == 4 else socket.AF_INET6
        udp = socket.socket(domain, socket.SOCK_DGRAM)
        self.sock = IcmpSocket(udp, family=family, kind=Kind.DATAGRAM)
        self._there = (SOURCE[family], udp.getsockname()[1])
        self._writer = socket.socket(domain, socket.SOCK_DGRAM)
        self._writer.bind((SOURCE[family], 0))

    def close(self) -> None:
        self.sock.__exit__()
        self._writer.close()

    def read(self, transport: Transport, written: Sequence[bytes]) -> tuple[Received, list[bool]]:
        """Write datagrams, and return what is read, and of which replies the time of arrival is known."""
        before = time.monotonic_ns()
        for each in written:
            self._writer.sendto(each, self._there)
        found = Received()
        for some in transport.receive(self.sock):
            found.replies += some.replies
            found.errors += some.errors
            found.damaged += some.damaged
        now = time.monotonic_ns()
        timed = [at is not None and before - 10**6 < at < now + 10**6 for *_, at in found.replies]
        found.replies = [(sender, sequence, payload, None) for sender, sequence, payload, _ in found.replies]
        return found, timed


@pytest.fixture(scope="module")
def wires() -> Iterator[dict[int, Wire]]:
    wires = {4: Wire(4), 6: Wire(6)}
    yield wires
    for wire in wires.values():
        wire.close()


def icmp(kind: int, code: int, ident: int, sequence: int, payload: bytes, fault: int = 0) -> bytes:
    message = struct.pack("!BBHHH", kind, code, 0, ident, sequence) + payload
    return message[:2] + struct.pack("!H", checksum(message) ^ fault) + message[4:]


cookies = st.builds(lambda half: half + bytes(255 - byte for byte in half), st.binary(min_size=8, max_size=8))
payloads = cookies | st.binary(max_size=600).map(lambda some: some[: len(some) // 2 * 2])


@st.composite
def datagrams(draw: st.DrawFn, family: Family, kind: Kind, ident: int) -> bytes:
    """Replies, errors and rubbish, whole, damaged and cut, as the kernel would hand them on."""
    types = [packet.REPLY_TYPE[family], *packet.ERROR_TYPES[family], 8]
    payload = draw(payloads)
    if draw(st.booleans()):
        quoted = icmp(8 if family == 4 else 128, 0, ident, draw(st.integers(0, 3)), payload)
        header = bytes.fromhex("4500000000000000400100000a0000010a000002")
        if family == 6:
            header = struct.pack("!IHBB", 6 << 28, len(quoted), 58, 64) + bytes(32)
        payload = header + quoted
    fault = draw(st.sampled_from([0, 0, 0, 1, 0xFFFF]))
    if len(payload) == packet.COOKIE_BYTES and int.from_bytes(payload, "big") % 0xFFFF:
        fault = 0  # that is no cookie: damaged or foreign, it counts as one or the other
    message = icmp(
        draw(st.sampled_from(types)),
        draw(st.sampled_from([0, 0, 1])),
        draw(st.sampled_from([ident, ident, ident ^ 1])),
        draw(st.integers(0, 9) | st.integers(0, 0xFFFF)),
        payload,
        fault,
    )
    if family == 4 and kind is Kind.RAW:
        options = draw(st.sampled_from([0, 0, 0, 1]))
        message = bytes([0x45 + options]) + bytes(19 + 4 * options) + message
    cut = draw(st.integers(0, len(message))) if draw(st.integers(0, 9)) == 0 else len(message)
    return message[:cut][:576] if draw(st.booleans()) else message[:576]


@given(SOCKETS, st.data())
def test_both_ways_read_the_same(
    wires: dict[int, Wire], socket_kind: tuple[Family, Kind], data: st.DataObject
) -> None:
    family, kind = socket_kind
    wire = wires[family]
    wire.sock.kind = kind
    written = data.draw(st.lists(datagrams(family, kind, wire.sock.ident), max_size=12))
    singly, timed_singly = wire.read(OneByOne(), written)
    found, timed = wire.read(Batches(), written)
    assert (found, timed) == (singly, timed_singly)
    assert timed == [True] * len(found.replies)


def reply(wire: Wire, payload: bytes, sequence: int = 0) -> bytes:
    return icmp(packet.REPLY_TYPE[wire.sock.family], 0, wire.sock.ident, sequence, payload)


def test_more_than_a_chunk_is_read_in_several_and_in_order(wires: dict[int, Wire]) -> None:
    wire = wires[6]
    wire.sock.kind = Kind.DATAGRAM
    written = [reply(wire, bytes(16), sequence) for sequence in range(CHUNK + 10)]
    for transport in (Batches(), OneByOne()):
        found, _ = wire.read(transport, written)
        assert [sequence for _, sequence, _, _ in found.replies] == list(range(CHUNK + 10))


@pytest.mark.parametrize("size", [16, 600, 5000])
def test_a_reply_that_is_too_long_is_never_taken_for_a_right_one(wires: dict[int, Wire], size: int) -> None:
    wire = wires[4]
    for kind in Kind:
        wire.sock.kind = kind
        header = b"\x45" + bytes(19) if kind is Kind.RAW else b""
        found, _ = wire.read(Batches(), [header + reply(wire, bytes(range(256)) * 20)[: 8 + size]])
        assert all(len(payload) != packet.COOKIE_BYTES or size == 16 for _, _, payload, _ in found.replies)
        # Cut, its checksum cannot be verified; only raw sockets of IPv4 get such at all.
        assert found.damaged + len(found.replies) == 1


def test_a_reply_whose_stamp_is_missing_counts_without_a_time(wires: dict[int, Wire]) -> None:
    wire = wires[4]
    wire.sock.kind = Kind.DATAGRAM
    with socket.socket(fileno=os.dup(wire.sock.fileno())) as handle:
        handle.setsockopt(socket.SOL_SOCKET, 35, 0)  # SO_TIMESTAMPNS
        try:
            found, timed = wire.read(Batches(), [reply(wire, bytes(16))])
        finally:
            handle.setsockopt(socket.SOL_SOCKET, 35, 1)
    assert (len(found.replies), timed) == (1, [False])


def test_an_error_that_is_pending_does_not_end_the_reading(wires: dict[int, Wire]) -> None:
    """A call that has messages to return keeps an error for the next one."""
    wire = wires[4]
    wire.sock.kind = Kind.DATAGRAM
    errors = [errno.ECONNREFUSED]

    def receive(descriptor: int, headers: int, count: int) -> int:
        if errors:
            number = errors.pop()
            raise OSError(number, os.strerror(number))
        return mmsg.recvmmsg(descriptor, headers, count)

    found, _ = wire.read(Batches(receive=receive), [reply(wire, bytes(16))])
    assert len(found.replies) == 1


class Kernel:
    """A kernel that refuses some messages, each with an errno, as sendmmsg and sendto do."""

    def __init__(self, refusals: dict[int, int], pending: set[int], at_once: int) -> None:
        self.refusals, self.pending, self.at_once = refusals, set(pending), at_once
        self.sent: list[int] = []
        self._next = 0

    def _send(self, place: int) -> None:
        if place in self.pending:
            self.pending.remove(place)  # it is reported once, whomever it is about
            raise OSError(errno.EHOSTUNREACH, "of another packet")
        if place in self.refusals:
            raise OSError(self.refusals[place], "refused")
        self.sent.append(place)

    def sendmmsg(self, first: int, count: int) -> int:
        for taken in range(min(count, self.at_once)):
            try:
                self._send(first + taken)
            except OSError:
                if taken == 0:
                    raise
                return taken
        return min(count, self.at_once)


class Batch:
    """A socket on which a kernel of a test sends so many messages."""

    family: Family = 4
    ident = 7

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._first_header = 0

    def fileno(self) -> int:
        return -1

    def send_again(self, message: bytes, _address: bytes) -> None:
        self._kernel._send(int.from_bytes(message[-2:], "big"))  # noqa: SLF001

    def call(self, _descriptor: int, headers: int, count: int) -> int:
        self._first_header = self._first_header or headers
        return self._kernel.sendmmsg((headers - self._first_header) // 64, count)


numbers = st.sampled_from([errno.EPERM, errno.ENOBUFS, errno.EAGAIN, errno.EINVAL, errno.ENETUNREACH])


@given(
    st.integers(1, 64),
    st.dictionaries(st.integers(0, 63), numbers),
    st.sets(st.integers(0, 63)),
    st.integers(1, 64),
)
def test_whatever_the_kernel_refuses_each_message_is_sent_once_or_refused_for_its_own_reason(
    count: int, refusals: dict[int, int], pending: set[int], at_once: int
) -> None:
    kernel = Kernel(refusals, pending, at_once)
    batch = Batch(kernel)
    before = time.monotonic_ns()
    messages = [bytes(22) + place.to_bytes(2, "big") for place in range(count)]
    sent = Batches(send=batch.call).send(batch, messages, [bytes(4)] * count)  # type: ignore[arg-type]
    after = time.monotonic_ns()
    own = {place: number for place, number in refusals.items() if place < count}
    assert sent.refused == own
    assert kernel.sent == [place for place in range(count) if place not in own]
    times = [at for (at,) in sent.times]
    assert times == sorted(times)
    assert len(times) == count
    assert before <= times[0] <= times[-1] <= after


def test_a_call_that_was_held_up_makes_no_round_trip_shorter() -> None:
    called: list[int] = []

    def slow(_descriptor: int, _headers: int, count: int) -> int:
        called.append(time.monotonic_ns())
        time.sleep(0.005)
        return count

    batch = Batch(Kernel({}, set(), 64))
    sent = Batches(send=slow).send(batch, [bytes(24)] * 32, [bytes(4)] * 32)  # type: ignore[arg-type]
    assert len({at for (at,) in sent.times}) == 1
    assert sent.times[0][0] <= called[0]


def test_no_message_counts_as_sent_later_than_in_the_quickest_call() -> None:
    """A call returns late where another thread has the interpreter's lock."""
    delays = [0.001, 0.0, 0.001]

    def call(_descriptor: int, _headers: int, count: int) -> int:
        time.sleep(delays.pop(0))
        return count

    batch, batches = Batch(Kernel({}, set(), 64)), Batches(send=call)
    spreads, took = [], []
    for _ in range(3):
        before = time.monotonic_ns()
        sent = batches.send(batch, [bytes(24)] * 64, [bytes(4)] * 64)  # type: ignore[arg-type]
        took.append(time.monotonic_ns() - before)
        spreads.append(sent.times[-1][0] - sent.times[0][0])
    assert spreads[0] <= 64 * 2_000
    assert spreads[2] <= took[1]


SECCOMP = """
import ctypes, errno, struct, sys
forbidden = {"x86_64": (307, 299), "aarch64": (269, 243)}[sys.argv[1]]
lines = [struct.pack("=HBBI", 0x20, 0, 0, 0)]  # the number of the system call
lines += [struct.pack("=HBBI", 0x15, len(forbidden) - place, 0, call) for place, call in enumerate(forbidden)]
lines += [struct.pack("=HBBI", 6, 0, 0, 0x7FFF0000), struct.pack("=HBBI", 6, 0, 0, 0x00050000 | errno.EPERM)]
code = ctypes.create_string_buffer(b"".join(lines))
program = struct.pack("@HP", len(lines), ctypes.addressof(code))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, program, 0, 0) == 0, ctypes.get_errno()
from fping_exporter import config
from fping_exporter.model import LOCAL, Target
from fping_exporter.probe import make_prober
sweep = make_prober(config.Probe(retries=0)).probe([Target(LOCAL, f"127.0.0.{n}") for n in range(1, 101)])
print(sweep.sent, sweep.received, sweep.refused)
"""


@pytest.mark.netns  # slow, and needs the right to ping
def test_where_a_filter_forbids_the_calls_single_messages_do() -> None:
    need_ping()
    command = [sys.executable, "-c", SECCOMP, os.uname().machine]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout == "100 100 {}\n", done.stderr


@given(st.integers(0, 300))
def test_cookies_add_nothing_to_a_checksum_and_differ(count: int) -> None:
    made = list(packet.make_cookies(count))
    assert len(set(made)) == len(made) == count
    assert all(int.from_bytes(cookie, "big") % 0xFFFF == 0 for cookie in made)
    assert all(len(cookie) == packet.COOKIE_BYTES for cookie in made)


@given(st.sampled_from([4, 6]), st.integers(0, 0xFFFF), st.lists(st.integers(0, 0xFFFF), max_size=20))
def test_many_requests_are_those_that_are_built_singly(
    family: Family, ident: int, sequences: list[int]
) -> None:
    made = list(packet.make_cookies(len(sequences)))
    assert packet.echo_requests(family, ident, sequences, made) == [
        packet.echo_request(family, ident, sequence, cookie)
        for sequence, cookie in zip(sequences, made, strict=True)
    ]


@given(st.ip_addresses())
def test_an_address_is_packed_as_the_kernel_wants_it(ip: object) -> None:
    packed = addresses.pack(str(ip))
    assert packed is not None
    assert addresses.unpack(packed) == socket.inet_ntop(
        socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed
    )
    family = addresses.FAMILY[len(packed)]
    name = addresses.NAME_HEAD[family] + packed + addresses.NAME_TAIL[family]
    assert len(name) == addresses.NAME_BYTES[family]
