"""``/os-fping``: the API that Nova dropped in 2.36, for clients that were written for it.

Sources: nova/api/openstack/compute/fping.py as of Nova 13 to 17, and novaclient/v2/fping.py of 7.1.2.
"""

import logging
import math
import re
import time
from collections.abc import Callable, Collection, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

import limits
from flask import Blueprint, Request, Response, request
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from werkzeug.exceptions import HTTPException

from fping_exporter import config
from fping_exporter.errors import (
    AuthError,
    CloudError,
    ForbiddenError,
    NotFoundError,
    ProbeError,
)
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Instance
from fping_exporter.os_fping import nova_http as nova
from fping_exporter.os_fping.callers import Caller, Callers
from fping_exporter.os_fping.nova_http import Fault
from fping_exporter.os_fping.on_demand import OnDemand

__all__ = ["OsFpingApi", "blueprint", "is_os_fping"]

_ROOTS = ("", "/v2", "/v2/<project_id>", "/v2.1", "/v2.1/<project_id>")
_SEGMENTS = ("os-fping", "v2", "v2.1")
"""First segments of the paths whose answers are in Nova's form, whatever they are."""

logger = logging.getLogger(__name__)


class OsFpingApi:
    """What answers callers, as one configuration has it."""

    def __init__(
        self,
        settings: config.OsFping,
        *,
        callers: Callers,
        on_demand: OnDemand,
        before: "OsFpingApi | None" = None,
    ) -> None:
        """Admit `callers`, limit their requests as `settings` say, and answer with what is `on_demand`.

        Requests that were made of the desk `before` this one count on.
        """
        self._open = settings.auth == "none"
        self._callers = callers
        self._on_demand = on_demand
        self._limit = None if settings.rate_limit == "unlimited" else limits.parse(settings.rate_limit)
        self.counts: MovingWindowRateLimiter = (
            before.counts if before else MovingWindowRateLimiter(MemoryStorage())
        )
        """Of the requests that each user has made."""

    def admit(self, token: str) -> Caller:
        """Return who asks; raise Fault where they may not, or too often.

        As in 2012, every request of a known user counts, whatever becomes of it.
        """
        try:
            caller = self._callers.admit(token)
        except AuthError as error:
            raise self._unauthorized() from error
        except CloudError as error:
            raise _unavailable("Keystone", error) from error
        if self._limit and not self.counts.hit(self._limit, caller.user_id):
            reset = self.counts.get_window_stats(self._limit, caller.user_id).reset_time
            wait = max(1, math.ceil(reset - time.time()))
            raise Fault(
                429,
                f"This request was rate-limited: {self._limit} are allowed.",
                {"Retry-After": str(wait)},
            )
        return caller

    def check_project(self, caller: Caller, project_id: str | None) -> None:
        """Raise Fault where the path's project is not the caller's."""
        if not self._open and project_id not in (None, caller.project_id):
            raise Fault(
                400,
                f"Malformed request URL: URL's project_id '{project_id}' doesn't match "
                f"Context's project_id '{caller.project_id}'",
            )

    def servers(self, caller: Caller, query: Mapping[str, str]) -> dict[str, object]:
        """Return the servers that `query` chooses, and whether each is alive."""
        all_tenants = "all_tenants" in query
        policy = "os_compute_api:os-fping" + (":all_tenants" if all_tenants else "")
        instances = self._look_up(lambda: caller.list(all_tenants=all_tenants), policy)
        return {"servers": self._judge(_chosen(instances, query))}

    def server(self, caller: Caller, id_: str) -> dict[str, object]:
        """Return one server, and whether it is alive."""
        instance = self._look_up(lambda: [caller.find(id_)], "os_compute_api:os-fping", missing=id_)
        return {"server": self._judge(instance)[0]}

    def _look_up(
        self, ask: Callable[[], Collection[Instance]], policy: str, *, missing: str = ""
    ) -> Collection[Instance]:
        """Return the instances that `ask` does; its errors come in the order that Nova had."""
        try:
            found: Collection[Instance] | None = ask()
        except NotFoundError as error:
            if not missing:  # Nova itself is not where the catalog has it
                raise _unavailable("Nova", error) from error
            found = None
        except AuthError as error:
            raise self._unauthorized() from error
        except ForbiddenError as error:
            raise Fault(403, f"Policy doesn't allow {policy} to be performed.") from error
        except CloudError as error:
            raise _unavailable("Nova", error) from error
        try:
            self._on_demand.check()
        except ProbeError as error:
            raise _cannot_ping(error) from error
        if found is None:
            raise Fault(404, f"Instance {missing} could not be found.")
        return found

    def _judge(self, instances: Collection[Instance]) -> list[dict[str, object]]:
        try:
            alive = self._on_demand.alive(instances)
        except ProbeError as error:
            raise _cannot_ping(error) from error
        return [
            {"id": each.id, "project_id": each.project_id, "alive": each.id in alive} for each in instances
        ]

    def _unauthorized(self) -> Fault:
        uri = self._callers.keystone_url
        return Fault(
            401,
            "The request you have made requires authentication.",
            {"WWW-Authenticate": f'Keystone uri="{uri}"'},
        )


def is_os_fping(path: str) -> bool:
    """Whether a request for `path` is answered by this API, which asks for tokens instead of passwords."""
    return bool(_PATH.fullmatch(path))


_PATH = re.compile(r"(/v2(\.1)?(/[^/]+)?)?/os-fping(/[^/]+)?")


def blueprint(desk: Callable[[], OsFpingApi], *, telemetry: Telemetry) -> Blueprint:
    """Serve the API under all the roots that Nova had; `desk` returns the one in charge of a request."""
    bp = Blueprint("os_fping", __name__)
    face = _Face(desk, telemetry)
    for root in _ROOTS:
        for path, view in (("/os-fping", face.index), ("/os-fping/<server_id>", face.show)):
            bp.add_url_rule(root + path, view_func=view, methods=["GET"], provide_automatic_options=False)
    bp.app_errorhandler(HTTPException)(face.not_routed)
    return bp


class _Face:
    """The views: they turn a request into a question to the desk, and what it says into an answer."""

    def __init__(self, desk: Callable[[], OsFpingApi], telemetry: Telemetry) -> None:
        self._desk = desk
        self._telemetry = telemetry

    def index(self, project_id: str | None = None) -> Response:
        return self._answer(project_id, lambda desk, caller: desk.servers(caller, _query(request)))

    def show(self, server_id: str, project_id: str | None = None) -> Response:
        return self._answer(project_id, lambda desk, caller: desk.server(caller, server_id))

    def not_routed(self, error: HTTPException) -> Response | HTTPException:
        if request.path.split("/")[1] not in _SEGMENTS:
            return error
        fault = _bad_method() if error.code == HTTPStatus.METHOD_NOT_ALLOWED else Fault.not_found()
        return self._finish(fault.response(), None)

    def _answer(self, project_id: str | None, ask: Callable[[OsFpingApi, Caller], object]) -> Response:
        version = None
        desk = self._desk()
        try:
            _check_method()
            caller = desk.admit(request.headers.get("X-Auth-Token", ""))
            if not request.path.startswith("/v2/"):  # which has no microversions
                version = nova.requested_version(request.headers)
                nova.check_offered(version)
            desk.check_project(caller, project_id)
            response = nova.respond(ask(desk, caller))
        except Fault as fault:
            response = fault.response()
        except Exception:
            logger.exception("a request to os-fping failed, which is a bug")
            response = Fault(500, "Unexpected API Error.").response()
        return self._finish(response, version)

    def _finish(self, response: Response, version: nova.Version | None) -> Response:
        self._telemetry.observe_os_fping(response.status_code)
        return nova.finish(response, version)


def _query(request: Request) -> Mapping[str, str]:
    """Return the query's parameters; of a repeated one the last."""
    try:
        text = request.query_string.decode()
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise Fault(400, "Query string is not UTF-8 encoded") from error


def _chosen(instances: Collection[Instance], query: Mapping[str, str]) -> Collection[Instance]:
    if include := query.get("include"):
        included = set(include.split(","))
        return [instance for instance in instances if instance.id in included]
    excluded = set(query.get("exclude", "").split(","))
    return [instance for instance in instances if instance.id not in excluded]


def _check_method() -> None:
    if request.method != "GET":  # HEAD is routed with it
        raise _bad_method()


def _bad_method() -> Fault:
    return Fault(405, "The method specified is not allowed for this resource.", {"Allow": "GET"})


def _unavailable(service: str, error: CloudError) -> Fault:
    logger.warning("os-fping: %s could not be asked for a caller: %s", service, error)
    return Fault(503, f"{service} cannot be asked at the moment. Please try again later.")


def _cannot_ping(error: ProbeError) -> Fault:
    logger.warning("os-fping: %s", error)
    return Fault(503, "This server cannot ping at the moment: its log says why.")
