"""ICMP sockets: raw where permitted, else datagram, behind one interface.

icmplib's socket classes are not used: they resolve each address anew, compute the checksum
in a Python loop, and give neither the sender, nor kernel timestamps, nor the error queue.

Here are single messages; :mod:`fping_exporter.probe.transport` decides how many go with one system call.
"""

import contextlib
import errno
import os
import secrets
import socket
import struct
import sys
import time
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Self

import msgspec

from fping_exporter.errors import OpenFilesError, ProbeError, SocketPermissionError
from fping_exporter.model import Family, IcmpError
from fping_exporter.probe import addresses, packet
from fping_exporter.probe.send_errors import PENDING
from fping_exporter.probe.socket_options import BOOKED_BYTES, attach_filter, enlarge_buffers
from fping_exporter.probe.timestamps import SO_TIMESTAMPNS, ArrivalClock, kernel_stamp

__all__ = [
    "LOOPBACK_BROADCAST",
    "OUT_OF_FILES",
    "IcmpSocket",
    "Kind",
    "check_permission",
    "open_socket",
    "permission_error",
]

LOOPBACK_BROADCAST = "127.255.255.255"
"""What is sent there stays on this machine and is not answered: the address of the demo's silent guests."""

# From Linux's linux/icmp.h, linux/icmpv6.h, linux/in.h, linux/in6.h
# and linux/errqueue.h; the socket module lacks them.
_SOL_RAW = 255
_ICMP_FILTER = 1
_ICMP6_FILTER = 1
_RECVERR: dict[Family, tuple[int, int]] = {4: (socket.IPPROTO_IP, 11), 6: (socket.IPPROTO_IPV6, 25)}
_FROM_ICMP = (2, 3)
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_OFFENDER: dict[Family, slice] = {4: slice(4, 8), 6: slice(8, 24)}
"""Where the address is in the socket address that follows the extended error: who reports it."""

_PACKET_BYTES = 2048
_ANCILLARY_BYTES = 512
_ERRORS_AT_ONCE = 1 << 16
"""Errors to read before the caller goes on: more than a queue holds, yet a flood does not hold it up."""
_SEND_TRIES = 8
OUT_OF_FILES = frozenset({errno.EMFILE, errno.ENFILE})
"""What the kernel says where the process, or the machine, may open no further file."""
_FAMILY: dict[Family, socket.AddressFamily] = {4: socket.AF_INET, 6: socket.AF_INET6}
_PROTOCOL: dict[Family, int] = {4: socket.IPPROTO_ICMP, 6: socket.IPPROTO_ICMPV6}
_NAME: dict[Family, str] = {4: "ICMP", 6: "ICMPv6"}


class Kind(StrEnum):
    """The type of an ICMP socket, which depends on the rights of the process."""

    RAW = "raw"
    DATAGRAM = "datagram"


class IcmpSocket:
    """An ICMP socket with its own identifier.

    Other programs' packets never reach its buffer: the kernel gives a datagram socket only its own
    replies, and a raw one has a filter on the identifier.
    """

    def __init__(
        self,
        sock: socket.socket,
        *,
        family: Family,
        kind: Kind,
        wall_clock: Callable[[], int] = time.time_ns,
    ) -> None:
        """Take over `sock`, a new one. `wall_clock` is the one by which the kernel stamps packets."""
        self.family = family
        self.kind = kind
        self._sock = sock
        self._sendto = sock.sendto
        self._errors: list[packet.EchoError] = []
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        enlarge_buffers(sock)
        # Without it, the kernel does not tell a raw socket that there was no room for a packet.
        sock.setsockopt(*_RECVERR[family], 1)
        if kind is Kind.RAW:
            self.ident = secrets.randbelow(0xFFFF) + 1
            _filter_types(sock, family)
            _filter_ident(sock, family, self.ident)
        else:
            self.ident = _bind_ident(sock)
        self.room = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // BOOKED_BYTES
        """Packets that the receive buffer certainly holds."""
        self._clock = ArrivalClock(wall_clock)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the socket."""
        self._sock.close()

    def fileno(self) -> int:
        """Return the file descriptor, for a selector."""
        return self._sock.fileno()

    def send(self, message: bytes, address: bytes) -> None:
        """Send an ICMP message; raise OSError if the kernel refuses this one."""
        try:
            self._sendto(message, (addresses.unpack(address), 0))
        except OSError as error:
            if error.errno not in PENDING:
                raise
            self.send_again(message, address)

    def send_again(self, message: bytes, address: bytes) -> None:
        """Send what the kernel has just refused with one of :data:`PENDING`; raise OSError as :meth:`send`.

        The error may have been about an earlier packet, even another program's: Linux reports an ICMP error
        on the next call, whomever that one is for. Only what is raised while the error queue is empty is
        this packet's own.
        """
        ip = addresses.unpack(address)
        # Without the option, Linux refuses the one broadcast address that is no network's.
        broadcast = ip == LOOPBACK_BROADCAST
        if broadcast:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        try:
            self._send_after_pending_errors(message, ip)
        finally:
            if broadcast:
                self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 0)

    def _send_after_pending_errors(self, message: bytes, ip: str) -> None:
        for _ in range(_SEND_TRIES):
            fetched = self._read_error_queue()
            try:
                self._sendto(message, (ip, 0))
            except OSError as error:
                if not fetched or error.errno not in PENDING:
                    raise
                last = error
            else:
                return
        raise last

    def begin_reading(self) -> int | None:
        """Note that messages are about to be read; return what to subtract from their stamps.

        See :meth:`ArrivalClock.begin`.
        """
        return self._clock.begin()

    def receive(self) -> tuple[bytes, bytes, int | None]:
        """Return a message, its sender, and the kernel's stamp; raise OSError if there is none.

        That is BlockingIOError if none has come, and another one if an ICMP error waits in the error queue.
        """
        data, ancillary, _, name = self._sock.recvmsg(_PACKET_BYTES, _ANCILLARY_BYTES)
        return data, addresses.pack(name[0]) or b"", kernel_stamp(ancillary)

    def fetch_errors(self) -> list[packet.EchoError]:
        """Return what the error queue says of our packets, each error once.

        A raw socket receives the same errors as messages, and takes those.
        """
        self._read_error_queue()
        errors, self._errors = self._errors, []
        return errors

    def _read_error_queue(self) -> bool:
        """Keep the errors that are in the queue; return whether there were any."""
        fetched = False
        for _ in range(_ERRORS_AT_ONCE):
            try:
                data, ancillary, _, address = self._sock.recvmsg(
                    _PACKET_BYTES, _ANCILLARY_BYTES, socket.MSG_ERRQUEUE
                )
            except OSError:
                break
            fetched = True
            report = None if self.kind is Kind.RAW else self._find_report(ancillary)
            if report is None:
                continue
            error = packet.parse_request(self.family, data, destination=address[0])
            if error is not None and error.ident == self.ident:
                self._errors.append(
                    msgspec.structs.replace(
                        error, icmp_type=report.type, code=report.code, sender=report.sender
                    )
                )
        return fetched

    def _find_report(self, ancillary: list[tuple[int, int, bytes]]) -> IcmpError | None:
        """Return what the control messages say of the loss of a packet; None if they say nothing of that."""
        for level, kind, data in ancillary:
            if (level, kind) == _RECVERR[self.family] and len(data) >= _EXTENDED_ERROR.size:
                _, origin, icmp_type, code, _, _ = _EXTENDED_ERROR.unpack_from(data)
                if origin not in _FROM_ICMP or icmp_type not in packet.ERROR_TYPES[self.family]:
                    return None
                sender = data[_EXTENDED_ERROR.size :][_OFFENDER[self.family]]
                known = len(sender) in addresses.FAMILY
                return IcmpError(addresses.unpack(sender) if known else "", icmp_type, code)
        return None


def open_socket(family: Family) -> IcmpSocket:
    """Open a socket in the current network namespace, raw if permitted, else datagram.

    Raises SocketPermissionError if neither is permitted, OpenFilesError if this process may open no further
    file, and ProbeError if the kernel gives none for another reason, such as a machine without IPv6.
    """
    refusals: list[OSError] = []
    for kind, sock_type in ((Kind.RAW, socket.SOCK_RAW), (Kind.DATAGRAM, socket.SOCK_DGRAM)):
        try:
            sock = socket.socket(_FAMILY[family], sock_type, _PROTOCOL[family])
        except OSError as error:
            refusals.append(error)
            continue
        try:
            return IcmpSocket(sock, family=family, kind=kind)
        except OSError as error:
            sock.close()
            refusals.append(error)
    if all(isinstance(error, PermissionError) for error in refusals):
        raise permission_error()
    if any(error.errno in OUT_OF_FILES for error in refusals):
        raise OpenFilesError
    raise ProbeError(f"no {_NAME[family]} socket can be opened: {refusals[0].strerror}")


def check_permission() -> Kind:
    """Open a socket and close it; return its kind.

    Raises SocketPermissionError, whose one line names both remedies, or ProbeError.
    """
    with open_socket(4) as sock:
        return sock.kind


def permission_error() -> SocketPermissionError:
    """Build the error for a missing ICMP permission.

    The suggested sysctl range includes the current one, so that nobody loses the permission.
    """
    low = high = os.getegid()
    with contextlib.suppress(OSError):  # a service may not see /proc/sys
        first, last = map(int, Path("/proc/sys/net/ipv4/ping_group_range").read_text("ascii").split())
        if first <= last:
            low, high = min(low, first), max(high, last)
    return SocketPermissionError(
        "this user may not open ICMP sockets: as root, permit it with "
        f"`setcap cap_net_raw+ep {os.path.realpath(sys.executable)}` or with "
        f"`sysctl -w net.ipv4.ping_group_range='{low} {high}'`"
    )


def _bind_ident(sock: socket.socket) -> int:
    """Give a datagram socket a random identifier: the kernel would count up, which can be guessed."""
    for _ in range(16):
        try:
            sock.bind(("", secrets.randbelow(0xFFFF) + 1))
            break
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    else:
        sock.bind(("", 0))
    return int(sock.getsockname()[1])


def _filter_types(sock: socket.socket, family: Family) -> None:
    """Let only echo replies and ICMP errors through to a raw socket."""
    wanted = packet.ERROR_TYPES[family] | {packet.REPLY_TYPE[family]}
    blocked = (1 << 256) - 1
    for icmp_type in wanted:
        blocked &= ~(1 << icmp_type)
    if family == packet.IPV4:
        sock.setsockopt(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", blocked & 0xFFFFFFFF))
    else:
        words = [blocked >> shift & 0xFFFFFFFF for shift in range(0, 256, 32)]
        sock.setsockopt(socket.IPPROTO_ICMPV6, _ICMP6_FILTER, struct.pack("=8I", *words))


def _filter_ident(sock: socket.socket, family: Family, ident: int) -> None:
    """Keep other programs' pings from a raw socket: they would fill its buffer.

    This is a classic BPF program. A reply must carry the identifier, an error must quote it. Offsets
    count from the IPv4 header, whose length goes to X, or from the ICMPv6 header. Our requests have
    neither IPv4 options nor IPv6 extension headers, so their quotes have none.
    """
    if family == packet.IPV4:
        load_x, inner_protocol, inner_ident = 0xB1, 8 + 9, 8 + 20 + 4
    else:
        load_x, inner_protocol, inner_ident = 0x01, 8 + 6, 8 + 40 + 4
    load_byte, load_half, jump_equal, give = 0x50, 0x48, 0x15, 0x06
    program = (
        (load_x, 0, 0, 0),
        (load_byte, 0, 0, 0),
        (jump_equal, 0, 2, packet.REPLY_TYPE[family]),
        (load_half, 0, 0, 4),
        (jump_equal, 4, 5, ident),
        (load_byte, 0, 0, inner_protocol),
        (jump_equal, 0, 3, _PROTOCOL[family]),
        (load_half, 0, 0, inner_ident),
        (jump_equal, 0, 1, ident),
        (give, 0, 0, 0xFFFFFFFF),
        (give, 0, 0, 0),
    )
    attach_filter(sock, program)
