"""Batches of messages through the kernel, over UDP on loopback, which needs no rights."""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.probe import mmsg
from fping_exporter.probe.mmsg import MessageReceiver, MessageSender, is_available
from fping_exporter.probe.timestamps import SO_TIMESTAMPNS

SIZE, COUNT, NAME_BYTES = 24, 16, 16
CONTROL_BYTES = socket.CMSG_SPACE(struct.calcsize("@ll"))


def name(sock: socket.socket) -> bytes:
    ip, port = sock.getsockname()
    return struct.pack("=H", socket.AF_INET) + struct.pack("!H", port) + socket.inet_aton(ip) + bytes(8)


class Wire:
    """Sockets on loopback: one that sends, and two that receive."""

    def __init__(self) -> None:
        self.sender, *self.receivers = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
        for sock in (self.sender, *self.receivers):
            sock.bind(("127.0.0.1", 0))
            sock.settimeout(0)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def close(self) -> None:
        for sock in (self.sender, *self.receivers):
            sock.close()


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    wire = Wire()
    yield wire
    wire.close()


messages = st.lists(
    st.tuples(st.binary(min_size=SIZE, max_size=SIZE), st.integers(0, 1)), min_size=1, max_size=COUNT
)
sender = MessageSender(count=COUNT, size=SIZE, name_bytes=NAME_BYTES)
receiver = MessageReceiver(count=COUNT, size=SIZE, name_bytes=NAME_BYTES, control_bytes=CONTROL_BYTES)


@given(messages, st.integers(1, COUNT))
def test_what_is_sent_arrives_where_it_belongs_and_in_order(
    wire: Wire, sent: list[tuple[bytes, int]], at_once: int
) -> None:
    sender.load(
        b"".join(message for message, _ in sent), b"".join(name(wire.receivers[to]) for _, to in sent)
    )
    first = 0
    while first < len(sent):
        first += sender.send(wire.sender.fileno(), first, min(first + at_once, len(sent)))
    for to, sock in enumerate(wire.receivers):
        expected = [message for message, where in sent if where == to]
        if not expected:
            with pytest.raises(BlockingIOError):
                receiver.receive(sock.fileno())
            continue
        assert receiver.receive(sock.fileno()) == len(expected)
        assert receiver.are_complete(len(expected))
        assert list(receiver.lengths(len(expected))) == [SIZE] * len(expected)
        found = [receiver.message(place) for place in range(len(expected))]
        assert [message for message, _, _ in found] == expected
        assert {sender for _, sender, _ in found} == {name(wire.sender)}
        assert {len(control) for _, _, control in found} == {CONTROL_BYTES}


@pytest.mark.parametrize(("messages", "names"), [(COUNT + 1, COUNT), (COUNT, COUNT + 1)])
def test_what_there_is_no_room_for_is_refused(messages: int, names: int) -> None:
    """The kernel is told once where the memory is, so that it must not move."""
    small = MessageSender(count=COUNT, size=SIZE, name_bytes=NAME_BYTES)
    with pytest.raises(ValueError, match="different structures"):
        small.load(bytes(SIZE * messages), bytes(NAME_BYTES * names))


@given(st.lists(st.binary(max_size=2 * SIZE), min_size=1, max_size=COUNT))
def test_a_message_of_any_length_is_cut_to_its_place_and_that_shows(wire: Wire, sent: list[bytes]) -> None:
    sock = wire.receivers[0]
    for message in sent:
        wire.sender.sendto(message, sock.getsockname())
    assert receiver.receive(sock.fileno()) == len(sent)
    assert [receiver.message(place)[0] for place in range(len(sent))] == [message[:SIZE] for message in sent]
    assert list(receiver.lengths(len(sent))) == [min(SIZE, len(message)) for message in sent]
    assert receiver.are_complete(len(sent)) is all(len(message) <= SIZE for message in sent)


@pytest.mark.parametrize(
    ("name_bytes", "control_bytes"),
    [(NAME_BYTES, CONTROL_BYTES - 8), (NAME_BYTES, 2 * CONTROL_BYTES), (8, CONTROL_BYTES)],
)
def test_what_is_missing_of_an_address_or_a_control_message_shows(
    wire: Wire, name_bytes: int, control_bytes: int
) -> None:
    other = MessageReceiver(count=COUNT, size=SIZE, name_bytes=name_bytes, control_bytes=control_bytes)
    sock = wire.receivers[0]
    wire.sender.sendto(b"whole", sock.getsockname())
    assert other.receive(sock.fileno()) == 1
    assert not other.are_complete(1)
    data, sent_from, control = other.message(0)
    assert data == b"whole"
    assert name(wire.sender).startswith(sent_from)
    assert len(control) <= CONTROL_BYTES


def test_a_socket_without_stamps_leaves_no_earlier_stamp_behind(wire: Wire) -> None:
    sock = wire.receivers[0]
    wire.sender.sendto(b"stamped", sock.getsockname())
    receiver.receive(sock.fileno())
    sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 0)
    try:
        wire.sender.sendto(b"bare", sock.getsockname())
        assert receiver.receive(sock.fileno()) == 1
    finally:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    assert receiver.message(0) == (b"bare", name(wire.sender), b"")
    assert not receiver.are_complete(1)


def test_the_kernel_stops_at_a_message_that_it_refuses_and_says_why_at_the_next_call(wire: Wire) -> None:
    nowhere = struct.pack("=HH4s8x", socket.AF_INET, 0, bytes((127, 0, 0, 1)))  # port 0
    there = name(wire.receivers[0])
    sender.load(b"".join(bytes([place]) * SIZE for place in range(4)), there + there + nowhere + there)
    assert sender.send(wire.sender.fileno(), 0, 4) == 2
    with pytest.raises(OSError, match="Invalid argument"):
        sender.send(wire.sender.fileno(), 2, 4)
    assert sender.send(wire.sender.fileno(), 3, 4) == 1
    assert receiver.receive(wire.receivers[0].fileno()) == 3
    assert [receiver.message(place)[0][0] for place in range(3)] == [0, 1, 3]


def failing(number: int) -> Callable[[int, int, int], int]:
    def call(_descriptor: int, _headers: int, _count: int) -> int:
        raise OSError(number, os.strerror(number))

    return call


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EPERM, errno.EACCES])
def test_a_call_that_is_not_there_or_forbidden_is_known_before_anything_is_sent(number: int) -> None:
    assert is_available()
    assert is_available([failing(errno.EBADF), lambda *_: 0])  # musl makes a loop of it, of no turns here
    assert not is_available([failing(errno.EBADF), failing(number)])
    assert not is_available([failing(number), failing(errno.EBADF)])


def test_a_c_library_without_the_call_is_like_a_kernel_without_it() -> None:
    missing = mmsg._load("sendmmsg_of_tomorrow")  # noqa: SLF001, no library here lacks one
    with pytest.raises(OSError, match="not implemented"):
        mmsg._checked(missing(0, 0, 0, 0))  # noqa: SLF001
