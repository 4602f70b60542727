"""One sweep, from the inventory to the verdicts."""

from collections.abc import Collection

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.model import LOCAL, Layer2Sweep, Layer2Target, Reason, Sweep, Target
from fping_exporter.snapshot import take_snapshot
from tests.build import ALIVE, SILENT, address, instance, inventory, sweep


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


class Witness:
    """A prober for layer 2 to which everybody answers, in a second."""

    def __init__(self) -> None:
        self.asked: set[Layer2Target] = set()
        self.suspects: set[Layer2Target] = set()

    def probe(
        self, targets: Collection[Layer2Target], *, suspects: Collection[Layer2Target] = ()
    ) -> Layer2Sweep:
        self.asked |= set(targets)
        self.suspects |= set(suspects)
        return Layer2Sweep(alive=dict.fromkeys(targets, True), duration=1)


class Half:
    """A prober to which only one address answers."""

    def probe(self, targets: Collection[Target]) -> Sweep:
        return sweep({target: ALIVE if target.ip == "198.51.100.7" else SILENT for target in targets})


def test_who_is_silent_is_asked_at_layer_2() -> None:
    there = inventory(
        instance("answers", address("198.51.100.7", mac="fa:16:3e:00:00:07")),
        instance("silent", address("198.51.100.8", mac="fa:16:3e:00:00:08")),
        instance("unknown", "198.51.100.9"),
    )
    witness = Witness()
    got = take_snapshot(there, prober=Half(), layer2=witness, probe=config.Probe())
    assert witness.asked == {
        Layer2Target(LOCAL, "198.51.100.8", "fa:16:3e:00:00:08"),
        Layer2Target(LOCAL, "198.51.100.7", "fa:16:3e:00:00:07"),
    }, "one that answers pings, as a control"
    assert [verdict.layer2_alive for verdict in got.verdicts] == [None, True, None]
    assert [verdict.reason for verdict in got.verdicts] == [None, Reason.ICMP_IGNORED, Reason.NO_REPLY]
    assert [verdict.alive for verdict in got.verdicts] == [True, False, False], "that is the ping's word"
    assert got.sweep.duration == 2.5
    assert take_snapshot(there, prober=Half(), probe=config.Probe()).sweep.layer2 is None


def test_where_everybody_answers_layer_2_has_nothing_to_do() -> None:
    there = inventory(instance("answers", address("198.51.100.7", mac="fa:16:3e:00:00:07")))
    got = take_snapshot(there, prober=Half(), layer2=Witness(), probe=config.Probe())
    assert got.sweep.layer2 == Layer2Sweep(duration=1)


class Deaf:
    """A prober for layer 2 to which nobody answers."""

    def probe(
        self, targets: Collection[Layer2Target], *, suspects: Collection[Layer2Target] = ()
    ) -> Layer2Sweep:
        assert suspects == set()
        return Layer2Sweep(alive=dict.fromkeys(targets, False))


def test_where_layer_2_is_deaf_nobody_is_dead(caplog: pytest.LogCaptureFixture) -> None:
    there = inventory(
        instance("answers", address("198.51.100.7", mac="fa:16:3e:00:00:07")),
        instance("silent", address("198.51.100.8", mac="fa:16:3e:00:00:08")),
    )
    got = take_snapshot(there, prober=Half(), layer2=Deaf(), probe=config.Probe())
    assert [verdict.layer2_alive for verdict in got.verdicts] == [None, None]
    assert "silence at layer 2 says nothing in local (IPv4)" in caplog.text


class Broken:
    """A prober for layer 2 with a bug."""

    def probe(
        self, targets: Collection[Layer2Target], *, suspects: Collection[Layer2Target] = ()
    ) -> Layer2Sweep:
        raise ZeroDivisionError(len(targets) + len(suspects))


def test_a_bug_at_layer_2_costs_no_ping(caplog: pytest.LogCaptureFixture) -> None:
    there = inventory(
        instance("answers", address("198.51.100.7", mac="fa:16:3e:00:00:07")),
        instance("silent", address("198.51.100.8", mac="fa:16:3e:00:00:08")),
    )
    for _ in range(2):
        got = take_snapshot(there, prober=Half(), layer2=Broken(), probe=config.Probe())
    assert [(v.alive, v.layer2_alive, v.reason) for v in got.verdicts] == [
        (True, None, None),
        (False, None, Reason.NO_REPLY),
    ]
    assert caplog.text.count("asking at layer 2 failed") == 1
