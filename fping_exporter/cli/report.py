"""The output of ``list``: a snapshot as a table or as JSON."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from fping_exporter.config.duration import format_age
from fping_exporter.model import Snapshot, Verdict
from fping_exporter.text import printable

__all__ = ["Shown", "as_json", "as_table"]

_COLUMNS = ("ID", "NAME", "PROJECT", "STATUS", "ALIVE", "LAYER 2", "REASON", "BEST RTT", "HYPERVISOR")
_SINCE = 7
"""Where the column SINCE is, if there is one."""


class Shown(NamedTuple):
    """An instance to print."""

    cloud: str | None
    """The cloud's name; None if the configuration names none."""
    snapshot: Snapshot
    verdict: Verdict


def as_table(shown: Sequence[Shown], *, named: bool = False, since: bool = False) -> str:
    """Return a table with a heading and one line for each instance.

    It has the column CLOUD if the clouds are `named`, and SINCE if that is known of any instance.
    """
    rows = [_COLUMNS, *(_row(each.snapshot, each.verdict) for each in shown)]
    if since:
        cells = ["SINCE", *(_since(each.snapshot, each.verdict) for each in shown)]
        rows = [(*row[:_SINCE], cell, *row[_SINCE:]) for row, cell in zip(rows, cells, strict=True)]
    if named:
        names = ["CLOUD", *(each.cloud or "-" for each in shown)]
        rows = [(name, *row) for name, row in zip(names, rows, strict=True)]
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


def as_json(shown: Sequence[Shown]) -> str:
    """Return a JSON list with one object, on a line of its own, for each instance; round trips in seconds."""
    lines = ",\n".join(msgspec.json.encode(_object(each)).decode() for each in shown)
    return f"[\n{lines}\n]" if lines else "[]"


def _object(shown: Shown) -> dict[str, object]:
    cloud, snapshot, verdict = shown
    instance, since = verdict.instance, snapshot.since(verdict)
    return ({"cloud": cloud} if cloud else {}) | {
        "id": instance.id,
        "name": instance.name,
        "project_id": instance.project_id,
        "project": snapshot.inventory.project_name(instance.project_id),
        "status": instance.status,
        "alive": verdict.alive,
        "layer2_alive": verdict.layer2_alive,
        "reason": verdict.reason,
        "since_timestamp_seconds": since.at if since else None,
        "since_at_least": since.at_least if since else None,
        "rtt_seconds": verdict.rtt,
        "hypervisor": instance.hypervisor or None,
        "addresses": [address.ip for address in instance.addresses],
    }
