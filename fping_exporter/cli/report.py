"""A snapshot on a terminal or as JSON, for the command ``list``."""

from collections.abc import Iterable, Sequence

import msgspec

from fping_exporter.model import Snapshot, Verdict
from fping_exporter.text import printable

__all__ = ["as_json", "as_table", "silent"]

_COLUMNS = ("ID", "NAME", "PROJECT", "STATUS", "ALIVE", "REASON", "BEST RTT", "HYPERVISOR")


def silent(verdicts: Iterable[Verdict]) -> list[Verdict]:
    """Return those that Nova calls ACTIVE and that were asked and do not answer."""
    return [verdict for verdict in verdicts if verdict.silent]


def as_table(snapshot: Snapshot, verdicts: Sequence[Verdict]) -> str:
    """Lay the verdicts out in columns, a line each, under a heading."""
    rows = [_COLUMNS, *(_row(snapshot, verdict) for verdict in verdicts)]
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
        "-" if verdict.alive is None else "yes" if verdict.alive else "no",
        verdict.reason or "-",
        f"{verdict.rtt * 1000:.3f} ms" if verdict.rtt is not None else "-",
        printable(instance.hypervisor) or "-",
    )


def as_json(snapshot: Snapshot, verdicts: Sequence[Verdict]) -> str:
    """Write the verdicts as a JSON list of objects, a line each; round trips in seconds."""
    lines = ",\n".join(
        msgspec.json.encode(
            {
                "id": verdict.instance.id,
                "name": verdict.instance.name,
                "project_id": verdict.instance.project_id,
                "project": snapshot.inventory.project_name(verdict.instance.project_id),
                "status": verdict.instance.status,
                "alive": verdict.alive,
                "reason": verdict.reason,
                "rtt_seconds": verdict.rtt,
                "hypervisor": verdict.instance.hypervisor or None,
                "addresses": [address.ip for address in verdict.instance.addresses],
            }
        ).decode()
        for verdict in verdicts
    )
    return f"[\n{lines}\n]" if lines else "[]"
