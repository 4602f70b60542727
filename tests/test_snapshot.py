"""One sweep, from the inventory to the verdicts."""

from collections.abc import Collection

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.model import LOCAL, Reason, Sweep, Target
from fping_exporter.snapshot import take_snapshot
from tests.build import ALIVE, instance, inventory, sweep


class Everybody:
    """A prober to which everybody answers."""

    def __init__(self) -> None:
        self.asked: set[Target] = set()

    def probe(self, targets: Collection[Target]) -> Sweep:
        self.asked |= set(targets)
        return sweep(dict.fromkeys(targets, ALIVE))


def test_ambiguous_addresses_are_counted_and_not_asked_and_logged_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    prober = Everybody()
    there = inventory(
        instance("a", "198.51.100.7"), instance("b", "198.51.100.7"), instance("c", "198.51.100.8")
    )
    for _ in range(3):
        got = take_snapshot(there, prober=prober, probe=config.Probe())
    assert got.sweep.ambiguous == 1
    assert [v.reason for v in got.verdicts] == [Reason.AMBIGUOUS_ADDRESS, Reason.AMBIGUOUS_ADDRESS, None]
    assert prober.asked == {Target(LOCAL, "198.51.100.8")}
    (line,) = [record.message for record in caplog.records if "somebody else's" in record.message]
    for part in ("198.51.100.7", "instance b", "local_networks", "probe.vantages", "addresses: floating"):
        assert part in line


def test_an_instance_that_meets_a_bug_does_not_end_the_sweep() -> None:
    odd = instance("odd", "198.51.100.7")
    broken = msgspec.structs.replace(odd.addresses[0], ip=None)
    got = take_snapshot(
        inventory(msgspec.structs.replace(odd, addresses=(broken,)), instance("b", "198.51.100.8")),
        prober=Everybody(),
        probe=config.Probe(),
    )
    assert [verdict.alive for verdict in got.verdicts] == [None, True]
    assert got.sweep.failed == 1


def test_this_hosts_own_addresses_are_never_asked() -> None:
    prober = Everybody()
    ips = ("127.0.0.1", "127.0.0.5", "::1", "0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255", "fe80::1")
    got = take_snapshot(inventory(instance("a", *ips)), prober=prober, probe=config.Probe())
    assert prober.asked == set()
    assert [(v.alive, v.reason) for v in got.verdicts] == [(False, Reason.NO_ADDRESS)]
