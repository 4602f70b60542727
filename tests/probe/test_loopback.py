import itertools
from collections.abc import Collection

import pytest

from fping_exporter.model import (
    LOCAL,
    NOT_ASKED,
    IcmpError,
    Layer2Sweep,
    Layer2Target,
    Outcome,
    Sweep,
    Target,
)
from fping_exporter.probe.loopback import (
    DEAD_SECONDS,
    PERIOD_SECONDS,
    Behaviour,
    LoopbackLayer2,
    LoopbackProber,
)
from fping_exporter.probe.sockets import LOOPBACK_BROADCAST
from tests.build import ALIVE

WELL = Target(LOCAL, "127.10.0.1")
NOWHERE = Target(LOCAL, LOOPBACK_BROADCAST)
THREE_LOST = Outcome(sent=3, received=0, rtt=None)
REJECTED = Outcome(sent=3, received=0, rtt=None, unreachable=True, error=IcmpError("127.252.255.254", 3, 1))


def target(behaviour: Behaviour) -> Target:
    return Target(LOCAL, f"{behaviour.value}0.1")


class Kernel:
    """A prober of a machine that answers at every address but the broadcast address."""

    def __init__(self, nowhere: Outcome = THREE_LOST) -> None:
        self.asked: set[Target] = set()
        self.nowhere = nowhere

    def probe(self, targets: Collection[Target]) -> Sweep:
        self.asked = set(targets)
        outcomes = {each: self.nowhere if each == NOWHERE else ALIVE for each in targets}
        return Sweep(outcomes=outcomes, sent=4, received=1, started_at=1.0, duration=0.1)


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (Behaviour.DEAD, THREE_LOST),
        (Behaviour.DROPS_PINGS, THREE_LOST),
        (Behaviour.REJECTED, REJECTED),
        (Behaviour.NO_ROUTE, NOT_ASKED),
        (Behaviour.COMES_AND_GOES, THREE_LOST),
    ],
)
def test_packets_to_a_silent_guest_are_sent_and_lost(behaviour: Behaviour, outcome: Outcome) -> None:
    kernel, silent = Kernel(), target(behaviour)
    sweep = LoopbackProber(kernel, clock=lambda: 0.0).probe({WELL, silent})
    assert sweep.outcomes == {WELL: ALIVE, silent: outcome}
    assert (sweep.sent, sweep.received) == (4, 1), "what the machine sent and received"
    assert list(sweep.unsent) == ([silent] if behaviour is Behaviour.NO_ROUTE else [])
    assert kernel.asked == {WELL, NOWHERE}


def test_nothing_is_sent_in_vain_where_all_guests_answer() -> None:
    kernel = Kernel()
    assert LoopbackProber(kernel).probe({WELL}).outcomes == {WELL: ALIVE}
    assert kernel.asked == {WELL}


def test_a_guest_that_nothing_could_be_sent_to_was_not_asked() -> None:
    prober = LoopbackProber(Kernel(nowhere=NOT_ASKED), clock=lambda: 0.0)
    dead, rejected = target(Behaviour.DEAD), target(Behaviour.REJECTED)
    assert prober.probe([dead, rejected]).outcomes == {dead: NOT_ASKED, rejected: NOT_ASKED}


def test_even_the_broadcast_address_may_be_a_guests() -> None:
    outcomes = LoopbackProber(Kernel()).probe([NOWHERE, target(Behaviour.DEAD)]).outcomes
    assert outcomes == {NOWHERE: THREE_LOST, target(Behaviour.DEAD): THREE_LOST}


@pytest.mark.parametrize("interval", [15, 16, 20, 30, 39])
@pytest.mark.parametrize("begin", [0, 7.5, 1_795_690_804.7])
def test_whoever_watches_sees_the_guest_die_and_come_back(interval: float, begin: float) -> None:
    """Sweeps are at most two intervals apart where a page loads itself again: the cache may be just young."""
    guest = target(Behaviour.COMES_AND_GOES)
    alive = [
        LoopbackProber(Kernel(), clock=lambda now=now: now).probe([guest]).outcomes[guest].alive  # type: ignore[misc]
        for now in (begin + step * interval for step in range(round(2 * PERIOD_SECONDS / interval)))
    ]
    turns = [state for state, _ in itertools.groupby(alive)]
    assert len(turns) > 2, alive
    assert DEAD_SECONDS < PERIOD_SECONDS / 2


class Link:
    """A prober at layer 2, of whatever is not on loopback."""

    def __init__(self) -> None:
        self.asked: list[tuple[set[Layer2Target], set[Layer2Target]]] = []

    def probe(
        self, targets: Collection[Layer2Target], *, suspects: Collection[Layer2Target] = ()
    ) -> Layer2Sweep:
        self.asked.append((set(targets), set(suspects)))
        return Layer2Sweep(alive=dict.fromkeys(targets, False), sent=7)


@pytest.mark.parametrize(
    ("behaviour", "answer"),
    [
        (Behaviour.DEAD, {False}),
        (Behaviour.DROPS_PINGS, {True}),
        (Behaviour.REJECTED, {False}),
        (Behaviour.NO_ROUTE, set()),
    ],
)
def test_layer_2(behaviour: Behaviour, answer: set[bool]) -> None:
    link = Link()
    guest = Layer2Target(LOCAL, target(behaviour).ip, "fa:16:3e:00:00:01")
    sweep = LoopbackLayer2(link).probe([guest], suspects=[guest])
    assert set(sweep.alive.values()) == answer
    assert not link.asked
    assert not sweep.sent, "nothing is said to be sent that was not"


def test_layer_2_of_a_guest_that_comes_and_goes() -> None:
    guest = Layer2Target(LOCAL, target(Behaviour.COMES_AND_GOES).ip, "fa:16:3e:00:00:01")
    for now, alive in ((PERIOD_SECONDS, False), (PERIOD_SECONDS + DEAD_SECONDS, True)):
        assert LoopbackLayer2(Link(), clock=lambda now=now: now).probe([guest]).alive == {guest: alive}  # type: ignore[misc]


def test_layer_2_beyond_loopback_is_asked() -> None:
    link = Link()
    here, there, other = (Layer2Target(LOCAL, ip, "mac") for ip in ("127.10.0.1", "10.0.0.1", "10.0.0.2"))
    sweep = LoopbackLayer2(link).probe([here, there, other], suspects=[here, there])
    assert sweep.alive == {here: True, there: False, other: False}
    assert link.asked == [({there, other}, {there})]
    assert sweep.sent == 7
