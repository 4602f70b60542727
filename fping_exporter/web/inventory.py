"""``/v1/inventory``: a central's list for its agents.

The answer is the document of :mod:`fping_exporter.fleet.wire`, with the headers of HTTP caching (RFC 9111):
``Age`` is how old the list is, ``max-age`` how old it is when the next one can be expected, and a request
with the ``ETag`` of a list that has not changed is answered 304.
"""

import gzip
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flask import Blueprint, Response, abort, request
from werkzeug.datastructures import MultiDict

from fping_exporter import config
from fping_exporter.fleet.publisher import Choice, Publisher, UnknownChoiceError
from fping_exporter.hosts import same_host
from fping_exporter.lister import Listing
from fping_exporter.monitor import Monitor
from fping_exporter.web.origin import Origin

__all__ = ["PATH", "blueprint", "parse"]

PATH = "/v1/inventory"
_MAX_VALUES = 256
_MAX_LENGTH = 255


def blueprint(monitor: Callable[[], Monitor], *, origin: Callable[[], Origin], local: bool) -> Blueprint:
    """Serve the list to agents, where the configuration in use says so.

    `local` says whether none but this machine's users can reach the server. Otherwise a client needs a
    password or a certificate, which the server has checked.
    """
    bp = Blueprint("inventory", __name__)
    publisher = Publisher()

    @bp.get(PATH)
    def inventory() -> Response:
        at_work = monitor()
        agents = at_work.settings.agents
        if not agents:
            abort(_text("This exporter has no list for agents: its configuration lacks agents: true.", 404))
        if not (local or _is_authenticated(request.environ)):
            abort(_text("Agents need a password or a client certificate here.", 403))
        try:
            choice = parse(request.args)
        except ValueError as error:
            abort(_text(f"{error}.", 400))
        at_work.refresh_list_when_due()
        listing = at_work.listing
        if listing is None:
            abort(_text("The first list is not complete yet.", 503, {"Retry-After": "5"}))
        match_san = isinstance(agents, config.Agents) and agents.match_san
        if match_san and choice.networks:
            abort(_text("agents.match_san: a certificate names a host, so ask for host= only.", 403))
        if match_san:  # before anything tells whether there is such a host
            _check_names(request.environ, choice.hosts)
        where = origin()
        lists = {"complete": listing.complete, "selected": listing.selected}
        try:
            hosts = sorted({publisher.nova_host(name, **lists) for name in choice.hosts})
            if match_san:
                _check_names(request.environ, hosts)
            choice = choice._replace(hosts=tuple(hosts))
            published = publisher.publish(choice, cloud=where.cloud, region=where.region, **lists)
        except UnknownChoiceError as error:
            abort(_text(f"{error}.", 404))
        return _response(published.digest, published.compressed, listing, at_work.settings.cache)

    return bp


def parse(args: MultiDict[str, str]) -> Choice:
    """Read the query parameters; raises ValueError with a message that names what is right."""
    for name, values in args.lists():
        if name not in {"host", "network"}:
            raise ValueError(f"{name!r:.60}: unknown parameter; known are host and network")
        if len(values) > _MAX_VALUES:
            raise ValueError(f"{name}: at most {_MAX_VALUES} of them, got {len(values)}")
        if any(not 0 < len(value) <= _MAX_LENGTH for value in values):
            raise ValueError(f"{name}: expected a name of 1 to {_MAX_LENGTH} characters")
    if len(args) != 1:
        raise ValueError("choose instances by host= or by network=, and not by both")
    return Choice(*(tuple(sorted(set(args.getlist(name)))) for name in ("host", "network")))


def _is_authenticated(environ: Mapping[str, Any]) -> bool:
    """Whether the server has checked a password, or a certificate in the TLS handshake."""
    return bool(environ.get("REMOTE_USER") or environ.get("SSL_CLIENT_CERT"))


def _check_names(environ: Mapping[str, Any], hosts: Iterable[str]) -> None:
    """Abort with 403 if the client's certificate does not name one of the hosts."""
    names = environ.get("fping_exporter.client_names", ())
    for host in hosts:
        if not any(same_host(host, name) for name in names):
            abort(_text(f'agents.match_san: the client certificate does not name the host "{host}".', 403))


def _response(digest: str, compressed: bytes, listing: Listing, cache: config.Cache) -> Response:
    packed = request.accept_encodings.quality("gzip") > 0
    etag = (
        f"{digest}-gzip" if packed else digest
    )  # a strong one is of the bytes that are sent (RFC 9110, 8.8.1)
    if request.if_none_match.contains_weak(etag):  # as RFC 9110, 13.1.2 has it; a proxy may weaken the tag
        response = Response(status=304)
    else:
        body = compressed if packed else gzip.decompress(compressed)
        response = Response(body, content_type="application/json")
        if packed:
            response.headers["Content-Encoding"] = "gzip"
    response.set_etag(etag)
    response.headers["Age"] = str(math.ceil(listing.age))
    response.headers["Cache-Control"] = f"private, max-age={math.ceil(cache.inventory)}"
    response.headers["Vary"] = "Accept-Encoding"
    return response


def _text(text: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return Response(f"{text}\n", status=status, headers=headers, content_type="text/plain; charset=utf-8")
