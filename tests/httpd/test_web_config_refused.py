"""What is refused in a web configuration file, as the exporter-toolkit's own tests publish it.

The names of the cases are those of its ``web/tls_config_test.go``;
where we differ on purpose, the case says so.
"""

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.config.strict_yaml import parse
from fping_exporter.errors import ConfigError
from fping_exporter.httpd.web_config import Interval, Settings, WebConfig
from tests.httpd.toolkit import CERTIFICATE, HASH, IF_GIVEN, VERIFY

# TestYAMLFiles, and what else is refused


def test_path_to_config_yml_invalid(pki: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        WebConfig(pki / "somefile")
    assert str(caught.value) == f"{pki}/somefile: cannot be read: No such file or directory"


REFUSED = {
    "invalid config yml (invalid structure)": ("hubba", "expected a mapping, got text"),
    "invalid config yml (invalid key)": (
        "tls_server_confi: {}",
        'tls_server_confi: unknown key; did you mean "tls_server_config"?',
    ),
    "invalid config yml (cert path empty)": (
        'tls_server_config: {cert_file: "", key_file: server.key}',
        "tls_server_config: missing one of cert or cert_file",
    ),
    "invalid config yml (cert empty)": (
        'tls_server_config: {cert: "", key_file: server.key}',
        "tls_server_config: missing one of cert or cert_file",
    ),
    "invalid config yml (key path empty)": (
        'tls_server_config: {cert_file: server.pem, key_file: ""}',
        "tls_server_config: missing one of key or key_file",
    ),
    "invalid config yml (key empty)": (
        'tls_server_config: {cert_file: server.pem, key: ""}',
        "tls_server_config: missing one of key or key_file",
    ),
    "invalid config yml (cert path and key path empty)": (
        'tls_server_config: {cert_file: "", key_file: "", client_auth_type: VerifyClientCertIfGiven}',
        "tls_server_config: missing one of cert or cert_file",
    ),
    "invalid config yml (cert path invalid)": (
        "tls_server_config: {cert_file: somefile, key_file: server.key}",
        "tls_server_config.cert_file: {pki}/somefile cannot be read: No such file or directory",
    ),
    "invalid config yml (key path invalid)": (
        "tls_server_config: {cert_file: server.pem, key_file: somefile}",
        "tls_server_config.key_file: {pki}/somefile cannot be read: No such file or directory",
    ),
    "invalid config yml (cert path and key path invalid)": (
        "tls_server_config: {cert_file: somefile, key_file: somefile}",
        "tls_server_config.cert_file: {pki}/somefile cannot be read: No such file or directory",
    ),
    "invalid config yml (invalid ClientAuth)": (
        f"tls_server_config: {{{CERTIFICATE}, client_ca_file: /dev/null}}",
        (
            "tls_server_config: client_ca_file: has no effect without client_auth_type, such as"
            " RequireAndVerifyClientCert"
        ),
    ),
    "an unknown ClientAuth": (
        f"tls_server_config: {{{CERTIFICATE}, client_auth_type: Require}}",
        (
            'tls_server_config.client_auth_type: expected "" or "NoClientCert" or "RequestClientCert" or'
            ' "RequireClientCert" or "RequireAnyClientCert" or "VerifyClientCertIfGiven" or'
            ' "RequireAndVerifyClientCert", got "Require"'
        ),
    ),
    "invalid config yml (invalid ClientCAs filepath)": (
        f"tls_server_config: {{{CERTIFICATE}, {IF_GIVEN}, client_ca_file: somefile}}",
        "tls_server_config.client_ca_file: {pki}/somefile cannot be read: No such file or directory",
    ),
    "a ClientCAs file without certificates": (
        f"tls_server_config: {{{CERTIFICATE}, {VERIFY}, client_ca_file: junk.pem}}",
        "tls_server_config.client_ca_file: no certificate in PEM",
    ),
    "a certificate that is none": (
        "tls_server_config: {cert_file: junk.pem, key_file: server.key}",
        "tls_server_config: certificate and key cannot be used: not in PEM",
    ),
    "invalid config yml (invalid user list)": (
        f"tls_server_config: {{{CERTIFICATE}}}\nbasic_auth_users: {{john: doe}}",
        "basic_auth_users: expected a bcrypt hash for 'john', as of: htpasswd -nBC 10 \"\"",
    ),
    "a user without a password": (
        "basic_auth_users: {john: null}",
        "basic_auth_users[...]: expected text, got nothing",
    ),
    "invalid config yml (bad cipher)": (
        f"tls_server_config: {{{CERTIFICATE}, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]}}",
        (
            "tls_server_config: cipher_suites: unknown cipher 'TLS_RSA_WITH_RC4_128_SHA'; known are"
            " TLS_AES_128_GCM_SHA256, "
        ),
    ),
    "invalid config yml (bad curves)": (
        f"tls_server_config: {{{CERTIFICATE}, curve_preferences: [CurveP257]}}",
        (
            'tls_server_config.curve_preferences[0]: expected "CurveP256" or "CurveP384" or "CurveP521" or'
            ' "X25519", got "CurveP257"'
        ),
    ),
    "two of four curves (ours)": (
        f"tls_server_config: {{{CERTIFICATE}, curve_preferences: [CurveP256, X25519]}}",
        (
            "tls_server_config: curve_preferences: expected one or all four; Python's TLS cannot be held to"
            " some"
        ),
    ),
    "invalid config yml (bad TLS version)": (
        f"tls_server_config: {{{CERTIFICATE}, min_version: TLS111}}",
        'tls_server_config.min_version: expected "TLS10" or "TLS11" or "TLS12" or "TLS13", got "TLS111"',
    ),
    "a maximum below the minimum (ours)": (
        f"tls_server_config: {{{CERTIFICATE}, min_version: TLS13, max_version: TLS12}}",
        "tls_server_config: max_version: below min_version",
    ),
    "valid tls config yml with non-http2 ciphers but http2 enabled": (
        f"tls_server_config: {{{CERTIFICATE}, cipher_suites: [TLS_RSA_WITH_AES_128_CBC_SHA]}}",
        (
            "tls_server_config.cipher_suites: expected one of TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 or"
            " TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, or http_server_config.http2: false"
        ),
    ),
    "invalid X-Content-Type-Options headers config": (
        "http_server_config: {headers: {X-Content-Type-Options: sniff}}",
        'http_server_config.headers.X-Content-Type-Options: expected "nosniff", got "sniff"',
    ),
    "invalid X-Frame-Options headers config": (
        "http_server_config: {headers: {X-Frame-Options: allow}}",
        'http_server_config.headers.X-Frame-Options: expected "deny" or "sameorigin", got "allow"',
    ),
    "HTTP header that can not be overridden": (
        "http_server_config: {headers: {Server: x}}",
        (
            "http_server_config.headers.Server: unknown key; known are Content-Security-Policy,"
            " X-Frame-Options, X-Content-Type-Options, X-XSS-Protection, Strict-Transport-Security"
        ),
    ),
    "a header of two lines": (
        'http_server_config: {headers: {X-XSS-Protection: "1\\r\\nSet-Cookie: x"}}',
        "http_server_config.headers: X-XSS-Protection: a header is one line of Latin-1 text",
    ),
    "RequireAnyClientCert (accepted by the toolkit)": (
        f"tls_server_config: {{{CERTIFICATE}, client_auth_type: RequireAnyClientCert}}",
        (
            "tls_server_config: client_auth_type: RequireAnyClientCert would let in anybody who makes a"
            " certificate, and is not supported; use RequireAndVerifyClientCert with client_ca_file"
        ),
    ),
    "client_allowed_sans without client auth": (
        f"tls_server_config: {{{CERTIFICATE}, client_allowed_sans: [one]}}",
        "tls_server_config: client_allowed_sans: requires client_auth_type RequireAndVerifyClientCert",
    ),
    "client_allowed_sans with an optional certificate": (
        f"tls_server_config: {{{CERTIFICATE}, {IF_GIVEN}, client_allowed_sans: [one]}}",
        "tls_server_config: client_allowed_sans: requires client_auth_type RequireAndVerifyClientCert",
    ),
    "an interval without a unit": (
        "rate_limit: {interval: '5'}",
        "rate_limit.interval: expected a duration such as 500ms, 1s or 1m30s, or 0, got '5'",
    ),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(pki: Path, write: Callable[[str], Path], text: str, message: str) -> None:
    path = write(text)
    with pytest.raises(ConfigError) as caught:
        WebConfig(path)
    expected = f"{path}: {message.replace('{pki}', str(pki))}"
    if message.endswith(" "):  # the rest is a long list
        assert str(caught.value).startswith(expected)
    else:
        assert str(caught.value) == expected


def test_no_secret_is_in_an_error(write: Callable[[str], Path]) -> None:
    for text in ("basic_auth_users: {john: hunter2}", "tls_server_config: {cert: hunter2, key: hunter2}"):
        with pytest.raises(ConfigError) as caught:
            WebConfig(write(text))
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("1s", 1), ("1.5s", 1.5), ("1h30m", 5400), (".5ms", 0.0005), ("0", 0), (0, 0), (1_000_000_000, 1)],
)
def test_intervals(value: str | int, seconds: float) -> None:
    assert Interval.parse(value) == pytest.approx(seconds)


@given(st.text() | st.text("0123456789.hms+-") | st.integers() | st.floats() | st.none() | st.booleans())
def test_any_interval_is_read_or_refused(value: object) -> None:
    try:
        assert Interval.parse(value) >= 0
    except ValueError as error:
        assert repr(value) in str(error)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text() | st.sampled_from(["TLS12", "x.pem", HASH]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "tls_server_config",
                        "cert_file",
                        "min_version",
                        "cipher_suites",
                        "http_server_config",
                        "headers",
                        "X-Frame-Options",
                        "basic_auth_users",
                        "rate_limit",
                        "burst",
                        "x",
                    ]
                ),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    )
)
def test_any_yaml_is_read_or_refused_in_one_line(value: object) -> None:
    try:
        parse(yaml.safe_dump(value, allow_unicode=True), Settings, source="f")
    except ConfigError as error:
        assert str(error).startswith("f:")
        assert "\n" not in str(error)
