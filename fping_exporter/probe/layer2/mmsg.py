"""Many frames with one system call: sendmmsg(2) and recvmmsg(2), which the socket module lacks.

For 20,000 guests, a call for each frame would cost twice the CPU time of everything else together.
"""

import ctypes
import os
import socket
import struct
from collections.abc import Sequence

__all__ = ["Arrival", "Receiver", "Sender"]

_libc = ctypes.CDLL(None, use_errno=True)


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("iov", ctypes.POINTER(_Iovec)),
        ("iov_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint))


class Sender:
    """A buffer for up to `count` frames of `size` bytes each."""

    def __init__(self, *, count: int, size: int) -> None:
        """Lay out the buffer; it is used again for each batch."""
        self.count = count
        self._buffer = (ctypes.c_char * (count * size))()
        self._iovecs, self._headers = _lay_out(self._buffer, count, size)

    def send(self, sock: socket.socket, frames: Sequence[bytes]) -> int:
        """Send `frames`; return how many the kernel took. Raises OSError if it took none."""
        joined = b"".join(frames)
        ctypes.memmove(self._buffer, joined, len(joined))
        taken = int(_libc.sendmmsg(sock.fileno(), self._headers, len(frames), 0))
        if taken <= 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return taken


Arrival = tuple[bytes, tuple[int, int, int, int]]
"""A frame and what the kernel says of it.

That is when it came in, in seconds and nanoseconds by the wall clock; bits TP_STATUS_* of
linux/if_packet.h; its VLAN tag, if these say that it had one: the kernel takes it out of the frame.
"""


class Receiver:
    """A buffer for up to `count` frames, of which the first `size` bytes are kept.

    The sockets must have SO_TIMESTAMPNS and PACKET_AUXDATA set.
    """

    def __init__(self, *, count: int, size: int) -> None:
        """Lay out the buffer; it is used again for each call."""
        self.count, self._size = count, size
        self._buffer = (ctypes.c_char * (count * size))()
        self._control = (ctypes.c_char * (count * _CONTROL.size))()
        self._iovecs, self._headers = _lay_out(self._buffer, count, size)
        at = ctypes.addressof(self._control)
        for number, message in enumerate(self._headers):
            message.header.control = at + number * _CONTROL.size
            message.header.control_length = _CONTROL.size
        self._fresh = bytes(self._headers)

    def receive(self, sock: socket.socket) -> list[Arrival]:
        """Return what has come, up to `count` frames, without waiting. Raises OSError."""
        ctypes.memmove(self._headers, self._fresh, len(self._fresh))  # the kernel has written into it
        count = int(_libc.recvmmsg(sock.fileno(), self._headers, self.count, socket.MSG_DONTWAIT, None))
        if count < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        size = self._size
        data = ctypes.string_at(self._buffer, count * size)
        control = ctypes.string_at(self._control, count * _CONTROL.size)
        lengths = [message.length for message in self._headers[:count]]
        frames = [data[n * size : n * size + length] for n, length in enumerate(lengths)]
        return list(zip(frames, _CONTROL.iter_unpack(control), strict=True))


def _lay_out(
    buffer: "ctypes.Array[ctypes.c_char]", count: int, size: int
) -> "tuple[ctypes.Array[_Iovec], ctypes.Array[_Mmsghdr]]":
    """Return the headers of messages that lie in `buffer` one after the other, and what they refer to."""
    iovecs, headers = (_Iovec * count)(), (_Mmsghdr * count)()
    at = ctypes.addressof(buffer)
    for number in range(count):
        iovecs[number].base, iovecs[number].length = at + number * size, size
        headers[number].header.iov = ctypes.pointer(iovecs[number])
        headers[number].header.iov_count = 1
    return iovecs, headers


_TIMESPEC_BYTES = struct.calcsize("@ll")
_AUXDATA_BYTES = 20


def _padding(size: int) -> int:
    return socket.CMSG_SPACE(size) - socket.CMSG_LEN(size)


_HEADER_BYTES = socket.CMSG_LEN(0)
_CONTROL = struct.Struct(
    f"@{_HEADER_BYTES}xll{_padding(_TIMESPEC_BYTES)}x{_HEADER_BYTES}xI12xH2x{_padding(_AUXDATA_BYTES)}x"
)
"""Two control messages in the order in which Linux writes them: the time of arrival; of PACKET_AUXDATA
(struct tpacket_auxdata) the status and the tag."""
