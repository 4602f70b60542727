"""A keystoneauth session: its token, catalog, version documents and connections, which can be thrown away."""

import os
import threading
from collections.abc import Callable
from types import TracebackType

import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1 import loading
from keystoneauth1 import session as keystoneauth
from keystoneauth1.adapter import Adapter
from keystoneauth1.identity import BaseIdentityPlugin
from keystoneauth1.plugin import BaseAuthPlugin
from openstack.config.cloud_region import CloudRegion
from openstack.exceptions import SDKException

from fping_exporter.cloud.faults import UNREADABLE, describe
from fping_exporter.cloud.time_limit import time_left
from fping_exporter.cloud.tokens import TokenShare
from fping_exporter.cloud.transport import RESPONSE_SECONDS, BoundedAdapter
from fping_exporter.errors import CloudError, ConfigError

__all__ = ["Connection"]

_SILENCE_SECONDS = 60.0
"""Nova may take that long for a page of servers from several cells. clouds.yaml's api_timeout replaces it."""

_VERSIONS = {"compute": ("2.1", "2.latest"), "identity": ("3", "3.latest"), "network": ("2", "2.latest")}


class Connection:
    """One keystoneauth session to a cloud, with its own token and its own TCP connections."""

    def __init__(
        self, region: CloudRegion, *, note: Callable[[requests.Response], None], tokens: TokenShare
    ) -> None:
        """Prepare a session to `region`; nothing is sent yet. `note` gets every response.

        Tokens are taken from `tokens`, where other sessions with the same credentials leave theirs.

        Raises ConfigError if the configuration of the cloud names a file that is not there.
        """
        self._region = region
        try:
            configured = region.get_session()
            verify, cert = region.get_requests_verify_args()
            loader: loading.BaseLoader[BaseAuthPlugin] = loading.get_plugin_loader(region.config["auth_type"])
            auth = loader.load_from_options(**region.config["auth"])
        except (SDKException, ka.ClientException, OSError, *UNREADABLE) as error:
            raise ConfigError(f"the configuration of OpenStack: {describe(error)}") from error
        for path in (verify, *(cert if isinstance(cert, tuple) else (cert,))):
            if isinstance(path, str) and not _is_readable(path):
                named = path.replace("\0", r"\0")
                raise ConfigError(f"the configuration of OpenStack: {named} cannot be read")
        if isinstance(auth, BaseIdentityPlugin):
            auth._lock = _AuthenticationLock()  # type: ignore[assignment]  # noqa: SLF001, see there
            _share_tokens(auth, tokens)
        self.session = keystoneauth.Session(
            auth=auth,
            verify=verify,
            cert=cert,
            timeout=configured.timeout or _SILENCE_SECONDS,
            app_name=configured.app_name,
            app_version=configured.app_version,
            additional_user_agent=configured.additional_user_agent,
        )
        self.auth = auth
        self._adapters: dict[str, Adapter] = {}
        transport = BoundedAdapter()
        for scheme in ("http://", "https://"):
            self.session.session.mount(scheme, transport)
        self.session.session.hooks["response"].append(lambda response, **_kwargs: note(response))

    def adapter(self, service: str) -> Adapter:
        """Return keystoneauth's client of `service`, by its type in the catalog.

        It is made once. openstacksdk copies its table of all service types whenever a setting of one service
        is read, so that to make it takes half as long as a request.
        """
        adapter = self._adapters.get(service)
        return adapter or self._adapters.setdefault(service, self._make_adapter(service))

    def _make_adapter(self, service: str) -> Adapter:
        region = self._region
        low, high = _VERSIONS[service]
        return Adapter(
            session=self.session,
            service_type=region.get_service_type(service),
            service_name=region.get_service_name(service),
            interface=region.get_interface(service),
            region_name=region.get_region_name(service),
            endpoint_override=region.get_endpoint(service),
            min_version=low,
            max_version=high,
        )

    def close(self) -> None:
        """Close the TCP connections that are not in use."""
        self.session.session.close()


def _share_tokens(auth: BaseIdentityPlugin, tokens: TokenShare) -> None:
    """Have the plugin look for a token in `tokens` before it asks Keystone for one."""
    ask = auth.get_auth_ref
    auth.get_auth_ref = lambda session: tokens.get(lambda: ask(session))  # type: ignore[method-assign]


def _is_readable(path: str) -> bool:
    try:
        return os.access(path, os.R_OK)
    except ValueError:  # there is a null character in it
        return False


class _AuthenticationLock:
    """The lock that keystoneauth holds while it authenticates, without its deadlock.

    If Keystone's version document answers 401, keystoneauth asks for it again with a token, while it
    holds the lock for getting one, and waits for itself. Such a request fails here instead. Then
    keystoneauth uses an address of Keystone that ends in /v3 without its versions, and fails with any other.
    Other threads do not wait for ever either.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owner: int | None = None

    def __enter__(self) -> None:
        if self._owner == threading.get_ident():
            raise ka.DiscoveryFailure("Keystone wants a token before it tells its versions") from None
        seconds = max(0, min(time_left(), RESPONSE_SECONDS))
        if not self._lock.acquire(timeout=seconds):
            raise CloudError(f"another thread has been authenticating for {seconds:.0f} s")
        self._owner = threading.get_ident()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._owner = None
        self._lock.release()
