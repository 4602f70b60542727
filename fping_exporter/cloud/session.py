"""Authenticated requests to the services of a cloud, through keystoneauth."""

import logging
import re
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1.adapter import Adapter
from keystoneauth1.discover import EndpointData, version_between
from keystoneauth1.identity import BaseIdentityPlugin
from openstack.config.cloud_region import CloudRegion
from openstack.exceptions import SDKException

from fping_exporter.cloud.faults import (
    UNREADABLE,
    describe,
    foreign_answers,
    redact,
    retry_delay,
    root_failure,
    to_cloud_error,
)
from fping_exporter.cloud.region import read_region
from fping_exporter.config import Config
from fping_exporter.errors import AuthError, CloudError, ConfigError
from fping_exporter.model import Project

__all__ = ["Client", "Observe", "Session", "connect"]

logger = logging.getLogger(__name__)

Observe = Callable[[str, int], object]
"""Called with the service (``compute``, ``identity``) and the status code of every response."""

_T = TypeVar("_T")

_CONNECT_SECONDS = 10.0
_READ_SECONDS = 60.0
"""Nova may take that long for a page of servers from several cells; clouds.yaml's api_timeout goes first."""

_BACKOFF_SECONDS = (0.5, 1.0, 2.0)

DEMO_SERVICE = "fping-exporter-demo"
"""The type of a service in the catalog of the demo's cloud, which marks its guests as being on loopback."""

_VERSIONS = {"compute": ("2.1", "2.latest"), "identity": ("3", "3.latest"), "network": ("2", "2.latest")}


def connect(
    config: Config,
    *,
    observe: Observe = lambda _service, _code: None,
    region: CloudRegion | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> "Session":
    """Make a session from clouds.yaml and the OS_* variables; `region` takes their place if given.

    Nothing is sent yet. Raises ConfigError where the cloud or the credentials are not
    configured, with what would be right.
    """
    return Session(region or read_region(config), observe=observe, sleep=sleep)


class Session:
    """One cloud, as one set of credentials sees it. Threads may share it."""

    def __init__(
        self, region: CloudRegion, *, observe: Observe, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Prepare a session to `region`; `sleep` waits between attempts."""
        self._region = region
        self._observe = observe
        self._sleep = sleep
        self._unreported: deque[tuple[str, int]] = deque()
        """URL and status code of responses that are still to be observed."""
        try:
            self._session = region.get_session()
        except (SDKException, ka.ClientException) as error:
            raise ConfigError(describe(error)) from error
        self._session.timeout = self._session.timeout or _READ_SECONDS
        self._session.session.hooks["response"].append(self._note_response)

    def client(self, service: str) -> "Client":
        """Return the client of `service`, by its type in the catalog."""
        region = self._region
        low, high = _VERSIONS[service]
        adapter = Adapter(
            session=self._session,
            service_type=region.get_service_type(service),
            service_name=region.get_service_name(service),
            interface=region.get_interface(service),
            region_name=region.get_region_name(service),
            endpoint_override=region.get_endpoint(service),
            min_version=low,
            max_version=high,
        )
        return Client(self, adapter)

    def in_catalog(self, service: str) -> bool:
        """Whether the catalog has a service of this type."""

        def ask() -> bool:
            try:
                with foreign_answers():
                    return self._session.get_endpoint(service_type=service, skip_discovery=True) is not None
            except ka.CatalogException:
                return False

        return self.ask(ask)

    def own_project(self) -> Project | None:
        """Return the project of the credentials; None where they are scoped to a domain or the system."""

        def ask() -> Project | None:
            auth = self._session.auth
            if not isinstance(auth, BaseIdentityPlugin):
                return None
            with foreign_answers():
                access = auth.get_access(self._session)
                if not access.project_id:
                    return None
                return Project(access.project_id, access.project_name or "", access.project_domain_id or "")

        return self.ask(ask)

    @property
    def keystone_url(self) -> str:
        """Where the credentials are checked, as configured."""
        return redact(str(getattr(self._session.auth, "auth_url", "")))

    def ask(self, call: Callable[[], _T], *, retry: bool = True) -> _T:
        """Return what `call` returns, with keystoneauth's errors as CloudError.

        With `retry`, what may pass is tried again, after pauses: a broken connection, and statuses such as
        429 and 503. Every response is observed here and not in keystoneauth's own code, so that an error of
        the observer's is not taken for one of the cloud's.
        """
        backoffs = iter(_BACKOFF_SECONDS if retry else ())
        while True:
            try:
                return call()
            except ka.ClientException as raised:
                error = root_failure(raised)
                delay = retry_delay(error, next(backoffs, None))
                if delay is None:
                    raise to_cloud_error(error) from raised
                logger.warning("%s; asking again in %.1f s", to_cloud_error(error), delay)
            finally:
                self._report_responses()
            self._sleep(delay)

    def _note_response(self, response: requests.Response, *_args: object, **_kwargs: object) -> None:
        """Note a response, be it to us or to keystoneauth's own requests for tokens and versions."""
        self._unreported.append((response.url, response.status_code))

    def _report_responses(self) -> None:
        while True:
            try:
                url, code = self._unreported.popleft()
            except IndexError:
                return
            self._observe(self._service_at(url), code)

    def _service_at(self, url: str) -> str:
        """Return the service whose endpoint `url` belongs to; before there is a catalog, Keystone's."""
        access = self._session.auth.auth_ref if isinstance(self._session.auth, BaseIdentityPlugin) else None
        if access is None:
            return "identity"
        try:
            roots = [
                (re.sub(r"/v[0-9][^/]*(/.*)?$", "", endpoint.get("url", "")), entry.get("type", ""))
                for entry in access.service_catalog.catalog
                for endpoint in entry.get("endpoints", ())
            ]
            near = [(len(root), service) for root, service in roots if root and url.startswith(root)]
        except UNREADABLE:  # a catalog of the wrong shape, which is told where an endpoint is looked up
            return "identity"
        return max(near, default=(0, "identity"))[1]


class Client:
    """One service of a cloud."""

    def __init__(self, session: Session, adapter: Adapter) -> None:
        """Ask through `adapter`, with the retries and errors of `session`."""
        self._session = session
        self._adapter = adapter

    def get(
        self, path: str, *, params: Mapping[str, str] | None = None, microversion: str | None = None
    ) -> bytes:
        """Return the body of GET `path`; raise CloudError unless the answer is a success."""
        seconds = self._adapter.session.timeout or _READ_SECONDS

        def ask() -> bytes:
            url, token = self._url(path), self._token()

            def send(token: Mapping[str, str]) -> bytes:
                return self._send(url, token, params=params or {}, microversion=microversion, seconds=seconds)

            try:
                return send(token)
            except ka.Unauthorized:
                if not self._adapter.invalidate():
                    raise
            return send(self._token())

        return self._session.ask(ask)

    def get_as(
        self,
        identity: Mapping[str, str],
        path: str,
        *,
        params: Mapping[str, str],
        microversions: Sequence[str] = (),
        timeout: float,
    ) -> bytes:
        """Return the body of GET `path` as somebody else gets it, whose token is in the headers `identity`.

        The own credentials find the service in their catalog, and are not sent to it; AuthError
        is about `identity`. What fails is not tried again, since somebody waits: `timeout` is
        the seconds that the service may be silent. The first of `microversions` that is offered is used.
        """
        try:
            self.check_region()
            data = self._session.ask(self._endpoint_data, retry=False)
            url = self._session.ask(lambda: self._url(path), retry=False)
        except (CloudError, ConfigError) as error:  # of the exporter's own token or a version document: not about `identity`
            raise CloudError(str(error)) from error
        microversion = _first_offered(microversions, data)

        def send() -> bytes:
            return self._send(url, identity, params=params, microversion=microversion, seconds=timeout)

        def ask() -> bytes:
            try:
                return send()
            except ka.ConnectFailure:  # the other side may have given up a connection that was kept open
                return send()

        return self._session.ask(ask, retry=False)

    def in_catalog(self) -> bool:
        """Whether the cloud has such a service, for all that its catalog tells."""

        def ask() -> bool:
            try:
                with foreign_answers():
                    return self._adapter.get_endpoint(skip_discovery=True) is not None
            except ka.CatalogException:
                return False

        return self._session.ask(ask)

    def microversion(self, wanted: Sequence[str]) -> str | None:
        """Return the first of `wanted` that the service offers; None if it tells of no microversions."""
        return _first_offered(wanted, self._session.ask(self._endpoint_data))

    def check_region(self) -> None:
        """Raise ConfigError if the catalog has the service in several regions and none is configured."""
        adapter, auth = self._adapter, self._adapter.session.auth
        if adapter.region_name or adapter.endpoint_override or not isinstance(auth, BaseIdentityPlugin):
            return

        def ask() -> set[str]:
            with foreign_answers():
                found = auth.get_access(adapter.session).service_catalog.get_endpoints_data(
                    service_type=adapter.service_type,
                    interface=adapter.interface or "public",
                    service_name=adapter.service_name,
                )
                return {each.region_name or "" for endpoints in found.values() for each in endpoints}

        regions = self._session.ask(ask)
        if len(regions) > 1:
            raise ConfigError(
                f"region: set it, or OS_REGION_NAME; the catalog has the {adapter.service_type} service in "
                f"several: {', '.join(sorted(regions))}"
            )

    def _endpoint_data(self) -> EndpointData | None:
        with foreign_answers():
            return self._adapter.get_endpoint_data()

    def _url(self, path: str) -> str:
        """Return the address of `path`: the service's endpoint is in the catalog."""
        if self._adapter.endpoint_override:  # which keystoneauth puts the project's id into
            return path
        with foreign_answers():
            endpoint = self._adapter.get_endpoint()
        if endpoint is None:
            raise CloudError(f"the catalog has no endpoint of {self._adapter.service_type}")
        return f"{endpoint.rstrip('/')}/{path.lstrip('/')}"

    def _token(self) -> Mapping[str, str]:
        """Return the headers that carry the own token, which is a new one if the last is about to expire."""
        with foreign_answers():
            headers = self._adapter.session.get_auth_headers()
        if headers is None:
            raise CloudError("the configured kind of authentication gives no token")
        return headers

    def _send(
        self,
        url: str,
        token: Mapping[str, str],
        *,
        params: Mapping[str, str],
        microversion: str | None,
        seconds: float,
    ) -> bytes:
        """Return the body of GET `url`. No credentials but `token` are sent, and no answer is parsed.

        `seconds` are how long the service may be silent.
        """
        response = self._adapter.get(
            url,
            params=dict(params),
            headers=dict(token),
            authenticated=False,
            microversion=microversion,
            timeout=(min(_CONNECT_SECONDS, seconds), seconds),
        )
        return response.content

    def max_microversion(self) -> str | None:
        """Return the highest microversion that the service offers; None if it tells of no microversions.

        What fails is not tried again.
        """
        data = self._session.ask(self._endpoint_data, retry=False)
        highest = data and data.max_microversion
        return f"{highest[0]}.{highest[1]}" if highest else None


def _first_offered(wanted: Sequence[str], data: EndpointData | None) -> str | None:
    if data is None or not data.max_microversion:
        return None
    low, high = data.min_microversion, data.max_microversion
    return next((version for version in wanted if version_between(low, high, version)), None)
