"""The cloud, listed: servers from Nova, and what else the credentials may see."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

import msgspec
from openstack.config.cloud_region import CloudRegion

from fping_exporter.cloud.caller import Callers
from fping_exporter.cloud.contacts import Contacts, by_project, list_contacts
from fping_exporter.cloud.hypervisors import find_host, list_nodes, placed
from fping_exporter.cloud.neutron import list_security, list_topology
from fping_exporter.cloud.projects import find_project, list_projects
from fping_exporter.cloud.servers import MICROVERSIONS, list_servers, with_lost
from fping_exporter.cloud.session import Observe, connect
from fping_exporter.config import Config
from fping_exporter.errors import CloudError, ConfigError, ForbiddenError
from fping_exporter.model import Hypervisor, Instance, Inventory, Project, Topology
from fping_exporter.plan import own_host

__all__ = ["Cloud"]

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(kw_only=True)
class Known:
    """What earlier inventories told, which the next one may not be able to tell again."""

    names: Mapping[str, Project] = field(default_factory=dict)
    chosen: Mapping[str, Project] = field(default_factory=dict)
    """The projects of the configuration, by the name or id that it gives."""
    users: Contacts = field(default_factory=lambda: Contacts({}))
    instances: Mapping[str, Instance] = field(default_factory=dict)
    topology: Topology = field(default_factory=Topology)
    host: str | None = None
    """Nova's name for the host that the configuration asks for."""
    refused: frozenset[str] = frozenset()
    """The parts for which there was no right, which has been said."""
    told: frozenset[str] = frozenset()
    """What is wrong with contacts, which has been said."""


class Cloud:
    """One OpenStack cloud, as the configured credentials see it."""

    def __init__(
        self,
        config: Config,
        *,
        observe: Observe = lambda _service, _code: None,
        region: CloudRegion | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare to list what `config` names; nothing is sent yet.

        `observe` is called with the service (``compute``, ``identity``) and the status code
        of every response. `region` takes the place of clouds.yaml and the OS_* variables.
        `sleep` waits between attempts. Raises ConfigError where no credentials are configured.
        """
        self._config = config
        self._session = connect(config, observe=observe, region=region, sleep=sleep)
        self._compute = self._session.client("compute")
        self._identity = self._session.client("identity")
        self._network = self._session.client("network")
        self.known = Known()

    def take_over(self, before: "Cloud") -> None:
        """Know what `before` knew, which listed the same instances; call it before the first inventory."""
        self.known = replace(before.known)

    def callers(self) -> Callers:
        """Return the way in for those who bring a token of their own."""
        return Callers(self._session)

    def inventory(self) -> Inventory:
        """List the cloud.

        Raises CloudError where the servers cannot be listed completely, and ConfigError where
        a project or the host of the configuration never existed. Without hypervisors, project names
        or Neutron the inventory is complete all the same, and its `parts` tell. Names of projects
        and Neutron's answers that were had once stay in use, for they hardly change; a hypervisor's
        state does not. Servers in a cell that is down are as they were last known to be.
        """
        listed_at, begun = time.time(), time.monotonic()
        microversion = self._compute.microversion(MICROVERSIONS)
        host = self._host_filter(microversion)
        scope = self._scope()
        instances: dict[str, Instance] = {}
        for filters in _filters(scope, all_projects=self._config.all_projects):
            instances |= self._servers(filters | ({"host": host} if host else {}), microversion)
        names = scope if scope is not None else self._part("projects", lambda: list_projects(self._identity))
        self.known.names = names or self.known.names or self._own()
        parts = self._ask_keystone_for_contacts()
        fleet = self._part(
            "hypervisors", lambda: list_nodes(self._compute, microversion=microversion, host=host)
        )
        nodes = fleet.nodes if fleet else ()
        self.known.instances = with_lost(
            instances, known=self.known.instances, hosts=fleet.lost if fleet else ()
        )
        return Inventory(
            instances=placed(self.known.instances.values(), nodes),
            projects=self.known.names,
            contacts=self._contacts(),
            hypervisors=tuple(Hypervisor(node.name, node.up) for node in nodes),
            parts={
                "hypervisors": fleet is not None,
                "projects": names is not None,
                **parts,
                **self._ask_neutron(host),
            },
            topology=self.known.topology,
            listed_at=listed_at,
            duration=time.monotonic() - begun,
        )

    def _host_filter(self, microversion: str | None) -> str | None:
        """Return Nova's name for the host that the configuration asks for; None: all hosts."""
        if self._config.instances.host and not self.known.host:
            name = own_host(self._config.instances)
            try:
                self.known.host = find_host(self._compute, name, microversion=microversion)
            except ForbiddenError as error:
                raise ForbiddenError(f"instances.host needs the right to list services ({error})") from error
        return self.known.host

    def _ask_keystone_for_contacts(self) -> dict[str, bool]:
        """Refresh the users' addresses if they are wanted; return whether they could be had."""
        if not self._config.contacts_from_keystone:
            return {}
        users = self._part("contacts", lambda: list_contacts(self._identity))
        self.known.users = users if users is not None else self.known.users
        return {"contacts": users is not None}

    def _contacts(self) -> dict[str, str]:
        """Return whom to write to, by the project's id: whom the configuration names, else the users."""
        given = by_project(self._config.contacts, self.known.names)
        users = self.known.users if self._config.contacts_from_keystone else Contacts({})
        faults = given.faults + users.faults
        for fault in faults:
            if fault not in self.known.told:
                logger.warning("contacts: %s", fault)
        self.known.told = frozenset(faults)
        return users.emails | given.emails

    def _ask_neutron(self, host: str | None) -> dict[str, bool]:
        """Refresh the topology; return which parts of it could be had. No Neutron, no parts."""
        probe = self._config.probe
        chosen = probe.kinds != {"local"} or probe.local_networks is not None
        try:
            if not self._network.in_catalog():
                return {}
        except CloudError:  # asked again below, and told there
            pass
        ports = self._part(
            "ports",
            lambda: list_topology(
                self._network,
                host=host,
                networks=chosen and "local" in probe.kinds,
                routers="qrouter" in probe.kinds,
            ),
        )
        if ports is None:
            return {"ports": False, "security_groups": False}
        topology = self._part("security_groups", lambda: list_security(self._network, ports))
        self.known.topology = topology or msgspec.structs.replace(
            ports.topology,
            rules=self.known.topology.rules,
            members=self.known.topology.members,
            address_groups=self.known.topology.address_groups,
        )
        return {"ports": True, "security_groups": topology is not None}

    def _scope(self) -> Mapping[str, Project] | None:
        """Return the projects to list, by id; None: all of them."""
        given = self._config.projects
        if self._config.all_projects and not given:
            return None
        own = self._session.own_project()
        if self._config.all_projects:
            self.known.chosen = {project: self._find(project, own) for project in given}
            return {project.id: project for project in self.known.chosen.values()}
        if own is None:
            raise ConfigError("all_projects: false needs credentials of a project, and these have none")
        for project in given:
            if project not in (own.id, own.name):
                raise ConfigError(
                    f'projects: "{project}" is not "{own.name}", which the credentials belong to, '
                    "and all_projects is false"
                )
        return {own.id: own}

    def _find(self, given: str, own: Project | None) -> Project:
        """Return a project of the configuration; as it was, where Keystone no longer has one of that name."""
        try:
            return find_project(self._identity, given, own=own)
        except ConfigError as error:
            if given not in self.known.chosen:
                raise
            logger.warning("%s; Nova is asked for %s, which it was", error, self.known.chosen[given].id)
            return self.known.chosen[given]

    def _own(self) -> Mapping[str, Project]:
        own = self._session.own_project()
        return {own.id: own} if own else {}

    def _servers(self, filters: Mapping[str, str], microversion: str | None) -> dict[str, Instance]:
        def get(params: Mapping[str, str]) -> bytes:
            return self._compute.get("/servers/detail", params=params, microversion=microversion)

        try:
            return list_servers(get, filters)
        except ForbiddenError as error:
            if "all_tenants" not in filters:
                raise
            raise ForbiddenError(
                "all_projects: true needs the right os_compute_api:servers:detail:get_all_tenants, which "
                f"Nova grants to admins; without it, set all_projects: false ({error})"
            ) from error

    def _part(self, part: str, listed: Callable[[], T]) -> T | None:
        """Return an optional part of the inventory; None, with a log line, where it cannot be had."""
        try:
            value = listed()
        except ForbiddenError as error:
            if part not in self.known.refused:
                logger.warning("%s are left out, the credentials have no right to list them: %s", part, error)
            self.known.refused |= {part}
        except CloudError as error:
            logger.warning("%s are left out this time: %s", part, error)
        else:
            self.known.refused -= {part}
            return value
        return None


def _filters(scope: Iterable[str] | None, *, all_projects: bool) -> list[dict[str, str]]:
    """Return the filters of each listing that Nova is to be asked for."""
    if not all_projects:
        return [{}]
    if scope is None:
        return [{"all_tenants": "1"}]
    return [{"all_tenants": "1", "project_id": project} for project in scope]
