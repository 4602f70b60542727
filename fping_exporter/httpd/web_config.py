"""The web configuration file of the Prometheus exporter-toolkit: TLS, basic auth, headers, a rate limit.

The format is that of https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
A file that node_exporter takes does the same here, and what it refuses is refused, but for this:

- ``RequireAnyClientCert`` is refused and ``RequestClientCert`` asks for no certificate: Python's TLS takes
  none that it has not verified. Both would let anybody in.
- Two or three ``curve_preferences`` are refused: Python's TLS takes one or all.
- ``http2`` decides nothing but which ciphers are refused: HTTP/1.1 is spoken.
- ``client_allowed_sans`` is refused without ``RequireAndVerifyClientCert`` even where TLS is off.
"""

import re
import ssl
import threading
from pathlib import Path
from typing import Annotated, Literal, Self

from msgspec import Meta

from fping_exporter.config import strict_yaml
from fping_exporter.config.strict_yaml import Section
from fping_exporter.errors import ConfigError
from fping_exporter.httpd.tls import Material, TlsServer, make_context

__all__ = ["Headers", "HttpServer", "RateLimit", "Settings", "WebConfig"]

_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}", re.ASCII)
_HTTP2_CIPHERS = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")


class Interval(float):
    """A length of time in seconds, read as Go's ``time.Duration`` is: ``1.5s``, ``1h30m``, nanoseconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Read it; raise ValueError with what would be right."""
        if type(value) is int and value >= 0:
            return cls(value / 1e9)
        if isinstance(value, str) and _GO_DURATION.fullmatch(value):
            return cls(sum(float(number) * _GO_UNITS[unit] for number, unit in _GO_PART.findall(value)))
        message = f"expected a duration such as 500ms, 1s or 1m30s, or 0, got {value!r}"
        raise ValueError(message)


_GO_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_GO_PART = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_GO_DURATION = re.compile(rf"0|({_GO_PART.pattern})+")


class Headers(
    Section,
    frozen=True,
    rename={
        "content_security_policy": "Content-Security-Policy",
        "x_frame_options": "X-Frame-Options",
        "x_content_type_options": "X-Content-Type-Options",
        "x_xss_protection": "X-XSS-Protection",
        "strict_transport_security": "Strict-Transport-Security",
    },
):
    """The headers that may be added to every response."""

    content_security_policy: str | None = None
    x_frame_options: Literal["deny", "sameorigin"] | None = None
    x_content_type_options: Literal["nosniff"] | None = None
    x_xss_protection: str | None = None
    strict_transport_security: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot stand in a header."""
        for name, value in self.items():
            if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
                message = f"{name}: a header is one line of Latin-1 text"
                raise ValueError(message)

    def items(self) -> list[tuple[str, str]]:
        """Those that are given, with their names in HTTP."""
        pairs = zip(self.__struct_encode_fields__, self.__struct_fields__, strict=True)
        return [(name, value) for name, field in pairs if (value := getattr(self, field))]


class HttpServer(Section, frozen=True):
    """The keys of ``http_server_config``."""

    http2: bool | None = None
    headers: Headers | None = None


class RateLimit(Section, frozen=True):
    """A bucket of `burst` requests, into which another falls every `interval`; 0: no limit."""

    interval: Interval | None = None
    burst: Annotated[int, Meta(ge=0)] | None = None


class Settings(Section, frozen=True):
    """All of the file."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer | None = None
    basic_auth_users: dict[str, str] | None = None
    """Hashes of bcrypt by user. None or empty: no password is asked for."""
    rate_limit: RateLimit | None = None

    def __post_init__(self) -> None:
        """Refuse passwords that are no hashes, and ciphers that the toolkit's HTTP/2 refuses."""
        for user, hashed in (self.basic_auth_users or {}).items():
            if not _BCRYPT.fullmatch(hashed):
                message = f'basic_auth_users: expected a bcrypt hash for {user!r}, as of: htpasswd -nBC 10 ""'
                raise ValueError(message)
        tls, http = self.tls_server_config, self.http_server_config
        if (
            tls
            and tls.enabled
            and tls.cipher_suites
            and tls.min_version != "TLS13"
            and not (http and http.http2 is False)
            and not set(tls.cipher_suites).intersection(_HTTP2_CIPHERS)
        ):
            message = (
                f"tls_server_config.cipher_suites: expected one of {' or '.join(_HTTP2_CIPHERS)},"
                " or http_server_config.http2: false"
            )
            raise ValueError(message)


class WebConfig:
    """A web configuration file that is in force as it stands now: what is written to it needs no restart.

    It and the files that it names are read again for each connection and request; what comes of them is
    made anew only when they have changed. While they are not right, connections and requests are refused
    rather than served by rules that someone has just meant to change. TLS can be turned on in a running
    exporter, but not off.

    Raises:
        ConfigError: from here and from both methods, when the file or one that it names is not right.
    """

    def __init__(self, path: Path) -> None:
        """Read it all once, to refuse at start what is not right."""
        self._path = path
        self._lock = threading.Lock()
        self._text: str | None = None
        self._settings = Settings()
        self._made_of: tuple[TlsServer, Material] | None = None
        self._context: ssl.SSLContext | None = None
        self.tls()

    def settings(self) -> Settings:
        """What the file says."""
        text = strict_yaml.read(self._path)
        with self._lock:
            if text != self._text:
                self._settings = strict_yaml.parse(text, Settings, source=str(self._path))
                self._text = text
            return self._settings

    def tls(self) -> ssl.SSLContext | None:
        """What a new connection is to be encrypted with; None: nothing."""
        settings = self.settings().tls_server_config
        if not settings or not settings.enabled:
            if self._context:
                raise ConfigError(
                    f"{self._path}: tls_server_config: TLS cannot be turned off without a restart"
                )
            return None
        try:
            made_of = settings, settings.read(self._path.parent)
            with self._lock:
                if made_of != self._made_of:
                    self._context = make_context(*made_of)
                    self._made_of = made_of
                return self._context
        except ConfigError as error:
            raise ConfigError(f"{self._path}: {error}") from None
