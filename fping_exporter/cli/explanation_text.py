"""An explanation as text for a terminal. Nothing is decided here: every word comes from the value."""

import textwrap
from collections.abc import Iterator
from functools import partial
from typing import Protocol

from fping_exporter.config.duration import format_age
from fping_exporter.explanation.values import AddressFacts, Explanation, WitnessFacts
from fping_exporter.text import printable
from fping_exporter.web.times import format_utc

__all__ = ["WIDTH", "as_text"]

WIDTH = 100
"""Characters of a line, at most; ids and commands are not broken."""
_TERM = 18
"""Width of the column of terms."""


def as_text(explanation: Explanation, *, now: float, width: int = WIDTH) -> str:
    """Return the lines, of `width` characters; `now` is a Unix time, against which ages are given."""
    wrap = partial(_wrap, width=width)
    return "\n".join(printable(line).rstrip() for line in _lines(explanation, now, wrap))


def _lines(it: Explanation, now: float, wrap: "_Wrap") -> Iterator[str]:
    yield f"{it.name or 'without a name'} ({it.id}) in project {it.project}"
    yield from wrap(it.summary)
    if it.reason:
        yield from wrap(f"{it.reason}: {it.meaning}")
    for remark in it.remarks:
        yield from wrap(remark)
    yield ""
    yield "Nova"
    yield from _facts(_nova(it, now), wrap)
    for address in it.addresses:
        yield ""
        yield f"Address {address.ip} ({address.kind}, network {address.network or 'without a name'})"
        yield from _facts(_address(address), wrap)
    if not it.addresses:
        yield ""
        yield "Addresses: Nova lists none"
    yield ""
    yield "Ping"
    yield from _facts(_ping(it, now), wrap)
    yield ""
    yield "Next"
    yield from wrap(it.next.sentence)
    if it.next.command:
        yield f"    {it.next.command}"
    if it.next.section:
        yield f"  Runbook: {it.next.url or it.next.section}"


def _nova(it: Explanation, now: float) -> Iterator[tuple[str, str]]:
    nova = it.nova
    yield "status", nova.status
    yield "task", nova.task_state or "none"
    yield "power", nova.power_state or "unknown"
    hypervisor = nova.hypervisor or "unknown"
    up = {True: " (up)", False: " (down)", None: ""}[nova.hypervisor_up]
    yield "host", f"{nova.host or 'unknown'}, hypervisor {hypervisor}{up}"
    yield "zone", nova.availability_zone or "unknown"
    yield "created", _when(nova.created_at, now)
    yield "launched", _when(nova.launched_at, now)


def _address(it: AddressFacts) -> Iterator[tuple[str, str]]:
    yield "port", f"{it.port_id or 'unknown'}, MAC {it.mac or 'unknown'}"
    yield "network", it.network_id or "unknown"
    yield "owner", it.owner
    for other in it.others:
        yield "also", " ".join(filter(None, (other.name, f"({other.id})" if other.id else ""))) or "somebody"
    if it.others_count > len(it.others):
        yield "also", f"{it.others_count - len(it.others)} more"
    if it.why_not_asked:
        yield "not asked", it.why_not_asked
    if it.vantage:
        yield "from", f"{it.vantage}, source {it.source or 'unknown'}"
    if it.sent is not None:
        yield "packets", f"{it.received} of {it.sent} answered{_rtt(it.rtt_seconds)}"
    if it.icmp_error:
        error = it.icmp_error
        yield "ICMP error", f"{error.meaning}, from {error.sender or 'somebody unknown'}"
    yield "security groups", it.security.text
    yield "layer 2", f"{it.layer2.text}{f', at MAC {it.layer2.mac}' if it.layer2.asked else ''}"


def _ping(it: Explanation, now: float) -> Iterator[tuple[str, str]]:
    how = "for this" if it.anew else "by the last sweep"
    yield "found out", f"{_when(it.asked_at, now)}, {how}"
    yield "listed", _when(it.listed_at, now)
    never = it.remembered and it.last_reply_at is None
    yield "last reply", "none to this exporter" if never else _when(it.last_reply_at, now)
    if it.since is not None:
        at_least = ", at least" if it.since_at_least else ""
        yield "since", f"{_when(it.since, now)}{at_least}"
    if it.loss_ratio is not None:
        yield "lost", f"{it.loss_ratio:.0%}{_rtt(it.rtt_seconds)}"
    for witness in it.witnesses:
        yield "other exporter", _witness(witness, now)


def _witness(it: WitnessFacts, now: float) -> str:
    word = "answers" if it.alive else f"silent: {it.reason}" if it.reason else "silent"
    layer2 = ", answers at layer 2" if it.layer2_alive else ""
    return f"{it.exporter or 'one'}: {word}{layer2}{_rtt(it.rtt_seconds)}, {_when(it.swept_at, now)}"


def _rtt(seconds: float | None) -> str:
    return "" if seconds is None else f", best round trip {seconds * 1000:.3f} ms"


def _when(at: float | None, now: float) -> str:
    return "unknown" if at is None else f"{format_utc(at)} ({format_age(now - at)} ago)"


def _facts(pairs: Iterator[tuple[str, str]], wrap: "_Wrap") -> Iterator[str]:
    for term, text in pairs:
        yield from wrap(text, first=f"  {term:<{_TERM}}", following=" " * (_TERM + 2))


class _Wrap(Protocol):
    """Returns a text in lines; the first begins with `first`, the others with `following`."""

    def __call__(self, text: str, /, *, first: str = "  ", following: str = "  ") -> list[str]: ...


def _wrap(text: str, *, width: int, first: str = "  ", following: str = "  ") -> list[str]:
    return textwrap.wrap(
        text,
        width=width,
        initial_indent=first,
        subsequent_indent=following,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [first]
