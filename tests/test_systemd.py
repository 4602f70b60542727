"""systemd notifications, on a socket like systemd's."""

import os
import secrets
import socket
from pathlib import Path

import pytest

from fping_exporter.systemd import notify, watchdog_interval


@pytest.mark.parametrize("abstract", [False, True])
def test_the_manager_is_notified(abstract: bool, tmp_path: Path) -> None:  # noqa: FBT001, a parameter of the test
    name = f"@fpx-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0"))
        manager.settimeout(1)
        notify("READY=1\nSTATUS=ok", environment={"NOTIFY_SOCKET": name})
        assert manager.recv(64) == b"READY=1\nSTATUS=ok"


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "@nobody-listens", "vsock:2:1234"])
def test_no_manager_is_no_error(address: str) -> None:
    notify("READY=1", environment={"NOTIFY_SOCKET": address})


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_interval_of_the_watchdog(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_interval(environment=environment) == seconds
