"""``/static``: the style sheet and the icon of all pages."""

from importlib.resources import files

from flask import Blueprint, Response, abort

from fping_exporter.web.compression import GzippedBody

__all__ = ["blueprint"]


def blueprint() -> Blueprint:
    """Serve the files, each compressed once."""
    bp = Blueprint("assets", __name__)
    assets = _read_files()

    @bp.get("/static/<filename>")
    def file(filename: str) -> Response:
        if filename not in assets:
            abort(404)
        content_type, body = assets[filename]
        return body.respond(content_type)

    return bp


def _read_files() -> dict[str, tuple[str, GzippedBody]]:
    """Return content type and content of each file, by name."""
    folder = files("fping_exporter.web") / "static"
    return {
        name: (content_type, GzippedBody.pack((folder / name).read_bytes()))
        for name, content_type in (("style.css", "text/css; charset=utf-8"), ("icon.svg", "image/svg+xml"))
    }
