"""The command ``list``: one listing, one sweep, and their result on standard output."""

import os
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from tqdm import tqdm

from fping_exporter import open_files
from fping_exporter.cli import report
from fping_exporter.cli.fleet_words import read_fleet
from fping_exporter.cli.upstream import connect_upstream
from fping_exporter.config import Config, Scope
from fping_exporter.errors import ConfigError, StorageError
from fping_exporter.fleet.merge import merge
from fping_exporter.history import History
from fping_exporter.model import Verdict
from fping_exporter.probe import check_permission, make_layer2_prober, make_prober
from fping_exporter.snapshot import take_snapshot
from fping_exporter.storage import read_another
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.selection import select

__all__ = ["EXIT_SILENT", "EXIT_UNASKED", "list_instances"]

EXIT_SILENT = 1
"""Exit code when an ACTIVE instance was asked and did not answer."""
EXIT_UNASKED = 4
"""Exit code when none is silent, but an ACTIVE instance was not asked, so that nothing is known of it."""


def list_instances(
    settings: Config, *, as_json: bool, only_silent: bool, storage_path: Path | None = None
) -> int:
    """Ping the instances once and print them; return the exit code.

    `only_silent` leaves out what answers and what is not ACTIVE. `storage_path` is the directory of a running
    exporter; raises ConfigError if it cannot be read.
    """
    check_permission()
    open_files.raise_limit()
    with _progress_bar("listing", unit=" answers") as bar:
        upstream = connect_upstream(settings, lambda _service, _code: bar.update())
        history = _read_history(storage_path, upstream.scope)
        inventory = select(upstream.inventory(), settings.instances)
    addresses = sum(len(instance.addresses) for instance in inventory.instances)
    with _progress_bar("pinging", unit=" replies", total=addresses * settings.probe.count) as bar:
        snapshot = take_snapshot(
            inventory,
            prober=make_prober(settings.probe, progress=bar.update),
            layer2=make_layer2_prober(settings.probe),
            probe=settings.probe,
            host=settings.host,
            last_replies=history.last_replies if history else {},
        )
    if history:
        snapshot = find_missed(snapshot, history)
        snapshot = history.after(snapshot, max_pause=settings.cache.max_stale).told(snapshot)
    if settings.fleet:
        snapshot = merge(snapshot, read_fleet(settings.fleet), max_age=settings.fleet.max_age)
    silent = [verdict for verdict in snapshot.verdicts if verdict.silent]
    unasked = [verdict for verdict in snapshot.verdicts if verdict.unasked]
    shown = snapshot.verdicts
    if only_silent:
        shown = tuple(verdict for verdict in shown if verdict.silent or verdict.unasked)
    print(report.as_json(snapshot, shown) if as_json else report.as_table(snapshot, shown))
    if unasked:
        print(_count_unasked(snapshot.verdicts, unasked), file=sys.stderr)
    if silent:
        return EXIT_SILENT
    return EXIT_UNASKED if unasked else 0


def _read_history(
    path: Path | None, scope: Scope, environment: Mapping[str, str] = os.environ
) -> History | None:
    """Return what a running exporter remembers, from `path`, else from ``STATE_DIRECTORY``; None if nothing.

    Raises ConfigError if `path` cannot be read.
    """
    directory = path or environment.get("STATE_DIRECTORY", "").partition(":")[0]
    if not directory:
        return None
    try:
        state = read_another(Path(directory), scope)
    except StorageError as error:
        if path:
            raise ConfigError(f"--storage.path: {error}") from error
        print(f"fping-exporter: nobody knows since when: {error}", file=sys.stderr)
        return None
    return state.history if state else None


def _count_unasked(verdicts: tuple[Verdict, ...], unasked: list[Verdict]) -> str:
    """Return the line on standard error: how many were not asked, and for which reasons."""
    active = sum(verdict.instance.active for verdict in verdicts)
    reasons = Counter(verdict.reason or "not sent" for verdict in unasked)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return (
        f"fping-exporter: {len(unasked)} of {active} ACTIVE instances were not asked, "
        f"and may be silent: {counts}"
    )


def _progress_bar(title: str, *, unit: str, total: int | None = None) -> "tqdm[NoReturn]":
    """Return a progress bar on standard error, if that is a terminal and the work takes a second or more."""
    return tqdm(desc=title, unit=unit, total=total, leave=False, delay=1, disable=None)
