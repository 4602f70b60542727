"""One cloud of a running exporter: its monitor, its os-fping API and its telemetry, over all reloads."""

import logging
import math
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from fping_exporter.config import DEFAULT_CLOUD, Config
from fping_exporter.explanation.asking import Asker
from fping_exporter.fleet.central import Centrals
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.poller import Poller
from fping_exporter.fleet.reader import FleetReader
from fping_exporter.fleet.share import Share
from fping_exporter.fleet_monitor import FleetMonitor, Snapshots
from fping_exporter.lister import Upstream
from fping_exporter.log_context import log_as
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Inventory, Snapshot
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.os_fping.api import OsFpingApi
from fping_exporter.os_fping.callers import AnonymousAccess, Callers, WithoutKeystone
from fping_exporter.os_fping.explainer import Explainer
from fping_exporter.os_fping.on_demand import OnDemand
from fping_exporter.os_fping.rate_limit import RateLimits, client_network
from fping_exporter.probe import Pacer, SocketBudget, Trust, make_layer2_prober, make_prober
from fping_exporter.snapshot import take_snapshot
from fping_exporter.storage import FindStorage

__all__ = ["CloudUnit", "Connect", "Prepared", "Runtime", "Shared"]

logger = logging.getLogger(__name__)

_PAGE_QUESTIONS = "12/minute"
"""Instances that the pages ask anew for one client address."""
_OS_FPING_SECONDS = 30.0
"""How long a caller of os-fping waits for a sweep; after that the snapshot before it is used."""

_TRIED_SECONDS = 60.0
"""For how long a cloud keeps the process from being ready while its first list hangs."""

Connect = Callable[[Config, Callable[[str, int], object]], Upstream]
"""Returns where a configuration has its list from; raises ConfigError. Nothing is sent yet.

The second argument is called with the service and the status code of every answer.
"""


class Shared(NamedTuple):
    """What all clouds of the process share; nothing else makes one of them wait for another."""

    pacer: Pacer
    """The rate limit of packets."""
    sockets: SocketBudget


class Prepared(NamedTuple):
    """What a configuration needs to be taken up. Nothing of it has begun."""

    setup: Setup
    upstream: Upstream


class Runtime(NamedTuple):
    """What one configuration has made."""

    monitor: Monitor
    api: OsFpingApi
    cloud: Upstream
    whole: Snapshots
    """The monitor, or its snapshots merged with what the other exporters of a fleet say."""
    asker: Asker
    """Pings single instances anew."""
    poller: Poller | None = None
    """Asks for new lists; only that of an agent is not left to those who scrape."""
    share: Share | None = None
    """Decides which instances are this exporter's part; it may be that of the configuration before."""
    fleet: FleetReader | None = None
    """Reads what the other exporters say."""


class CloudUnit:
    """The monitor and the os-fping API of one cloud, of one configuration at a time.

    A configuration is prepared, which may fail and changes nothing, and then taken up, which cannot fail.
    """

    def __init__(self, name: str, *, connect: Connect, shared: Shared, find_storage: FindStorage) -> None:
        """Begin without a configuration; nothing is sent or read yet.

        `find_storage` returns where an earlier process has stored what it knew of the cloud `name`, if
        anywhere.
        """
        self.name = name
        self.telemetry = Telemetry()
        self._connect = connect
        self._shared = shared
        self.log_name = None if name == DEFAULT_CLOUD else name
        """What log lines about it call it; an only cloud without a name needs none."""
        with log_as(self.log_name):
            self._storage = find_storage(name, self.telemetry.observe_state)
        self._begun_at = math.inf
        self._rate_limits = RateLimits()
        self._trust = Trust()
        self._share: Share | None = None
        self._runtime: Runtime | None = None

    @property
    def runtime(self) -> Runtime:
        """What the configuration in use has made; another one after each reload, swapped as a whole."""
        assert self._runtime, "a configuration is taken up before anything else"  # noqa: S101
        return self._runtime

    @property
    def monitor(self) -> Monitor:
        """The monitor of the configuration in use."""
        return self.runtime.monitor

    @property
    def whole(self) -> Snapshots:
        """Where pages have their snapshots from: the monitor's, with the fleet's words if it is read."""
        return self.runtime.whole

    @property
    def asker(self) -> Asker:
        """What pings single instances anew, with the configuration in use."""
        return self.runtime.asker

    @property
    def cloud(self) -> Upstream:
        """Where the configuration in use has its lists from."""
        return self.runtime.cloud

    @property
    def api(self) -> OsFpingApi:
        """The os-fping API of the configuration in use."""
        return self.runtime.api

    @property
    def is_tried(self) -> bool:
        """Whether the process waits no longer for this cloud to be ready.

        It waits for the first sweep, for a failure, or for a minute. It never waits for a cloud that a reload
        adds beside others: these have to be reachable meanwhile.
        """
        failed = self.telemetry.inventory.error or self.telemetry.sweep.error
        return bool(self.monitor.latest or failed or time.monotonic() - self._begun_at >= _TRIED_SECONDS)

    def prepare(self, settings: Config) -> Prepared:
        """Return what `settings` need; raises ConfigError, and changes nothing."""
        with log_as(self.log_name):
            return self._prepare(settings)

    def _prepare(self, settings: Config) -> Prepared:
        upstream = self._connect(settings, self.telemetry.observe_request)
        probe, (pacer, sockets) = settings.probe, self._shared
        setup = Setup(
            settings,
            upstream,
            make_prober(probe, pacer=pacer, sockets=sockets),
            make_layer2_prober(probe, pacer=pacer, sockets=sockets, trust=self._trust),
            fleet=self._make_fleet_reader(settings),
            share=self._make_share(settings),
        )
        if self._storage:
            setup = setup._replace(save=partial(self._storage.save, scope=upstream.scope))
        return Prepared(setup, upstream)

    def is_same(self, prepared: Prepared) -> bool:
        """Return whether what is prepared is what is in use already."""
        before = self._runtime
        return bool(
            before
            and prepared.setup.settings == before.monitor.settings
            and prepared.upstream.is_same(before.cloud)
            and prepared.setup.share is before.share
            and (
                before.fleet is None
                or prepared.setup.fleet is None
                or before.fleet.is_same(prepared.setup.fleet)
            )
        )

    def take_up(self, prepared: Prepared) -> None:
        """Use a configuration from now on.

        Where it lists the same instances as the one before, what is known of them stays in use until the next
        sweep. Before the first one, what an earlier process has stored takes its place.
        """
        with log_as(self.log_name):
            self._take_up(prepared)

    def _take_up(self, prepared: Prepared) -> None:
        setup, upstream = prepared
        before = self._runtime
        if before is None:
            self._runtime = self._make_runtime(self._resume(prepared), setup, upstream)
            return
        same_cloud = upstream.scope == before.cloud.scope
        if same_cloud:
            upstream.take_over(before.cloud)
        if self._storage:
            self._storage.set_scope(upstream.scope)
        monitor = before.monitor.hand_over(setup, same_cloud=same_cloud)
        self._runtime = self._make_runtime(monitor, setup, upstream)
        if before.poller:
            before.poller.stop()
        before.cloud.close()

    def start(self, *, awaited: bool = True) -> None:
        """Begin the work of the configuration in use; unless `awaited`, the process is ready without it.

        That is a sweep if there is none, so that the first scrape finds it done or under way. To leave those
        who shared the instances before may take five seconds.
        """
        self._begun_at = min(self._begun_at, time.monotonic()) if awaited else -math.inf
        with log_as(self.log_name):
            if self.monitor.latest is None:
                self.monitor.refresh()
            if self.runtime.poller:
                self.runtime.poller.start()
            self._use_share(self.runtime.share)

    def retire(self) -> None:
        """Begin and report nothing any more: the cloud is not configured any longer.

        What is known of it is written once more, in case that it comes back.
        """
        self.monitor.retire()
        if self._storage:
            self._storage.write()
        if self.runtime.poller:
            self.runtime.poller.stop()
        self.cloud.close()

    def close(self) -> None:
        """Leave the instances to the others that share them; that takes five seconds at most."""
        with log_as(self.log_name):
            self._use_share(None)

    def _resume(self, prepared: Prepared) -> Monitor:
        setup, upstream = prepared
        stored = self._storage.read(upstream.scope) if self._storage else None
        if stored is None:
            return Monitor(setup, telemetry=self.telemetry)
        if stored.age < setup.settings.cache.max_stale:
            upstream.recall(stored.inventory, listed_at=stored.list_began)
        return Monitor.resume(setup, stored, telemetry=self.telemetry)

    def _make_fleet_reader(self, settings: Config) -> FleetReader | None:
        if settings.fleet is None:
            return None
        return FleetReader(
            settings.fleet,
            interval=settings.cache.sweep,
            observer=self.telemetry,
            own_sweeps=lambda: frozenset(self.telemetry.sweep.recent),
        )

    def _make_share(self, settings: Config) -> Share | None:
        """Return the share in use if it would be the same: the others see no change then."""
        if settings.share is None:
            return None
        before = self._runtime and self._runtime.share
        if before and before.is_of(settings.share):
            return before
        return Share(settings.share, observer=self.telemetry, exports=self._exports)

    def _exports(self) -> bool:
        return self.monitor.age < self.monitor.settings.cache.max_stale

    def _use_share(self, share: Share | None) -> None:
        before, self._share = self._share, share
        if share is before:
            return
        if before:
            before.leave()  # first, or the other members would see one more that pings nothing
            self.telemetry.forget_share()
        if share:
            share.start()

    def _make_runtime(self, monitor: Monitor, setup: Setup, upstream: Upstream) -> Runtime:
        settings = setup.settings
        whole = FleetMonitor(monitor, setup.fleet) if setup.fleet else monitor
        known = bool(setup.fleet and setup.fleet.newest)  # of the configuration before
        self.telemetry.expect_fleet(read=setup.fleet is not None, anew=not known)

        def snapshot() -> Snapshot | None:
            return whole.snapshot(timeout=_OS_FPING_SECONDS)

        asker = self._make_asker(setup)
        api = OsFpingApi(
            settings.os_fping,
            callers=self._callers(settings, upstream, snapshot),
            on_demand=OnDemand(settings, prober=setup.prober, snapshot=snapshot),
            explainer=Explainer(settings, snapshot=snapshot, asker=asker),
            rate_limits=self._rate_limits,
            telemetry=self.telemetry,
        )
        poller = Poller(monitor.refresh_list, upstream.next_poll) if isinstance(upstream, Centrals) else None
        return Runtime(monitor, api, upstream, whole, asker, poller, setup.share, setup.fleet)

    def _make_asker(self, setup: Setup) -> Asker:
        settings = setup.settings

        def sweep(alone: Inventory, last_replies: Mapping[str, float]) -> Snapshot:
            return take_snapshot(
                alone,
                prober=setup.prober,
                layer2=setup.layer2,
                probe=settings.probe,
                host=settings.host,
                last_replies=last_replies,
            )

        def merge_fleet(snapshot: Snapshot) -> Snapshot:
            if setup.fleet is None:
                return snapshot
            reading = setup.fleet.newest
            elapsed = time.monotonic() - reading.began if reading else 0.0
            return merge(snapshot, reading, max_age=setup.fleet.settings.max_age - elapsed)

        def count(client: str) -> None:
            self._rate_limits.count(_PAGE_QUESTIONS, client_network(client), what="Asking anew")

        return Asker(sweep, merge=merge_fleet, count=count)

    def _callers(
        self, settings: Config, upstream: Upstream, snapshot: Callable[[], Snapshot | None]
    ) -> Callers:
        if settings.os_fping.auth == "none":
            return AnonymousAccess(snapshot)
        if upstream.session is None:
            return WithoutKeystone()
        from fping_exporter.os_fping.keystone import KeystoneCallers  # noqa: PLC0415, it needs openstacksdk

        return KeystoneCallers(upstream.session, rate_limits=self._rate_limits)
