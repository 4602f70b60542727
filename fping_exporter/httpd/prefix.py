"""The prefix of all paths, for an exporter behind a reverse proxy.

Source: ``--web.external-url`` and ``--web.route-prefix`` of Prometheus, and its web/web.go.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication

__all__ = ["PathPrefix", "parse_external_url", "parse_prefix"]


def parse_external_url(text: str) -> str:
    """Return the URL with one slash before its path and none at the end.

    Raises ValueError if it is no ``http://HOST[:PORT][/PATH]``.
    """
    message = f"expected a URL such as https://ops.example.com/fping, got {text!r}"
    try:
        url = urlsplit(text)
        valid = url.scheme in {"http", "https"} and url.hostname and url.port != 0 and "@" not in url.netloc
    except ValueError:
        raise ValueError(message) from None
    if not valid or set(text) & set("?#"):
        raise ValueError(message)
    try:
        parse_prefix(url.path)
    except ValueError:
        raise ValueError(message) from None
    return url._replace(path=f"/{url.path.strip('/')}").geturl().rstrip("/")


def parse_prefix(text: str) -> str:
    """Return a prefix such as ``/fping``, percent-decoded, and an empty text for ``/``.

    Slashes at the start and the end do not matter, as in Prometheus. Raises ValueError where it is no path.
    """
    path = unquote(text.strip("/"))
    segments = path.split("/")
    if (
        not path.isprintable()
        or set(path) & set("?#\N{REPLACEMENT CHARACTER}")
        or {".", ".."} & set(segments)
        or (path and "" in segments)
    ):
        message = f"expected a path such as /fping, got {text!r}"
        raise ValueError(message)
    return f"/{path}" if path else ""


class PathPrefix:
    """WSGI middleware that serves `app` below a prefix; without one, it passes every request on as it is.

    `external_url` is the URL at which people reach the exporter. Its path stands before every link. It is
    also the prefix of the paths in requests, unless `route_prefix` is given: a proxy may remove what it was
    asked for. Both are as the functions of this module return them.

    As in Prometheus, every path has the prefix, those of health checks and of os-fping included. ``/`` alone
    redirects to the prefix.
    """

    def __init__(
        self, app: "WSGIApplication", *, external_url: str | None = None, route_prefix: str | None = None
    ) -> None:
        """Wrap `app`."""
        self._app = app
        link_prefix = parse_prefix(urlsplit(external_url or "").path)
        self.route_prefix = link_prefix if route_prefix is None else route_prefix
        """What the path of every request begins with: empty, or such as ``/fping``."""
        self._link_prefix = _as_wsgi(link_prefix)
        self._wsgi_prefix = _as_wsgi(self.route_prefix)

    def __call__(self, environ: dict[str, Any], start_response: "StartResponse") -> Iterable[bytes]:
        """Pass on a request below the prefix; redirect ``/``, and answer 404 to others."""
        path = environ.get("PATH_INFO", "")
        inner = self.inner_path(path)
        if inner is not None:
            return self._app(environ | {"SCRIPT_NAME": self._link_prefix, "PATH_INFO": inner}, start_response)
        location = f"{quote(self.route_prefix)}/"
        content_type = ("Content-Type", "text/plain; charset=utf-8")
        if path in {"", "/"}:
            start_response("302 Found", [content_type, ("Location", location)])
            return [b"Found\n"]
        start_response("404 Not Found", [content_type])
        return [f"Not found. Every path begins with {location}\n".encode()]

    def inner_path(self, path: str) -> str | None:
        """Return `path`, as WSGI has it, without the prefix; None if it does not begin with it."""
        if path == self._wsgi_prefix:
            return "/"
        if path.startswith(f"{self._wsgi_prefix}/"):
            return path.removeprefix(self._wsgi_prefix)
        return None


def _as_wsgi(path: str) -> str:
    """Return a path in the form of PEP 3333: each byte of its UTF-8 as one character."""
    return path.encode().decode("latin-1")
