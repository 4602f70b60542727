"""The instance table of the status page: columns, filters, sort order, pagination."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, Self

from fping_exporter.model import Instance, Inventory, Reason, Snapshot, Verdict
from fping_exporter.web.ping_state import Classified, PingState, answers_though_off, ping_state

__all__ = [
    "COLUMNS",
    "PAGE_SIZE",
    "Column",
    "Ranked",
    "TablePage",
    "TableQuery",
    "filter_verdicts",
    "find_page",
    "find_rows",
    "rank",
]

PAGE_SIZE = 100


SortKey = Callable[[Snapshot, Verdict], str | float | None]
"""Returns what a column sorts by; None for a verdict that has no value there."""


class Column(NamedTuple):
    """One column of the table.

    ``templates/cells.html`` has a macro of the same name as `key` for its cells.
    """

    key: str
    """The value of the query parameter ``sort``."""
    title: str
    sort_key: SortKey
    numeric: bool = False


COLUMNS = (
    Column("name", "Instance", lambda _, v: _name(v)),
    Column("project", "Project", lambda s, v: s.inventory.project_name(v.instance.project_id).casefold()),
    Column("status", "Nova status", lambda _, v: v.instance.status),
    Column("ping", "Ping", lambda _, v: v.reason or ""),
    Column("since", "Since", lambda s, v: found.at if (found := s.since(v)) else None),
    Column("last_reply", "Last reply", lambda _, v: v.last_reply_at),
    Column("rtt", "RTT", lambda _, v: v.rtt, numeric=True),
    Column("hypervisor", "Hypervisor", lambda _, v: v.instance.hypervisor or None),
)


class TableQuery(NamedTuple):
    """The query string of the page: filters, sort order, page. An empty text does not filter.

    Bookmarks outlive what they name. So no value is an error: an unknown one matches nothing.
    """

    q: str = ""
    """Part of a name, an id, an address, a tag, a metadata item (``role=web``), or of the name of a project
    or hypervisor; case is ignored."""
    project: str = ""
    """Id or name."""
    status: str = ""
    ping: str = ""
    """A PingState, ``silent`` (STOPPED or NEVER), ``though_off`` (see `answers_though_off`), ``layer2`` (the
    kernel answers there), or a Reason."""
    hypervisor: str = ""
    sort: str = ""
    """Key of a column, after a ``-`` in descending order; empty: by urgency."""
    page: int = 1
    refresh: int = 0
    """Seconds after which the browser loads the page again; 0: never."""
    format: str = ""
    """``json`` or ``csv``: all rows, without the page around them."""

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read the parameters of a query string; unknown parameters are ignored."""
        texts = {name: args[name].strip() for name in _TEXTS if name in args}
        if "status" in texts:
            texts["status"] = texts["status"].upper()  # as Nova has it
        refresh = _number(args.get("refresh", ""), default=0)
        form = args.get("format", "")
        return cls(
            **texts,
            page=max(_number(args.get("page", ""), default=1), 1),
            refresh=min(max(refresh, _MIN_REFRESH), _MAX_REFRESH) if refresh else 0,
            format=form if form in {"json", "csv"} else "",
        )

    def link_args(self, **changes: str | int) -> dict[str, str | int]:
        """Return the parameters of a link to this table with `changes`; defaults are left out.

        The link leads to the first page unless `changes` has a page, and to a page, not a file, unless they
        have a format.
        """
        changed = self._replace(**{"page": 1, "format": "", **changes})._asdict()  # type: ignore[arg-type]
        return {name: value for name, value in changed.items() if value != self._field_defaults[name]}

    @property
    def filters(self) -> bool:
        """Whether any filter is set."""
        return any((self.q, self.project, self.status, self.ping, self.hypervisor))


_TEXTS = ("q", "project", "status", "ping", "hypervisor", "sort")
_MIN_REFRESH, _MAX_REFRESH = 5, 3600
_MAX_DIGITS = 10


def _number(text: str, *, default: int) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _MAX_DIGITS else default


class TablePage(NamedTuple):
    """The rows of one page of the table; pages count from 1."""

    rows: list[Verdict]
    number: int
    last: int
    total: int
    """Rows on all pages."""
    first_row: int
    """Number of its first row, from 1; 0 for an empty table."""


class Ranked(NamedTuple):
    """The verdicts of a snapshot by urgency."""

    urgent: list[Verdict]
    """What needs attention, the most urgent first, and by name where that is equal."""
    others: list[Verdict]
    """The rest, not sorted: there are many, and only a few are shown."""


def rank(classified: Classified) -> Ranked:
    """Sort what is urgent to the top.

    That is: ACTIVE and stopped answering (latest reply first), ACTIVE and never answered, off but answering,
    ACTIVE and answering at layer 2 only.
    """
    rest = list(classified.steady)
    off: list[Verdict] = []
    for verdict in classified.others[PingState.ALIVE]:
        (off if verdict.mismatch else rest).append(verdict)
    silent: dict[PingState, list[Verdict]] = {PingState.STOPPED: [], PingState.NEVER: []}
    at_layer2: list[Verdict] = []
    for state, verdicts in silent.items():
        for verdict in classified.others[state]:
            if verdict.instance.status != "ACTIVE":
                rest.append(verdict)
            else:
                (at_layer2 if verdict.layer2_alive else verdicts).append(verdict)
    rest += classified.others[PingState.UNASKED]
    urgent = *silent.values(), off, at_layer2
    for group in urgent:
        group.sort(key=_name)
    silent[PingState.STOPPED].sort(key=lambda verdict: verdict.last_reply_at or 0, reverse=True)
    return Ranked([*chain.from_iterable(urgent)], rest)


def find_page(ranked: Ranked, query: TableQuery, snapshot: Snapshot, *, size: int = PAGE_SIZE) -> TablePage:
    """Return the page of the table that a query asks for; the last page if there are fewer.

    A page has `size` rows. `ranked` are the verdicts of `snapshot`.
    """
    found = _filter(ranked, query, snapshot.inventory)
    total = len(found.urgent) + len(found.others)
    last = max(1, -(-total // size))
    number = min(query.page, last)
    start = (number - 1) * size
    end = min(start + size, total)
    rows = _sort(found, query.sort, snapshot, first=end)[start:end]
    return TablePage(rows, number, last, total, start + 1 if rows else 0)


def find_rows(ranked: Ranked, query: TableQuery, snapshot: Snapshot) -> list[Verdict]:
    """Return the rows of all pages."""
    found = _filter(ranked, query, snapshot.inventory)
    return _sort(found, query.sort, snapshot, first=len(found.urgent) + len(found.others))


def _filter(ranked: Ranked, query: TableQuery, inventory: Inventory) -> Ranked:
    return Ranked(*(filter_verdicts(each, query, inventory) for each in ranked))


def filter_verdicts(verdicts: Sequence[Verdict], query: TableQuery, inventory: Inventory) -> list[Verdict]:
    """Return the verdicts that match every filter, in the same order."""
    found = list(verdicts)
    if query.status:
        found = [verdict for verdict in found if verdict.instance.status == query.status]
    if query.hypervisor:
        found = [verdict for verdict in found if verdict.instance.hypervisor == query.hypervisor]
    if query.project:
        ids = _project_ids(inventory, lambda id_, name: query.project in {id_, name})
        found = [verdict for verdict in found if verdict.instance.project_id in ids]
    if query.ping:
        matches = _ping_test(query.ping)
        found = [verdict for verdict in found if matches(verdict)]
    return _search(found, query.q.casefold(), inventory) if query.q else found


def _ping_test(value: str) -> Callable[[Verdict], object]:
    """Return what tells whether a verdict matches a value of the query parameter ``ping``."""
    tests: dict[str, Callable[[Verdict], object]] = {
        PingState.ALIVE: lambda verdict: verdict.alive,
        "silent": lambda verdict: ping_state(verdict).silent,
        "though_off": answers_though_off,
        "layer2": lambda verdict: verdict.layer2_alive,
    }
    tests |= {reason: lambda verdict: verdict.reason == value for reason in Reason}
    return tests.get(value, lambda verdict: ping_state(verdict) == value)


def _project_ids(inventory: Inventory, matches: Callable[[str, str], bool]) -> set[str]:
    """Return the projects with instances whose id and name match."""
    ids = {instance.project_id for instance in inventory.instances}
    return {id_ for id_ in ids if matches(id_, inventory.project_name(id_))}


def _search(verdicts: list[Verdict], term: str, inventory: Inventory) -> list[Verdict]:
    """Return the verdicts in which the casefolded term is found.

    Names are found by any part of them. The id of a project, 32 hexadecimal digits, is found by its
    beginning: a short word would be in many of them. Each name of a project or hypervisor is looked at once,
    not once an instance.
    """
    projects = _project_ids(
        inventory, lambda id_, name: term in name.casefold() or id_.casefold().startswith(term)
    )
    names = {instance.hypervisor for instance in inventory.instances}
    hypervisors = {name for name in names if term in name.casefold()}

    def matches(instance: Instance) -> bool:
        if term in instance.name.casefold() or term in instance.id.casefold():
            return True
        if instance.project_id in projects or instance.hypervisor in hypervisors:
            return True
        for address in instance.addresses:
            if term in address.ip:
                return True
        for tag in instance.tags:
            if term in tag.casefold():
                return True
        items = instance.metadata.items()
        return bool(items) and any(term in f"{key}={value}".casefold() for key, value in items)

    return [verdict for verdict in verdicts if matches(verdict.instance)]


def _sort(found: Ranked, order: str, snapshot: Snapshot, *, first: int) -> list[Verdict]:
    """Sort by the key of a column, descending after a ``-``; any other order sorts by urgency.

    Equal rows are sorted by name. Rows without a value come last in both directions. The rows after the
    first so many may be missing.
    """
    column = next((each for each in COLUMNS if each.key == order.removeprefix("-")), None)
    if column is None:
        more = max(first - len(found.urgent), 0)
        return [*found.urgent, *heapq.nsmallest(more, found.others, key=_name)]
    by_name = sorted([*found.urgent, *found.others], key=_name)
    keyed = [(column.sort_key(snapshot, verdict), verdict) for verdict in by_name]
    with_value = [(key, verdict) for key, verdict in keyed if key is not None]
    with_value.sort(key=itemgetter(0), reverse=order.startswith("-"))
    return [verdict for _, verdict in with_value] + [verdict for key, verdict in keyed if key is None]


def _name(verdict: Verdict) -> str:
    return verdict.instance.name.casefold()
