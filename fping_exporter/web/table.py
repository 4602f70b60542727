"""The table of instances: what a query string asks for, found, sorted and cut into pages."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, Self

from fping_exporter.model import Snapshot, Verdict

__all__ = ["PAGE_SIZE", "SORTS", "Page", "Query", "find", "paginate", "sort"]

PAGE_SIZE = 100
SORTS = ("name", "project", "status", "ping", "last_reply", "rtt", "hypervisor")


class Query(NamedTuple):
    """What the page shows; an empty text is no restriction.

    Links and bookmarks outlive what they name: nothing is an error, and what
    does not exist is not found.
    """

    q: str = ""
    """Part of a name, an id or an address, whatever the case."""
    project: str = ""
    """Id or name."""
    status: str = ""
    ping: str = ""
    """``alive``, ``silent``, ``unasked``, or a reason of silence."""
    hypervisor: str = ""
    sort: str = ""
    """One of SORTS, after a ``-`` in descending order; empty: what needs attention first."""
    page: int = 1

    @classmethod
    def read(cls, args: Mapping[str, str]) -> Self:
        """Read a query string's parameters; others are left alone."""
        texts = {name: args[name].strip() for name in cls._fields if name in args and name != "page"}
        page = args.get("page", "")
        number = int(page) if page.isascii() and page.isdigit() and len(page) < _MANY_DIGITS else 1
        return cls(**texts, page=max(number, 1))

    def but(self, **changes: str | int) -> dict[str, str | int]:
        """Return the parameters of a link to the same with these changes; first page unless given."""
        asked = self._replace(**{"page": 1, **changes})._asdict()  # type: ignore[arg-type]
        return {name: value for name, value in asked.items() if value != self._field_defaults[name]}

    @property
    def restricted(self) -> bool:
        """Whether anything is filtered out."""
        return any((self.q, self.project, self.status, self.ping, self.hypervisor))


_MANY_DIGITS = 10


class Page(NamedTuple):
    """A piece of a longer list; pages count from 1."""

    rows: list[Verdict]
    number: int
    last: int
    total: int
    """Rows on all pages."""
    begin: int
    """Number of its first row, from 1; 0 where there is none."""


def paginate(verdicts: list[Verdict], number: int) -> Page:
    """Cut out a page; the last one where there are not so many."""
    last = max(1, -(-len(verdicts) // PAGE_SIZE))
    number = min(number, last)
    begin = (number - 1) * PAGE_SIZE
    rows = verdicts[begin : begin + PAGE_SIZE]
    return Page(rows, number, last, len(verdicts), begin + 1 if rows else 0)


def find(snapshot: Snapshot, query: Query) -> list[Verdict]:
    """Return the verdicts that the query is about, in the snapshot's order."""
    term = query.q.casefold()
    return [
        verdict
        for verdict in snapshot.verdicts
        if (not query.status or verdict.instance.status == query.status)
        and (not query.ping or query.ping in _answers(verdict))
        and (not query.hypervisor or verdict.instance.hypervisor == query.hypervisor)
        and (not query.project or query.project in _project(snapshot, verdict))
        and (not term or _mentions(verdict, term))
    ]


def _answers(verdict: Verdict) -> tuple[str, ...]:
    if verdict.reason is None:
        return ("alive",)
    return ("unasked" if verdict.alive is None else "silent", verdict.reason)


def _project(snapshot: Snapshot, verdict: Verdict) -> tuple[str, str]:
    return verdict.instance.project_id, snapshot.inventory.project_name(verdict.instance.project_id)


def _mentions(verdict: Verdict, term: str) -> bool:
    instance = verdict.instance
    return (
        term in instance.name.casefold()
        or term in instance.id.casefold()
        or any(term in address.ip for address in instance.addresses)
    )


def sort(snapshot: Snapshot, verdicts: list[Verdict], order: str) -> list[Verdict]:
    """Sort by one of SORTS, descending after a ``-``; an order that is none of these is by attention.

    Equals are by name. What has no value comes last, whatever the direction.
    """
    keys: dict[str, Callable[[Verdict], str | float | None]] = {
        "name": _name,
        "project": lambda v: snapshot.inventory.project_name(v.instance.project_id).casefold(),
        "status": lambda v: v.instance.status,
        "ping": lambda v: v.reason or "",
        "last_reply": lambda v: v.last_reply_at,
        "rtt": lambda v: v.rtt,
        "hypervisor": lambda v: v.instance.hypervisor or None,
    }
    by_name = sorted(verdicts, key=_name)
    key = keys.get(order.removeprefix("-"))
    if key is None:
        return sorted(by_name, key=_attention)
    known = [(value, verdict) for verdict in by_name if (value := key(verdict)) is not None]
    known.sort(key=lambda pair: pair[0], reverse=order.startswith("-"))
    return [verdict for _, verdict in known] + [verdict for verdict in by_name if key(verdict) is None]


def _name(verdict: Verdict) -> str:
    return verdict.instance.name.casefold()


def _attention(verdict: Verdict) -> tuple[int, float]:
    """Silent though ACTIVE first, of these the one last heard of first; then answering though not ACTIVE."""
    if verdict.silent:
        return 0, -(verdict.last_reply_at or 0)
    return (1, 0) if verdict.alive and not verdict.instance.active else (2, 0)
