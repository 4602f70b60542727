"""The rounds of questions of one sweep: sends them over all links together, and reads what comes in."""

import errno
import os
import selectors
import time
from collections.abc import Sequence
from typing import Self

from fping_exporter.errors import OpenFilesError
from fping_exporter.probe.layer2.arrivals import FrameReceiver
from fping_exporter.probe.layer2.frames import FRAME_BYTES
from fping_exporter.probe.layer2.segment import Guest, Segment
from fping_exporter.probe.mmsg import MessageSender
from fping_exporter.probe.pacing import Pacer

__all__ = ["Exchange"]

_READ_INTERVAL = 0.1
"""Seconds between two readings of the sockets while questions are sent."""
_GATHER = 0.01
"""Seconds from the first answer to the reading: one call for many. The kernel stamps them as they arrive."""
_PAUSE = 0.005
"""Seconds before refused frames are tried again."""
_PATIENCE = 5.0
"""Seconds that one exchange spends in all on links that take no frames."""
_RECEIVED_AT_ONCE = 256
_TEMPORARY = frozenset({errno.ENOBUFS, errno.EAGAIN, errno.ENOMEM, errno.EINTR})
"""A queue of this machine is full."""


class Exchange:
    """Asks all guests of some segments, in as many rounds as the caller wants."""

    def __init__(self, segments: Sequence[Segment], *, pacer: Pacer, timeout: float) -> None:
        """Wait `timeout` seconds for each answer. Raises OpenFilesError where that needs a file too many."""
        self.sent = 0
        self._segments = segments
        self._pacer = pacer
        self._timeout = timeout
        self._patience = _PATIENCE
        self._receiver = FrameReceiver(count=_RECEIVED_AT_ONCE, size=FRAME_BYTES)
        self._senders: dict[int, MessageSender] = {}
        """By the length of their frames."""
        try:
            self._selector = selectors.DefaultSelector()
        except OSError as error:
            raise OpenFilesError from error
        self._read_at = 0.0

    def __enter__(self) -> Self:
        """Register the segments' sockets."""
        for segment in self._segments:
            self._selector.register(segment.link, selectors.EVENT_READ, segment)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the sockets as they are."""
        self._selector.close()

    def ask(self) -> None:
        """Send a question to each guest that has not answered, and wait until all have or had their time."""
        for segment in self._segments:
            segment.begin_round()
        for segment in self._segments:
            for guests in segment.batches(self._pacer.batch):
                self._send(segment, guests)
        self._wait(time.monotonic() + self._timeout)
        for segment in self._segments:
            segment.receive(self._receiver)
            segment.end_round()

    def _send(self, segment: Segment, guests: Sequence[Guest]) -> None:
        """Send a question to each of these guests, unless something is wrong with the link."""
        if segment.fault:
            return
        if delay := self._pacer.reserve(len(guests)):
            time.sleep(delay)
        stuck_at = time.monotonic()
        while guests and not segment.fault:
            began, sent_at = time.monotonic(), time.monotonic_ns()
            sender = self._sender(guests)
            sender.load(b"".join([guest.frame for guest in guests]))
            try:
                taken = sender.send(segment.link.fileno(), 0, len(guests))
            except OSError as error:
                if error.errno not in _TEMPORARY or self._patience <= 0 or began - stuck_at > self._timeout:
                    segment.fault = os.strerror(error.errno or 0)
                    return
                time.sleep(_PAUSE)
                self._patience -= time.monotonic() - began
            else:
                segment.book_sent(guests[:taken], sent_at)
                self.sent += taken
                guests, stuck_at = guests[taken:], began
            if (
                segment.unread + self._pacer.batch > segment.link.room
                or began - self._read_at > _READ_INTERVAL
            ):
                self._receive(0)

    def _sender(self, guests: Sequence[Guest]) -> MessageSender:
        """Return the buffer for these guests' frames, which are of one length."""
        size = len(guests[0].frame)
        sender = self._senders.get(size)
        if sender is None or sender.count < len(guests):
            sender = self._senders[size] = MessageSender(count=len(guests), size=size)
        return sender

    def _wait(self, end: float) -> None:
        """Read answers until all have come, or `end` of the monotonic clock."""
        while any(segment.waiting and not segment.fault for segment in self._segments):
            left = end - time.monotonic()
            if left <= 0:
                return
            self._receive(left)

    def _receive(self, timeout: float) -> None:
        """Read all that has come in; wait for it up to `timeout` seconds if nothing has."""
        ready = self._selector.select(timeout)
        if ready and timeout:
            time.sleep(min(_GATHER, timeout))
        self._read_at = time.monotonic()
        for key, _ in ready:
            key.data.receive(self._receiver)
