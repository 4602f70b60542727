"""The border to OpenStack: openstacksdk makes the session, and its libraries' errors become ours."""

import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import openstack.config
import requests
import yaml
from keystoneauth1 import exceptions as ka
from keystoneauth1.adapter import Adapter
from keystoneauth1.discover import EndpointData, version_between
from keystoneauth1.identity import BaseIdentityPlugin
from openstack.config import loader
from openstack.config.cloud_region import CloudRegion
from openstack.exceptions import SDKException

from fping_exporter import __version__
from fping_exporter.config import Config
from fping_exporter.errors import AuthError, CloudError, ConfigError, ForbiddenError, NotFoundError
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
_MAX_RETRY_AFTER_SECONDS = 30.0
_RETRIED = frozenset({429, 500, 502, 503, 504})

_VERSIONS = {"compute": ("2.1", "2.latest"), "identity": ("3", "3.latest"), "network": ("2", "2.latest")}
DEMO_SERVICE = "fping-exporter-demo"
"""The type of a service in the catalog of the demo's cloud, which marks its guests as being on loopback."""
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What keystoneauth raises on a token, catalog or version document of the wrong shape."""


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
    return Session(region or _region(config), observe=observe, sleep=sleep)


class Session:
    """One cloud, as one set of credentials sees it. Threads may share it."""

    def __init__(
        self, region: CloudRegion, *, observe: Observe, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        """Prepare a session to `region`; `sleep` waits between attempts."""
        self._region = region
        self._observe = observe
        self._sleep = sleep
        try:
            self._session = region.get_session()
        except (SDKException, ka.ClientException) as error:
            raise ConfigError(_one_line(error)) from error
        self._session.timeout = self._session.timeout or _READ_SECONDS
        self._session.session.hooks["response"].append(self._count)

    def client(self, service: str) -> "Client":
        """Return the way to ask `service`, by its type in the catalog."""
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
            access = auth.get_access(self._session)
            if not access.project_id:
                return None
            return Project(access.project_id, access.project_name or "", access.project_domain_id or "")

        return self.ask(ask)

    @property
    def keystone_url(self) -> str:
        """Where the credentials are checked, as configured."""
        return _redacted(str(getattr(self._session.auth, "auth_url", "")))

    def ask(self, call: Callable[[], _T], *, retry: bool = True) -> _T:
        """Return what `call` does; retry what may pass; raise CloudError for what keystoneauth raises."""
        backoffs = iter(_BACKOFF_SECONDS if retry else ())
        while True:
            try:
                return call()
            except ka.ClientException as raised:
                error = _unwrapped(raised)
                wait = _wait(error, next(backoffs, None))
                if wait is None:
                    raise _ours(error) from raised
                logger.warning("%s; asking again in %.1f s", _ours(error), wait)
                self._sleep(wait)
            except _UNREADABLE as error:
                raise CloudError(f"an answer of the cloud cannot be read: {_one_line(error)}") from error

    def _count(self, response: requests.Response, *_args: object, **_kwargs: object) -> None:
        """Report a response, be it to us or to keystoneauth's own requests for tokens and versions."""
        self._observe(self._service_at(response.url), response.status_code)

    def _service_at(self, url: str) -> str:
        """Return the service whose endpoint `url` belongs to; before there is a catalog, Keystone's."""
        access = self._session.auth.auth_ref if isinstance(self._session.auth, BaseIdentityPlugin) else None
        if access is None:
            return "identity"
        roots = (
            (re.sub(r"/v[0-9][^/]*(/.*)?$", "", endpoint.get("url", "")), entry.get("type", ""))
            for entry in access.service_catalog.catalog
            for endpoint in entry.get("endpoints", ())
        )
        near = [(len(root), service) for root, service in roots if root and url.startswith(root)]
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

        def ask() -> bytes:
            read = self._adapter.session.timeout or _READ_SECONDS
            response = self._adapter.get(
                path,
                params=dict(params or {}),
                microversion=microversion,
                timeout=(min(_CONNECT_SECONDS, read), read),
            )
            return response.content

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
            data = self._session.ask(self._adapter.get_endpoint_data, retry=False)
        except CloudError as error:  # of the exporter's own token or a version document: not about `identity`
            raise CloudError(str(error)) from error
        if data is None:
            raise CloudError(f"the catalog has no endpoint of {self._adapter.service_type}")

        def send() -> bytes:
            response = self._adapter.get(
                path,
                params=dict(params),
                headers=dict(identity),
                authenticated=False,
                endpoint_override=data.url,
                microversion=_first_offered(microversions, data),
                timeout=(min(_CONNECT_SECONDS, timeout), timeout),
            )
            return response.content

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
                return self._adapter.get_endpoint(skip_discovery=True) is not None
            except ka.CatalogException:
                return False

        return self._session.ask(ask)

    def microversion(self, wanted: Sequence[str]) -> str | None:
        """Return the first of `wanted` that the service offers; None if it tells of no microversions."""
        return _first_offered(wanted, self._session.ask(self._adapter.get_endpoint_data))

    def max_microversion(self) -> str | None:
        """Return the highest microversion that the service offers; None if it tells of no microversions.

        What fails is not tried again.
        """
        data = self._session.ask(self._adapter.get_endpoint_data, retry=False)
        highest = data and data.max_microversion
        return f"{highest[0]}.{highest[1]}" if highest else None


def _first_offered(wanted: Sequence[str], data: EndpointData | None) -> str | None:
    if data is None or not data.max_microversion:
        return None
    low, high = data.min_microversion, data.max_microversion
    return next((version for version in wanted if version_between(low, high, version)), None)


def _region(config: Config) -> CloudRegion:
    """Read clouds.yaml and the OS_* variables as openstacksdk does."""
    unread = _unreadable("OS_CLIENT_CONFIG_FILE", loader.CONFIG_FILES)
    hint = f"; {unread}" if unread else ""
    if secure := _unreadable("OS_CLIENT_SECURE_FILE", loader.SECURE_FILES):
        logger.warning("%s", secure)
    try:
        settings = openstack.config.OpenStackConfig(app_name="fping-exporter", app_version=__version__)
        names = [name for name in settings.get_cloud_names() if name != "defaults"]
        cloud = config.cloud or os.environ.get("OS_CLOUD") or None
        if cloud and cloud not in names:
            known = ", ".join(sorted(names)) or ("none" if hint else "none: no clouds.yaml was found")
            where = "cloud" if config.cloud else "OS_CLOUD"
            raise ConfigError(f'{where}: "{cloud}" is not an entry of clouds.yaml; known are {known}{hint}')
        return settings.get_one(cloud=cloud, region_name=config.region or "")
    except ka.MissingRequiredOptions as error:
        missing = ", ".join(sorted(option.dest for option in error.options))
        raise ConfigError(
            f"no complete credentials for OpenStack, missing: {missing}; set `cloud` to an entry of "
            f"clouds.yaml, or the OS_* variables{hint}"
        ) from error
    except yaml.MarkedYAMLError as error:  # its text may quote a line that has a password
        mark = error.problem_mark or error.context_mark
        place = f" line {mark.line + 1}" if mark else ""
        raise ConfigError(f"clouds.yaml{place}: {error.problem or error.context}") from None
    except (SDKException, ka.ClientException, OSError, *_UNREADABLE) as error:
        raise ConfigError(f"the configuration of OpenStack: {_one_line(error)}") from error


def _unreadable(variable: str, places: Sequence[str]) -> str | None:
    """Say why openstacksdk would skip a file that is there, which it does without a word; None: it would not.

    The file is the first of `places`, or the one that `variable` names: then ConfigError is raised.
    """
    named = os.environ.get(variable)
    path = named or next(filter(os.path.exists, places), None)
    if not path:
        return None
    try:
        with Path(path).open("rb"):
            return None
    except OSError as error:
        why = f"{path} cannot be read: {error.strerror}"
        if isinstance(error, PermissionError):
            why += (
                f"; make it readable for uid {os.geteuid()} or gid {os.getegid()}, which the exporter runs as"
            )
    if named:
        raise ConfigError(f"{variable}: {why}")
    return why


def _unwrapped(error: ka.ClientException) -> ka.ClientException:
    """Return what failed when keystoneauth looked for the versions of Keystone, or `error` itself."""
    inner: BaseException | None = error
    while inner:
        if isinstance(inner, ka.HttpError | ka.ConnectionError):
            return inner
        inner = inner.__cause__ or inner.__context__
    return error


def _wait(error: ka.ClientException, backoff: float | None) -> float | None:
    """Return the seconds after which to try again; None: it is no use."""
    if backoff is None:
        return None
    if isinstance(error, ka.HttpError) and error.http_status in _RETRIED:
        wait = max(backoff, float(error.retry_after))
        return wait if wait <= _MAX_RETRY_AFTER_SECONDS else None
    broken = isinstance(error, ka.ConnectFailure | ka.UnknownConnectionError)
    return backoff if broken else None


def _ours(error: ka.ClientException) -> CloudError:
    """Say in one line who refused what, or why nobody answered."""
    if isinstance(error, ka.ConnectionError):
        return CloudError(f"{_url_of(error)}: no connection: {_one_line(_root(error))}")
    if not isinstance(error, ka.HttpError):
        return CloudError(_one_line(error))
    text = f"{_redacted(error.url or '')}: HTTP {error.http_status}: {_said(error)}"
    match error:
        case ka.Unauthorized():
            return AuthError(f"the credentials were not accepted: {text}")
        case ka.Forbidden():
            return ForbiddenError(text)
        case ka.NotFound():
            return NotFoundError(text)
    return CloudError(text)


def _said(error: ka.HttpError) -> str:
    """Return the server's own words, which Nova, Keystone and Neutron wrap in an object of one key."""
    content = error.response.content if error.response is not None else b""
    try:
        [fault] = msgspec.json.decode(content, type=dict[str, _Fault]).values()
    except (ValueError, RecursionError):  # of msgspec too, or not one key
        return _redacted(error.message)
    return _redacted(fault.message)


class _Fault(msgspec.Struct):
    message: str


def _root(error: BaseException) -> BaseException:
    """Return what began it: the OSError below four layers of libraries."""
    while inner := error.__cause__ or error.__context__:
        error = inner
    return error


def _url_of(error: BaseException | None) -> str:
    """Return what was asked for when the connection failed."""
    while error:
        if request := getattr(error, "request", None):
            return _redacted(request.url)
        error = error.__cause__ or error.__context__
    return "the cloud"


def _one_line(error: BaseException) -> str:
    return _redacted(str(error)) or type(error).__name__


def _redacted(text: str) -> str:
    """Return `text` on one line of sensible length, without queries and user:password@ of URLs."""
    text = re.sub(r"(?<=://)[^/@\s]*@", "", text)
    text = re.sub(r"\?[^\s]*=[^\s]*", "", text)
    return " ".join(text.split())[:300]
