"""The kernel's receive timestamps, by which a round trip is the packet's and not the reader's.

Linux stamps packets only while some socket of the machine has asked for timestamps, and it switches
the stamping on a few milliseconds after the first one asks (``net_enable_timestamp`` leaves that to
a work queue). A packet that arrives before has no stamp, and is given the time at which it is read,
which the reader cannot tell from a true one (``__sock_recv_timestamp``). So one socket of this
process keeps the stamping switched on, and no round trip is believed before a packet to itself has
shown that it is.
"""

import atexit
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable

__all__ = ["SO_TIMESTAMPNS", "ArrivalClock", "kernel_stamp", "timestamping_is_on"]

SO_TIMESTAMPNS = 35
"""From Linux's asm-generic/socket.h; the socket module lacks it."""

Ancillary = list[tuple[int, int, bytes]]

_TIMESPEC = struct.Struct("@ll")
_SWITCH_ON_LIMIT = 0.25
"""Seconds to wait for the kernel to switch the stamping on. It takes some 5 ms."""
_LONG_ENOUGH = 1.0
"""Seconds after which the stamping is taken to be on where loopback does not carry a packet to show it."""
_CLOCK_SET = 1_000_000
"""Nanoseconds that the two clocks move against each other only if the wall clock is set: slewing
moves both."""
_READ_TOGETHER = 20_000
"""Nanoseconds within which two clocks count as read at the same time."""


def kernel_stamp(ancillary: Ancillary) -> int | None:
    """Return the wall-clock time of arrival in nanoseconds; None if the packet has none."""
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = _TIMESPEC.unpack(data)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return None


class _Keeper:
    """The socket that keeps the stamping switched on, as long as the process lives."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._opened_at = 0.0
        self._is_on = False

    def is_on(self) -> bool:
        """Return whether packets are stamped on arrival, after a short wait for the kernel if need be."""
        if self._is_on:
            return True
        with self._lock, contextlib.suppress(OSError):  # no descriptor is left: the next sweep tries again
            if self._socket is None:
                self._socket, self._opened_at = _open_to_itself(), time.monotonic()
                atexit.register(self._socket.close)
            self._is_on = self._wait(self._socket)
        return self._is_on

    def _wait(self, sock: socket.socket) -> bool:
        end, pause = time.monotonic() + _SWITCH_ON_LIMIT, 0.001
        try:
            while time.monotonic() < end:
                if _stamps_on_arrival(sock, pause):
                    return True
                pause *= 2
        except OSError:  # a firewall on loopback keeps it from showing
            return time.monotonic() - self._opened_at > _LONG_ENOUGH
        return False


timestamping_is_on = _Keeper().is_on
"""Keep the stamping switched on from now on; return whether it is. Waits a quarter of a second at most."""


def _open_to_itself() -> socket.socket:
    """Open a UDP socket on loopback that is connected to itself: nobody else can send to it."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
    except OSError:
        sock.close()
        raise
    return sock


def _stamps_on_arrival(sock: socket.socket, pause: float) -> bool:
    """Send a packet to `sock` itself; return whether its stamp is older than the reading of it."""
    sock.send(b"?")
    time.sleep(pause)
    before = time.time_ns()
    _, ancillary, _, _ = sock.recvmsg(16, 512)
    stamp = kernel_stamp(ancillary)
    return stamp is not None and stamp < before


class ArrivalClock:
    """Turns the stamps of one socket, which are of the wall clock, into times of the monotonic clock."""

    def __init__(self, wall_clock: Callable[[], int] = time.time_ns) -> None:
        """Begin now; `wall_clock` returns the time in nanoseconds."""
        self._wall_clock = wall_clock
        self._offset = self._measure()

    def begin(self) -> int | None:
        """Note that packets are about to be read, which came in since the last call of this.

        Returns what to subtract from their stamps, in nanoseconds, to have the time of the monotonic clock.
        If the wall clock was set meanwhile, nobody knows by which setting they were stamped: then it is None.
        """
        offset = self._measure()
        usable = abs(offset - self._offset) < _CLOCK_SET
        self._offset = offset
        return offset if usable else None

    def _measure(self) -> int:
        """Return by how much the wall clock is ahead of the monotonic one.

        A thread may lose the processor between two readings of a clock: the closest of a few counts.
        """
        best = offset = 0
        for attempt in range(4):
            before = time.monotonic_ns()
            wall = self._wall_clock()
            apart = time.monotonic_ns() - before
            if attempt == 0 or apart < best:
                best, offset = apart, wall - before - apart // 2
            if best < _READ_TOGETHER:
                break
        return offset
