"""Explains servers as Nova shows them to a caller."""

from collections.abc import Callable

import msgspec

from fping_exporter.config import Config
from fping_exporter.errors import NoResultsError
from fping_exporter.explanation.asking import Asker, explain_from_here
from fping_exporter.explanation.build import without_others
from fping_exporter.explanation.values import Explanation
from fping_exporter.model import Instance, Inventory, Snapshot

__all__ = ["Explainer"]


class Explainer:
    """Explains the servers of callers, by the newest snapshot, or by asking anew. Threads share it."""

    def __init__(self, settings: Config, *, snapshot: Callable[[], Snapshot | None], asker: Asker) -> None:
        """`snapshot` returns what ``/metrics`` would show; `asker` pings single instances."""
        self._settings = settings
        self._snapshot = snapshot
        self._asker = asker

    def explain(self, shown: Instance, *, cached: bool, to_tenant: bool) -> Explanation | None:
        """Explain a server, which Nova shows as `shown` to whoever asks.

        Unless the newest results are wanted (`cached`), it is pinged as the exporter's own list has it, if it
        is there: from where it can be pinged depends on its host, which not everybody may see. Its status is
        always the one that the verdict goes by: of `shown` if it is pinged, else of the list. What is told
        `to_tenant` has no names of what others have. Returns None if the server is not among the newest
        results. Raises NoResultsError if there are none, and ProbeError.
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
        inventory = snapshot.inventory
        explanation = explain_from_here(
            msgspec.structs.replace(verdict, instance=visible),
            msgspec.structs.replace(
                snapshot,
                inventory=_with_names_of_own_groups(inventory, shown.id) if to_tenant else inventory,
                sweep=msgspec.structs.replace(snapshot.sweep, unsent={}),
            ),
            probe=self._settings.probe,
            anew=not cached,
            runbook=self._settings.links.runbook or "",
        )
        return without_others(explanation) if to_tenant else explanation


def _with_names_of_own_groups(inventory: Inventory, instance_id: str) -> Inventory:
    """Return the inventory with the names of those security groups only that the instance's ports are in.

    A rule may let in the members of a group of another project, whose name Neutron does not show to a tenant.
    """
    topology = inventory.topology
    own = {id_ for port in topology.ports.get(instance_id, ()) for id_ in port.security_groups or ()}
    names = {id_: name for id_, name in topology.group_names.items() if id_ in own}
    return msgspec.structs.replace(inventory, topology=msgspec.structs.replace(topology, group_names=names))
