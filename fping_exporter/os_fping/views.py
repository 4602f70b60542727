"""The Flask views of os-fping: a request in, Nova's form of an answer out."""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from urllib.parse import parse_qsl

from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import HTTPException

from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.os_fping import nova_http as nova
from fping_exporter.os_fping.api import OsFpingApi
from fping_exporter.os_fping.callers import Caller
from fping_exporter.os_fping.nova_http import Fault
from fping_exporter.os_fping.paths import EXPLAIN_PATH, FIRST_SEGMENTS, LIST_PATHS, SHOW_PATHS

__all__ = ["blueprint"]

logger = logging.getLogger(__name__)


def blueprint(current_api: Callable[[], OsFpingApi], *, telemetry: Telemetry) -> Blueprint:
    """Return the API's blueprint; `current_api` returns the API of the configuration in use."""
    bp = Blueprint("os_fping", __name__)
    views = _Views(current_api, telemetry)
    for paths, view in ((LIST_PATHS, views.list), (SHOW_PATHS, views.show), ((EXPLAIN_PATH,), views.explain)):
        for path in paths:
            bp.add_url_rule(path, view_func=view, methods=["GET"], provide_automatic_options=False)
    bp.app_errorhandler(HTTPException)(views.not_routed)
    return bp


class _Views:
    def __init__(self, current_api: Callable[[], OsFpingApi], telemetry: Telemetry) -> None:
        self._current_api = current_api
        self._telemetry = telemetry

    def list(self, project_id: str | None = None) -> Response:
        return self._answer(project_id, lambda api, caller: api.list_servers(caller, _query(request)))

    def show(self, server_id: str, project_id: str | None = None) -> Response:
        return self._answer(project_id, lambda api, caller: api.show_server(caller, server_id))

    def explain(self, server_id: str) -> Response:
        return self._answer(
            None,
            lambda api, caller: api.explain_server(caller, server_id, cached=_is_cached(_query(request))),
        )

    def not_routed(self, error: HTTPException) -> Response | HTTPException:
        if request.path.split("/")[1] not in FIRST_SEGMENTS:
            return error
        fault = _wrong_method() if error.code == HTTPStatus.METHOD_NOT_ALLOWED else Fault.not_found()
        return self._finish(fault.response(), None)

    def _answer(self, project_id: str | None, ask: Callable[[OsFpingApi, Caller], object]) -> Response:
        version = None
        api = self._current_api()
        try:
            _check_method()
            caller = api.authenticate(
                request.headers.get("X-Auth-Token", ""), client=request.remote_addr or ""
            )
            if not request.path.startswith(("/v2/", "/v1/")):  # which have no microversions
                version = nova.requested_version(request.headers, latest=api.max_microversion)
                nova.check_offered(version, latest=api.max_microversion)
            api.check_project(caller, project_id)
            response = nova.respond(ask(api, caller))
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
    """Return the parameters of the query; of a repeated one the last value."""
    try:
        text = request.query_string.decode()
        return dict(parse_qsl(text, keep_blank_values=True, errors="strict"))
    except UnicodeDecodeError as error:
        raise Fault(400, "Query string is not UTF-8 encoded") from error


def _is_cached(query: Mapping[str, str]) -> bool:
    """Return whether the results of the last sweep are wanted; ``?cached`` without a value says so, too."""
    value = query.get("cached", "false")
    if value.lower() not in _TRUTH:
        raise Fault(400, f"Invalid value for cached: expected true or false, got {value[:60]!r}")
    return _TRUTH[value.lower()]


_TRUTH = dict.fromkeys(("", "1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)


def _check_method() -> None:
    if request.method != "GET":  # Flask routes HEAD with it
        raise _wrong_method()


def _wrong_method() -> Fault:
    return Fault(405, "The method specified is not allowed for this resource.", {"Allow": "GET"})
