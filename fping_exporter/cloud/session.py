"""Authenticated requests to the services of a cloud, through keystoneauth."""

import contextlib
import logging
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from functools import partial
from typing import NamedTuple, TypeVar
from urllib.parse import urlsplit

import requests
from keystoneauth1 import exceptions as ka
from keystoneauth1.adapter import Adapter
from keystoneauth1.discover import EndpointData, version_between
from keystoneauth1.identity import BaseIdentityPlugin
from openstack.config.cloud_region import CloudRegion

from fping_exporter.cloud.connection import Connection
from fping_exporter.cloud.faults import (
    UNREADABLE,
    describe,
    redact,
    retry_delay,
    root_failure,
    to_cloud_error,
)
from fping_exporter.cloud.region import identify, read_region
from fping_exporter.cloud.time_limit import time_left, time_limit
from fping_exporter.cloud.tokens import SharedTokens
from fping_exporter.config import Config
from fping_exporter.errors import CloudError, ConfigError
from fping_exporter.model import Project

__all__ = ["Answer", "Client", "Observe", "Session", "connect"]

logger = logging.getLogger(__name__)

Observe = Callable[[str, int], object]
"""Called with the service (``compute``, ``identity``) and the status code of every response."""

_T = TypeVar("_T")

_BACKOFF_SECONDS = (0.5, 1.0, 2.0)

_NAMES_OF_NO_ENTRY = frozenset({"", "defaults", "envvars"})
"""How openstacksdk names a cloud that is in no clouds.yaml."""

DEMO_SERVICE = "fping-exporter-demo"
"""The type of a service in the catalog of the demo's cloud, which marks its guests as being on loopback."""


def connect(
    config: Config,
    *,
    observe: Observe = lambda _service, _code: None,
    region: CloudRegion | None = None,
    tokens: SharedTokens | None = None,
    sleep: Callable[[float], None] = time.sleep,
) -> "Session":
    """Make a session from clouds.yaml and the OS_* variables; `region` takes their place if given.

    Sessions with the same credentials share the tokens in `tokens`.
    Nothing is sent yet. Raises ConfigError where the cloud or the credentials are not
    configured, with what would be right.
    """
    return Session(region or read_region(config), observe=observe, tokens=tokens, sleep=sleep)


class Session:
    """One cloud, as one set of credentials sees it. Threads may share it."""

    def __init__(
        self,
        region: CloudRegion,
        *,
        observe: Observe,
        tokens: SharedTokens | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Prepare a session to `region`; `sleep` waits between attempts."""
        self._region = region
        self._tokens = (tokens or SharedTokens()).join(region)
        self._observe = observe
        self._sleep = sleep
        self._unreported: deque[tuple[str, int]] = deque()
        """URL and status code of responses that are still to be observed."""
        self._renewing = threading.Lock()
        self._spoiled = self._closed = False
        self._connection = self._connect()

    def identity(self, *, own_project: bool) -> dict[str, str]:
        """Return what tells this cloud from others; see :func:`fping_exporter.cloud.region.identify`."""
        return identify(self._region, own_project=own_project)

    def is_same(self, other: "Session") -> bool:
        """Return whether both are to the same region with the same credentials and options."""
        mine, its = self._region, other._region  # noqa: SLF001, of this class
        return (mine.name, mine.region_name, mine.config) == (its.name, its.region_name, its.config)

    def client(self, service: str) -> "Client":
        """Return the client of `service`, by its type in the catalog."""
        return Client(self, service)

    def renew(self) -> None:
        """Throw away token, catalog, versions and connections, so that the next request begins anew.

        A thread that is in the middle of a request goes on with what it has.
        """
        self._spoiled = True

    def close(self) -> None:
        """Keep no TCP connection open from now on: what is still under way has one for each request."""
        with self._renewing:
            self._closed = True
            self._connection.close()

    @property
    def connection(self) -> Connection:
        """The connection to use for the next request."""
        with self._renewing:
            if self._spoiled:
                self._connection.close()
                self._connection, self._spoiled = self._connect(), False
            return self._connection

    def _connect(self) -> Connection:
        return Connection(self._region, note=self._note_response, tokens=self._tokens)

    @contextlib.contextmanager
    def foreign_answers(self) -> Iterator[None]:
        """Raise CloudError where keystoneauth fails to read an answer of the wrong shape.

        Only calls into keystoneauth that read tokens, catalogs and version documents belong inside: the
        same errors are bugs when they come from anywhere else. Such an answer is not kept.
        """
        try:
            yield
        except UNREADABLE as error:
            self.renew()
            raise CloudError(f"an answer of the cloud cannot be read: {describe(error)}") from error

    def in_catalog(self, service: str) -> bool:
        """Whether the catalog has a service of this type."""
        session = self.connection.session

        def ask() -> bool:
            try:
                with self.foreign_answers():
                    return session.get_endpoint(service_type=service, skip_discovery=True) is not None
            except ka.CatalogException:
                return False

        return self.ask(ask)

    def own_project(self) -> Project | None:
        """Return the project of the credentials; None where they are scoped to a domain or the system."""
        connection = self.connection
        auth = connection.auth
        if not isinstance(auth, BaseIdentityPlugin):
            return None

        def ask() -> Project | None:
            with self.foreign_answers():
                access = auth.get_access(connection.session)
                if not access.project_id:
                    return None
                return Project(access.project_id, access.project_name or "", access.project_domain_id or "")

        return self.ask(ask)

    @property
    def cloud_name(self) -> str:
        """The entry of clouds.yaml; Keystone's host name where the OS_* variables are the only source."""
        name = self._region.name
        if name in _NAMES_OF_NO_ENTRY:
            return urlsplit(self.keystone_url).hostname or ""
        return str(name)

    @property
    def region_name(self) -> str:
        """The region; empty where none is configured, so that the catalog's only one is used."""
        return self._region.region_name or ""

    @property
    def keystone_url(self) -> str:
        """Where the credentials are checked, as configured."""
        return redact(str(getattr(self._connection.auth, "auth_url", "")))

    def ask(self, call: Callable[[], _T], *, retry: bool = True) -> _T:
        """Return what `call` returns, with keystoneauth's errors as CloudError.

        With `retry`, what may pass is tried again, after pauses: a broken connection, and statuses such as
        429 and 503, as long as there is time left. Every response is observed here and not in keystoneauth's
        own code, so that an error of the observer's is not taken for one of the cloud's.
        """
        backoffs = iter(_BACKOFF_SECONDS if retry else ())
        while True:
            try:
                return call()
            except ka.ClientException as raised:
                error = root_failure(raised)
                delay = retry_delay(error, next(backoffs, None))
                if delay is None or delay >= time_left():
                    raise to_cloud_error(error) from raised
                logger.warning("%s; asking again in %.1f s", to_cloud_error(error), delay)
            except OSError as raised:  # of a certificate that is gone meanwhile, for one
                raise CloudError(describe(raised)) from raised
            finally:
                self._report_responses()
                if self._closed:
                    self._connection.close()
            self._sleep(delay)

    def _note_response(self, response: requests.Response) -> None:
        """Note every response, including those to keystoneauth's own requests for tokens and versions."""
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
        auth = self._connection.auth
        access = auth.auth_ref if isinstance(auth, BaseIdentityPlugin) else None
        if access is None:
            return "identity"
        try:
            roots = [
                (re.sub(r"/v[0-9][^/]*(/.*)?$", "", endpoint.get("url", "")), entry.get("type", ""))
                for entry in access.service_catalog.catalog
                for endpoint in entry.get("endpoints", ())
            ]
            near = [(len(root), service) for root, service in roots if root and url.startswith(root)]
        except UNREADABLE:  # a catalog of the wrong shape, which is an error where an endpoint is looked up
            return "identity"
        return max(near, default=(0, "identity"))[1]


class Answer(NamedTuple):
    """The answer to a request that succeeded."""

    body: bytes
    date: float | None
    """Unix time at which it was made, by the service's clock; None where it does not say."""


class Client:
    """One service of a cloud."""

    def __init__(self, session: Session, service: str) -> None:
        """Ask `service`, with the credentials, the retries and the errors of `session`."""
        self._session = session
        self._service = service

    @property
    def _adapter(self) -> Adapter:
        return self._session.connection.adapter(self._service)

    def get(
        self, path: str, *, params: Mapping[str, str] | None = None, microversion: str | None = None
    ) -> bytes:
        """Return the body of GET `path`; raise CloudError unless the answer is a success."""
        return self.get_answer(path, params=params, microversion=microversion).body

    def get_answer(
        self, path: str, *, params: Mapping[str, str] | None = None, microversion: str | None = None
    ) -> Answer:
        """Return the answer to GET `path`; raise CloudError unless it is a success."""
        adapter = self._adapter

        def ask() -> Answer:
            url, token = self._url(adapter, path), self._token(adapter)
            send = partial(_send, adapter, url, params=params or {}, microversion=microversion)
            try:
                return send(token)
            except ka.Unauthorized:
                if not adapter.invalidate():
                    raise
            return send(self._token(adapter))

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
        how many seconds all of it may take. The first of `microversions` that is offered is used.
        """
        with time_limit(timeout):
            adapter = self._adapter
            try:
                self.check_region()
                data = self._session.ask(lambda: self._endpoint_data(adapter), retry=False)
                url = self._session.ask(lambda: self._url(adapter, path), retry=False)
            except (CloudError, ConfigError) as error:  # not about `identity`
                raise CloudError(str(error)) from error
            microversion = _first_offered(microversions, data)
            send = partial(_send, adapter, url, identity, params=params, microversion=microversion)

            def ask() -> bytes:
                try:
                    return send().body
                except ka.ConnectFailure:  # the other side may have given up a connection that was kept open
                    return send().body

            return self._session.ask(ask, retry=False)

    def max_microversion(self) -> str | None:
        """Return the highest microversion that the service offers; None if it has no microversions.

        What fails is not tried again.
        """
        data = self._session.ask(lambda: self._endpoint_data(self._adapter), retry=False)
        highest = data and data.max_microversion
        return f"{highest[0]}.{highest[1]}" if highest else None

    def in_catalog(self) -> bool:
        """Whether the catalog has such a service."""
        adapter = self._adapter

        def ask() -> bool:
            try:
                with self._session.foreign_answers():
                    return adapter.get_endpoint(skip_discovery=True) is not None
            except ka.CatalogException:
                return False

        return self._session.ask(ask)

    def microversion(self, wanted: Sequence[str]) -> str | None:
        """Return the first of `wanted` that the service offers; None if it has no microversions."""
        adapter = self._adapter
        return _first_offered(wanted, self._session.ask(lambda: self._endpoint_data(adapter)))

    def check_region(self) -> None:
        """Raise ConfigError if the catalog has the service in several regions and none is configured."""
        adapter, auth = self._adapter, self._session.connection.auth
        if adapter.region_name or adapter.endpoint_override or not isinstance(auth, BaseIdentityPlugin):
            return

        def ask() -> set[str]:
            with self._session.foreign_answers():
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

    def _endpoint_data(self, adapter: Adapter) -> EndpointData | None:
        with self._session.foreign_answers():
            return adapter.get_endpoint_data()

    def _url(self, adapter: Adapter, path: str) -> str:
        """Return the address of `path`: the service's endpoint is in the catalog."""
        if adapter.endpoint_override:  # which keystoneauth puts the project's id into
            return path
        with self._session.foreign_answers():
            endpoint = adapter.get_endpoint()
        if endpoint is None:
            raise CloudError(f"the catalog has no endpoint of {adapter.service_type}")
        return f"{endpoint.rstrip('/')}/{path.lstrip('/')}"

    def _token(self, adapter: Adapter) -> Mapping[str, str]:
        """Return the headers that carry the own token, which is a new one if the last is about to expire."""
        with self._session.foreign_answers():
            headers = adapter.session.get_auth_headers()
        if headers is None:
            raise CloudError("the configured kind of authentication gives no token")
        return headers


def _send(
    adapter: Adapter,
    url: str,
    token: Mapping[str, str],
    *,
    params: Mapping[str, str],
    microversion: str | None,
) -> Answer:
    """Return the answer to GET `url`. No credentials but `token` are sent, and no body is parsed."""
    response = adapter.get(
        url, params=dict(params), headers=dict(token), authenticated=False, microversion=microversion
    )
    return Answer(response.content, _date_of(response))


def _date_of(response: requests.Response) -> float | None:
    """Return the Unix time in the header ``Date`` (RFC 9110, section 6.6.1); None if there is none."""
    try:
        return parsedate_to_datetime(response.headers["Date"]).timestamp()
    except (LookupError, OverflowError, ValueError):
        return None


def _first_offered(wanted: Sequence[str], data: EndpointData | None) -> str | None:
    if data is None or not data.max_microversion:
        return None
    low, high = data.min_microversion, data.max_microversion
    return next((version for version in wanted if version_between(low, high, version)), None)
