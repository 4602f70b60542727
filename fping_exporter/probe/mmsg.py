"""Many messages with one system call: sendmmsg(2) and recvmmsg(2), which the socket module lacks.

A call costs Python ten times what the kernel needs to enter and leave it. So the arrays that the two calls
take are laid out once, and each call only copies messages into them or out of them.
"""

import array
import ctypes
import errno
import os
import socket
import sys
from collections.abc import Callable, Iterable
from typing import NamedTuple

__all__ = ["MessageReceiver", "MessageSender", "SystemCall", "is_available", "recvmmsg", "sendmmsg"]

SystemCall = Callable[[int, int, int], int]
"""sendmmsg or recvmmsg: takes a file descriptor, the address of an array of struct mmsghdr and its length.

Returns how many messages were moved. Raises OSError if none was.
"""
_libc = ctypes.CDLL(None, use_errno=True)


def _load(name: str, *more: type) -> Callable[..., int]:
    """Return a function of the C library, or one that fails as a kernel without the system call does."""
    try:
        function = getattr(_libc, name)
    except AttributeError:
        return _missing
    function.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, *more)
    return function  # type: ignore[no-any-return]  # ctypes types nothing


def _missing(*_: object) -> int:
    ctypes.set_errno(errno.ENOSYS)
    return -1


_sendmmsg = _load("sendmmsg")
_recvmmsg = _load("recvmmsg", ctypes.c_void_p)


def sendmmsg(descriptor: int, headers: int, count: int) -> int:
    """Send the first `count` messages; as :data:`SystemCall`.

    The kernel stops at the first message that it refuses. Its errno is reported only if no message went
    before it: otherwise the next call, which begins with that message, reports it.
    """
    return _checked(_sendmmsg(descriptor, headers, count, 0))


def recvmmsg(descriptor: int, headers: int, count: int) -> int:
    """Receive up to `count` messages without waiting; as :data:`SystemCall`."""
    return _checked(_recvmmsg(descriptor, headers, count, socket.MSG_DONTWAIT, None))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def is_available(calls: Iterable[SystemCall] = (sendmmsg, recvmmsg)) -> bool:
    """Whether the C library and the kernel have both calls, and no seccomp filter forbids them.

    They are tried on a file that is not open: EBADF is the word of the system call itself. A filter answers
    before that, with EPERM as a rule, which would look like a firewall's if it came in the middle of a sweep.
    """
    for call in calls:
        try:
            call(-1, 0, 0)
        except OSError as error:
            if error.errno != errno.EBADF:
                return False
    return True


# struct mmsghdr is eight machine words, with 32 bits as with 64. Lengths and flags that are an int have the
# first half of a word.
_NAME, _NAME_LENGTH, _IOV, _IOV_COUNT, _CONTROL, _CONTROL_LENGTH, _FLAGS, _LENGTH = range(8)
_WORDS = 8
_WORD = "L"
_WORD_BYTES = array.array(_WORD).itemsize
_MMSGHDR_BYTES = _WORDS * _WORD_BYTES
_ALIGNMENT = 8
"""Of a slot, and so of the control messages that it begins with."""
_INT_SHIFT = 8 * (_WORD_BYTES - 4) if sys.byteorder == "big" else 0


class _Pieces(NamedTuple):
    """Memory of several messages: where it begins, the bytes for each, and from one to the next."""

    at: int
    size: int
    stride: int

    def addresses(self, count: int) -> "array.array[int]":
        """Return the address of each piece."""
        return _words(range(self.at, self.at + self.stride * count, self.stride))


class _Messages:
    """An array of struct mmsghdr, which refers to the memory of `count` messages."""

    def __init__(self, count: int, *, data: _Pieces, names: _Pieces, control: _Pieces | None = None) -> None:
        self.count = count
        self._iovecs = array.array(_WORD, bytes(2 * _WORD_BYTES * count))
        self._iovecs[0::2] = data.addresses(count)
        self._iovecs[1::2] = _words([data.size] * count)
        iovecs = _Pieces(self._iovecs.buffer_info()[0], 2 * _WORD_BYTES, 2 * _WORD_BYTES)
        self._headers = headers = array.array(_WORD, bytes(_MMSGHDR_BYTES * count))
        headers[_IOV::_WORDS] = iovecs.addresses(count)
        headers[_IOV_COUNT::_WORDS] = _words([1] * count)
        if names.size:
            headers[_NAME::_WORDS] = names.addresses(count)
            headers[_NAME_LENGTH::_WORDS] = _words([names.size << _INT_SHIFT] * count)
        if control:
            headers[_CONTROL::_WORDS] = control.addresses(count)
            headers[_CONTROL_LENGTH::_WORDS] = _words([control.size] * count)
        self._headers_at = headers.buffer_info()[0]


class MessageSender(_Messages):
    """Sends up to `count` messages of `size` bytes each, to addresses of `name_bytes` bytes if any."""

    def __init__(
        self, *, count: int, size: int, name_bytes: int = 0, system_call: SystemCall = sendmmsg
    ) -> None:
        """Lay out the arrays, which are used again for each batch."""
        self.size = size
        self._system_call = system_call
        self._data, data = _memory(size * count)
        self._names, names = _memory(name_bytes * count)
        super().__init__(count, data=_Pieces(data, size, size), names=_Pieces(names, name_bytes, name_bytes))

    def load(self, messages: bytes, names: bytes = b"") -> None:
        """Take the next batch: messages one after the other, and so their addresses (struct sockaddr).

        Raises ValueError for more of them than there is room for.
        """
        self._data[: len(messages)] = messages
        self._names[: len(names)] = names

    def send(self, descriptor: int, first: int, last: int) -> int:
        """Send messages `first` to `last`, this one excluded; return how many the kernel took.

        Raises OSError if it took none: the error is of message `first`, or one that was pending.
        """
        return self._system_call(descriptor, self._headers_at + _MMSGHDR_BYTES * first, last - first)


class MessageReceiver(_Messages):
    """Receives up to `count` messages at once, up to `size` bytes of each.

    ``memory`` has a slot of ``stride`` bytes for each, with its control messages first, then the address of
    its sender, then the message itself. What the kernel did not fill of a slot is what was there before.
    """

    def __init__(
        self,
        *,
        count: int,
        size: int,
        name_bytes: int = 0,
        control_bytes: int = 0,
        system_call: SystemCall = recvmmsg,
    ) -> None:
        """Lay out the arrays, which are used again for each call."""
        self.size, self.name_bytes, self.control_bytes = size, name_bytes, control_bytes
        self.name_at = control_bytes
        self.data_at = control_bytes + name_bytes
        self.stride = stride = -(-(self.data_at + size) // _ALIGNMENT) * _ALIGNMENT
        self._system_call = system_call
        self.memory, at = _memory(stride * count)
        super().__init__(
            count,
            data=_Pieces(at + self.data_at, size, stride),
            names=_Pieces(at + self.name_at, name_bytes, stride),
            control=_Pieces(at, control_bytes, stride) if control_bytes else None,
        )
        self._fresh = array.array(_WORD, self._headers)

    def receive(self, descriptor: int) -> int:
        """Receive without waiting; return how many messages came. Raises OSError."""
        self._headers[:] = self._fresh  # the kernel has written into it
        return self._system_call(descriptor, self._headers_at, self.count)

    def lengths(self, count: int) -> "array.array[int]":
        """Return the length of each of the first `count` messages."""
        lengths = self._column(_LENGTH, count)
        return _words(each >> _INT_SHIFT for each in lengths) if _INT_SHIFT else lengths

    def are_complete(self, count: int) -> bool:
        """Whether each of the first `count` messages has all of its address and of its control messages.

        And whether none of them has a flag: MSG_TRUNC is the one of a message that was cut.
        """
        return all(
            self._column(column, count) == self._fresh[column : _WORDS * count : _WORDS]
            for column in (_NAME_LENGTH, _CONTROL_LENGTH, _FLAGS)
        )

    def message(self, place: int) -> tuple[bytes, bytes, bytes]:
        """Return a message, its sender's address and its control messages, as far as they came."""
        headers, start = self._headers, _WORDS * place
        pieces = (
            (self.data_at, headers[start + _LENGTH] >> _INT_SHIFT, self.size),
            (self.name_at, headers[start + _NAME_LENGTH] >> _INT_SHIFT, self.name_bytes),
            (0, headers[start + _CONTROL_LENGTH], self.control_bytes),
        )
        slot = self.memory[place * self.stride : (place + 1) * self.stride]
        data, name, control = (bytes(slot[at : at + min(length, room)]) for at, length, room in pieces)
        return data, name, control

    def _column(self, column: int, count: int) -> "array.array[int]":
        return self._headers[column : _WORDS * count : _WORDS]


def _words(values: Iterable[int]) -> "array.array[int]":
    return array.array(_WORD, values)


def _memory(size: int) -> tuple[memoryview, int]:
    """Return memory and its address. It does not move: while there is a view of it, it cannot be resized."""
    memory = bytearray(size)
    at = ctypes.addressof((ctypes.c_char * size).from_buffer(memory)) if size else 0
    return memoryview(memory), at
