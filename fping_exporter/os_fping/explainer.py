"""Explains servers as Nova shows them to a caller."""

from collections.abc import Callable

import msgspec

from fping_exporter.config import Config
from fping_exporter.errors import NoResultsError
from fping_exporter.explanation.asking import Asker, explain_from_here
from fping_exporter.explanation.values import Explanation
from fping_exporter.model import Instance, Snapshot

__all__ = ["Explainer"]


class Explainer:
    """Explains the servers of callers, by the newest snapshot, or by asking anew. Threads share it."""

    def __init__(self, settings: Config, *, snapshot: Callable[[], Snapshot | None], asker: Asker) -> None:
        """`snapshot` returns what ``/metrics`` would show; `asker` pings single instances."""
        self._settings = settings
        self._snapshot = snapshot
        self._asker = asker

    def explain(self, shown: Instance, *, cached: bool) -> Explanation | None:
        """Explain a server, which Nova shows as `shown` to whoever asks.

        Unless the newest results are wanted (`cached`), it is pinged as the exporter's own list has it, if it
        is there: from where it can be pinged depends on its host, which not everybody may see. Its status is
        always the one that the verdict goes by: of `shown` if it is pinged, else of the list. Returns None if
        it is not among the newest results. Raises NoResultsError if there are none, and ProbeError.
        """
        newest = self._snapshot()
        if newest is None:
            raise NoResultsError("there is no recent sweep of a recent list of instances")
        verdict = next((each for each in newest.verdicts if each.instance.id == shown.id), None)
        snapshot = newest
        if not cached:
            listed = verdict.instance if verdict else shown
            snapshot = self._asker.ask(msgspec.structs.replace(listed, status=shown.status), newest)
            [verdict] = snapshot.verdicts
        if verdict is None:
            return None
        visible = msgspec.structs.replace(
            shown, addresses=verdict.instance.addresses, status=verdict.instance.status
        )
        return explain_from_here(
            msgspec.structs.replace(verdict, instance=visible),
            msgspec.structs.replace(snapshot, sweep=msgspec.structs.replace(snapshot.sweep, unsent={})),
            probe=self._settings.probe,
            anew=not cached,
            runbook=self._settings.links.runbook or "",
        )
