"""What all Flask applications of the exporter have in common."""

from urllib.parse import quote

from flask import Flask, Response, abort, request

from fping_exporter.web.compression import compress_response

__all__ = ["make_application"]


def make_application() -> Flask:
    """Return an application without a page, which refuses odd paths and sets the headers of every answer."""
    app = Flask("fping_exporter.web", static_folder=None)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.url_map.merge_slashes = False  # `/-//healthy` is 404, not a redirect
    app.before_request(_refuse_leading_slashes)
    app.after_request(_set_security_headers)
    app.after_request(compress_response)
    app.context_processor(_all_clouds)
    return app


def _all_clouds() -> dict[str, str]:
    """Give each page the link to the overview of all clouds, where there are several; see the router."""
    found = request.environ.get("fping_exporter.all_clouds", "")
    return {"all_clouds": quote(found, encoding="latin-1")}


def _refuse_leading_slashes() -> None:
    """Answer 404 to ``//metrics``: werkzeug takes it for ``/metrics``, which is another path."""
    if request.environ["PATH_INFO"].startswith("//"):
        abort(404)


def _set_security_headers(response: Response) -> Response:
    """Forbid scripts and content-type sniffing: names from Nova are untrusted text."""
    response.headers.setdefault("Content-Security-Policy", _CONTENT_SECURITY_POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
