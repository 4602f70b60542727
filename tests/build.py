"""Short ways to make the values that tests are about."""

from collections.abc import Callable, Collection, Mapping
from typing import Literal

from fping_exporter.model import (
    LOCAL,
    Address,
    AddressKind,
    Hypervisor,
    IcmpError,
    Instance,
    Inventory,
    Outcome,
    Project,
    Rejection,
    Sweep,
    Target,
    Topology,
)
from fping_exporter.web.origin import Origin

NOW = 1_795_392_000.25
"""Some time in 2026."""


def address(
    ip: str, *, kind: Literal["fixed", "floating"] = "fixed", network: str = "private", mac: str = ""
) -> Address:
    return Address(ip, 6 if ":" in ip else 4, AddressKind(kind), network, mac)


def instance(id_: str = "a", *addresses: Address | str, **changes: object) -> Instance:
    values = {"project_id": "p", "name": id_, "status": "ACTIVE"} | changes
    return Instance(
        id=id_,
        addresses=tuple(address(each) if isinstance(each, str) else each for each in addresses),
        **values,  # type: ignore[arg-type]
    )


def inventory(
    *instances: Instance,
    projects: tuple[Project, ...] = (),
    hypervisors: tuple[Hypervisor, ...] = (),
    contacts: Mapping[str, str] | None = None,
    topology: Topology = Topology(),  # noqa: B008, it is frozen
) -> Inventory:
    return Inventory(
        instances=instances,
        projects={project.id: project for project in projects},
        hypervisors=hypervisors,
        contacts=contacts or {},
        topology=topology,
        parts={"hypervisors": bool(hypervisors), "projects": bool(projects)},
        listed_at=NOW,
        duration=0.5,
    )


ORIGIN = Origin(cloud="prod", region="RegionOne", host="mon-1")
ALIVE = Outcome(sent=1, received=1, rtt=0.000_25)
SILENT = Outcome(sent=1, received=0, rtt=None)
UNREACHABLE = Outcome(sent=1, received=0, rtt=None, unreachable=True, error=IcmpError("10.0.0.254", 3, 1))


def sweep(outcomes: Mapping[str, Outcome] | Mapping[Target, Outcome]) -> Sweep:
    return Sweep(
        outcomes={
            each if isinstance(each, Target) else Target(LOCAL, each): outcome
            for each, outcome in outcomes.items()
        },
        sent=sum(outcome.sent for outcome in outcomes.values()),
        received=sum(outcome.received for outcome in outcomes.values()),
        rejected={Rejection.SOURCE: 2},
        started_at=NOW + 1,
        duration=1.5,
    )


class Source:
    """An inventory source that is a function."""

    def __init__(self, inventory: Callable[[], Inventory]) -> None:
        self._inventory = inventory

    def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:  # noqa: ARG002, all lists are full
        return self._inventory()
