"""The section ``fleet``: the Prometheus that has what the other exporters of the cloud say."""

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from fping_exporter.config.duration import Duration
from fping_exporter.config.strict_yaml import Section

__all__ = ["Fleet"]

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_OWN_HEADERS = frozenset(
    {"accept-encoding", "connection", "content-length", "content-type", "host", "transfer-encoding"}
)
_SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})


class Fleet(Section, frozen=True):
    """Where the words of the other exporters are read, and how old they may be."""

    prometheus: str
    """URL under which ``/api/v1/query`` and ``/api/v1/query_range`` are."""
    max_age: Duration = Duration(180)
    """Age from which a word of another exporter does not count."""
    match: Mapping[str, str] = {}
    """Labels that series must have, such as ``cluster: prod``."""
    headers: Mapping[str, str] = {}
    """Headers of each request, such as ``X-Scope-OrgID: prod``; no secrets."""
    username: str | None = None
    password_file: str | None = None
    bearer_token_file: str | None = None
    ca_file: str | None = None
    """The certificates that are trusted; None: those of the system."""
    cert_file: str | None = None
    key_file: str | None = None

    def __post_init__(self) -> None:
        """Refuse what no request could be made of."""
        _check_url(self.prometheus)
        for name in self.match:
            if not _LABEL.fullmatch(name):
                raise ValueError(f"match: expected names of labels such as cluster, got {name!r:.60}")
        for name, value in self.headers.items():
            _check_header(name, value)
        for one, other in (("username", "password_file"), ("cert_file", "key_file")):
            if (getattr(self, one) is None) != (getattr(self, other) is None):
                raise ValueError(f"{one} and {other}: expected both or neither")
        if self.username is not None and self.bearer_token_file is not None:
            raise ValueError("bearer_token_file: expected either this or username with password_file")
        if ":" in (self.username or ""):
            raise ValueError("username: a colon, which basic authentication has no room for")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port that is none, brackets without an end
        right = False
    if not right or not (url.isascii() and url.isprintable() and " " not in url):
        raise ValueError(
            f"prometheus: expected a URL such as http://prometheus.example.com:9090, got {_without_user(url)}"
        )
    if "@" in parts.netloc:
        raise ValueError("prometheus: a URL with a password; use username and password_file")
    if parts.query or parts.fragment:
        raise ValueError("prometheus: expected a URL that ends before /api/v1/query, without ? and #")


def _without_user(url: str) -> str:
    return f'"{" ".join(re.sub(r"//.*@", "//", url).split()):.80}"'


def _check_header(name: str, value: str) -> None:
    if not _HEADER.fullmatch(name):
        raise ValueError(f"headers: expected names such as X-Scope-OrgID, got {name!r:.60}")
    if name.lower() in _SECRET_HEADERS:
        raise ValueError(f"headers: {name}: use username and password_file, or bearer_token_file")
    if name.lower() in _OWN_HEADERS:
        raise ValueError(f"headers: {name}: the exporter sets it itself")
    if not (value.isascii() and value.isprintable()) or value != value.strip():
        raise ValueError(f"headers: {name}: expected printable ASCII without spaces around it")
