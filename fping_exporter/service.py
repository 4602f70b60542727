"""A running exporter: its clouds, and the configuration that they are of, until another one takes over."""

import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from fping_exporter import open_files
from fping_exporter.cloud_unit import CloudUnit, Connect, Prepared, Shared
from fping_exporter.config import Agents, Config, locate
from fping_exporter.errors import ConfigError, FpingExporterError
from fping_exporter.httpd.listen import ListenAddress, is_local
from fping_exporter.httpd.web_config import Settings as WebSettings
from fping_exporter.metrics.process import ProcessTelemetry
from fping_exporter.probe import Pacer, SocketBudget
from fping_exporter.storage import NOTHING_STORED, StateDirectory
from fping_exporter.together import run_for_each

__all__ = ["Service", "check_exposure"]

logger = logging.getLogger(__name__)


class Service:
    """The clouds of the process, of one configuration at a time.

    `check` raises ConfigError where the command line does not go with the settings of a cloud,
    and `connect` where they name no cloud or files that cannot be read.
    """

    def __init__(
        self,
        settings: Config,
        *,
        read: Callable[[], Config],
        check: Callable[[Config], None],
        connect: Connect,
        telemetry: ProcessTelemetry,
        state: StateDirectory = NOTHING_STORED,
    ) -> None:
        """Begin with `settings`, and with what `state` has of the same instances. Nothing is sent yet.

        What comes after `settings` is what `read` returns.
        """
        self._read, self._check, self._connect = read, check, connect
        self._state = state
        self._telemetry = telemetry
        self._reloading = threading.Lock()
        self._started = False
        self._shared = Shared(Pacer(rate=settings.probe.rate), SocketBudget(open_files.shares().icmp_sockets))
        self.settings = settings
        """The whole configuration in use."""
        self.units: Mapping[str, CloudUnit] = {}
        """The clouds by name; another mapping after each reload."""
        self._take_up(settings, self._prepare(settings))
        telemetry.observe_reload(success=True)

    def start(self) -> None:
        """Begin with a first sweep of each cloud, so that the first scrape finds it done or under way."""
        with self._reloading:
            self._started = True
            for unit in self.units.values():
                unit.start()

    def reload(self) -> None:
        """Read the configuration again, and use it from now on unless something is wrong with it.

        Of several clouds, those whose settings are the same go on undisturbed. Where a changed one lists the
        same instances, what is known of them stays in use until the next sweep. A wrong configuration is
        refused whole: the error is logged and raised, and the old one goes on.
        """
        with self._reloading:
            try:
                settings = self._read()
                prepared = self._prepare(settings)
            except FpingExporterError as error:
                self._telemetry.observe_reload(success=False)
                logger.error("the configuration stays as it was: %s", error)  # noqa: TRY400, the line says it all
                raise
            except Exception as error:
                self._telemetry.observe_reload(success=False)
                logger.exception("the configuration stays as it was, because of a bug")
                raise ConfigError("a bug, see the log") from error
            self._take_up(settings, prepared)
            self._telemetry.observe_reload(success=True)
            logger.info("the configuration was read again")

    def close(self) -> None:
        """Leave the instances to the others that share them; that takes five seconds at most."""
        with self._reloading:
            self._started = False  # a reload by one of the last requests would join the others again
            run_for_each(self.units, lambda name: self.units[name].close())

    def _prepare(self, settings: Config) -> Mapping[str, tuple[CloudUnit, Prepared]]:
        """Prepare all clouds; raises ConfigError, and changes nothing."""
        prepared = {}
        for name, own in settings.by_cloud().items():
            try:
                self._check(own)
                unit = self.units.get(name) or CloudUnit(
                    name, connect=self._connect, shared=self._shared, find_storage=self._state.storage
                )
                prepared[name] = unit, unit.prepare(own)
            except ConfigError as error:
                if not settings.clouds:
                    raise
                raise ConfigError(locate(name, error)) from error
        return prepared

    def _take_up(self, settings: Config, prepared: Mapping[str, tuple[CloudUnit, Prepared]]) -> None:
        before, self.settings = self.units, settings
        self._shared.pacer.rate = settings.probe.rate
        alone = before.keys() == prepared.keys() and len(before) == 1
        touched = []
        for unit, setup in prepared.values():
            if alone or not unit.is_same(setup):
                unit.take_up(setup)
                touched.append(unit)
        self.units = {name: unit for name, (unit, _) in prepared.items()}
        gone = [unit for name, unit in before.items() if name not in self.units]
        for unit in gone:
            unit.retire()
        self._state.tidy(self.units.keys())
        if self._started:
            awaited = not before.keys() & self.units.keys()
            calls = {unit.name: unit.close for unit in gone}
            calls |= {unit.name: partial(unit.start, awaited=awaited) for unit in touched}
            run_for_each(calls, lambda name: calls[name]())  # each may wait for the coordinator of a share


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
