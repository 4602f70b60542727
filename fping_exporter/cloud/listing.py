"""One listing of a cloud: the instances, and what else the credentials may see."""

import logging
import time
from collections.abc import Collection, Iterable, Mapping
from operator import attrgetter
from typing import Any

import msgspec

from fping_exporter.cloud.changes import find_corrections, same_objects
from fping_exporter.cloud.contacts import Contacts, by_project, list_contacts
from fping_exporter.cloud.hypervisors import (
    choose_among_namesakes,
    find_host,
    list_compute_nodes,
)
from fping_exporter.cloud.instance_lists import InstanceLists
from fping_exporter.cloud.keystone_lists import LookedUp
from fping_exporter.cloud.last_known import LastKnown
from fping_exporter.cloud.memory import Memory
from fping_exporter.cloud.neutron import Neutron, Wanted
from fping_exporter.cloud.port_addresses import NetworkNames, PortAddresses
from fping_exporter.cloud.projects import PROJECTS, find_project
from fping_exporter.cloud.servers import MICROVERSIONS, claims_of_unreadable, keep_servers_of_down_cells
from fping_exporter.cloud.session import DEMO_SERVICE, Session
from fping_exporter.cloud.unreadable import SkippedEntries
from fping_exporter.config import Config
from fping_exporter.errors import CloudError, ConfigError, ForbiddenError
from fping_exporter.hosts import own_host
from fping_exporter.model import Hypervisor, Instance, Inventory, Project

__all__ = ["CloudListing"]

logger = logging.getLogger(__name__)


class CloudListing:
    """Lists a cloud once, and leaves in its memory what the next listing needs."""

    def __init__(
        self,
        config: Config,
        *,
        session: Session,
        memory: Memory,
        full: bool = False,
        silent: Collection[str] = (),
    ) -> None:
        """Prepare; nothing is sent yet. With `full`, all is listed, however young the last full list is.

        `silent` are the ids of instances that do not answer.
        """
        self._config = config
        self._full = full
        self._silent = silent
        self._session = session
        self._memory = memory
        self._skipped = SkippedEntries(memory.log_limit)
        self._compute = session.client("compute")
        self._identity = session.client("identity")
        self._network = session.client("network")

    def run(self) -> Inventory:
        """List the cloud; see :meth:`fping_exporter.cloud.Cloud.inventory`."""
        listed_at, began = time.time(), time.monotonic()
        memory = self._memory
        self._compute.check_region()
        microversion = self._compute.microversion(MICROVERSIONS)
        host = self._nova_host(microversion)
        projects = self._projects_to_list()
        lists = InstanceLists(
            self._compute,
            _filters(projects, all_projects=self._config.all_projects, host=host),
            microversion=microversion,
            memory=memory,
        )
        listed = lists.read(full=self._is_full_list_due(host))
        full, changed, before = listed.changed is None, listed.changed, memory.instances
        self._skipped.of("servers")(memory.unreadable_servers.all())
        self._ask_keystone(
            projects, needed=set(map(attrgetter("project_id"), listed.by_id.values())), full=full
        )
        memory.hypervisors.refresh(
            lambda: list_compute_nodes(
                self._compute,
                microversion=microversion,
                host=host,
                known=None if full else memory.hypervisors.value,
                skip=self._skipped.of("hypervisors"),
            )
        )
        compute = memory.hypervisors.value
        nodes = choose_among_namesakes(compute.nodes, listed.by_id.values())
        hosts = compute.hosts_in_down_cells
        told = listed.servers.instances
        memory.cell_down = bool(hosts) or any(instance.in_down_cell for instance in told.values())
        if full:
            kept = keep_servers_of_down_cells(listed.by_id, known=before, hosts=hosts)
            memory.instances = same_objects(before, kept)
        elif hosts:
            changed = None
            found = {
                id_: instance
                for id_, instance in listed.by_id.items()
                if id_ in told or instance.host not in hosts
            }
            memory.instances = keep_servers_of_down_cells(found, known=listed.by_id, hosts=hosts)
        else:
            memory.instances = listed.by_id
        corrections = 0
        if listed.told is not None:
            corrections = self._count_corrections(before, told=listed.told)
        self._ask_neutron(host, full=full)
        self._take_addresses_from_neutron(full=full)
        memory.named = memory.named.after(
            memory.instances, nodes, changed=None if changed is None else changed | memory.moved
        )
        security, floating = memory.security_groups.value, memory.floating_ips.value
        topology = memory.ports.value.topology
        return Inventory(
            instances=tuple(memory.named.by_id.values()),
            projects=memory.projects.value,
            contacts=self._contacts(),
            hypervisors=tuple(Hypervisor(node.name, node.up, node.host) for node in nodes),
            parts=memory.parts(),
            skipped=self._skipped.counts,
            topology=msgspec.structs.replace(
                topology,
                rules=security.rules,
                group_names=security.names,
                members=security.members,
                address_groups=security.address_groups,
                floating=floating.instances,
                public=floating.public,
                claims=claims_of_unreadable(memory.unreadable_servers.all()),
                incomplete=topology.incomplete | (set() if floating.complete else {"floating_ips"}),
                loopback=self._has_loopback_guests(),
            ),
            full=full,
            corrections=corrections,
            listed_at=listed_at,
            duration=time.monotonic() - began,
        )

    def _is_full_list_due(self, host: str | None) -> bool:
        """Whether all is to be listed.

        Changes do not say everything. If the list is of one `host`, an instance that moved away is not
        among them. While a cell is down, what changes in it is told by nobody, and its time is past when
        the cell is back. A server without an id that can be read cannot be told from others. Without
        Neutron's ports, nobody tells addresses.
        """
        memory = self._memory
        last = memory.full_list_at
        return (
            self._full
            or host is not None
            or last is None
            or time.monotonic() - last >= self._config.cache.full_inventory
            or memory.cell_down
            or bool(memory.unreadable_servers.nameless)
            or memory.ports.succeeded is not True
        )

    def _count_corrections(self, before: Mapping[str, Instance], *, told: Collection[str]) -> int:
        """Return how many instances a full list shows otherwise than the changes `before` it told.

        If any, the next list is full too: a cell that was away for a moment may have cost its instances.
        """
        corrected = find_corrections(before, self._memory.instances, told=told)
        if corrected:
            self._memory.full_list_at = None
            logger.info(
                "the full list shows %d instances otherwise than the changes before it told, %s for one: "
                "the next list is full too",
                len(corrected),
                min(corrected),
            )
        return len(corrected)

    def _take_addresses_from_neutron(self, *, full: bool) -> None:
        """Give the instances of which Neutron says something new the addresses of their ports.

        In a full list, Nova's addresses count, where it tells any: of what is in a cell that is down, or
        cannot be read, it does not. What moved just before is compared once more at the next list: Nova's
        cache may have lacked it.
        """
        memory = self._memory
        floating = memory.floating_ips.value
        now = PortAddresses(
            ports=memory.ports.value.topology.ports,
            floating=floating.public if memory.floating_ips.succeeded and floating.complete else None,
            unknown=memory.ports.value.unknown,
        )
        before, memory.port_addresses = memory.port_addresses, now
        moved = now.changed_since(before) if before else frozenset()
        if before and now.floating is None:  # the next list is compared with what was last known
            memory.port_addresses = now._replace(floating=before.floating)
        memory.moved = moved if full else memory.moved | moved
        todo = memory.moved & memory.instances.keys()
        if full:
            todo = frozenset(id_ for id_ in todo if memory.instances[id_].in_down_cell)
        if not todo:
            return
        instances = dict(memory.instances)
        names = NetworkNames(memory.instances.values(), now.ports, memory.ports.value.topology.networks)
        for id_ in todo:
            instances[id_] = now.apply(instances[id_], network_name=names)
        memory.instances = instances

    def _nova_host(self, microversion: str | None) -> str | None:
        """Return Nova's name for the host that the configuration asks for; None: all hosts."""
        if self._config.instances.host and not self._memory.nova_host:
            name = own_host(self._config.instances.host)
            try:
                self._memory.nova_host = find_host(
                    self._compute, name, microversion=microversion, skip=self._skipped.of("hypervisors")
                )
            except ForbiddenError as error:
                raise ForbiddenError(f"instances.host needs the right to list services ({error})") from error
        return self._memory.nova_host

    def _projects_to_list(self) -> Mapping[str, Project] | None:
        """Return the projects to list, by id; None: all of them."""
        given = self._config.projects
        if self._config.all_projects and not given:
            return None
        own = self._session.own_project()
        if self._config.all_projects:
            found = {project: self._find_project(project, own) for project in given}
            self._memory.configured_projects = found
            return {project.id: project for project in found.values()}
        if own is None:
            raise ConfigError("all_projects: false needs credentials of a project, and these have none")
        for project in given:
            if project not in (own.id, own.name):
                raise ConfigError(
                    f'projects: "{project}" is not "{own.name}", which the credentials belong to, '
                    "and all_projects is false"
                )
        return {own.id: own}

    def _find_project(self, given: str, own: Project | None) -> Project:
        """Return a configured project; the one found earlier if Keystone has none of that name now."""
        try:
            return find_project(self._identity, given, own=own)
        except ConfigError as error:
            before = self._memory.configured_projects.get(given)
            if before is None:
                raise
            logger.warning("%s; Nova is asked for %s, which it was", error, before.id)
            return before

    def _ask_keystone(
        self, looked_up: Mapping[str, Project] | None, *, needed: Collection[str], full: bool
    ) -> None:
        """Refresh the projects, unless they were `looked_up`, and their users if these are wanted.

        `needed` are the ids of the projects that have instances. Both hardly change. Between `full` lists
        they are asked for only if a project is new, if the last try failed, or if some are still to be
        looked up.
        """
        memory = self._memory
        if looked_up is not None:
            memory.projects.set(looked_up)
        elif full or not memory.projects.succeeded or self._lacks_projects(needed):
            memory.projects.refresh(lambda: self._list_projects(needed))
        if not memory.projects.value and (own := self._session.own_project()):
            memory.projects.value = {own.id: own}
        if not self._config.contacts_from_keystone:
            memory.users.skip()
        elif (
            full
            or not memory.users.succeeded
            or not memory.contact_projects.issuperset(needed)
            or memory.users.value.looked_up.pending
        ):
            memory.users.refresh(lambda: self._list_users(needed))
            memory.contact_projects = frozenset(needed)

    def _lacks_projects(self, needed: Collection[str]) -> bool:
        """Whether one of the projects `needed` is neither known nor has been asked for."""
        known, lookups = self._memory.projects.value, self._memory.project_lookups
        return any(id_ not in known and not lookups.knows(id_) for id_ in needed)

    def _list_projects(self, needed: Collection[str]) -> dict[str, Project]:
        """Return Keystone's projects by id, with those that are `needed` and that its list lacks."""
        listed = PROJECTS.read(self._identity)
        self._skipped.of("projects")(listed.unreadable)
        projects = {project.id: project for project in listed.entries}
        missing = set(needed) - projects.keys() - {each.known_id for each in listed.unreadable}
        looked_up = self._memory.project_lookups.look_up(
            missing, lambda id_: PROJECTS.find(self._identity, id_)
        )
        self._note_gap(self._memory.projects, "projects that have instances", looked_up)
        return projects | dict(looked_up.found)

    def _list_users(self, needed: Collection[str]) -> Contacts:
        users = list_contacts(
            self._identity,
            needed=needed,
            lookups=self._memory.user_lookups,
            skip=self._skipped.of("contacts"),
        )
        self._note_gap(self._memory.users, "users of projects that have instances", users.looked_up)
        if users.truncated:
            self._memory.users.complete = False
            if self._memory.log_limit.allows("truncated role assignments"):
                logger.warning(
                    "contacts: Keystone cuts its list of role assignments, so that some are missing"
                )
        return users

    def _note_gap(self, part: LastKnown[Any], what: str, looked_up: LookedUp[Any]) -> None:
        """Log, once a day, that Keystone's list lacks entries, and note if these are not all known."""
        if not looked_up.complete:
            part.complete = False
        counts = [len(each) for each in looked_up]
        if any(counts) and self._memory.log_limit.allows((part.name, *map(bool, counts))):
            logger.warning(
                "%s: Keystone's list lacks %d %s, as if cut by its list_limit; asked for one by one, %d were "
                "found, %d do not exist, %d are refused, %d are still to be asked for",
                part.name,
                sum(counts),
                what,
                *counts,
            )

    def _contacts(self) -> dict[str, str]:
        """Return the mail addresses of each project: those of the configuration, else those of its users."""
        memory = self._memory
        configured = by_project(self._config.contacts, memory.projects.value)
        users = memory.users.value if self._config.contacts_from_keystone else Contacts({})
        faults = configured.faults + users.faults
        for fault in faults:
            if fault not in memory.logged_contact_faults:
                logger.warning("contacts: %s", fault)
        memory.logged_contact_faults = frozenset(faults)
        return users.emails | configured.emails

    def _ask_neutron(self, host: str | None, *, full: bool) -> None:
        """Refresh who has which address, and what security groups let in, if the cloud has a Neutron.

        With `full`, all is listed again.
        """
        memory, probe = self._memory, self._config.probe
        try:
            if not self._network.in_catalog():
                for part in memory.neutron:
                    part.skip()
                return
        except CloudError:  # asked again below, and logged there
            pass
        networks = bool(self._config.agents) or ("local" in probe.kinds and not probe.all_from_local)
        wanted = Wanted(host, probe.kinds, networks=networks)
        neutron = Neutron(
            self._network, memory.neutron, wanted, skip=self._skipped.of, log_limit=memory.log_limit
        )
        neutron.refresh(memory.instances, full=full, silent=self._silent)

    def _has_loopback_guests(self) -> bool:
        """Whether this is the demo's cloud, which says so in its catalog: no tenant can write there."""
        try:
            return self._session.in_catalog(DEMO_SERVICE)
        except CloudError:
            return False


def _filters(projects: Iterable[str] | None, *, all_projects: bool, host: str | None) -> list[dict[str, str]]:
    """Return the filters of each list to request from Nova."""
    on_host = {"host": host} if host else {}
    if not all_projects:
        return [on_host]
    if projects is None:
        return [{"all_tenants": "1", **on_host}]
    return [{"all_tenants": "1", "project_id": project, **on_host} for project in projects]
