"""Which links were steady for the whole sweep; no packet is sent."""

import pytest

from fping_exporter.model import LOCAL
from fping_exporter.probe.first_hop import count_carrier_changes
from fping_exporter.probe.layer2.link import Link
from fping_exporter.probe.layer2.opening import flapped

LOOPBACK = 1
NOBODY = 1_000_000
"""An index that no interface has."""


class OpenedLink(Link):
    """What is remembered of a link from the time when it was opened."""

    def __init__(self, vantage: str, index: int, carrier_changes: int | None) -> None:
        self.vantage, self.index, self.carrier_changes = vantage, index, carrier_changes


def test_a_link_whose_carrier_is_as_it_was_has_not_flapped() -> None:
    links = [OpenedLink(LOCAL, LOOPBACK, count_carrier_changes().get(LOOPBACK))]
    assert flapped(links) == frozenset()


@pytest.mark.parametrize(
    ("vantage", "index", "changes"),
    [
        pytest.param(LOCAL, LOOPBACK, 77, id="its carrier was away"),
        pytest.param(LOCAL, NOBODY, 2, id="the interface is no longer there"),
        pytest.param("qdhcp-00000000-0000-0000-0000-000000000000", 2, 2, id="nor is the namespace"),
    ],
)
def test_whatever_else_it_is_nobody_is_silent_there(vantage: str, index: int, changes: int) -> None:
    links = [OpenedLink(vantage, index, changes)]
    assert flapped(links) == frozenset(links)
