"""``/-/healthy``, ``/-/ready``, ``/-/reload``, ``/-/quit`` and ``/config``, as in Prometheus."""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, request

from fping_exporter.config import Config, strict_yaml
from fping_exporter.errors import FpingExporterError

__all__ = ["Controls", "blueprint", "controls_blueprint"]


class Controls(NamedTuple):
    """The functions behind ``/-/reload`` and ``/-/quit``."""

    reload: Callable[[], None]
    """Read the configuration again; raises FpingExporterError with a message of one line if it is invalid."""
    quit: Callable[[], None]
    """Start a graceful shutdown and return."""


def blueprint(why_unready: Callable[[], str | None], *, settings: Callable[[], Config]) -> Blueprint:
    """Serve health and configuration, of the process or of one cloud.

    `why_unready` returns a sentence while requests should not be sent here yet, and `settings` the
    configuration in use.
    """
    bp = Blueprint("lifecycle", __name__)

    @bp.get("/-/healthy")
    def healthy() -> Response:
        return _text("fping-exporter is healthy.")

    @bp.get("/-/ready")
    def ready() -> Response:
        if why := why_unready():
            return _text(why, status=503)
        return _text("fping-exporter is ready.")

    @bp.get("/config")
    def config() -> Response:
        return _text(strict_yaml.dump(settings()).rstrip())

    return bp


def controls_blueprint(controls: Controls | None) -> Blueprint:
    """Serve reload and quit, which are of the process; without `controls` both answer 403."""
    bp = Blueprint("controls", __name__)

    @bp.route("/-/reload", methods=["POST", "PUT"])
    def reload() -> Response:
        try:
            _authorized_controls(controls).reload()
        except FpingExporterError as error:
            return _text(f"failed to reload config: {error}", status=500)
        return _text("The configuration was read again.")

    @bp.route("/-/quit", methods=["POST", "PUT"])
    def quit_() -> Response:
        _authorized_controls(controls).quit()
        return _text("Requesting termination... Goodbye!")

    return bp


def _authorized_controls(controls: Controls | None) -> Controls:
    """Return `controls` if they are enabled and the request is not cross-site; abort with 403 otherwise."""
    if controls is None:
        abort(_text("Lifecycle API is not enabled.", status=403))
    origin = request.headers.get("Origin")
    if origin is not None and _host_of(origin) != request.host:
        # Browsers send Origin with forms: a page of another site must not reload or end the exporter.
        abort(_text("Requests from other sites are refused.", status=403))
    return controls


def _host_of(origin: str) -> str | None:
    """Return host and port of an origin; None if it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:  # http://[
        return None


def _text(text: str, *, status: int = 200) -> Response:
    return Response(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
