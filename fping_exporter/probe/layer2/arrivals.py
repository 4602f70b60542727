"""Frames that came in on a packet socket, with what the kernel says of each."""

import socket
import struct

from fping_exporter.probe.mmsg import MessageReceiver

__all__ = ["Arrival", "FrameReceiver"]

Arrival = tuple[bytes, tuple[int, int, int, int]]
"""A frame and what the kernel says of it.

That is when it came in, in seconds and nanoseconds by the wall clock; bits TP_STATUS_* of
linux/if_packet.h; its VLAN tag, if these say that it had one: the kernel takes it out of the frame.
"""


class FrameReceiver:
    """A buffer for up to `count` frames, of which the first `size` bytes are kept.

    The sockets must have SO_TIMESTAMPNS and PACKET_AUXDATA set.
    """

    def __init__(self, *, count: int, size: int) -> None:
        """Lay out the buffer; it is used again for each call."""
        self.count = count
        self._messages = MessageReceiver(count=count, size=size, control_bytes=_CONTROL.size)
        self._control = struct.Struct(f"{_CONTROL.format}{self._messages.stride - _CONTROL.size}x")

    def receive(self, sock: socket.socket) -> list[Arrival]:
        """Return what has come, up to `count` frames, without waiting. Raises OSError."""
        messages = self._messages
        count = messages.receive(sock.fileno())
        slots = messages.memory[: count * messages.stride].tobytes()
        starts = range(messages.data_at, len(slots), messages.stride)
        frames = [slots[at : at + length] for at, length in zip(starts, messages.lengths(count), strict=True)]
        return list(zip(frames, self._control.iter_unpack(slots), strict=True))


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
