"""The rows of the instance table as JSON and as CSV, for scripts and spreadsheets."""

import csv
import io
from collections.abc import Iterable

import msgspec

from fping_exporter.model import Snapshot, Verdict
from fping_exporter.web.ping_state import ping_state

__all__ = ["Row", "as_csv", "as_json"]


class Row(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One instance. The names and units are those of ``fping-exporter list --json``, where that has them."""

    id: str
    name: str
    project_id: str
    project: str
    status: str
    task_state: str | None
    alive: bool | None
    layer2_alive: bool | None
    reason: str | None
    ping: str
    """``alive``, ``stopped``, ``never`` or ``unasked``, as the query parameter has it."""
    since_timestamp_seconds: float | None
    """Since when it has been answering, or silent."""
    since_at_least: bool | None
    """Whether that may have begun earlier."""
    last_reply_timestamp_seconds: float | None
    rtt_seconds: float | None
    hypervisor: str | None
    addresses: tuple[str, ...]

    @classmethod
    def of(cls, verdict: Verdict, snapshot: Snapshot) -> "Row":
        """Build the row of a verdict of `snapshot`."""
        instance = verdict.instance
        since = snapshot.since(verdict)
        return cls(
            id=instance.id,
            name=instance.name,
            project_id=instance.project_id,
            project=snapshot.inventory.project_name(instance.project_id),
            status=instance.status,
            task_state=instance.task_state or None,
            alive=verdict.alive,
            layer2_alive=verdict.layer2_alive,
            reason=verdict.reason,
            ping=ping_state(verdict),
            since_timestamp_seconds=since.at if since else None,
            since_at_least=since.at_least if since else None,
            last_reply_timestamp_seconds=verdict.last_reply_at,
            rtt_seconds=verdict.rtt,
            hypervisor=instance.hypervisor or None,
            addresses=tuple([address.ip for address in instance.addresses]),
        )


def as_json(rows: Iterable[Row]) -> bytes:
    """Return a list of objects, each on a line of its own; at 100,000 rows that is 37 MB, kept once."""
    text = io.BytesIO()
    separator = b"[\n"
    for row in rows:
        text.write(separator + msgspec.json.encode(row))
        separator = b",\n"
    text.write(b"\n]\n" if text.tell() else b"[]\n")
    return text.getvalue()


def as_csv(rows: Iterable[Row]) -> str:
    """Return a table (RFC 4180) with a heading; spaces separate addresses, and what is unknown is empty.

    All texts are quoted: LibreOffice begins a cell at each semicolon as well, unless that is in quotes.
    """
    text = io.StringIO()
    csv.writer(text).writerow(Row.__struct_fields__)
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    for row in rows:
        writer.writerow([_cell(value) for value in msgspec.structs.astuple(row)])
    return text.getvalue()


def _cell(value: object) -> object:
    match value:
        case bool():
            return "true" if value else "false"
        case tuple():
            return " ".join(value)
        case str() if value.startswith(_FORMULA):
            return f"'{value}"
        case _:
            return value


_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes a text that begins so for a formula and runs it; tenants choose names (CWE-1236)."""
