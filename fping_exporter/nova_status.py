"""Nova's statuses of a server, and whether an instance in that status is expected to answer a ping."""

from collections.abc import Mapping

__all__ = ["EXPECTED_TO_ANSWER", "contradicts", "is_off"]

EXPECTED_TO_ANSWER: Mapping[str, bool | None] = {
    "ACTIVE": True,
    "BUILD": None,
    "DELETED": None,
    "ERROR": None,
    "HARD_REBOOT": None,
    "MIGRATING": None,
    "PASSWORD": None,
    "PAUSED": False,
    "REBOOT": None,
    "REBUILD": None,
    "RESCUE": None,
    "RESIZE": None,
    "REVERT_RESIZE": None,
    "SHELVED": False,
    "SHELVED_OFFLOADED": False,
    "SHUTOFF": False,
    "SOFT_DELETED": None,
    "SUSPENDED": False,
    "UNKNOWN": None,
    "VERIFY_RESIZE": None,
}
"""All statuses of Nova's API. None: the guest may run or not, so that either is as expected.

https://docs.openstack.org/api-guide/compute/server_concepts.html#server-status
"""


def contradicts(status: str, *, alive: bool) -> bool:
    """Whether an answer, or the lack of one, contradicts Nova's status; one that is not known never does."""
    expected = EXPECTED_TO_ANSWER.get(status)
    return expected is not None and expected != alive


def is_off(status: str) -> bool:
    """Whether Nova's status says that no guest runs: off, paused, suspended, shelved or deleted."""
    return EXPECTED_TO_ANSWER.get(status) is False or status in {"DELETED", "SOFT_DELETED"}
