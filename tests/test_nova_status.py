"""Nova's statuses: all are in the table, and in the README's."""

import re
from pathlib import Path

import pytest

from fping_exporter.nova_status import EXPECTED_TO_ANSWER, contradicts

README = Path(__file__).parents[1] / "README.md"

DOCUMENTED = """
    ACTIVE BUILD DELETED ERROR HARD_REBOOT MIGRATING PASSWORD PAUSED REBOOT REBUILD RESCUE RESIZE
    REVERT_RESIZE SHELVED SHELVED_OFFLOADED SHUTOFF SOFT_DELETED SUSPENDED UNKNOWN VERIFY_RESIZE
"""
"""https://docs.openstack.org/api-guide/compute/server_concepts.html#server-status"""


def test_every_status_of_nova_is_in_the_table() -> None:
    assert list(EXPECTED_TO_ANSWER) == DOCUMENTED.split()


@pytest.mark.parametrize("status", EXPECTED_TO_ANSWER)
@pytest.mark.parametrize("alive", [True, False])
def test_only_silence_in_active_and_an_answer_from_what_is_off_contradict(
    status: str, *, alive: bool
) -> None:
    off = {"SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED"}
    assert contradicts(status, alive=alive) is (status in off if alive else status == "ACTIVE")


def test_a_status_of_a_later_nova_contradicts_nothing() -> None:
    assert not contradicts("HIBERNATED", alive=True)
    assert not contradicts("HIBERNATED", alive=False)


def test_the_readme_shows_the_table() -> None:
    rows = re.findall(r"^\| (an answer|silence|either) \| (.+) \|", README.read_text(), re.MULTILINE)
    shown = {status: word for word, statuses in rows for status in re.findall(r"\w+", statuses)}
    words = {True: "an answer", False: "silence", None: "either"}
    assert shown == {status: words[expected] for status, expected in EXPECTED_TO_ANSWER.items()}
