"""Which links were steady for the whole sweep; no packet is sent."""

from collections.abc import Sequence

import pytest

from fping_exporter.model import LOCAL
from fping_exporter.probe.first_hop import count_carrier_changes
from fping_exporter.probe.layer2.interfaces import Subnet
from fping_exporter.probe.layer2.link import Link
from fping_exporter.probe.layer2.opening import unsteady

LOOPBACK = 1
OWN = Subnet(bytes((127, 0, 0, 1)), 8)
LOST = Subnet(bytes((10, 0, 0, 1)), 24)
"""An address that the interface no longer has."""
NOBODY = 1_000_000
"""An index that no interface has."""


class OpenedLink(Link):
    """What is remembered of a link from the time when it was opened."""

    def __init__(
        self, vantage: str, index: int, carrier_changes: int | None, addresses: Sequence[Subnet] = (OWN,)
    ) -> None:
        self.vantage, self.index, self.carrier_changes = vantage, index, carrier_changes
        self.addresses = addresses


@pytest.mark.parametrize(("addresses", "steady"), [((OWN,), True), ((), True), ((OWN, LOST), False)])
def test_a_link_is_steady_whose_carrier_and_addresses_are_as_they_were(
    addresses: Sequence[Subnet],
    steady: bool,  # noqa: FBT001
) -> None:
    """A router that is on standby by now has none: guests' answers go to the one that has taken over."""
    link = OpenedLink(LOCAL, LOOPBACK, count_carrier_changes().get(LOOPBACK), addresses)
    assert unsteady([link]) == (frozenset() if steady else {link})


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
    assert unsteady(links) == frozenset(links)
