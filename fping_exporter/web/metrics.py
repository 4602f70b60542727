"""``/metrics``: the newest snapshot and the exporter's own metrics, for Prometheus."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from flask import Blueprint, Response, abort, request
from prometheus_client.registry import Collector

from fping_exporter.metrics.exposition import EMPTY, WHOLE, Shard
from fping_exporter.metrics.formats import choose_format
from fping_exporter.metrics.scrape import TRUST, Up, collect_scrape
from fping_exporter.monitor import Monitor

__all__ = ["Scrapes", "blueprint", "stop_waiting", "time_to_wait"]

_OFFSET = 0.5
"""Seconds before Prometheus gives up by which the answer is on its way, as blackbox_exporter has it."""
_DEFAULT_TIMEOUT = 10.0
"""Seconds that Prometheus waits for a scrape unless told otherwise."""
_MAX_TIMEOUT = 120.0
"""Seconds that no request waits longer than, whatever its header says."""
_POLL_SECONDS = 0.25
"""Between two looks at whether a client that waits is still there."""


def blueprint(monitor: Callable[[], Monitor], *, own: Iterable[Collector], path: str) -> Blueprint:
    """Serve the metrics of one cloud at `path`.

    `own` has the exporter's own metrics, without ``fping_exporter_up``.
    """
    bp = Blueprint("metrics", __name__)
    scrapes = Scrapes()

    @bp.get(path)
    def metrics() -> Response:
        return scrapes.answer(monitor(), own=own)

    return bp


class Scrapes:
    """Answers to scrapes, in the text format or as OpenMetrics, gzipped on request.

    ``name[]`` restricts the answer to samples of these names, as in every client library. ``shard=i/n``
    restricts it to one of n parts, which have each instance in one of them. What is not of one instance is in
    the first, and what says how far to believe the others is in each.
    """

    def __init__(self) -> None:
        """Begin without a scrape."""
        self._inflating = threading.Lock()
        """Held while plain text is made, a kilobyte an instance: the server bounds only what waits to be
        sent."""

    def answer(self, monitor: Monitor | None, *, own: Iterable[Collector]) -> Response:
        """Answer the current request with the instances of `monitor` and the exporter's `own` metrics.

        ``fping_exporter_up`` is added. Without a monitor there are only the exporter's own, which wait for
        nothing.
        """
        try:
            shard = _shard(request.args.getlist("shard"))
        except ValueError as error:
            abort(Response(f"{error}\n", status=400, content_type="text/plain; charset=utf-8"))
        timeout = time_to_wait(request.headers.get("X-Prometheus-Scrape-Timeout-Seconds"))
        until, gone = time.monotonic() + timeout, stop_waiting(request.environ)
        exposition, parts = EMPTY, [*own]
        if monitor:
            found = monitor.exposition(timeout=timeout, stop_waiting=gone)
            exposition = found or EMPTY
            parts.append(Up(found is not None))
        names = request.args.getlist("name[]") or None
        answer = choose_format(request.headers.get("Accept", ""))
        compressed = request.accept_encodings.quality("gzip") > 0
        # Last, as OpenMetrics ends in a line that says so.
        end = answer.encode(collect_scrape(parts, names=_own_names(names, shard)))
        if compressed:
            body = exposition.gzip(names=names, shard=shard, openmetrics=answer.openmetrics, end=end)
        else:
            with self._turn(until=until, stop_waiting=gone):
                plain = exposition.plain(names=names, shard=shard, openmetrics=answer.openmetrics)
                body = [*plain, end]
        response = Response(body, content_type=answer.content_type)
        response.headers["Vary"] = "Accept, Accept-Encoding"
        if compressed:
            response.headers["Content-Encoding"] = "gzip"
        return response

    @contextlib.contextmanager
    def _turn(self, *, until: float, stop_waiting: Callable[[], bool]) -> Iterator[None]:
        """Wait for the turn to make plain text; answer 503 where it does not come in time."""
        while not self._inflating.acquire(timeout=min(_POLL_SECONDS, max(until - time.monotonic(), 0))):
            if time.monotonic() >= until or stop_waiting():
                abort(Response(_BUSY, status=503, content_type="text/plain; charset=utf-8"))
        try:
            yield
        finally:
            self._inflating.release()


_BUSY = (
    "Plain text is made for one client at a time, and others came first: ask for gzip (Accept-Encoding).\n"
)


def _shard(given: list[str]) -> Shard:
    """Read the values given for ``shard``; raises ValueError with a message for the client."""
    if len(given) > 1:
        message = f"shard: given {len(given)} times"
        raise ValueError(message)
    return Shard.parse(given[0]) if given else WHOLE


def _own_names(names: list[str] | None, shard: Shard) -> list[str] | None:
    """Return the names of the exporter's own metrics in a shard (None: all), of those that are asked for.

    A scraper that fetches all shards counts nothing twice.
    """
    if shard.number == 0:
        return names
    return [name for name in TRUST if names is None or name in names]


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
