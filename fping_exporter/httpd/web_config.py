"""The web configuration file of the Prometheus exporter-toolkit: TLS, basic auth, headers, a rate limit.

The format is described at https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
A file that node_exporter accepts has the same effect here, and a file that it refuses is refused, except:

- ``RequireAnyClientCert`` is refused and ``RequestClientCert`` asks for no certificate: Python's TLS accepts
  no certificate that it has not verified. Both would let anybody in.
- Two or three ``curve_preferences`` are refused: Python's TLS can be limited to one, or not at all.
- ``http2`` only decides which ciphers are refused: the server speaks HTTP/1.1.
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
_TEXT_MAPPINGS = ("http_server_config.headers", "basic_auth_users")
_HTTP2_CIPHERS = ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")


class Interval(float):
    """Seconds, written as Go's ``time.Duration``: ``1.5s``, ``1h30m``; a number is nanoseconds."""

    __slots__ = ()

    @classmethod
    def parse(cls, value: object) -> Self:
        """Parse a duration; raise ValueError with what would be right."""
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
    """The headers that are added to every response."""

    content_security_policy: str | None = None
    x_frame_options: Literal["deny", "sameorigin"] | None = None
    x_content_type_options: Literal["nosniff"] | None = None
    x_xss_protection: str | None = None
    strict_transport_security: str | None = None

    def __post_init__(self) -> None:
        """Refuse values that are not valid in a header."""
        for name, value in self.items():
            if not re.fullmatch(r"[\t\x20-\x7e\x80-\xff]*", value):
                message = f"{name}: a header is one line of Latin-1 text"
                raise ValueError(message)

    def items(self) -> list[tuple[str, str]]:
        """Return the headers that are set, under their HTTP names."""
        pairs = zip(self.__struct_encode_fields__, self.__struct_fields__, strict=True)
        return [(name, value) for name, field in pairs if (value := getattr(self, field))]


class HttpServer(Section, frozen=True):
    """The keys of ``http_server_config``."""

    http2: bool | None = None
    headers: Headers | None = None


class RateLimit(Section, frozen=True):
    """A token bucket of `burst` requests, refilled by one every `interval`; an interval of 0 is no limit."""

    interval: Interval | None = None
    burst: Annotated[int, Meta(ge=0)] | None = None


class Settings(Section, frozen=True):
    """The whole file."""

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer | None = None
    basic_auth_users: dict[str, str] | None = None
    """Bcrypt hashes by user name. Without any, no password is needed."""
    rate_limit: RateLimit | None = None

    def __post_init__(self) -> None:
        """Refuse passwords that are not bcrypt hashes, and ciphers that the toolkit refuses for HTTP/2."""
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
    """A web configuration file; a change of it is in force at once, without a restart.

    The file is read again for each connection and each request, the files that it names for each
    connection; settings and TLS context are built anew only when these have changed. While a file is
    invalid, connections and requests are refused rather than served by rules that someone has just meant
    to change. TLS can be turned on in a running exporter, but not off.

    Raises:
        ConfigError: from the constructor and from both methods, when the file or one that it names is
            missing or invalid.
    """

    def __init__(self, path: Path) -> None:
        """Read all files once, so that an invalid one is refused at start."""
        self._path = path
        self._lock = threading.Lock()
        self._text: str | None = None
        self._settings = Settings()
        self._context_inputs: tuple[TlsServer, Material] | None = None
        self._context: ssl.SSLContext | None = None
        self.tls()

    def settings(self) -> Settings:
        """Return the settings as the file has them now."""
        text = strict_yaml.read(self._path)
        with self._lock:
            if text != self._text:
                self._settings = strict_yaml.parse(
                    text, Settings, source=str(self._path), as_text=_TEXT_MAPPINGS
                )
                self._text = text
            return self._settings

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS context for a new connection, None for plain HTTP."""
        settings = self.settings().tls_server_config
        if not settings or not settings.enabled:
            if self._context:
                raise ConfigError(
                    f"{self._path}: tls_server_config: TLS cannot be turned off without a restart"
                )
            return None
        try:
            inputs = settings, settings.read(self._path.parent)
            with self._lock:
                if inputs != self._context_inputs:
                    self._context = make_context(*inputs)
                    self._context_inputs = inputs
                return self._context
        except ConfigError as error:
            raise ConfigError(f"{self._path}: {error}") from None
