"""Options of sockets that the socket module lacks: packet filters, and buffers beyond the system's limit."""

import ctypes
import socket
import struct
from collections.abc import Sequence

__all__ = ["BOOKED_BYTES", "Instruction", "attach_filter", "enlarge_buffers"]

Instruction = tuple[int, int, int, int]
"""One of classic BPF (linux/filter.h): operation, where to go on if it holds and if not, operand."""

# From Linux's asm-generic/socket.h.
_SO_ATTACH_FILTER = 26
_SO_SNDBUFFORCE = 32
_SO_RCVBUFFORCE = 33

_BUFFER_BYTES = 16 << 20
"""Asked for in either direction; the kernel doubles it, or cuts it to the system's limit.

In the send buffer packets wait for neighbours that do not answer ARP.
"""
BOOKED_BYTES = 2048
"""More than the kernel books of a buffer for a small packet (768 to 1280 bytes)."""


def enlarge_buffers(sock: socket.socket) -> None:
    """Enlarge both buffers of a socket, with CAP_NET_ADMIN beyond the system's limit."""
    for forced, option in ((_SO_RCVBUFFORCE, socket.SO_RCVBUF), (_SO_SNDBUFFORCE, socket.SO_SNDBUF)):
        try:
            sock.setsockopt(socket.SOL_SOCKET, forced, _BUFFER_BYTES)
        except PermissionError:
            sock.setsockopt(socket.SOL_SOCKET, option, _BUFFER_BYTES)


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Let a classic BPF program decide which packets a socket gets. Raises OSError."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    sock.setsockopt(
        socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(program), ctypes.addressof(code))
    )
