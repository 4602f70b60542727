"""A network in which every address plays a part, for the scripted end of a TUN.

``tc netem`` is not in every kernel, and delay, loss and lies are simpler to tell in Python.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from tests.probe.wire import Request

__all__ = ["DELAY", "NETWORKS", "REORDERED", "Script", "addresses"]

NETWORKS = ("10.65.0.0/24", "fd65::/64")
DELAY = 0.15
REORDERED = range(100, 200)
"""The last bytes of addresses that answer in the opposite order, over a tenth of a second."""

Answers = Iterable[tuple[float, bytes]]
Part = Callable[[Request, int], Answers]
"""Takes a request, and how often this address has been asked."""


def plain(request: Request, _asked: int) -> Answers:
    yield 0, request.reply()


def reply_from_other(request: Request, _asked: int) -> Answers:
    yield 0, request.reply(source=_other(request))


def other_ident(request: Request, _asked: int) -> Answers:
    yield 0, request.reply(ident=request.ident ^ 0x5A5A)


def other_sequence(request: Request, _asked: int) -> Answers:
    yield 0, request.reply(sequence=request.sequence + 77)


def other_cookie(request: Request, _asked: int) -> Answers:
    yield 0, request.reply(payload=request.payload[::-1])


def no_cookie(request: Request, _asked: int) -> Answers:
    yield 0, request.reply(payload=b"")


def errors_that_quote_nothing(request: Request, _asked: int) -> Answers:
    yield 0, request.error(quote=b"\x45")
    yield 0, request.error(quote=b"")


def three_times(request: Request, _asked: int) -> Answers:
    yield from [(0, request.reply())] * 3


def late(request: Request, _asked: int) -> Answers:
    yield DELAY, request.reply()


def very_late_and_once(request: Request, asked: int) -> Answers:
    if asked == 1:
        yield 3 * DELAY, request.reply()


def second_time_only(request: Request, asked: int) -> Answers:
    if asked > 1:
        yield 0, request.reply()


def error_then_reply(request: Request, _asked: int) -> Answers:
    yield 0, request.error(source=_other(request))
    yield DELAY, request.reply()


def error_about_other_then_reply(request: Request, _asked: int) -> Answers:
    last = 19 if request.family == 4 else 39  # of the destination, in the IP header
    yield 0, request.error(quote=request.packet[:last] + b"\xfe" + request.packet[last + 1 :])
    yield DELAY, request.reply()


def error_with_other_cookie_then_reply(request: Request, _asked: int) -> Answers:
    yield 0, request.error(quote=request.packet[:-8] + bytes(8))
    yield DELAY, request.reply()


def short_error(request: Request, _asked: int) -> Answers:
    header = 20 if request.family == 4 else 40
    yield 0, request.error(quote=request.packet[: header + 8], source=_other(request))


def wrong_checksum(request: Request, _asked: int) -> Answers:
    yield 0, request.reply(checksum_fault=1)


def wrong_checksum_of_error(request: Request, _asked: int) -> Answers:
    yield 0, request.error(checksum_fault=1)


PARTS: dict[int, Part] = dict(
    enumerate(
        (
            plain,
            reply_from_other,
            other_ident,
            other_sequence,
            other_cookie,
            no_cookie,
            errors_that_quote_nothing,
            three_times,
            late,
            very_late_and_once,
            second_time_only,
            error_then_reply,
            error_about_other_then_reply,
            error_with_other_cookie_then_reply,
            short_error,
            wrong_checksum,
            wrong_checksum_of_error,
        ),
        start=1,
    )
)
_NUMBERS = {part: number for number, part in PARTS.items()}


def addresses(*parts: Part | int) -> list[str]:
    """Return the two addresses, IPv4 and IPv6, of each part."""
    numbers = [part if isinstance(part, int) else _NUMBERS[part] for part in parts]
    return [ip for number in numbers for ip in (f"10.65.0.{number}", f"fd65::{number:x}")]


class Script:
    """Answers as the part of the address that is asked says, and counts who was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __call__(self, packet: bytes) -> Iterator[tuple[float, bytes]]:
        request = Request.read(packet)
        if request is None:
            return
        with self._lock:
            self.asked[request.destination] += 1
        if request.number in REORDERED:
            yield (REORDERED.stop - request.number) / 1000, request.reply()
        elif request.number in PARTS:
            yield from PARTS[request.number](request, self.asked[request.destination])


def _other(request: Request) -> str:
    return addresses(254)[0 if request.family == 4 else 1]
