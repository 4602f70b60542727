"""The page of all hypervisors: Nova's word on each beside the pings of its instances."""

from collections import Counter
from typing import NamedTuple

from fping_exporter.model import Inventory, Snapshot
from fping_exporter.web.ping_state import PingState, ping_state

__all__ = ["HypervisorRow", "down_hypervisors", "list_hypervisors"]


class HypervisorRow(NamedTuple):
    """One hypervisor. The counts by ping are of its ACTIVE instances."""

    name: str
    up: bool | None
    """Whether its nova-compute service is up; None if the credentials may not see that."""
    instances: int
    alive: int
    silent: int
    unasked: int


def down_hypervisors(inventory: Inventory) -> set[str]:
    """Return the names of the hypervisors that Nova calls down."""
    return {hypervisor.name for hypervisor in inventory.hypervisors if not hypervisor.up}


def list_hypervisors(snapshot: Snapshot) -> list[HypervisorRow]:
    """Return all known hypervisors: first those that are down, then those with most silent instances."""
    up = {hypervisor.name: hypervisor.up for hypervisor in snapshot.inventory.hypervisors}
    instances = Counter([each.instance.hypervisor for each in snapshot.verdicts])
    active = [each for each in snapshot.verdicts if each.instance.status == "ACTIVE"]
    states = [ping_state(each) for each in active]
    counts = {
        state: Counter(
            [v.instance.hypervisor for v, each in zip(active, states, strict=True) if each is state]
        )
        for state in PingState
    }
    rows = [
        HypervisorRow(
            name,
            up.get(name),
            instances=instances[name],
            alive=counts[PingState.ALIVE][name],
            silent=counts[PingState.STOPPED][name] + counts[PingState.NEVER][name],
            unasked=counts[PingState.UNASKED][name],
        )
        for name in {*up, *instances} - {""}
    ]
    return sorted(rows, key=lambda row: (row.up is not False, -row.silent, row.name.casefold()))
