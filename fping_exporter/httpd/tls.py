"""TLS in a web configuration file: the keys of ``tls_server_config``, and the SSL context built from them."""

import contextlib
import ipaddress
import os
import ssl
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from fping_exporter.config.strict_yaml import Section
from fping_exporter.errors import ConfigError

__all__ = ["Material", "TlsServer", "alternative_names", "make_context"]

_CIPHERS = {
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    # Those of TLS 1.3 may be named, but are always on, as in Go.
    "TLS_AES_128_GCM_SHA256": "",
    "TLS_AES_256_GCM_SHA384": "",
    "TLS_CHACHA20_POLY1305_SHA256": "",
}
"""Go's names of cipher suites, and OpenSSL's."""
_CURVES = {"CurveP256": "prime256v1", "CurveP384": "secp384r1", "CurveP521": "secp521r1", "X25519": "X25519"}
_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
_VERIFY = {
    "VerifyClientCertIfGiven": ssl.CERT_OPTIONAL,
    "RequireAndVerifyClientCert": ssl.CERT_REQUIRED,
}

Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]


class Material(NamedTuple):
    """Certificate, key and client CAs in PEM, from files or inline."""

    certificate: bytes
    key: bytes
    client_ca: bytes


class TlsServer(Section, frozen=True):
    """The keys of ``tls_server_config``. A file goes before an inline text; an empty value counts as none."""

    cert: str | None = None
    key: str | None = None
    client_ca: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None
    client_auth_type: (
        Literal[
            "",
            "NoClientCert",
            "RequestClientCert",
            "RequireClientCert",
            "RequireAnyClientCert",
            "VerifyClientCertIfGiven",
            "RequireAndVerifyClientCert",
        ]
        | None
    ) = None
    client_allowed_sans: tuple[str, ...] | None = None
    min_version: Version | None = None
    max_version: Version | None = None
    cipher_suites: tuple[str, ...] | None = None
    curve_preferences: tuple[Literal["CurveP256", "CurveP384", "CurveP521", "X25519"], ...] | None = None
    prefer_server_cipher_suites: bool | None = None

    def __post_init__(self) -> None:
        """Refuse combinations that let anybody in, or nobody."""
        for message in self._faults():
            raise ValueError(message)

    def _faults(self) -> Iterator[str]:
        if self.enabled and not (self.cert_file or self.cert):
            yield "missing one of cert or cert_file"
        if self.enabled and not (self.key_file or self.key):
            yield "missing one of key or key_file"
        if self.client_auth_type in {"RequireAnyClientCert", "RequireClientCert"}:
            yield (
                f"client_auth_type: {self.client_auth_type} would let in anybody who makes a certificate, and"
                " is not supported; use RequireAndVerifyClientCert with client_ca_file"
            )
        if (self.client_ca_file or self.client_ca) and self.client_auth_type in {None, "", "NoClientCert"}:
            yield "client_ca_file: has no effect without client_auth_type, such as RequireAndVerifyClientCert"
        if self.client_allowed_sans is not None and self.client_auth_type != "RequireAndVerifyClientCert":
            yield "client_allowed_sans: requires client_auth_type RequireAndVerifyClientCert"
        if self.lowest > self.highest:
            yield "max_version: below min_version"
        for name in self.cipher_suites or ():
            if name not in _CIPHERS:
                yield f"cipher_suites: unknown cipher {name!r}; known are {', '.join(sorted(_CIPHERS))}"
        if 1 < len(set(self.curve_preferences or ())) < len(_CURVES):
            yield "curve_preferences: expected one or all four; Python's TLS cannot be held to some"

    @property
    def enabled(self) -> bool:
        """Whether TLS is on; the other keys alone do not turn it on."""
        return any(
            (self.cert, self.key, self.client_ca, self.cert_file, self.key_file, self.client_ca_file)
        ) or bool(self.client_auth_type)

    @property
    def verifies_clients(self) -> bool:
        """Whether clients' certificates are verified by CAs that are named, not by any public one."""
        return self.client_auth_type in _VERIFY and bool(self.client_ca_file or self.client_ca)

    @property
    def lowest(self) -> ssl.TLSVersion:
        """The lowest version of TLS that is accepted."""
        return _VERSIONS[self.min_version or "TLS12"]

    @property
    def highest(self) -> ssl.TLSVersion:
        """The highest version of TLS that is accepted."""
        return _VERSIONS[self.max_version or "TLS13"]

    def read(self, directory: Path) -> Material:
        """Read the files, relative to `directory`; raise ConfigError where one cannot be read."""
        return Material(
            _read("cert_file", self.cert_file, directory, instead=self.cert),
            _read("key_file", self.key_file, directory, instead=self.key),
            _read("client_ca_file", self.client_ca_file, directory, instead=self.client_ca),
        )


def _read(option: str, name: str | None, directory: Path, *, instead: str | None) -> bytes:
    if not name:
        return (instead or "").encode()
    try:
        return (directory / name).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(
            f"tls_server_config.{option}: {directory / name} cannot be read: {reason}"
        ) from None


def make_context(settings: TlsServer, material: Material) -> ssl.SSLContext:
    """Build the SSL context; raise ConfigError where certificate, key or client CA cannot be used."""
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = settings.lowest
    context.maximum_version = settings.highest
    context.set_alpn_protocols(["http/1.1"])
    if settings.cipher_suites:
        old = [_CIPHERS[name] for name in settings.cipher_suites if _CIPHERS[name]]
        if old:
            context.set_ciphers(":".join(old))
        else:
            context.minimum_version = ssl.TLSVersion.TLSv1_3
    if settings.prefer_server_cipher_suites is False:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.curve_preferences and len(set(settings.curve_preferences)) == 1:
        context.set_ecdh_curve(_CURVES[settings.curve_preferences[0]])
    with _as_file(material.certificate) as certificate, _as_file(material.key) as key:
        try:
            # Without a password argument OpenSSL would ask for one on the terminal.
            context.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            reason = (error.reason or "not in PEM").replace("_", " ")
            message = f"tls_server_config: certificate and key cannot be used: {reason}"
            raise ConfigError(message) from None
    if settings.client_auth_type in _VERIFY:
        context.verify_mode = _VERIFY[settings.client_auth_type]
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a CA need not be a root, as in Go
        _trust(context, settings, material.client_ca)
    if settings.client_allowed_sans is not None:
        context.allowed_sans = frozenset(settings.client_allowed_sans)
    return context


def _trust(context: ssl.SSLContext, settings: TlsServer, client_ca: bytes) -> None:
    if not (settings.client_ca_file or settings.client_ca):
        context.load_default_certs(ssl.Purpose.CLIENT_AUTH)
        return
    try:
        context.load_verify_locations(cadata=client_ca.decode("ascii", "replace"))
    except (ssl.SSLError, ValueError):
        raise ConfigError("tls_server_config.client_ca_file: no certificate in PEM") from None


@contextlib.contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """Give `data` a path, since OpenSSL's loader takes nothing else; the file is in memory only."""
    with open(os.memfd_create("pem"), "wb", buffering=0) as file:  # noqa: PTH123, not a path
        file.write(data)
        yield f"/proc/self/fd/{file.fileno()}"


class _Socket(ssl.SSLSocket):
    """Fails the handshake where the client's certificate has none of ``client_allowed_sans``."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002, the base's signature
        super().do_handshake(block)
        allowed = cast("_Context", self.context).allowed_sans
        if allowed is not None and allowed.isdisjoint(alternative_names(self.getpeercert() or {})):
            raise ssl.SSLError("none of the certificate's alternative names is in client_allowed_sans")


class _Context(ssl.SSLContext):
    sslsocket_class = _Socket
    allowed_sans: frozenset[str] | None = None


def alternative_names(
    certificate: dict[str, Any], *, kinds: Collection[str] = ("DNS", "IP Address", "email", "URI")
) -> Iterator[str]:
    """Yield the alternative names of a certificate, of these `kinds` (Python's words), written as Go does.

    A kind is as much a part of a name as its text: ``cn-1.jones@example.org`` is no name of a host.
    """
    for kind, name in certificate.get("subjectAltName", ()):
        if kind in kinds:
            yield str(ipaddress.ip_address(name)) if kind == "IP Address" else name
