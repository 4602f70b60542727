"""``/-/healthy`` and ``/-/ready``, as Prometheus itself has them."""

from flask import Blueprint, Response

from fping_exporter.monitor import Monitor

__all__ = ["blueprint"]


def blueprint(monitor: Monitor) -> Blueprint:
    """Answer probes of an orchestrator."""
    bp = Blueprint("lifecycle", __name__)

    @bp.get("/-/healthy")
    def healthy() -> Response:
        return _text("fping-exporter is healthy.\n")

    @bp.get("/-/ready")
    def ready() -> Response:
        if monitor.latest:
            return _text("fping-exporter is ready.\n")
        return _text("The first sweep is not complete yet.\n", status=503)

    return bp


def _text(text: str, *, status: int = 200) -> Response:
    return Response(text, status=status, content_type="text/plain; charset=utf-8")
