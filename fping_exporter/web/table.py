"""The instance table of the status page: columns, filters, sort order, pagination."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple, Self

from fping_exporter.model import Snapshot, Verdict

__all__ = [
    "COLUMNS",
    "PAGE_SIZE",
    "Column",
    "PingState",
    "TablePage",
    "TableQuery",
    "answers_though_off",
    "filter_verdicts",
    "paginate",
    "ping_state",
    "sort_verdicts",
]

PAGE_SIZE = 100


class PingState(StrEnum):
    """What the pings of this exporter and its fleet say of an instance; each instance has exactly one."""

    ALIVE = "alive"
    """An address answered the last sweep."""
    STOPPED = "stopped"
    """Asked in the last sweep without an answer; it has answered this exporter before."""
    NEVER = "never"
    """Asked in the last sweep without an answer; it has not answered this exporter yet."""
    UNASKED = "unasked"
    """No packet could be sent to any address: the sweep says nothing of it."""

    @property
    def silent(self) -> bool:
        """Whether it was asked and did not answer."""
        return self in {PingState.STOPPED, PingState.NEVER}


def ping_state(verdict: Verdict) -> PingState:
    """Classify a verdict for the page.

    An instance without an address has ``alive`` False, but nobody asked it: UNASKED.
    """
    if verdict.alive:
        return PingState.ALIVE
    if verdict.alive is None or not verdict.asked:
        return PingState.UNASKED
    return PingState.NEVER if verdict.last_reply_at is None else PingState.STOPPED


def answers_though_off(verdict: Verdict) -> bool:
    """Whether an instance answers that Nova calls off, paused, suspended or shelved.

    Together with the silent ACTIVE instances these are the ones whose ``instance_state_mismatch`` is 1.
    """
    return verdict.alive is True and verdict.mismatch is True


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


def _by_name(_: Snapshot, verdict: Verdict) -> str:
    return verdict.instance.name.casefold()


COLUMNS = (
    Column("name", "Instance", _by_name),
    Column("project", "Project", lambda s, v: s.inventory.project_name(v.instance.project_id).casefold()),
    Column("status", "Nova status", lambda _, v: v.instance.status),
    Column("ping", "Ping", lambda _, v: v.reason or ""),
    Column("last_reply", "Last reply", lambda _, v: v.last_reply_at),
    Column("rtt", "RTT", lambda _, v: v.rtt, numeric=True),
    Column("hypervisor", "Hypervisor", lambda _, v: v.instance.hypervisor or None),
)


class TableQuery(NamedTuple):
    """The query string of the page: filters, sort order, page. An empty text does not filter.

    Bookmarks outlive what they name. So no value is an error: an unknown one matches nothing.
    """

    q: str = ""
    """Part of a name, an id or an address; case is ignored."""
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

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read the parameters of a query string; unknown parameters are ignored."""
        texts = {name: args[name].strip() for name in cls._fields if name in args and name != "page"}
        page = args.get("page", "")
        number = int(page) if page.isascii() and page.isdigit() and len(page) < _MAX_DIGITS else 1
        return cls(**texts, page=max(number, 1))

    def link_args(self, **changes: str | int) -> dict[str, str | int]:
        """Return the parameters of a link to this table with `changes`; defaults are left out.

        The link leads to the first page unless `changes` has a page.
        """
        changed = self._replace(**{"page": 1, **changes})._asdict()  # type: ignore[arg-type]
        return {name: value for name, value in changed.items() if value != self._field_defaults[name]}

    @property
    def filters(self) -> bool:
        """Whether any filter is set."""
        return any((self.q, self.project, self.status, self.ping, self.hypervisor))


_MAX_DIGITS = 10


class TablePage(NamedTuple):
    """The rows of one page of the table; pages count from 1."""

    rows: list[Verdict]
    number: int
    last: int
    total: int
    """Rows on all pages."""
    first_row: int
    """Number of its first row, from 1; 0 for an empty table."""


def paginate(verdicts: list[Verdict], number: int) -> TablePage:
    """Return a page of the table; the last page if there are fewer than `number`."""
    last = max(1, -(-len(verdicts) // PAGE_SIZE))
    number = min(number, last)
    start = (number - 1) * PAGE_SIZE
    rows = verdicts[start : start + PAGE_SIZE]
    return TablePage(rows, number, last, len(verdicts), start + 1 if rows else 0)


def filter_verdicts(snapshot: Snapshot, query: TableQuery) -> list[Verdict]:
    """Return the verdicts that match every filter, in the snapshot's order."""
    term = query.q.casefold()
    return [
        verdict
        for verdict in snapshot.verdicts
        if (not query.status or verdict.instance.status == query.status)
        and (not query.ping or query.ping in _ping_filter_values(verdict))
        and (not query.hypervisor or verdict.instance.hypervisor == query.hypervisor)
        and (not query.project or query.project in _project_filter_values(snapshot, verdict))
        and (not term or _matches_search(verdict, term))
    ]


def _ping_filter_values(verdict: Verdict) -> set[str]:
    state = ping_state(verdict)
    values: set[str] = {state}
    if state.silent:
        values.add("silent")
    if answers_though_off(verdict):
        values.add("though_off")
    if verdict.layer2_alive:
        values.add("layer2")
    if verdict.reason:
        values.add(verdict.reason)
    return values


def _project_filter_values(snapshot: Snapshot, verdict: Verdict) -> tuple[str, str]:
    return verdict.instance.project_id, snapshot.inventory.project_name(verdict.instance.project_id)


def _matches_search(verdict: Verdict, term: str) -> bool:
    instance = verdict.instance
    return (
        term in instance.name.casefold()
        or term in instance.id.casefold()
        or any(term in address.ip for address in instance.addresses)
    )


def sort_verdicts(snapshot: Snapshot, verdicts: list[Verdict], order: str) -> list[Verdict]:
    """Sort by the key of a column, descending after a ``-``; any other order sorts by urgency.

    Equal rows are sorted by name. Rows without a value come last in both directions.
    """
    by_name = sorted(verdicts, key=lambda verdict: _by_name(snapshot, verdict))
    column = next((each for each in COLUMNS if each.key == order.removeprefix("-")), None)
    if column is None:
        return sorted(by_name, key=_urgency)
    keyed = [(column.sort_key(snapshot, verdict), verdict) for verdict in by_name]
    with_value = [(key, verdict) for key, verdict in keyed if key is not None]
    with_value.sort(key=lambda pair: pair[0], reverse=order.startswith("-"))
    return [verdict for _, verdict in with_value] + [verdict for key, verdict in keyed if key is None]


def _urgency(verdict: Verdict) -> tuple[int, float]:
    """Return a sort key by what needs attention first.

    ACTIVE and stopped answering (latest reply first), ACTIVE and never answered, off but answering, ACTIVE
    and answering at layer 2 only, the rest.
    """
    if verdict.instance.active and ping_state(verdict).silent:
        if verdict.layer2_alive:
            return 3, 0
        return (0, -verdict.last_reply_at) if verdict.last_reply_at is not None else (1, 0)
    return (2, 0) if answers_though_off(verdict) else (4, 0)
