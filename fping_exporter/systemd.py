"""How it goes, told to systemd: the datagrams of sd_notify(3)."""

import os
import socket
from collections.abc import Mapping

__all__ = ["notify", "watchdog_interval"]


def notify(state: str, *, environment: Mapping[str, str] = os.environ) -> None:
    """Send `state`, such as ``READY=1``, to the service manager; without one, do nothing.

    A manager that does not listen is none of the exporter's business, so no error is raised.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.connect(address.replace("@", "\0", 1) if address.startswith("@") else address)
            sock.send(state.encode())
        except OSError:
            return


def watchdog_interval(*, environment: Mapping[str, str] = os.environ) -> float | None:
    """Return the seconds between two signs of life, half of what systemd asks for; None: it asks for none."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2e6
