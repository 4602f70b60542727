"""Switches that answer in place of guests, and how decoys tell them apart."""

import threading
import time

import pytest

from fping_exporter.model import Layer2Doubt, Layer2Target
from fping_exporter.probe.layer2.sweep import Layer2Prober
from fping_exporter.probe.layer2.trust import Trust
from fping_exporter.probe.pacing import Pacer
from fping_exporter.probe.socket_budget import SocketBudget
from tests.netns import need_root
from tests.probe.layer2.guests import Script
from tests.probe.layer2.world import GuestKernel, ScriptedGuests, ask

pytestmark = pytest.mark.netns

FAMILIES = [pytest.param(False, id="IPv4"), pytest.param(True, id="IPv6")]


@pytest.fixture(autouse=True)
def _root() -> None:
    need_root()


@pytest.mark.parametrize("six", FAMILIES)
@pytest.mark.parametrize("suspected", [True, False])
def test_a_switch_that_answers_for_all_is_never_believed(
    suspected: bool,  # noqa: FBT001
    six: bool,  # noqa: FBT001
    caplog: pytest.LogCaptureFixture,
) -> None:
    """As OVN before 24.09. Nobody need suspect it: a few decoys find it out, and the others follow."""
    with ScriptedGuests(Script(50, "dead", responder="unicast")) as guests:
        targets = guests.targets(six=six)
        prober = Layer2Prober(timeout=0.3, pacer=Pacer(rate=20_000), sockets=SocketBudget(100))
        suspects = frozenset(targets if suspected else ())
        first = prober.probe(targets, suspects=suspects)
        assert (first.alive, first.trusted) == ({}, {"qdhcp": False})
        assert first.sent == 50, "a decoy for each, and no question"
        again = prober.probe(targets, suspects=suspects)
        assert (again.alive, again.trusted, again.sent) == ({}, {"qdhcp": False}, 0)
        (line,) = [record.message for record in caplog.records if "is not believed" in record.message]
        assert guests.name in line
        assert "such as" in line
        assert ask(targets, decoys=False).alive == dict.fromkeys(targets, True), "who does not look is fooled"


@pytest.mark.parametrize("six", FAMILIES)
def test_a_switch_that_answers_broadcasts_only_does_not_matter(six: bool) -> None:  # noqa: FBT001
    """As ML2/OVS with l2population, and OVN from 24.09 on."""
    script = Script(50, exceptions={3: "dead"}, responder="broadcast")
    with ScriptedGuests(script) as guests:
        targets = guests.targets(six=six)
        got = ask(targets, decoys=True, suspects=targets)
    assert got.trusted == {"qdhcp": True}
    assert got.alive == {target: number != 3 for number, target in enumerate(targets)}
    assert guests.seen["to all"] == 0


def test_the_families_of_a_port_are_believed_apart() -> None:
    """OVN 24.03.4 to 24.03.6 answers for IPv4 only; here the switch knows no guest with IPv6."""
    with GuestKernel() as guest:
        four, six = guest.targets()
        trust = Trust()
        trust.unmask([four])
        got = ask([four, six], decoys=True, trust=trust)
        assert got.alive == {six: True}
        assert got.doubtful == {four: Layer2Doubt.IMPERSONATED}


def test_honest_ports_beside_others_are_believed() -> None:
    script = Script(20, exceptions={5: "dead"}, responder="unicast", answered_for=tuple(range(10, 20)))
    with ScriptedGuests(script) as guests:
        targets = guests.targets()
        got = ask(targets, decoys=True, suspects=targets)
    assert got.alive == {target: number != 5 for number, target in enumerate(targets[:10])}
    assert got.trusted == {"qdhcp": True}, "not more than half are unmasked"


def test_a_link_that_cannot_be_checked_is_not_believed() -> None:
    """The decoys get no answer since no frame gets through, which says nothing."""
    with ScriptedGuests(Script(5, responder="unicast")) as guests:
        targets = guests.targets()

        def switch_on() -> None:
            time.sleep(0.15)
            guests.far.ip("link set eth0 up")

        guests.far.ip("link set eth0 down")
        thread = threading.Thread(target=switch_on)
        thread.start()
        got = ask(targets, decoys=True, suspects=targets, timeout=0.3)
        thread.join()
        assert got.alive == {}
        assert got.doubtful == dict.fromkeys(targets, Layer2Doubt.UNTESTED)


def test_an_answer_to_the_kernel_unmasks_nobody() -> None:
    with GuestKernel() as guest:
        four, _ = guest.targets()
        trust = Trust()

        def ping() -> None:
            time.sleep(0.2)
            guest.ip("neigh flush all")
            guest.run("ping", "-c1", "-W1", four.ip)

        thread = threading.Thread(target=ping)
        thread.start()
        assert ask([four], decoys=True, timeout=1, trust=trust).alive == {}, "not known in this sweep"
        thread.join()
        assert ask([four], decoys=True, trust=trust).alive == {four: True}


def test_decoys_are_sent_at_most_as_fast_as_all_else() -> None:
    with ScriptedGuests(Script(500)) as guests:
        targets = guests.targets()
        got = ask(targets, decoys=True, suspects=targets, rate=1000, timeout=0.2)
    assert got.sent == 1000
    assert got.duration > 0.95


def test_a_target_in_two_notations_is_one_port() -> None:
    with ScriptedGuests(Script(3)) as guests:
        (target,) = guests.targets(1)
        other = Layer2Target(target.vantage, target.ip, target.mac.upper())
        assert ask([target, other]).sent == 1
