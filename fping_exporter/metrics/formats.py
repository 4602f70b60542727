"""Which exposition format a scraper gets (HTTP content negotiation, RFC 9110, 12.5.1)."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

from prometheus_client import generate_latest as generate_text
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

__all__ = ["Format", "choose_format"]


class Format(NamedTuple):
    """A format, as it is announced and as it is written."""

    content_type: str
    encode: Callable[[Collector], bytes]
    openmetrics: bool


def choose_format(accept: str) -> Format:
    """Return the format that the header ``Accept`` prefers; the text format 0.0.4 where it has none of ours.

    Of several media ranges that match a format, the most specific gives its quality. Of formats with the
    same quality, the one counts whose range is more specific, or comes first in the header. A range with a
    version that does not exist, such as ``1.x``, matches nothing. ``text/plain`` without a version is
    0.0.4 (https://prometheus.io/docs/instrumenting/content_negotiation/).
    """
    ranges = [
        (*parse_options_header(text), quality)
        for text, quality in parse_accept_header(accept, MIMEAccept)  # the most specific come first
    ]
    best, best_rank, escaping = _KNOWN[0], (0.0, 0), _DEFAULT_ESCAPING
    for known in _KNOWN:
        for position, (media_range, parameters, quality) in enumerate(ranges):
            if known.matches(media_range.lower(), parameters):
                if quality and (quality, -position) > best_rank:
                    best, best_rank = known, (quality, -position)
                    escaping = parameters.get("escaping", _DEFAULT_ESCAPING)
                break
    return best.format(escaping)


_DEFAULT_ESCAPING = "underscores"
_ESCAPINGS = frozenset({"allow-utf-8", _DEFAULT_ESCAPING, "values"})
"""Escaping schemes that leave ASCII names such as ours as they are. ``dots`` would double underscores."""


class _Known(NamedTuple):
    """A format that can be written."""

    media_type: str
    version: str
    default: bool
    """Whether it is what the media type means without a version."""
    encode: Callable[[Collector], bytes]
    escapes: bool
    """Whether its Content-Type has the parameter ``escaping``."""

    def matches(self, media_range: str, parameters: Mapping[str, str]) -> bool:
        """Whether a media range of the header includes this format."""
        if media_range not in {"*/*", self.media_type.partition("/")[0] + "/*", self.media_type}:
            return False
        version = parameters.get("version")
        return self.default if version is None else version == self.version

    def format(self, escaping: str) -> Format:
        """Return it with the `escaping` that the client wishes, if that changes nothing."""
        content_type = f"{self.media_type}; version={self.version}; charset=utf-8"
        if self.escapes:
            content_type += f"; escaping={escaping if escaping in _ESCAPINGS else _DEFAULT_ESCAPING}"
        return Format(content_type, self.encode, openmetrics=self.media_type == _OPENMETRICS)


_OPENMETRICS = "application/openmetrics-text"
_KNOWN = (
    _Known("text/plain", "0.0.4", default=True, encode=generate_text, escapes=False),
    _Known("text/plain", "1.0.0", default=False, encode=generate_text, escapes=True),
    _Known(
        _OPENMETRICS,
        "1.0.0",
        default=True,
        encode=partial(generate_openmetrics, version="1.0.0"),
        escapes=True,
    ),
)
"""The first is the default. 1.0.0 of the text format differs only in names that are not ASCII."""
