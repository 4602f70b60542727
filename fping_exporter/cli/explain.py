"""The command ``explain``: one instance, pinged alone, and all that is known of why it answers or not."""

import os
import shutil
import time
from pathlib import Path

import msgspec

from fping_exporter import open_files
from fping_exporter.cli.explanation_text import WIDTH, as_text
from fping_exporter.cli.fleet_words import merge_fleet
from fping_exporter.cli.list import EXIT_SILENT, EXIT_UNASKED
from fping_exporter.cli.one_sweep import prepare_sweep
from fping_exporter.cli.progress import progress_bar
from fping_exporter.cli.stored_state import read_state
from fping_exporter.cli.upstream import connect_upstream
from fping_exporter.config import Config
from fping_exporter.errors import ConfigError
from fping_exporter.explanation.asking import ask_anew, evidence_from_here
from fping_exporter.explanation.build import explain as build
from fping_exporter.explanation.evidence import Evidence
from fping_exporter.explanation.stored import recall
from fping_exporter.explanation.values import Explanation
from fping_exporter.history import History
from fping_exporter.instance_lookup import find_instance
from fping_exporter.lister import list_once
from fping_exporter.model import Instance, Inventory, Snapshot, Verdict
from fping_exporter.probe import check_permission
from fping_exporter.storage import State, find_directory
from fping_exporter.verdict.selection import select

__all__ = ["explain"]


def explain(
    settings: Config, wanted: str, *, name: str, cached: bool, as_json: bool, storage_path: Path | None = None
) -> int:
    """Explain the instance that `wanted` means, an id, a name or an address; return the exit code.

    The whole cloud is listed, as only then it is known whose an address is. Only this instance is pinged.
    If it is `cached`, what a running exporter has stored of the cloud called `name` takes the place of both.
    `storage_path` is its directory; raises ConfigError if it cannot be read.
    """
    if not cached:
        check_permission()
        open_files.raise_limit()
    with progress_bar("listing", unit=" answers") as bar:
        upstream = connect_upstream(settings, lambda _service, _code: bar.update())
        state = read_state(storage_path, upstream.scope, cloud=name)
        if cached and state is None:
            directory = find_directory(storage_path, os.environ)
            raise ConfigError(
                f"--cached: {directory} has nothing of this cloud"
                if directory
                else "--cached: nothing is stored; name the exporter's directory with --storage.path"
            )
        if cached and state:
            listed = state.inventory
        else:
            listed = list_once(upstream, max_stale=settings.cache.max_stale)
    instance = find_instance(wanted, listed)
    selected = any(each.id == instance.id for each in select(listed, settings.instances).instances)
    if cached and state:
        verdict, evidence = recall(instance, state, settings)
    else:
        verdict, evidence = _ask(instance, listed, settings, state)
    explanation = build(verdict, evidence._replace(selected=selected), runbook=settings.links.runbook or "")
    print(_as_json(explanation) if as_json else as_text(explanation, now=time.time(), width=_width()))
    return _exit_code(verdict)


def _ask(
    instance: Instance, listed: Inventory, settings: Config, state: State | None
) -> tuple[Verdict, Evidence]:
    """Ping the instance; what a running exporter has stored of earlier sweeps is taken into account."""
    history = state.history if state else History()

    def sweep(inventory: Inventory) -> Snapshot:
        snapshot = prepare_sweep(settings)(inventory, last_replies=history.last_replies)
        return merge_fleet(snapshot, settings)

    snapshot = ask_anew(instance, listed, sweep=sweep)
    [verdict] = snapshot.verdicts
    snapshot = history.told(snapshot)
    evidence = evidence_from_here(verdict, snapshot, probe=settings.probe)
    return verdict, evidence._replace(anew=True, remembered=state is not None)


def _exit_code(verdict: Verdict) -> int:
    """Return the exit code that ``list`` would have for this instance alone."""
    if verdict.silent:
        return EXIT_SILENT
    return EXIT_UNASKED if verdict.unasked else 0


def _width() -> int:
    """Return the width of the lines: that of a narrow terminal, else the one that a pipe gets, too."""
    return min(shutil.get_terminal_size(fallback=(WIDTH, 0)).columns, WIDTH)


def _as_json(explanation: Explanation) -> str:
    return msgspec.json.format(msgspec.json.encode(explanation), indent=2).decode()
