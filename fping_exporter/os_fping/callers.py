"""Who may ask for servers, and which they see: what the os-fping API needs to know of its callers."""

from collections.abc import Collection
from typing import Protocol

from fping_exporter.errors import CloudError, NotFoundError
from fping_exporter.model import Instance
from fping_exporter.monitor import Monitor

__all__ = ["AnonymousAccess", "Caller", "Callers"]

_PATIENCE_SECONDS = 30.0
"""How long a caller waits for the exporter's own inventory."""


class Caller(Protocol):
    """Who asks, and what they may see."""

    @property
    def user_id(self) -> str:
        """Whose requests are counted together."""
        ...

    @property
    def project_id(self) -> str | None:
        """The project that the caller acts for."""
        ...

    def list(self, *, all_tenants: bool) -> Collection[Instance]:
        """Return the servers of that project, or of all; raises CloudError."""
        ...

    def find(self, id_: str, /) -> Instance:
        """Return one server; raises CloudError."""
        ...


class Callers(Protocol):
    """Decides who may ask."""

    @property
    def keystone_url(self) -> str:
        """Where callers get a token."""
        ...

    def admit(self, token: str, /) -> Caller:
        """Return whose token it is; raises CloudError."""
        ...


class AnonymousAccess:
    """Lets everybody in, without a token, to the exporter's own inventory: for a closed network."""

    keystone_url = ""
    user_id = "anyone"
    project_id = None

    def __init__(self, monitor: Monitor) -> None:
        """Show what `monitor` holds."""
        self._monitor = monitor

    def admit(self, _token: str) -> "AnonymousAccess":
        """Ask for nothing."""
        return self

    def list(self, *, all_tenants: bool) -> Collection[Instance]:  # noqa: ARG002, nobody has a project here
        """Return every instance, of whichever project."""
        snapshot = self._monitor.snapshot(timeout=_PATIENCE_SECONDS)
        if snapshot is None:
            raise CloudError("there is no list of instances yet")
        return snapshot.inventory.instances

    def find(self, id_: str) -> Instance:
        """Return one of them."""
        for instance in self.list(all_tenants=True):
            if instance.id == id_:
                return instance
        raise NotFoundError(f"no such instance: {id_!r:.60}")
