"""The command ``list``: one listing, one sweep, and their result on standard output."""

import sys
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple

from fping_exporter import open_files
from fping_exporter.cli import report
from fping_exporter.cli.fleet_words import merge_fleet
from fping_exporter.cli.progress import progress_bar
from fping_exporter.cli.stored_state import read_state
from fping_exporter.cli.upstream import Connector
from fping_exporter.config import DEFAULT_CLOUD, Config
from fping_exporter.history import History
from fping_exporter.lister import list_once
from fping_exporter.model import Inventory, Snapshot, Verdict
from fping_exporter.probe import (
    Layer2Witness,
    Pacer,
    Prober,
    SocketBudget,
    check_permission,
    make_layer2_prober,
    make_prober,
)
from fping_exporter.snapshot import take_snapshot
from fping_exporter.together import run_for_each
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.selection import select

__all__ = ["EXIT_SILENT", "EXIT_UNASKED", "list_instances"]

EXIT_SILENT = 1
"""Exit code when an ACTIVE instance was asked and did not answer."""
EXIT_UNASKED = 4
"""Exit code when none is silent, but an ACTIVE instance was not asked, so that nothing is known of it."""


class _Listed(NamedTuple):
    """What was found out of a cloud before its instances are pinged."""

    inventory: Inventory
    history: History | None


def list_instances(
    clouds: Mapping[str, Config], *, as_json: bool, only_silent: bool, storage_path: Path | None = None
) -> int:
    """Ping the instances of all `clouds` once and print them; return the exit code.

    The clouds are listed at once, and then pinged at once. One that cannot be is named on standard error, and
    raises its error if it is the only one. `only_silent` leaves out what answers and what is not ACTIVE.
    `storage_path` is the directory of a running exporter; raises ConfigError if it cannot be read.
    """
    check_permission()
    open_files.raise_limit()
    connect = Connector()
    pacer = Pacer(rate=next(iter(clouds.values())).probe.rate)
    sockets = SocketBudget(open_files.shares().icmp_sockets)
    with progress_bar("listing", unit=" answers") as bar:

        def look(name: str) -> _Listed:
            settings = clouds[name]
            upstream = connect(settings, lambda _service, _code: bar.update())
            state = read_state(storage_path, upstream.scope, cloud=name)
            listed = list_once(upstream, max_stale=settings.cache.max_stale)
            inventory = select(listed, settings.instances)
            return _Listed(inventory, state.history if state else None)

        listed, errors = run_for_each(clouds, look)
    packets = sum(
        len(instance.addresses) * clouds[name].probe.count
        for name, found in listed.items()
        for instance in found.inventory.instances
    )
    with progress_bar("pinging", unit=" replies", total=packets) as bar:
        shared = partial(make_prober, pacer=pacer, sockets=sockets, progress=bar.update)

        def ping(name: str) -> Snapshot:
            probe = clouds[name].probe
            layer2 = make_layer2_prober(probe, pacer=pacer, sockets=sockets)
            return _take_snapshot(clouds[name], listed[name], prober=shared(probe), layer2=layer2)

        snapshots, failed = run_for_each(listed, ping)
    errors |= failed
    for name, error in errors.items():
        if len(clouds) == 1:
            raise error
        print(f"fping-exporter: {name}: {error}", file=sys.stderr)
    return _report(
        {name: snapshots[name] for name in clouds if name in snapshots},
        as_json=as_json,
        only_silent=only_silent,
        named=list(clouds) != [DEFAULT_CLOUD],
        failed=next((error.exit_code for error in errors.values()), 0),
    )


def _take_snapshot(
    settings: Config, listed: _Listed, *, prober: Prober, layer2: Layer2Witness | None
) -> Snapshot:
    inventory, history = listed
    snapshot = take_snapshot(
        inventory,
        prober=prober,
        layer2=layer2,
        probe=settings.probe,
        host=settings.host,
        last_replies=history.last_replies if history else {},
    )
    if history:
        snapshot = find_missed(snapshot, history)
        snapshot = history.after(snapshot, max_pause=settings.cache.max_stale).told(snapshot)
    return merge_fleet(snapshot, settings)


def _report(
    snapshots: Mapping[str, Snapshot], *, as_json: bool, only_silent: bool, named: bool, failed: int
) -> int:
    """Print the instances, with the names of their clouds if `named`; return the exit code.

    `failed` is that of a cloud of which nothing is known, else 0.
    """
    verdicts = [verdict for snapshot in snapshots.values() for verdict in snapshot.verdicts]
    silent = [verdict for verdict in verdicts if verdict.silent]
    unasked = [verdict for verdict in verdicts if verdict.unasked]
    shown = [
        report.Shown(name if named else None, snapshot, verdict)
        for name, snapshot in snapshots.items()
        for verdict in snapshot.verdicts
        if not only_silent or verdict.silent or verdict.unasked
    ]
    since = any(each.since(verdict) for each in snapshots.values() for verdict in each.verdicts)
    print(report.as_json(shown) if as_json else report.as_table(shown, named=named, since=since))
    if unasked:
        print(_count_unasked(verdicts, unasked), file=sys.stderr)
    if silent:
        return EXIT_SILENT
    return failed or (EXIT_UNASKED if unasked else 0)


def _count_unasked(verdicts: list[Verdict], unasked: list[Verdict]) -> str:
    """Return the line on standard error: how many were not asked, and for which reasons."""
    active = sum(verdict.instance.active for verdict in verdicts)
    reasons = Counter(verdict.reason or "not sent" for verdict in unasked)
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.most_common())
    return (
        f"fping-exporter: {len(unasked)} of {active} ACTIVE instances were not asked, "
        f"and may be silent: {counts}"
    )
