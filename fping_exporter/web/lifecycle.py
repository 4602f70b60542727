"""``/-/healthy``, ``/-/ready``, ``/-/reload``, ``/-/quit`` and ``/config``, as Prometheus itself has them."""

from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from flask import Blueprint, Response, abort, request

from fping_exporter.config import strict_yaml
from fping_exporter.errors import FpingExporterError
from fping_exporter.monitor import Monitor

__all__ = ["Controls", "blueprint"]


class Controls(NamedTuple):
    """What may be done to the exporter over HTTP."""

    reload: Callable[[], None]
    """Read the configuration again; raises FpingExporterError, one line, where it is refused."""
    quit: Callable[[], None]
    """Begin to end."""


def blueprint(monitor: Monitor, *, controls: Controls | None) -> Blueprint:
    """Answer an orchestrator; without `controls` nothing can be done here."""
    bp = Blueprint("lifecycle", __name__)

    @bp.get("/-/healthy")
    def healthy() -> Response:
        return _text("fping-exporter is healthy.")

    @bp.get("/-/ready")
    def ready() -> Response:
        if monitor.latest:
            return _text("fping-exporter is ready.")
        return _text("The first sweep is not complete yet.", status=503)

    @bp.get("/config")
    def show() -> Response:
        return _text(strict_yaml.dump(monitor.settings).rstrip())

    @bp.route("/-/reload", methods=["POST", "PUT"])
    def reload() -> Response:
        try:
            _permitted(controls).reload()
        except FpingExporterError as error:
            return _text(f"failed to reload config: {error}", status=500)
        return _text("The configuration was read again.")

    @bp.route("/-/quit", methods=["POST", "PUT"])
    def end() -> Response:
        _permitted(controls).quit()
        return _text("Requesting termination... Goodbye!")

    return bp


def _permitted(controls: Controls | None) -> Controls:
    """Return what this request may do; aborts where that is nothing."""
    if controls is None:
        abort(_text("Lifecycle API is not enabled.", status=403))
    origin = request.headers.get("Origin")
    if origin is not None and urlsplit(origin).netloc != request.host:
        # A browser says from where a form was sent: another site's may not be obeyed.
        abort(_text("Requests from other sites are refused.", status=403))
    return controls


def _text(text: str, *, status: int = 200) -> Response:
    return Response(f"{text}\n", status=status, content_type="text/plain; charset=utf-8")
