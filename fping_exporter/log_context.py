"""Which cloud a log line is about, where one process has several: every line of its work names it."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["current_cloud", "log_as", "prefix"]

_cloud: ContextVar[str | None] = ContextVar("cloud", default=None)


def current_cloud() -> str | None:
    """Return the name of the cloud that this thread works for; None: for none in particular."""
    return _cloud.get()


def prefix() -> str:
    """Return the name of the cloud for a line on standard error, as ``lon1: ``; empty if there is none."""
    cloud = current_cloud()
    return f"{cloud}: " if cloud else ""


@contextlib.contextmanager
def log_as(cloud: str | None) -> Iterator[None]:
    """Take this thread's log lines, and those of threads that it starts meanwhile, for those of `cloud`."""
    token = _cloud.set(cloud)
    try:
        yield
    finally:
        _cloud.reset(token)
