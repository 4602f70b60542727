"""Which guests get a decoy, and for how long what it has unmasked is not believed."""

from fping_exporter.model import Layer2Target
from fping_exporter.probe.layer2.segment import parse_target
from fping_exporter.probe.layer2.trust import Trust, decoy

HOUR = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def targets(count: int, *, vantage: str = "qdhcp-1", six: bool = False) -> list[Layer2Target]:
    prefix = "fd00::" if six else "10.0.0."
    return [Layer2Target(vantage, f"{prefix}{n}", f"fa:16:3e:00:00:{n:02x}") for n in range(1, count + 1)]


def test_all_suspects_and_a_few_others_get_a_decoy() -> None:
    here, there = targets(20), targets(20, vantage="qdhcp-2")
    chosen = Trust().choose([*here, *there], set(here))
    assert set(here) <= chosen
    assert len(chosen & set(there)) == 3


def test_the_turn_comes_to_everybody() -> None:
    trust, all_of_them = Trust(), targets(20)
    seen: set[Layer2Target] = set()
    for _ in range(7):
        seen |= trust.choose(all_of_them, ())
    assert seen == set(all_of_them)


def test_where_one_is_unmasked_all_get_a_decoy() -> None:
    trust, here, there = Trust(), targets(20), targets(20, vantage="qdhcp-2")
    trust.unmask(here[:1])
    chosen = trust.choose([*here, *there, *targets(20, six=True)], ())
    assert set(here) <= chosen
    assert len(chosen) == 20 + 3 + 3, "other vantages and the other family as before"


def test_what_is_unmasked_is_not_believed_for_an_hour() -> None:
    clock = Clock()
    trust, some = Trust(clock=clock), targets(3)
    trust.unmask(some[:2])
    assert trust.believed(some) == some[2:]
    clock.now += HOUR - 1
    assert trust.believed(some) == some[2:]
    clock.now += 1
    assert trust.believed(some) == some


def test_what_was_unmasked_is_not_believed_without_a_decoy_for_a_day() -> None:
    """It may be one of few that lie in its network, so that it would not be found among a sample."""
    clock = Clock()
    trust, all_of_them = Trust(clock=clock), targets(20)
    trust.unmask(all_of_them[-2:])
    clock.now += HOUR
    chosen = trust.choose(all_of_them, ())
    assert set(all_of_them[-2:]) < chosen
    assert len(chosen) == 2 + 3
    clock.now += 23 * HOUR
    assert len(trust.choose(all_of_them, ())) == 3


def test_the_port_is_unmasked_with_all_its_addresses_of_the_family() -> None:
    trust, (one, *_) = Trust(), targets(1)
    trust.unmask([one])
    assert trust.believed([one._replace(ip="10.0.0.99")]) == []
    assert trust.believed([one._replace(ip="fd00::99")]) != []


def test_a_decoy_has_a_mac_that_nobody_has() -> None:
    parsed = parse_target(targets(1)[0])
    assert parsed
    decoys = {decoy(parsed).mac for _ in range(100)}
    assert len(decoys) == 100
    assert all(mac[0] & 3 == 2 and len(mac) == 6 for mac in decoys), "administered locally, of one interface"
