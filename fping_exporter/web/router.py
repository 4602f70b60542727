"""Which application answers a request: that of one cloud, or the front of all."""

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar
from urllib.parse import quote, unquote_plus

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["CloudRouter", "split_cloud_path"]

_CLOUD_PATH = re.compile(r"/clouds/(?P<name>[a-z0-9][a-z0-9_-]*)(?P<rest>(?:/.*)?)", re.DOTALL)
_FRONT_PATHS = frozenset({"/config", "/sd/clouds"})


def split_cloud_path(path: str) -> tuple[str, str] | None:
    """Return the name of the cloud, and the path below ``/clouds/NAME``; None for another path."""
    found = _CLOUD_PATH.fullmatch(path)
    return (found["name"], found["rest"]) if found else None


_C = TypeVar("_C")
"""A cloud of the process."""


class _Mounted(NamedTuple, Generic[_C]):
    cloud: _C
    app: "WSGIApplication"


class CloudRouter(Generic[_C]):
    """WSGI middleware: an application for each cloud, and one for what is of the process.

    A cloud's application is below ``/clouds/NAME``; that of an only cloud is at ``/`` as well. ``/probe`` and
    ``/sd`` are those of the cloud that the parameter ``cloud`` names.
    """

    def __init__(
        self,
        front: "WSGIApplication",
        *,
        clouds: Callable[[], Mapping[str, _C]],
        make_app: Callable[[_C], "WSGIApplication"],
        telemetry_path: str,
    ) -> None:
        """Use what `make_app` makes for each cloud that `clouds` returns; it is kept as long as the cloud is.

        `telemetry_path` is the path of the metrics, in `front` and in each application.
        """
        self._front = front
        self._clouds = clouds
        self._make_app = make_app
        self._telemetry_path = telemetry_path.encode().decode("latin-1")  # as WSGI has paths
        self._lock = threading.Lock()
        self._mounted: dict[str, _Mounted[_C]] = {}

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Pass on a request."""
        clouds = self._clouds()
        self._forget_gone(clouds)
        if len(clouds) > 1:
            environ = environ | {"fping_exporter.all_clouds": f"{environ['SCRIPT_NAME']}/"}
        path: str = environ["PATH_INFO"]
        if found := split_cloud_path(path):
            return self._below(*found, clouds)(environ, start_response)
        if path == "/probe":
            return self._choose(self._telemetry_path, environ, start_response)
        if path == "/sd" and (len(clouds) > 1 or "cloud" in _names(environ)):
            return self._choose("/sd", environ, start_response)
        of_front = path == self._telemetry_path or path in _FRONT_PATHS or path.startswith("/-/")
        if len(clouds) > 1 or of_front:
            return self._front(environ, start_response)
        [name] = clouds
        return self._app(name, clouds)(environ, start_response)

    def _below(self, name: str, path: str, clouds: Mapping[str, _C]) -> "WSGIApplication":
        """Return what answers a request for `path` below ``/clouds/NAME``."""
        if name not in clouds:
            return self._front
        if not path:
            return _redirect_to_slash
        app = self._app(name, clouds)

        def mounted(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
            below = {"SCRIPT_NAME": f"{environ['SCRIPT_NAME']}/clouds/{name}", "PATH_INFO": path}
            return app(environ | below, start_response)

        return mounted

    def _choose(self, path: str, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Pass on to the cloud that the query names, which gets the rest of the query; else answer 400."""
        clouds = self._clouds()
        pairs = environ.get("QUERY_STRING", "").split("&")
        given = [_value(pair) for pair in pairs if _name(pair) == "cloud"]
        if len(given) != 1 or given[0] not in clouds:
            match given:
                case []:
                    wrong = "missing"
                case [name]:
                    wrong = f"unknown: {name!r:.80}"
                case _:
                    wrong = f"given {len(given)} times"
            text = f"cloud: {wrong}; known are {', '.join(clouds)}\n"
            start_response("400 Bad Request", [*_TEXT])
            return [text.encode()]
        query = "&".join(pair for pair in pairs if _name(pair) != "cloud")
        return self._app(given[0], clouds)(
            environ | {"PATH_INFO": path, "QUERY_STRING": query}, start_response
        )

    def _app(self, name: str, clouds: Mapping[str, _C]) -> "WSGIApplication":
        """Return the application of a cloud, made now if it is new."""
        cloud = clouds[name]
        with self._lock:
            mounted = self._mounted.get(name)
            if mounted is None or mounted.cloud is not cloud:
                mounted = self._mounted[name] = _Mounted(cloud, self._make_app(cloud))
            return mounted.app

    def _forget_gone(self, clouds: Mapping[str, _C]) -> None:
        """Forget the applications of clouds that are gone, and with them the lists and sweeps of these."""
        with self._lock:
            self._mounted = {
                name: each for name, each in self._mounted.items() if clouds.get(name) is each.cloud
            }


_TEXT = (("Content-Type", "text/plain; charset=utf-8"), ("X-Content-Type-Options", "nosniff"))


def _names(environ: Mapping[str, Any]) -> set[str]:
    return {_name(pair) for pair in environ.get("QUERY_STRING", "").split("&")}


def _name(pair: str) -> str:
    return unquote_plus(pair.partition("=")[0])


def _value(pair: str) -> str:
    return unquote_plus(pair.partition("=")[2])


def _redirect_to_slash(environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
    """Redirect to the same path with a slash at its end, relative to which a page's links are."""
    query = environ.get("QUERY_STRING", "")
    path = quote(f"{environ['SCRIPT_NAME']}{environ['PATH_INFO']}/", encoding="latin-1")
    location = f"{path}?{query}" if query else path
    start_response("308 Permanent Redirect", [*_TEXT, ("Location", location)])
    return [f"{location}\n".encode("latin-1")]
