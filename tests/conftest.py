"""An environment without this machine's OpenStack configuration, home and state directories, and proxies."""

import os
import tempfile

_FOREIGN = (
    "OS_",
    "STATE_DIRECTORY",
    "XDG_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)

_home = tempfile.TemporaryDirectory(prefix="fping-exporter-home-")

# At import, not in a fixture: openstacksdk decides at its import where it looks for clouds.yaml.
for _name in list(os.environ):
    if _name.upper().startswith(_FOREIGN):
        del os.environ[_name]
os.environ["HOME"] = _home.name


def pytest_unconfigure() -> None:
    _home.cleanup()
