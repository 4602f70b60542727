"""``/metrics``: the newest snapshot and the exporter's own metrics, for Prometheus."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from flask import Blueprint, Response, request

from fping_exporter.metrics.exposition import Exposition
from fping_exporter.metrics.formats import choose_format
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.monitor import Monitor

__all__ = ["blueprint", "stop_waiting", "time_to_wait"]

_OFFSET = 0.5
"""Seconds before Prometheus gives up by which the answer is on its way, as blackbox_exporter has it."""
_DEFAULT_TIMEOUT = 10.0
"""Seconds that Prometheus waits for a scrape unless told otherwise."""
_MAX_TIMEOUT = 120.0
"""Seconds that no request waits longer than, whatever its header says."""


def blueprint(monitor: Callable[[], Monitor], *, telemetry: Telemetry, path: str) -> Blueprint:
    """Serve the metrics at `path`, in the text format or as OpenMetrics, gzipped on request.

    ``name[]`` restricts the answer to samples of these names, as in every client library.
    """
    bp = Blueprint("metrics", __name__)
    exposition = Exposition()

    @bp.get(path)
    def metrics() -> Response:
        snapshot = monitor().snapshot(
            timeout=time_to_wait(request.headers.get("X-Prometheus-Scrape-Timeout-Seconds")),
            stop_waiting=stop_waiting(request.environ),
        )
        names = request.args.getlist("name[]") or None
        own = telemetry.scrape(up=snapshot is not None, names=names)
        answer = choose_format(request.headers.get("Accept", ""))
        compressed = request.accept_encodings.quality("gzip") > 0
        # Last, as OpenMetrics ends in a line that says so.
        end = answer.encode(own)
        assemble = exposition.compress if compressed else exposition.render
        response = Response(assemble(snapshot, names=names, end=end), content_type=answer.content_type)
        response.headers["Vary"] = "Accept, Accept-Encoding"
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        return response

    return bp


def stop_waiting(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Return what says that a waiting request shall be answered at once with what there is.

    The HTTP server puts it into the WSGI environment; it holds when the client has hung up, or when its
    place is needed for another.
    """
    found: Callable[[], bool] = environ.get("fping_exporter.stop_waiting", lambda: False)
    return found


def time_to_wait(header: str | None) -> float:
    """Return how many seconds a request may wait, from the seconds that Prometheus waits by its `header`.

    A header that is absent or is not a finite number above zero counts as 10 s, one above two minutes
    as two minutes.
    """
    try:
        seconds = float(header or "")
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < math.inf:
        seconds = _DEFAULT_TIMEOUT
    return max(min(seconds, _MAX_TIMEOUT) - _OFFSET, 0)
