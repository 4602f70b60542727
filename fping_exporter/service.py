"""A running exporter: its clouds, and the configuration that they are of, until another one takes over."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping

from fping_exporter import open_files
from fping_exporter.cloud_unit import CloudUnit, Connect, Shared
from fping_exporter.config import Agents, Config
from fping_exporter.errors import ConfigError, FpingExporterError
from fping_exporter.httpd.listen import ListenAddress, is_local
from fping_exporter.httpd.web_config import Settings as WebSettings
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.probe import Pacer, SocketBudget
from fping_exporter.storage import FindStorage

__all__ = ["DEFAULT_CLOUD", "Service", "check_exposure"]

logger = logging.getLogger(__name__)

DEFAULT_CLOUD = "default"
"""The name of the only cloud of a configuration that names none."""


class Service:
    """The clouds of the process, of one configuration at a time.

    `check` raises ConfigError where the command line does not go with a configuration,
    and `connect` where it names no cloud or files that cannot be read.
    """

    def __init__(
        self,
        settings: Config,
        *,
        read: Callable[[], Config],
        check: Callable[[Config], None],
        connect: Connect,
        telemetry: ProcessTelemetry,
        find_storage: FindStorage = lambda _name, _observe: None,
    ) -> None:
        """Begin with `settings`, and with what `find_storage` has of the same instances. Nothing is sent yet.

        What comes after `settings` is what `read` returns.
        """
        self._read, self._check = read, check
        self._telemetry = telemetry
        self._reloading = threading.Lock()
        self._pacer = Pacer(rate=settings.probe.rate)
        shared = Shared(self._pacer, SocketBudget(open_files.shares().icmp_sockets))
        self._check(settings)
        unit = CloudUnit(DEFAULT_CLOUD, settings, connect=connect, shared=shared, find_storage=find_storage)
        unit.resume()
        self.units: Mapping[str, CloudUnit] = {DEFAULT_CLOUD: unit}
        """The clouds by name."""
        telemetry.observe_reload(success=True)

    def start(self) -> None:
        """Begin with a first sweep of each cloud, so that the first scrape finds it done or under way."""
        with self._reloading:
            for unit in self.units.values():
                unit.start()

    def reload(self) -> None:
        """Read the configuration again, and use it from now on unless something is wrong with it.

        Where it lists the same instances, what is known of them stays in use until the next sweep.
        A wrong configuration is refused whole: the error is logged and raised, and the old one goes on.
        """
        with self._reloading:
            try:
                settings = self._read()
                self._check(settings)
                prepared = {name: unit.prepare(settings) for name, unit in self.units.items()}
            except FpingExporterError as error:
                self._telemetry.observe_reload(success=False)
                logger.error("the configuration stays as it was: %s", error)  # noqa: TRY400, the line says it all
                raise
            except Exception as error:
                self._telemetry.observe_reload(success=False)
                logger.exception("the configuration stays as it was, because of a bug")
                raise ConfigError("a bug, see the log") from error
            self._pacer.rate = settings.probe.rate
            for name, unit in self.units.items():
                unit.take_up(prepared[name])
            self._telemetry.observe_reload(success=True)
            logger.info("the configuration was read again")

    def close(self) -> None:
        """Leave the instances to the others that share them."""
        for unit in self.units.values():
            unit.close()


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
