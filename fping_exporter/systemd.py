"""systemd notifications: the sd_notify(3) protocol, without libsystemd."""

import os
import socket
from collections.abc import Mapping

__all__ = ["notify", "watchdog_interval"]


def notify(state: str, *, environment: Mapping[str, str] = os.environ) -> None:
    """Send `state`, such as ``READY=1``, to the service manager in ``NOTIFY_SOCKET``, if there is one.

    Raises nothing: the exporter works without its manager.
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
    """Return the seconds between watchdog notifications: half of ``WATCHDOG_USEC``. None: no watchdog."""
    microseconds = environment.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    return int(microseconds) / 2e6
