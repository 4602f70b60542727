"""TLS by a web configuration file, case by case as the exporter-toolkit's own tests publish them.

The names of the cases are those of its ``web/tls_config_test.go`` and ``web/san_test.go``;
where we differ on purpose, the case says so.
"""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme

from fping_exporter.httpd.web_config import WebConfig
from tests.httpd.toolkit import (
    ALL_CIPHERS,
    CERTIFICATE,
    HEADERS,
    IF_GIVEN,
    SOME_CIPHERS,
    VERIFY,
    get,
    serving,
)

# TestServerBehaviour and TestTLSConfigIsEnabled


PLAIN = {
    "empty config yml": "",
    "sections without keys": "tls_server_config:\nhttp_server_config:\nbasic_auth_users:\nrate_limit:\n",
    "only non-enabling fields set": "tls_server_config: {min_version: TLS12, cipher_suites: []}",
    "web_config_headers.good.yml": HEADERS,
    "valid rate limiter (no rate limiter set up) that doesn't block": "rate_limit: {interval: 0, burst: 0}",
}


@pytest.mark.parametrize("text", PLAIN.values(), ids=PLAIN)
def test_plain(write: Callable[[str], Path], text: str) -> None:
    with serving(write(text)) as address:
        for _ in range(10):
            assert get(address)[0] == 200


def test_empty_string_yaml_config_path_and_tls_client(
    write: Callable[[str], Path], trust: ssl.SSLContext
) -> None:
    with (
        serving(write("")) as address,
        pytest.raises(ssl.SSLError, match="WRONG_VERSION_NUMBER"),
    ):
        get(address, trust)


def test_valid_tls_config_yml_and_default_client(write: Callable[[str], Path]) -> None:
    with serving(write(f"tls_server_config: {{{CERTIFICATE}}}")) as address:
        assert get(address)[0] == 400


ENCRYPTED = {
    "valid tls config yml and tls client": CERTIFICATE,
    "NoClientCert": f"{CERTIFICATE}, client_auth_type: NoClientCert",
    "RequestClientCert": f"{CERTIFICATE}, client_auth_type: RequestClientCert",
    "VerifyClientCertIfGiven": f"{CERTIFICATE}, {IF_GIVEN}, client_ca_file: ca.pem",
    "VerifyClientCertIfGiven by the system's authorities": f"{CERTIFICATE}, {IF_GIVEN}",
    "valid tls config yml with all ciphers": f"{CERTIFICATE}, {IF_GIVEN}, cipher_suites: {ALL_CIPHERS}",
    "valid tls config yml with some ciphers": f"{CERTIFICATE}, cipher_suites: {SOME_CIPHERS}",
    "only ciphers of TLS 1.3": f"{CERTIFICATE}, min_version: TLS13, cipher_suites: [TLS_AES_128_GCM_SHA256]",
    "valid tls config yml with all curves": (
        f"{CERTIFICATE}, curve_preferences: [CurveP256, CurveP384, CurveP521, X25519]"
    ),
    "valid tls config yml with some curves": (
        f"{CERTIFICATE}, min_version: TLS13, curve_preferences: [CurveP521]"
    ),
}


@pytest.mark.parametrize("text", ENCRYPTED.values(), ids=ENCRYPTED)
def test_encrypted(write: Callable[[str], Path], trust: ssl.SSLContext, text: str) -> None:
    with serving(write(f"tls_server_config: {{{text}}}")) as address:
        assert get(address, trust)[0] == 200


def test_valid_tls_config_yml_with_non_http2_ciphers(
    write: Callable[[str], Path], trust: ssl.SSLContext
) -> None:
    text = f"""
        tls_server_config:
          {{{CERTIFICATE}, cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384], max_version: TLS12}}
        http_server_config: {{http2: false}}
        """
    with serving(write(text)) as address:
        _, _, (name, _, _) = get(address, trust)
    assert name == "ECDHE-RSA-AES256-GCM-SHA384"


def test_valid_tls_config_yml_cert_and_key_inline(
    pki: Path, write: Callable[[str], Path], trust: ssl.SSLContext
) -> None:
    lines = ["tls_server_config:"]
    for key, file in (("cert", "server.pem"), ("key", "server.key"), ("client_ca", "ca.pem")):
        lines.append(f"  {key}: |")
        lines.extend("    " + line for line in (pki / file).read_text().splitlines())
    lines.append(f"  {VERIFY}")
    path = write("\n".join(lines))
    with serving(path) as address, pytest.raises((ssl.SSLError, ConnectionError)):
        get(address, trust)
    path.write_text("\n".join([*lines[:-1], f"  {IF_GIVEN}"]))
    with serving(path) as address:
        assert get(address, trust)[0] == 200


def test_valid_tls_config_yml_with_tls_1_1_client(
    write: Callable[[str], Path], trust: ssl.SSLContext
) -> None:
    with serving(write(f"tls_server_config: {{{CERTIFICATE}, min_version: TLS13}}")) as address:
        trust.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
            get(address, trust)


def test_the_versions_default_to_1_2_and_1_3(write: Callable[[str], Path]) -> None:
    context = WebConfig(write(f"tls_server_config: {{{CERTIFICATE}}}")).tls()
    assert context
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.maximum_version == ssl.TLSVersion.TLSv1_3


def test_valid_tls_config_yml_with_no_common_cipher(
    write: Callable[[str], Path], trust: ssl.SSLContext
) -> None:
    text = f"tls_server_config: {{{CERTIFICATE}, max_version: TLS12, cipher_suites: {SOME_CIPHERS}}}"
    trust.set_ciphers("ECDHE-RSA-AES256-SHA")
    with serving(write(text)) as address, pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        get(address, trust)


@pytest.mark.parametrize(
    ("prefer", "chosen"),
    [("true", "ECDHE-RSA-AES256-GCM-SHA384"), ("false", "ECDHE-RSA-AES128-GCM-SHA256")],
)
def test_valid_tls_config_yml_with_multiple_client_ciphers(
    write: Callable[[str], Path], trust: ssl.SSLContext, prefer: str, chosen: str
) -> None:
    """Go chooses by itself since 1.17; OpenSSL does as it is told."""
    text = (
        f"tls_server_config: {{{CERTIFICATE}, max_version: TLS12, cipher_suites: {SOME_CIPHERS},"
        f" prefer_server_cipher_suites: {prefer}}}"
    )
    trust.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384")
    with serving(write(text)) as address:
        _, _, (name, _, _) = get(address, trust)
    assert name == chosen


def test_valid_tls_config_yml_with_no_common_curves(
    write: Callable[[str], Path], trust: ssl.SSLContext
) -> None:
    text = f"tls_server_config: {{{CERTIFICATE}, min_version: TLS13, curve_preferences: [CurveP521]}}"
    trust.set_ecdh_curve("secp384r1")
    with serving(write(text)) as address, pytest.raises(ssl.SSLError, match="HANDSHAKE_FAILURE"):
        get(address, trust)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
def test_old_versions_can_be_asked_for(write: Callable[[str], Path]) -> None:
    context = WebConfig(write(f"tls_server_config: {{{CERTIFICATE}, min_version: TLS10}}")).tls()
    assert context
    assert context.minimum_version == ssl.TLSVersion.TLSv1


CLIENTS = {
    "RequireAndVerifyClientCert (present certificate)": ("client_ca_file: ca.pem", "ours", True),
    "RequireAndVerifyClientCert (no certificate)": ("client_ca_file: ca.pem", "none", False),
    "RequireAndVerifyClientCert (unknown CA)": ("client_ca_file: ca.pem", "stranger", False),
    "RequireAndVerifyClientCert (by the system's authorities)": ("min_version: TLS12", "ours", False),
    "VerifyPeerCertificate (present good SAN DNS entry)": (
        "client_ca_file: ca.pem, client_allowed_sans: [one, test3, two]",
        "ours",
        True,
    ),
    "VerifyPeerCertificate (present good SAN IP entry)": (
        "client_ca_file: ca.pem, client_allowed_sans: ['2001:db8::1']",
        "ours",
        True,
    ),
    "VerifyPeerCertificate (present good SAN e-mail entry)": (
        "client_ca_file: ca.pem, client_allowed_sans: [me@example.org]",
        "ours",
        True,
    ),
    "VerifyPeerCertificate (present invalid SAN DNS entries)": (
        "client_ca_file: ca.pem, client_allowed_sans: [one, two]",
        "ours",
        False,
    ),
    "VerifyPeerCertificate (nobody is allowed)": (
        "client_ca_file: ca.pem, client_allowed_sans: []",
        "ours",
        False,
    ),
    "VerifyPeerCertificate (good SAN of an unknown CA)": (
        "client_ca_file: ca.pem, client_allowed_sans: [test3]",
        "stranger",
        False,
    ),
    "VerifyPeerCertificateHandshakeWithoutClientCert": (
        "client_ca_file: ca.pem, client_allowed_sans: [one]",
        "none",
        False,
    ),
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("case", CLIENTS)
def test_client_certificates(
    write: Callable[[str], Path],
    trust: ssl.SSLContext,
    issuers: dict[str, trustme.CA],
    case: str,
    version: ssl.TLSVersion,
) -> None:
    options, who, passes = CLIENTS[case]
    if who != "none":
        issuers[who].issue_cert("test3", "2001:db8::1", "me@example.org").configure_cert(trust)
    trust.maximum_version = version
    with serving(write(f"tls_server_config: {{{CERTIFICATE}, {VERIFY}, {options}}}")) as address:
        if passes:
            assert get(address, trust)[0] == 200
        else:
            with pytest.raises((ssl.SSLError, ConnectionError)):
                get(address, trust)


# TestConfigReloading


def test_a_new_configuration_is_in_force_for_the_next_connection(
    write: Callable[[str], Path], trust: ssl.SSLContext
) -> None:
    good = f"tls_server_config: {{{CERTIFICATE}}}"
    blocking = f"tls_server_config: {{{CERTIFICATE}, {VERIFY}, client_ca_file: ca.pem}}"
    with serving(write(blocking)) as address:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            get(address, trust)
        write(good)
        assert get(address, trust)[0] == 200
        for bad in ("", "tls_server_config: {", f"tls_server_config: {{{CERTIFICATE}, min_version: TLS14}}"):
            write(bad)
            with pytest.raises((ssl.SSLError, ConnectionError)):
                get(address, trust)
            with pytest.raises(ConnectionError):
                get(address)
        write(good)
        assert get(address, trust)[0] == 200


def test_a_new_certificate_is_in_force_for_the_next_connection(tmp_path: Path) -> None:
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: {cert_file: both.pem, key_file: both.pem}")

    def renew() -> ssl.SSLContext:
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        return context

    old = renew()
    with serving(path) as address:
        assert get(address, old)[0] == 200
        new = renew()
        assert get(address, new)[0] == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            get(address, old)


def test_what_has_not_changed_is_not_made_anew(write: Callable[[str], Path]) -> None:
    web = WebConfig(write(f"tls_server_config: {{{CERTIFICATE}}}"))
    assert web.tls() is web.tls()
    assert web.settings() is web.settings()


def test_tls_can_be_turned_on(write: Callable[[str], Path], trust: ssl.SSLContext) -> None:
    with serving(write("")) as address:
        assert get(address)[0] == 200
        write(f"tls_server_config: {{{CERTIFICATE}}}")
        assert get(address, trust)[0] == 200
