"""The callers of the os-fping API: who they are, and which servers each may see."""

from collections.abc import Callable, Collection
from typing import Protocol

from fping_exporter.errors import CloudError, NoResultsError, NotFoundError
from fping_exporter.model import Instance, Snapshot

__all__ = ["AnonymousAccess", "Caller", "Callers", "WithoutKeystone"]


class Caller(Protocol):
    """A user whose token is valid."""

    @property
    def user_id(self) -> str:
        """The id under which the user's requests are counted."""
        ...

    @property
    def project_id(self) -> str | None:
        """The project of the token; None where the token is of no project."""
        ...

    def list(self, *, all_tenants: bool) -> Collection[Instance]:
        """Return the servers of that project, or of all projects; raises CloudError or NoResultsError."""
        ...

    def find(self, server_id: str, /) -> Instance:
        """Return one server; raises CloudError or NoResultsError."""
        ...


class Callers(Protocol):
    """Authentication."""

    @property
    def keystone_url(self) -> str:
        """Where callers get a token."""
        ...

    def authenticate(self, token: str, /, *, client: str) -> Caller:
        """Return the user of `token`; raises CloudError, or RateLimitError.

        `client` is the IP address that the request came from, empty on a unix socket.
        """
        ...

    def max_microversion(self) -> str | None:
        """Return the highest microversion of the cloud's Nova; None if that is unknown. Raises CloudError."""
        ...


class AnonymousAccess:
    """Access without a token to all instances of the exporter's own list, for a closed network."""

    keystone_url = ""
    user_id = "anyone"
    project_id = None

    def __init__(self, snapshot: Callable[[], Snapshot | None]) -> None:
        """`snapshot` returns the snapshot that ``/metrics`` would show."""
        self._snapshot = snapshot

    def authenticate(self, _token: str, *, client: str) -> "AnonymousAccess":  # noqa: ARG002, everybody is let in
        """Return everybody's access."""
        return self

    def max_microversion(self) -> None:
        """Return None: no Nova is asked."""

    def list(self, *, all_tenants: bool) -> Collection[Instance]:  # noqa: ARG002, nobody has a project here
        """Return every instance, of whichever project."""
        snapshot = self._snapshot()
        if snapshot is None:
            raise NoResultsError("there is no recent sweep of a recent list of instances")
        return snapshot.inventory.instances

    def find(self, server_id: str) -> Instance:
        """Return one of them."""
        for instance in self.list(all_tenants=True):
            if instance.id == server_id:
                return instance
        raise NotFoundError(f"no such instance: {server_id!r:.60}")


class WithoutKeystone:
    """No access at all: an agent has no cloud that could say whose a token is."""

    keystone_url = ""

    def authenticate(self, _token: str, *, client: str) -> Caller:  # noqa: ARG002, nobody is let in
        """Raise CloudError."""
        raise CloudError("this exporter has its list from a central and cannot check tokens: ask the central")

    def max_microversion(self) -> None:
        """Return None: no Nova is asked."""
