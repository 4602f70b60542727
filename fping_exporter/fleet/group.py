"""A group of members that find each other through tooz. Importing it takes the extra ``share``."""

import contextlib
from collections.abc import Collection

from tooz import coordination
from tooz.hashring import HashRing

__all__ = ["Group", "make_ring"]

_PARTITIONS = 256
"""Points of a member on the ring. With 32, tooz's default, one of three may have half of all hosts."""


class Group:
    """One member's view of a group. Its methods raise what tooz, and the clients under it, raise."""

    def __init__(self, url: str, *, name: str, member: bytes, timeout: float) -> None:
        """Connect to the coordinator at `url`, which has `timeout` seconds for each answer."""
        self._name, self._member, self._timeout = name.encode(), member, timeout
        self._coordinator = coordination.get_coordinator(url, member)
        self._coordinator.start()

    def members(self, *, joined: bool) -> frozenset[bytes]:
        """Send a heartbeat, and return who the members are together with this one.

        This one joins where `joined` says so and it has not, or has been forgotten; else it leaves. It is in
        the answer in either case.
        """
        self._coordinator.heartbeat()
        members = self._listed()
        if joined and self._member not in members:
            with contextlib.suppress(coordination.MemberAlreadyExist):
                self._coordinator.join_group(self._name).get(timeout=self._timeout)
            members = self._listed()
        elif not joined and self._member in members:
            self._leave()
        return members | {self._member}

    def close(self) -> None:
        """Leave the group and disconnect."""
        try:
            self._leave()
        finally:
            self._coordinator.stop()

    def _leave(self) -> None:
        with contextlib.suppress(coordination.MemberNotJoined, coordination.GroupNotCreated):
            self._coordinator.leave_group(self._name).get(timeout=self._timeout)

    def _listed(self) -> frozenset[bytes]:
        try:
            return frozenset(self._coordinator.get_members(self._name).get(timeout=self._timeout))
        except coordination.GroupNotCreated:
            with contextlib.suppress(coordination.GroupAlreadyExist):
                self._coordinator.create_group(self._name).get(timeout=self._timeout)
            return frozenset()


def make_ring(members: Collection[bytes]) -> HashRing:
    """Return the ring that tells to whom something belongs; it is the same for the same members."""
    return HashRing(members, partitions=_PARTITIONS)
