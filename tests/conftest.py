"""An environment without this machine's OpenStack configuration, home and state directories, and proxies."""

import logging
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator

import hypothesis
import pytest

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

# A busy machine is no fault of a property's. All else is as in the profile that is in use.
_before = hypothesis.settings()
hypothesis.settings.register_profile(
    "any machine",
    deadline=None,
    suppress_health_check={*_before.suppress_health_check, hypothesis.HealthCheck.too_slow},
)
hypothesis.settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def _log_as_before() -> Iterator[None]:
    """Undo what a command within the test has set up: its log goes to a stream that ends with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


_left = weakref.WeakSet[threading.Thread]()
"""Threads that tests before have left running."""


def _is_of_this_test(_record: logging.LogRecord) -> bool:
    return threading.current_thread() not in _left


@pytest.fixture(autouse=True)
def _own_log(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Keep from ``caplog`` what threads of tests before log: a refresh that nobody waits for goes on."""
    before = set(threading.enumerate())
    caplog.handler.addFilter(_is_of_this_test)
    yield
    caplog.handler.removeFilter(_is_of_this_test)
    _left.update(set(threading.enumerate()) - before)


def pytest_unconfigure() -> None:
    _home.cleanup()
