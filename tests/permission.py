"""The right to ping, without which some tests cannot be run."""

import os

import pytest

from fping_exporter.errors import SocketPermissionError
from fping_exporter.probe import check_permission

__all__ = ["need_ping"]


def need_ping() -> None:
    """Skip a test that pings where this user may not; in CI, that is a fault of the machine."""
    try:
        check_permission()
    except SocketPermissionError as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
