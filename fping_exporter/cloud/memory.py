"""What earlier listings of a cloud found out, for the listings after them."""

import copy
from collections.abc import Mapping
from typing import Self

import msgspec

from fping_exporter.cloud.changes import Mark, UnreadableServers
from fping_exporter.cloud.contacts import Contacts, User
from fping_exporter.cloud.floating_ips import FloatingAddresses
from fping_exporter.cloud.hypervisors import ComputeNodes, NamedInstances
from fping_exporter.cloud.keystone_lists import Lookups
from fping_exporter.cloud.last_known import LastKnown
from fping_exporter.cloud.neutron import NeutronParts
from fping_exporter.cloud.port_addresses import PortAddresses
from fping_exporter.cloud.ports import KnownPorts
from fping_exporter.cloud.security_groups import SecurityGroups
from fping_exporter.log_limit import LogLimit
from fping_exporter.model import Instance, Inventory, Project

__all__ = ["Memory"]


class Memory:
    """What earlier listings found out. Each listing works on a copy of its own.

    So a listing that was given up and still runs changes nothing of what later ones know.
    """

    def __init__(self) -> None:
        """Begin empty."""
        self.instances: Mapping[str, Instance] = {}
        """Those of the last list, by id: servers of a cell that is down stay as they were."""
        self.named = NamedInstances()
        """The same with the names of their hypervisors."""
        self.full_list_at: float | None = None
        """When the last full list was begun, by the monotonic clock; None: the next list is full."""
        self.mark: Mark | None = None
        """Up to when Nova has told what changed; None: it does not say when it answers."""
        self.merged = False
        """Whether changes were merged since the last full list."""
        self.cell_down = False
        """Whether a cell of Nova was down at the last list."""
        self.unreadable_servers = UnreadableServers()
        self.port_addresses: PortAddresses | None = None
        """What Neutron last said of the addresses of instances."""
        self.moved: frozenset[str] = frozenset()
        """The ids of the instances of which Neutron said something new since shortly before the last full
        list: there its word on addresses goes before that of Nova's cache."""
        self.projects: LastKnown[Mapping[str, Project]] = LastKnown("projects", {})
        self.users = LastKnown("contacts", Contacts({}))
        self.hypervisors = LastKnown("hypervisors", ComputeNodes((), frozenset()), outlives_failure=False)
        self.ports = LastKnown("ports", KnownPorts())
        self.floating_ips = LastKnown("floating_ips", FloatingAddresses())
        self.security_groups = LastKnown("security_groups", SecurityGroups())
        self.project_lookups: Lookups[Project] = Lookups()
        """Projects that have instances and that Keystone's list lacks."""
        self.user_lookups: Lookups[User] = Lookups()
        """Users of such projects that Keystone's list lacks."""
        self.contact_projects: frozenset[str] = frozenset()
        """The projects that had instances when their users were listed."""
        self.configured_projects: Mapping[str, Project] = {}
        """The projects of the configuration, by the name or id that it gives."""
        self.nova_host: str | None = None
        """Nova's name for the host that the configuration asks for; None until it was looked up."""
        self.logged_contact_faults: frozenset[str] = frozenset()
        self.log_limit = LogLimit(interval=24 * 3600)
        """Shared by all copies: each kind of entry that cannot be read is logged once a day."""

    def recall(self, inventory: Inventory, *, listed_at: float) -> None:
        """Begin with the list that an earlier process made `listed_at`, by the monotonic clock.

        So servers of a cell that is down, and what Keystone and Neutron do not tell, outlive a restart.
        """
        self.instances = {instance.id: instance for instance in inventory.instances}
        if inventory.projects:
            self.projects.recall(inventory.projects, listed_at=listed_at)
        if inventory.contacts:
            self.users.recall(Contacts(dict(inventory.contacts)), listed_at=listed_at)
        topology = inventory.topology
        if topology.ports or topology.owners:
            ports = msgspec.structs.replace(topology, incomplete=topology.incomplete - {"floating_ips"})
            self.ports.recall(KnownPorts(topology=ports), listed_at=listed_at)
        if topology.floating:
            floating = FloatingAddresses(
                instances=topology.floating,
                public=topology.public,
                complete="floating_ips" not in topology.incomplete,
            )
            self.floating_ips.recall(floating, listed_at=listed_at)
        if topology.rules:
            security = SecurityGroups(
                rules=topology.rules,
                names=topology.group_names,
                members=topology.members,
                address_groups=topology.address_groups,
            )
            self.security_groups.recall(security, listed_at=listed_at)

    def copy(self) -> Self:
        """Return another one that begins with the same content."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, LastKnown | Lookups):
                setattr(other, name, value.copy())
        return other

    @property
    def neutron(self) -> NeutronParts:
        """The parts that Neutron answers."""
        return NeutronParts(self.ports, self.floating_ips, self.security_groups)

    def parts(self) -> dict[str, bool]:
        """Return whether each optional list that was asked for was had, and whole, by its name."""
        lists: tuple[LastKnown[object], ...] = tuple(
            value for value in vars(self).values() if isinstance(value, LastKnown)
        )
        return {each.name: each.succeeded and each.complete for each in lists if each.succeeded is not None}
