"""A running exporter: what its configuration decides, until another one takes over."""

import logging
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import NamedTuple

from fping_exporter import open_files
from fping_exporter.config import Agents, Config
from fping_exporter.errors import ConfigError, FpingExporterError
from fping_exporter.fleet.central import Centrals
from fping_exporter.fleet.poller import Poller
from fping_exporter.fleet.reader import FleetReader
from fping_exporter.fleet.share import Share
from fping_exporter.fleet_monitor import FleetMonitor, Snapshots
from fping_exporter.httpd.listen import ListenAddress, is_local
from fping_exporter.httpd.web_config import Settings as WebSettings
from fping_exporter.lister import Upstream
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Snapshot
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.os_fping.api import OsFpingApi
from fping_exporter.os_fping.callers import AnonymousAccess, Callers, WithoutKeystone
from fping_exporter.os_fping.on_demand import OnDemand
from fping_exporter.os_fping.rate_limit import RateLimits
from fping_exporter.probe import Pacer, SocketBudget, Trust, make_layer2_prober, make_prober
from fping_exporter.storage import Storage

__all__ = ["Service", "check_exposure"]

logger = logging.getLogger(__name__)

_OS_FPING_SECONDS = 30.0
"""How long a caller of os-fping waits for a sweep; after that the snapshot before it is used."""


class Runtime(NamedTuple):
    """What one configuration has made."""

    monitor: Monitor
    api: OsFpingApi
    cloud: Upstream
    whole: Snapshots
    """The monitor, or its snapshots merged with what the other exporters of a fleet say."""
    poller: Poller | None = None
    """Asks for new lists; only that of an agent is not left to those who scrape."""
    share: Share | None = None
    """Decides which instances are this exporter's part; it may be that of the configuration before."""


class Service:
    """The monitor and the os-fping API, of one configuration at a time.

    `check` raises ConfigError where the command line does not go with a configuration,
    and `connect` where it names no cloud or files that cannot be read.
    """

    def __init__(
        self,
        settings: Config,
        *,
        read: Callable[[], Config],
        check: Callable[[Config], None],
        connect: Callable[[Config], Upstream],
        telemetry: Telemetry,
        storage: Storage | None = None,
    ) -> None:
        """Begin with `settings`, and with what `storage` has of the same instances. Nothing is sent yet.

        What comes after `settings` is what `read` returns.
        """
        self._read, self._check, self._connect = read, check, connect
        self._telemetry = telemetry
        self._storage = storage
        self._reloading = threading.Lock()
        self._started = False
        self._rate_limits = RateLimits()
        self._pacer = Pacer(rate=settings.probe.rate)
        self._sockets = SocketBudget(open_files.shares().icmp_sockets)
        self._trust = Trust()
        self._share: Share | None = None
        setup, cloud = self._set_up(settings)
        stored = storage.read(cloud.scope) if storage else None
        if stored and stored.age < settings.cache.max_stale:
            cloud.recall(stored.inventory, listed_at=stored.list_began)
        monitor = (
            Monitor.resume(setup, stored, telemetry=telemetry)
            if stored
            else Monitor(setup, telemetry=telemetry)
        )
        self.runtime = self._make_runtime(monitor, setup, cloud)
        """Another one after each reload, swapped as a whole."""
        telemetry.observe_reload(success=True)

    @property
    def monitor(self) -> Monitor:
        """The monitor of the configuration in use."""
        return self.runtime.monitor

    @property
    def whole(self) -> Snapshots:
        """Where pages have their snapshots from: the monitor's, with the fleet's words if it is read."""
        return self.runtime.whole

    @property
    def cloud(self) -> Upstream:
        """Where the configuration in use has its lists from."""
        return self.runtime.cloud

    @property
    def api(self) -> OsFpingApi:
        """The os-fping API of the configuration in use."""
        return self.runtime.api

    def start(self) -> None:
        """Begin with a first sweep, so that the first scrape finds it done or under way."""
        with self._reloading:
            self._started = True
            self._use_share(self.runtime.share)
            self.monitor.refresh()
            if self.runtime.poller:
                self.runtime.poller.start()

    def reload(self) -> None:
        """Read the configuration again, and use it from now on unless something is wrong with it.

        Where it lists the same instances, what is known of them stays in use until the next sweep.
        A wrong configuration is refused whole: the error is logged and raised, and the old one goes on.
        """
        with self._reloading:
            before = self.runtime
            try:
                settings = self._read()
                setup, cloud = self._set_up(settings)
                same_cloud = cloud.scope == before.cloud.scope
                if same_cloud:
                    cloud.take_over(before.cloud)
            except FpingExporterError as error:
                self._telemetry.observe_reload(success=False)
                logger.error("the configuration stays as it was: %s", error)  # noqa: TRY400, the line says it all
                raise
            except Exception as error:
                self._telemetry.observe_reload(success=False)
                logger.exception("the configuration stays as it was, because of a bug")
                raise ConfigError("a bug, see the log") from error
            self._pacer.rate = settings.probe.rate
            if self._storage:
                self._storage.set_scope(cloud.scope)
            monitor = before.monitor.hand_over(setup, same_cloud=same_cloud)
            self.runtime = self._make_runtime(monitor, setup, cloud)
            if before.poller:
                before.poller.stop()
            if self.runtime.poller and self._started:
                self.runtime.poller.start()
            if self._started:
                self._use_share(self.runtime.share)
            self._telemetry.observe_reload(success=True)
            logger.info("the configuration was read again")

    def _set_up(self, settings: Config) -> tuple[Setup, Upstream]:
        self._check(settings)
        cloud = self._connect(settings)
        probe, pacer, sockets = settings.probe, self._pacer, self._sockets
        setup = Setup(
            settings,
            cloud,
            make_prober(probe, pacer=pacer, sockets=sockets),
            make_layer2_prober(probe, pacer=pacer, sockets=sockets, trust=self._trust),
            fleet=self._make_fleet_reader(settings),
            share=self._make_share(settings),
        )
        if self._storage is None:
            return setup, cloud
        return setup._replace(save=partial(self._storage.save, scope=cloud.scope)), cloud

    def _make_fleet_reader(self, settings: Config) -> FleetReader | None:
        if settings.fleet is None:
            return None
        return FleetReader(
            settings.fleet,
            interval=settings.cache.sweep,
            observer=self._telemetry,
            own_sweeps=lambda: frozenset(self._telemetry.sweep.recent),
        )

    def close(self) -> None:
        """Leave the instances to the others that share them."""
        self._use_share(None)

    def _make_share(self, settings: Config) -> Share | None:
        """Return the share in use if the settings are the same: the others see no change then."""
        if settings.share is None or (self._share and self._share.settings == settings.share):
            return self._share if settings.share else None
        return Share(settings.share, observer=self._telemetry)

    def _use_share(self, share: Share | None) -> None:
        before, self._share = self._share, share
        if share is before:
            return
        if before:
            before.leave()  # first, or the other members would see one more that pings nothing
            self._telemetry.forget_share()
        if share:
            share.start()

    def _make_runtime(self, monitor: Monitor, setup: Setup, cloud: Upstream) -> Runtime:
        settings = setup.settings
        whole = FleetMonitor(monitor, setup.fleet) if setup.fleet else monitor
        known = bool(setup.fleet and setup.fleet.newest)  # of the configuration before
        self._telemetry.expect_fleet(read=setup.fleet is not None, anew=not known)

        def snapshot() -> Snapshot | None:
            return whole.snapshot(timeout=_OS_FPING_SECONDS)

        api = OsFpingApi(
            settings.os_fping,
            callers=self._callers(settings, cloud, snapshot),
            on_demand=OnDemand(settings, prober=setup.prober, snapshot=snapshot),
            rate_limits=self._rate_limits,
            telemetry=self._telemetry,
        )
        poller = Poller(monitor.refresh_list, cloud.next_poll) if isinstance(cloud, Centrals) else None
        return Runtime(monitor, api, cloud, whole, poller, setup.share)

    def _callers(self, settings: Config, cloud: Upstream, snapshot: Callable[[], Snapshot | None]) -> Callers:
        if settings.os_fping.auth == "none":
            return AnonymousAccess(snapshot)
        if cloud.session is None:
            return WithoutKeystone()
        from fping_exporter.os_fping.keystone import KeystoneCallers  # noqa: PLC0415, it needs openstacksdk

        return KeystoneCallers(cloud.session, rate_limits=self._rate_limits)


def check_exposure(
    settings: Config, addresses: Iterable[ListenAddress], web: WebSettings | None = None
) -> None:
    """Raise ConfigError if the list of instances would be open to others than this machine's users.

    That is so with ``os_fping.auth: none``, and for agents where the web configuration `web` demands no
    authentication. Of host names only ``localhost`` is taken to be this machine.
    """
    exposed = next((address for address in addresses if not is_local(address)), None)
    if settings.os_fping.auth == "none" and exposed:
        raise ConfigError(
            f"os_fping.auth: none shows every instance to whoever can reach {exposed}; "
            "listen on loopback addresses or unix sockets only, or set it to keystone"
        )
    certificates = bool(web and web.tls_server_config and web.tls_server_config.verifies_clients)
    if isinstance(settings.agents, Agents) and settings.agents.match_san and not certificates:
        raise ConfigError(
            "agents.match_san needs client certificates: set client_auth_type: RequireAndVerifyClientCert "
            "and client_ca_file in --web.config.file"
        )
    if settings.agents and exposed and not (certificates or (web and web.basic_auth_users)):
        raise ConfigError(
            f"agents: the list of instances would be open to whoever can reach {exposed}; demand client "
            "certificates, by client_ca_file, or passwords in --web.config.file, or listen on loopback "
            "addresses or unix sockets only"
        )
