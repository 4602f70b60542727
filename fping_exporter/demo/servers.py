"""The servers of the stand-in's Nova, and when each was last updated or deleted."""

import threading
from collections.abc import Iterable

import msgspec

from fping_exporter.model import Address

__all__ = ["NovaServer", "UpdateTimes"]


class NovaServer(msgspec.Struct, kw_only=True):
    """A server of Nova."""

    id: str
    name: str
    project_id: str
    status: str = "ACTIVE"
    task_state: str | None = None
    hypervisor: str | None = None
    """Name of the hypervisor it runs on."""
    addresses: tuple[Address, ...] = ()
    tags: list[str] = []
    metadata: dict[str, str] = {}
    security_groups: tuple[str, ...] = ("default",)
    """Names of security groups."""
    console: str = ""
    """What ``openstack console log show`` prints."""
    created: str = "2026-01-01T00:00:00Z"


class UpdateTimes:
    """When Nova last updated the record of each server, for ``changes-since``.

    Whoever changes a server tells nobody: what differs from one look to the next was updated at the second
    one. As with Nova, tags and addresses are not in the record.
    """

    def __init__(self, servers: Iterable[NovaServer]) -> None:
        """Begin with `servers`, which were updated long ago."""
        self._lock = threading.Lock()
        self._seen = {server.id: _record(server) for server in servers}
        self._updated: dict[str, float] = {}
        self._deleted: dict[str, NovaServer] = {}

    def look(self, servers: Iterable[NovaServer], *, now: float) -> None:
        """Note what changed since the last look, at the Unix time `now`."""
        with self._lock:
            before = self._seen
            self._seen = {server.id: _record(server) for server in servers}
            for id_, record in self._seen.items():
                if before.get(id_) != record:
                    self._updated[id_] = now
                    self._deleted.pop(id_, None)
            for id_ in before.keys() - self._seen.keys():
                self._updated[id_] = now
                self._deleted[id_] = msgspec.structs.replace(before[id_], status="DELETED")

    def since(self, seconds: float, servers: Iterable[NovaServer]) -> list[NovaServer]:
        """Return those of `servers`, and of the deleted ones, that were updated then or later."""
        with self._lock:
            updated = {id_ for id_, at in self._updated.items() if at >= seconds}
            everything = [*servers, *self._deleted.values()]
            return [server for server in everything if server.id in updated]

    def purge(self) -> None:
        """Forget deleted servers, as ``nova-manage db archive_deleted_rows`` does."""
        with self._lock:
            self._deleted.clear()


def _record(server: NovaServer) -> NovaServer:
    """Return a copy of what Nova has in the record of a server."""
    return msgspec.structs.replace(server, tags=[], addresses=(), metadata=dict(server.metadata))
