"""Programs that a test starts, reads the log of, and stops by the process that it started."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

__all__ = ["Process", "eventually", "free_port"]

ROOT = Path(__file__).parents[2]


class Process:
    """A program that runs until its context ends; what it prints goes to a file."""

    def __init__(
        self, command: Sequence[str | Path], *, log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Prepare to run `command` with `environment` on top of our own, from which OS_* is removed."""
        self._command = [str(part) for part in command]
        self._log = log
        clean = {name: value for name, value in os.environ.items() if not name.startswith("OS_")}
        self._environment = clean | dict(environment or {})

    def __enter__(self) -> Self:
        with self._log.open("wb") as out:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=out, stderr=subprocess.STDOUT
            )
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def stop(self, *, timeout: float = 20) -> int:
        """Ask it to end with SIGTERM and return its exit code."""
        self._process.terminate()
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def kill(self) -> None:
        """End it at once, with SIGKILL."""
        self._process.kill()
        self._process.wait()

    def wait_for(self, pattern: str, *, timeout: float = 30) -> re.Match[str]:
        """Return the first place in its log that matches."""
        deadline = time.monotonic() + timeout
        while not (found := re.search(pattern, self.log)):
            assert self._process.poll() is None, f"it ended: {self.log}"
            assert time.monotonic() < deadline, f"no {pattern!r} in {self.log}"
            time.sleep(0.05)
        return found


def eventually(check: Callable[[], None], *, timeout: float = 30) -> None:
    """Repeat `check` until what it asks answers, and as asserted; after `timeout` seconds it has to."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            check()
        except (AssertionError, LookupError, OSError):
            time.sleep(0.2)
        else:
            return
    check()


def free_port() -> int:
    """Return a port of loopback that nobody listens on, and that no other test is given.

    It is below those that Linux gives to whoever connects or asks for any port: one of these may be taken
    before the server that it is for listens.
    """
    for port in random.SystemRandom().sample(_PORTS, len(_PORTS)):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            mark = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            mark.bind(("127.0.0.1", port))
            with socket.socket() as sock:
                sock.bind(("127.0.0.1", port))
            stack.pop_all()
            _marks.append(mark)
            return port
    raise RuntimeError(f"no free port among {_PORTS}")


_PORTS = range(20_000, 30_000)
_marks: list[socket.socket] = []
"""The ports of UDP that tell the tests of other processes which of TCP are given away."""
