"""The cloud, listed: servers from Nova, and what else the credentials may see."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping

import msgspec
from openstack.config.cloud_region import CloudRegion

from fping_exporter.cloud.contacts import Contacts, by_project, list_contacts
from fping_exporter.cloud.hypervisors import Fleet, find_host, list_nodes, placed
from fping_exporter.cloud.neutron import Listed, list_floating, list_security, list_topology
from fping_exporter.cloud.part import Part
from fping_exporter.cloud.projects import find_project, list_projects
from fping_exporter.cloud.servers import MICROVERSIONS, list_servers, with_lost
from fping_exporter.cloud.session import DEMO_SERVICE, Observe, connect
from fping_exporter.config import Config
from fping_exporter.errors import CloudError, ConfigError, ForbiddenError
from fping_exporter.hosts import own_host
from fping_exporter.model import Hypervisor, Instance, Inventory, Project, Topology

__all__ = ["Cloud"]

logger = logging.getLogger(__name__)


class Known:
    """What earlier inventories told, which the next one may not be able to tell again."""

    def __init__(self) -> None:
        """Know nothing."""
        self.instances: Mapping[str, Instance] = {}
        self.projects: Part[Mapping[str, Project]] = Part("projects", {})
        self.users = Part("contacts", Contacts({}))
        self.fleet = Part("hypervisors", Fleet((), frozenset()))
        self.ports: Part[Listed] = Part("ports", Listed(Topology(), (), complete=False))
        self.floating: Part[Mapping[str, tuple[str, ...]]] = Part("floating_ips", {})
        self.security = Part("security_groups", Topology())
        self.chosen: Mapping[str, Project] = {}
        """The projects of the configuration, by the name or id that it gives."""
        self.host: str | None = None
        """Nova's name for the host that the configuration asks for."""
        self.told: frozenset[str] = frozenset()
        """What is wrong with contacts, which has been said."""

    def parts(self) -> dict[str, bool]:
        """Return whether each part that was asked for was had."""
        parts = (self.fleet, self.projects, self.users, self.ports, self.floating, self.security)
        return {part.name: part.had for part in parts if part.had is not None}


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
        self.session = connect(config, observe=observe, region=region, sleep=sleep)
        self._compute = self.session.client("compute")
        self._identity = self.session.client("identity")
        self._network = self.session.client("network")
        self.known = Known()

    def take_over(self, before: "Cloud") -> None:
        """Know what `before` knew, which listed the same instances; call it before the first inventory."""
        self.known = before.known

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
        known, host = self.known, self._host_filter(microversion)
        scope = self._scope()
        instances: dict[str, Instance] = {}
        for filters in _filters(scope, all_projects=self._config.all_projects):
            instances |= self._servers(filters | ({"host": host} if host else {}), microversion)
        self._ask_keystone(scope)
        fleet = known.fleet.refresh(
            lambda: list_nodes(self._compute, microversion=microversion, host=host)
        ) or Fleet((), frozenset())
        known.instances = with_lost(instances, known=known.instances, hosts=fleet.lost)
        self._ask_neutron(host)
        return Inventory(
            instances=placed(known.instances.values(), fleet.nodes),
            projects=known.projects.value,
            contacts=self._contacts(),
            hypervisors=tuple(Hypervisor(node.name, node.up) for node in fleet.nodes),
            parts=known.parts(),
            topology=msgspec.structs.replace(
                known.ports.value.topology,
                rules=known.security.value.rules,
                members=known.security.value.members,
                address_groups=known.security.value.address_groups,
                floating=known.floating.value,
                loopback=self._has_loopback_guests(),
            ),
            listed_at=listed_at,
            duration=time.monotonic() - begun,
        )

    def _host_filter(self, microversion: str | None) -> str | None:
        """Return Nova's name for the host that the configuration asks for; None: all hosts."""
        if self._config.instances.host and not self.known.host:
            name = own_host(self._config.instances.host)
            try:
                self.known.host = find_host(self._compute, name, microversion=microversion)
            except ForbiddenError as error:
                raise ForbiddenError(f"instances.host needs the right to list services ({error})") from error
        return self.known.host

    def _ask_keystone(self, scope: Mapping[str, Project] | None) -> None:
        """Refresh the projects, but for those that were looked up already, and their users if wanted."""
        known = self.known
        if scope is None:
            known.projects.refresh(lambda: list_projects(self._identity))
        else:
            known.projects.value, known.projects.had = scope, True
        known.projects.value = known.projects.value or self._own()
        known.users.had = None
        if self._config.contacts_from_keystone:
            known.users.refresh(lambda: list_contacts(self._identity))

    def _contacts(self) -> dict[str, str]:
        """Return whom to write to, by the project's id: whom the configuration names, else the users."""
        given = by_project(self._config.contacts, self.known.projects.value)
        users = self.known.users.value if self._config.contacts_from_keystone else Contacts({})
        faults = given.faults + users.faults
        for fault in faults:
            if fault not in self.known.told:
                logger.warning("contacts: %s", fault)
        self.known.told = frozenset(faults)
        return users.emails | given.emails

    def _ask_neutron(self, host: str | None) -> None:
        """Refresh who has which address, and what security groups let in. No Neutron, no parts."""
        known, probe = self.known, self._config.probe
        known.ports.had = known.floating.had = known.security.had = None
        try:
            if not self._network.in_catalog():
                return
        except CloudError:  # asked again below, and told there
            pass
        ports = known.ports.refresh(
            lambda: list_topology(
                self._network,
                host=host,
                kinds=probe.kinds,
                networks="local" in probe.kinds and not probe.all_from_local,
                addresses={each.ip for instance in known.instances.values() for each in instance.addresses},
            )
        )
        known.floating.had = known.security.had = False
        if ports:
            known.floating.refresh(lambda: list_floating(self._network, ports))
            known.security.refresh(lambda: list_security(self._network, ports))

    def _has_loopback_guests(self) -> bool:
        """Whether this is the demo's cloud, which says so in its catalog: no tenant can write there."""
        try:
            return self.session.in_catalog(DEMO_SERVICE)
        except CloudError:
            return False

    def _scope(self) -> Mapping[str, Project] | None:
        """Return the projects to list, by id; None: all of them."""
        given = self._config.projects
        if self._config.all_projects and not given:
            return None
        own = self.session.own_project()
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
        own = self.session.own_project()
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


def _filters(scope: Iterable[str] | None, *, all_projects: bool) -> list[dict[str, str]]:
    """Return the filters of each listing that Nova is to be asked for."""
    if not all_projects:
        return [{}]
    if scope is None:
        return [{"all_tenants": "1"}]
    return [{"all_tenants": "1", "project_id": project} for project in scope]
