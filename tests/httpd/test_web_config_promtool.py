"""The same web configuration files, taken or refused by promtool, in which the exporter-toolkit is."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from fping_exporter.errors import ConfigError
from fping_exporter.httpd.web_config import WebConfig
from tests.httpd.test_web_config import CLIENTS, ENCRYPTED, PLAIN
from tests.httpd.test_web_config_refused import REFUSED
from tests.httpd.toolkit import CERTIFICATE, VERIFY

pytestmark = pytest.mark.e2e

CASES = {
    **{name: text for name, (text, _) in REFUSED.items()},
    **PLAIN,
    **{name: f"tls_server_config: {{{keys}}}" for name, keys in ENCRYPTED.items()},
    **{
        name: f"tls_server_config: {{{CERTIFICATE}, {VERIFY}, {keys}}}"
        for name, (keys, _, _) in CLIENTS.items()
    },
}
NEWER = ("rate_limit", "client_allowed_sans")
"""Keys that the promtool of Debian 12 does not know."""
WE_REFUSE = {
    "RequireAnyClientCert (accepted by the toolkit)",
    "two of four curves (ours)",
    "a maximum below the minimum (ours)",  # there, no handshake succeeds
    "a header of two lines",  # there, every response is broken
    "a ClientCAs file without certificates",  # refused by newer ones
    "valid tls config yml with non-http2 ciphers but http2 enabled",  # there, at the start of the server
}


@pytest.mark.parametrize(
    "name", [name for name, text in CASES.items() if not any(key in text for key in NEWER)]
)
def test_promtool_says_the_same(write: Callable[[str], Path], name: str) -> None:
    path = write(CASES[name])
    promtool = subprocess.run(
        ["promtool", "check", "web-config", path], capture_output=True, text=True, check=False
    )
    try:
        WebConfig(path)
    except ConfigError:
        refused = True
    else:
        refused = False
    assert refused == (promtool.returncode != 0 or name in WE_REFUSE), promtool.stderr
    assert name not in WE_REFUSE or promtool.returncode == 0
