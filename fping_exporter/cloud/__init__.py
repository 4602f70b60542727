"""An OpenStack cloud: servers from Nova, and what else the credentials may see."""

import time
from collections.abc import Callable, Collection
from urllib.parse import quote

from openstack.config.cloud_region import CloudRegion

from fping_exporter.cloud.listing import CloudListing
from fping_exporter.cloud.memory import Memory
from fping_exporter.cloud.servers import MICROVERSIONS, read_server
from fping_exporter.cloud.session import Observe, connect
from fping_exporter.cloud.time_limit import time_limit
from fping_exporter.cloud.tokens import SharedTokens
from fping_exporter.cloud.worker import GivenUpError, Worker
from fping_exporter.config import Config, Scope
from fping_exporter.hosts import own_host
from fping_exporter.model import Instance, Inventory

__all__ = ["Cloud"]

_LOOKUP_SECONDS = 10.0
"""How long Nova may take for a single server."""


class Cloud:
    """One OpenStack cloud, as the configured credentials see it."""

    def __init__(
        self,
        config: Config,
        *,
        observe: Observe = lambda _service, _code: None,
        region: CloudRegion | None = None,
        tokens: SharedTokens | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare to list what `config` names; nothing is sent yet.

        `observe` is called with the service (``compute``, ``identity``) and the status code
        of every response. `region` takes the place of clouds.yaml and the OS_* variables.
        Clouds with the same credentials share the tokens in `tokens`. `sleep` waits between attempts.
        Raises ConfigError where no credentials are configured.
        """
        self._config = config
        self.session = connect(config, observe=observe, region=region, tokens=tokens, sleep=sleep)
        self._worker = Worker("listing the cloud")
        self.memory = Memory()
        """What listings so far found out."""

    @property
    def name(self) -> str:
        """The entry of clouds.yaml; Keystone's host name where there is none."""
        return self.session.cloud_name

    @property
    def region(self) -> str:
        """The region's name; empty where none is configured."""
        return self.session.region_name

    @property
    def scope(self) -> Scope:
        """What its lists depend on: clouds of the same scope list the same instances."""
        config = self._config
        host = config.instances.host and own_host(config.instances.host)
        identity = self.session.identity(own_project=not config.all_projects)
        return {**config.scope, "instances.host": host, **identity}

    def is_same(self, other: "Cloud") -> bool:
        """Return whether `other` lists with the same credentials and options of clouds.yaml."""
        return self.session.is_same(other.session)

    def take_over(self, before: "Cloud") -> None:
        """Begin with what `before` knows, which lists the same instances; call it before listing."""
        self.memory = before.memory.copy()

    def close(self) -> None:
        """Close the connections to the cloud; a listing that is under way goes on."""
        self.session.close()

    def recall(self, inventory: Inventory, *, listed_at: float) -> None:
        """Begin with the list that an earlier process made `listed_at`, by the monotonic clock."""
        self.memory.recall(inventory, listed_at=listed_at)

    def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:
        """List the cloud: all of it, or what changed since the last list, merged into that.

        All is listed with `full`, after a failure, if the last full list is older than
        `cache.full_inventory`, and where changes do not tell enough
        (:class:`fping_exporter.cloud.listing.CloudListing`).

        Neutron does not tell which ports were deleted. Those of instances that fell `silent`, by their ids,
        are looked up.

        Raises CloudError if the servers cannot be listed completely, and ConfigError if a project or the
        host of the configuration never existed. Without hypervisors, project names or Neutron the
        inventory is complete all the same; its `parts` say what is missing. The last known names of projects
        and answers of Neutron stay in use then, for they hardly change; the state of hypervisors does
        not. Servers in a cell that is down are as they were last listed.

        The listing is given up after half of `cache.max_stale`, so that another one may succeed before the
        last list is too old. After a failure, the next listing begins with a new session: a token, a
        catalog or a connection that something is wrong with, or a lock that a thread hangs in, is not met
        again.
        """
        memory = self.memory.copy()
        listing = CloudListing(self._config, session=self.session, memory=memory, full=full, silent=silent)
        try:
            inventory = self._worker.run(listing.run, seconds=self._config.cache.max_stale / 2)
        except GivenUpError:  # what its thread does with the memory is nobody's any more
            self.memory.full_list_at = None
            self.session.renew()
            raise
        except BaseException:
            memory.full_list_at = None
            self.session.renew()
            self.memory = memory
            raise
        self.memory = memory
        return inventory

    def look_up(self, id_: str) -> Instance:
        """Return what Nova says of one server now, whose id a list had; no listing notices.

        Raises NotFoundError if there is none any more, and CloudError.
        """
        with time_limit(_LOOKUP_SECONDS):
            compute = self.session.client("compute")
            microversion = compute.microversion(MICROVERSIONS)
            return read_server(compute.get(f"/servers/{quote(id_, safe='')}", microversion=microversion))
