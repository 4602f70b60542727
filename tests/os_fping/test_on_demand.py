"""Servers asked for: what is taken over from the sweep, what is asked, and how often."""

import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from fping_exporter.config import Config, Probe
from fping_exporter.errors import ProbeError
from fping_exporter.model import LOCAL, Network, Outcome, Port, Snapshot, Sweep, Target, Topology
from fping_exporter.os_fping.on_demand import OnDemand, aim_as
from fping_exporter.snapshot import take_snapshot
from tests.build import instance, inventory
from tests.os_fping.worlds import Guests

SOON = 5.0
A, B, C = instance("a", "10.0.0.1"), instance("b", "10.0.0.2"), instance("c", "10.0.0.3")


class Slow(Guests):
    """A prober that can be held up and broken."""

    def __init__(self, *alive: str) -> None:
        super().__init__(*alive)
        self.open = threading.Event()
        self.begun = threading.Semaphore(0)
        self.error: Exception | None = None

    def probe(self, targets: Collection[Target]) -> Sweep:
        self.begun.release()
        assert self.open.wait(SOON)
        sweep = super().probe(targets)
        if self.error:
            raise self.error
        return sweep

    def ips(self) -> list[set[str]]:
        return ips(self)


def ips(guests: Guests) -> list[set[str]]:
    """Return the addresses of each round."""
    return [{target.ip for target in targets} for targets in guests.asked]


def on_demand(prober: Guests, *, snapshot: Snapshot | None = None, max_age: float = 60) -> OnDemand:
    return OnDemand(prober=prober, fresh=lambda: snapshot, max_age=max_age)


def test_all_addresses_are_asked_at_once() -> None:
    guests = Guests("2001:db8::1", "10.0.0.9")
    many = instance("many", "10.0.0.1", "2001:db8::1")
    none = instance("none")
    assert on_demand(guests).alive([many, A, none, instance("z", "10.0.0.9", status="ERROR")]) == {
        "many",
        "z",
    }
    assert ips(guests) == [{"10.0.0.1", "2001:db8::1", "10.0.0.9"}]


def test_nothing_to_ask() -> None:
    guests = Guests()
    assert on_demand(guests).alive([]) == set()
    assert on_demand(guests).alive([instance("none")]) == set()
    assert guests.asked == []


def test_the_sweeps_outcomes_are_taken_over() -> None:
    guests = Guests("10.0.0.1", "10.0.0.3")
    snapshot = take_snapshot(inventory(A, B), prober=guests, probe=Probe())
    guests.alive = {"10.0.0.2", "10.0.0.3"}
    assert on_demand(guests, snapshot=snapshot).alive([A, B, C]) == {"a", "c"}
    assert ips(guests) == [{"10.0.0.1", "10.0.0.2"}, {"10.0.0.3"}]


def test_addresses_that_the_configuration_leaves_out_are_asked_of_the_silent_only() -> None:
    guests = Guests("10.0.0.1", "192.0.2.2")
    snapshot = take_snapshot(inventory(A, B), prober=guests, probe=Probe())
    both = [instance("a", "10.0.0.1", "192.0.2.1"), instance("b", "10.0.0.2", "192.0.2.2")]
    assert on_demand(guests, snapshot=snapshot).alive(both) == {"a", "b"}
    assert ips(guests)[1:] == [{"192.0.2.2"}]


def test_what_the_sweep_could_not_ask_is_asked() -> None:
    guests = Guests("10.0.0.1")
    snapshot = take_snapshot(inventory(A), prober=guests, probe=Probe())
    not_sent = Outcome(sent=0, received=0, rtt=None)
    sweep = msgspec.structs.replace(snapshot.sweep, outcomes={Target(LOCAL, "10.0.0.1"): not_sent})
    assert on_demand(guests, snapshot=msgspec.structs.replace(snapshot, sweep=sweep)).alive([A]) == {"a"}


def test_answers_are_given_again_while_they_are_young() -> None:
    guests = Guests("10.0.0.1")
    asker = on_demand(guests)
    assert asker.alive([A, B]) == {"a"}
    guests.alive = set()
    assert asker.alive([B, A]) == {"a"}
    assert asker.alive([A, C]) == {"a"}
    assert ips(guests) == [{"10.0.0.1", "10.0.0.2"}, {"10.0.0.3"}]


def test_old_answers_are_not() -> None:
    guests = Guests("10.0.0.1")
    asker = on_demand(guests, max_age=0.05)
    assert asker.alive([A]) == {"a"}
    time.sleep(0.06)
    guests.alive = set()
    assert asker.alive([A]) == set()
    assert len(guests.asked) == 2


def test_callers_who_want_the_same_cause_one_ping() -> None:
    guests = Slow("10.0.0.1", "10.0.0.3")
    asker = on_demand(guests)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(asker.alive, [A, B])
        assert guests.begun.acquire(timeout=SOON)
        same = [pool.submit(asker.alive, [B, A]) for _ in range(3)]
        overlapping = pool.submit(asker.alive, [A, C])
        assert guests.begun.acquire(timeout=SOON)  # for C only
        time.sleep(0.05)
        assert not any(call.done() for call in [first, *same, overlapping])
        guests.open.set()
        assert [call.result(SOON) for call in [first, *same]] == [{"a"}] * 4
        assert overlapping.result(SOON) == {"a", "c"}
    assert sorted(guests.ips(), key=len) == [{"10.0.0.3"}, {"10.0.0.1", "10.0.0.2"}]


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    guests = Slow("10.0.0.1")
    guests.error = ProbeError("no socket")
    asker = on_demand(guests)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(asker.alive, [A])]
        assert guests.begun.acquire(timeout=SOON)
        calls.append(pool.submit(asker.alive, [A, instance("z", "10.0.0.1")]))
        time.sleep(0.05)
        guests.open.set()
        for call in calls:
            with pytest.raises(ProbeError, match="no socket"):
                call.result(SOON)
    guests.error = None
    assert asker.alive([A]) == {"a"}
    assert len(guests.asked) == 2


def test_what_is_remembered_is_forgotten_in_time() -> None:
    guests = Guests()
    asker = on_demand(guests, max_age=0.01)
    asker.alive([instance(str(i), f"10.1.{i}.1") for i in range(200)])
    time.sleep(0.02)
    asker.alive([A])
    assert len(asker._rounds) == 1  # noqa: SLF001, memory has no other face


def test_each_address_is_asked_from_where_it_is_reached() -> None:
    """A tenant's network may use an address that means something else here."""
    reached = Network(id="n1", name="public", external=True, shared=True)
    inside = Network(id="n2", name="inside", external=False, shared=False)
    topology = Topology(
        ports={
            "a": (Port("n1", "", {"10.0.0.1": "s1"}, ()),),
            "b": (Port("n2", "", {"10.0.0.2": "s2"}, ()),),
        },
        networks={network.id: network for network in (reached, inside)},
    )
    listed = msgspec.structs.replace(inventory(A, B), topology=topology)
    snapshot = Snapshot(
        inventory=listed,
        verdicts=(),
        sweep=Sweep(outcomes={}, sent=0, received=0, started_at=0, duration=0),
    )
    settings = Config(probe=Probe(vantages=("qdhcp", "local"), addresses="floating", families=(6,)))
    aim = aim_as(settings, lambda: snapshot)
    guests = Guests("10.0.0.1", "10.0.0.2", "10.0.0.3")
    asker = OnDemand(prober=guests, fresh=lambda: None, max_age=60, aim=aim)
    assert asker.alive([A, B, C]) == {"a"}
    assert guests.asked == [{Target(LOCAL, "10.0.0.1")}]


def test_with_local_alone_everything_is_asked_from_there() -> None:
    aim = aim_as(Config(), lambda: None)
    assert aim([A, instance("none")]) == {"a": [Target(LOCAL, "10.0.0.1")], "none": []}
