"""An environment in which nothing of the machine's own OpenStack, home or proxies has a say."""

import os
import tempfile

_FOREIGN = (
    "OS_",
    "XDG_",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
)

_home = tempfile.TemporaryDirectory(prefix="fping-exporter-home-")

# At once, not in a fixture: openstacksdk settles where it looks for clouds.yaml when it is imported.
for _name in list(os.environ):
    if _name.upper().startswith(_FOREIGN):
        del os.environ[_name]
os.environ["HOME"] = _home.name


def pytest_unconfigure() -> None:
    _home.cleanup()
