"""A running exporter: what its configuration decides, until another one takes over."""

import ipaddress
import logging
import threading
from collections.abc import Callable, Iterable

from fping_exporter.cloud import Cloud
from fping_exporter.config import Config, OsFping
from fping_exporter.errors import ConfigError, FpingExporterError
from fping_exporter.httpd.listen import ListenAddress, UnixAddress
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.monitor import Monitor, Parts
from fping_exporter.os_fping.api import OsFpingApi
from fping_exporter.os_fping.callers import AnonymousAccess
from fping_exporter.os_fping.keystone import KeystoneCallers
from fping_exporter.os_fping.on_demand import OnDemand, aim_as
from fping_exporter.probe import make_prober

__all__ = ["Service", "check_exposure"]

logger = logging.getLogger(__name__)


class Service:
    """The monitor and the os-fping desk, under one configuration at a time.

    `check` raises ConfigError where the command line does not go with a configuration,
    and `connect` where it names no cloud.
    """

    def __init__(
        self,
        settings: Config,
        *,
        read: Callable[[], Config],
        check: Callable[[Config], None],
        connect: Callable[[Config], Cloud],
        telemetry: Telemetry,
    ) -> None:
        """Begin with `settings`; what comes after them is what `read` returns. Nothing is sent yet."""
        self._read, self._check, self._connect = read, check, connect
        self._telemetry = telemetry
        self._reloading = threading.Lock()
        parts, self._cloud = self._build(settings)
        self.monitor = Monitor(parts, telemetry=telemetry)
        self.desk = self._open(parts, self._cloud, before=None)
        """Another one after each reload."""
        telemetry.observe_reload(success=True)

    def reload(self) -> None:
        """Read the configuration again, and let it take over if nothing is wrong with it.

        The last snapshot stays in use until the next sweep. A configuration that is wrong is
        refused whole: it is logged, the old one goes on, and the error is raised.
        """
        with self._reloading:
            try:
                parts, cloud = self._build(self._read())
                if parts.settings.scope == self.monitor.settings.scope:
                    cloud.take_over(self._cloud)
            except FpingExporterError as error:
                self._telemetry.observe_reload(success=False)
                logger.error("the configuration stays as it was: %s", error)  # noqa: TRY400, the line says it all
                raise
            except Exception as error:
                self._telemetry.observe_reload(success=False)
                logger.exception("the configuration stays as it was, because of a bug")
                raise ConfigError("a bug, of which the log has more") from error
            self._cloud = cloud
            self.monitor.reconfigure(parts)
            self.desk = self._open(parts, cloud, before=self.desk)
            self._telemetry.observe_reload(success=True)
            logger.info("the configuration was read again")

    def _build(self, settings: Config) -> tuple[Parts, Cloud]:
        self._check(settings)
        cloud = self._connect(settings)
        return Parts(settings, cloud.inventory, make_prober(settings.probe)), cloud

    def _open(self, parts: Parts, cloud: Cloud, *, before: OsFpingApi | None) -> OsFpingApi:
        settings, monitor = parts.settings, self.monitor
        return OsFpingApi(
            settings.os_fping,
            callers=AnonymousAccess(monitor)
            if settings.os_fping.auth == "none"
            else KeystoneCallers(cloud.session),
            on_demand=OnDemand(
                prober=parts.prober,
                fresh=lambda: monitor.fresh,
                max_age=settings.cache.sweep,
                aim=aim_as(settings, lambda: monitor.latest),
            ),
            before=before,
        )


def check_exposure(settings: OsFping, addresses: Iterable[ListenAddress]) -> None:
    """Raise ConfigError if the API would be open to others than this machine's users.

    Of host names only ``localhost`` is taken to be this machine.
    """
    if settings.auth == "keystone":
        return
    for address in addresses:
        if not isinstance(address, UnixAddress) and not _is_loopback(address.host):
            raise ConfigError(
                f"os_fping.auth: none shows every instance to whoever can reach {address}; "
                "listen on loopback addresses or unix sockets only, or set it to keystone"
            )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
