"""The output of ``list``: a snapshot as a table or as JSON."""

from collections.abc import Sequence

import msgspec

from fping_exporter.config.duration import format_age
from fping_exporter.model import Snapshot, Verdict
from fping_exporter.text import printable

__all__ = ["as_json", "as_table"]

_COLUMNS = ("ID", "NAME", "PROJECT", "STATUS", "ALIVE", "LAYER 2", "REASON", "BEST RTT", "HYPERVISOR")
_SINCE = 7
"""Where the column SINCE is, if there is one."""


def as_table(snapshot: Snapshot, verdicts: Sequence[Verdict]) -> str:
    """Return a table with a heading and one line for each verdict.

    It has the column SINCE if that is known of any instance.
    """
    rows = [_COLUMNS, *(_row(snapshot, verdict) for verdict in verdicts)]
    if any(snapshot.since(verdict) for verdict in snapshot.verdicts):
        cells = ["SINCE", *(_since(snapshot, verdict) for verdict in verdicts)]
        rows = [(*row[:_SINCE], cell, *row[_SINCE:]) for row, cell in zip(rows, cells, strict=True)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _row(snapshot: Snapshot, verdict: Verdict) -> tuple[str, ...]:
    instance = verdict.instance
    return (
        instance.id,
        printable(instance.name),
        printable(snapshot.inventory.project_name(verdict.instance.project_id)),
        instance.status,
        _word(verdict.alive),
        _word(verdict.layer2_alive),
        verdict.reason or "-",
        f"{verdict.rtt * 1000:.3f} ms" if verdict.rtt is not None else "-",
        printable(instance.hypervisor) or "-",
    )


def _since(snapshot: Snapshot, verdict: Verdict) -> str:
    """Return for how long it has been answering, or silent."""
    since = snapshot.since(verdict)
    if since is None:
        return "-"
    age = format_age(snapshot.sweep.started_at - since.at)
    return f"at least {age}" if since.at_least else age


def _word(value: bool | None) -> str:  # noqa: FBT001, it is the value itself
    return "-" if value is None else "yes" if value else "no"


def as_json(snapshot: Snapshot, verdicts: Sequence[Verdict]) -> str:
    """Return a JSON list with one object, on a line of its own, for each verdict; round trips in seconds."""

    def since(verdict: Verdict) -> dict[str, float | bool | None]:
        found = snapshot.since(verdict)
        return {
            "since_timestamp_seconds": found.at if found else None,
            "since_at_least": found.at_least if found else None,
        }

    lines = ",\n".join(
        msgspec.json.encode(
            {
                "id": verdict.instance.id,
                "name": verdict.instance.name,
                "project_id": verdict.instance.project_id,
                "project": snapshot.inventory.project_name(verdict.instance.project_id),
                "status": verdict.instance.status,
                "alive": verdict.alive,
                "layer2_alive": verdict.layer2_alive,
                "reason": verdict.reason,
                **since(verdict),
                "rtt_seconds": verdict.rtt,
                "hypervisor": verdict.instance.hypervisor or None,
                "addresses": [address.ip for address in verdict.instance.addresses],
            }
        ).decode()
        for verdict in verdicts
    )
    return f"[\n{lines}\n]" if lines else "[]"
