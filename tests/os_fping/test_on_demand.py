"""On-demand verdicts: what the sweep has said, what is pinged, how often, and what nobody knows."""

import threading
import time
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from fping_exporter.config import Cache, Config, Probe
from fping_exporter.config.duration import Duration
from fping_exporter.errors import NoResultsError, ProbeError
from fping_exporter.model import LOCAL, NOT_ASKED, Instance, Network, Port, Snapshot, Sweep, Target, Topology
from fping_exporter.os_fping.on_demand import OnDemand, why_unasked
from fping_exporter.snapshot import take_snapshot
from tests.build import address, instance, inventory, sweep
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


def asked(guests: Guests) -> list[set[str]]:
    """Return the addresses of each call."""
    return [{target.ip for target in targets} for targets in guests.asked]


def swept(*instances: Instance, alive: Collection[str] = (), probe: Probe = Probe()) -> Snapshot:  # noqa: B008, it is frozen
    return take_snapshot(inventory(*instances), prober=Guests(*alive), probe=probe)


EMPTY = swept()


def on_demand(
    guests: Guests,
    snapshot: Snapshot | None = EMPTY,
    *,
    probe: Probe = Probe(),  # noqa: B008, it is frozen
    max_age: float = 60,
) -> OnDemand:
    settings = Config(probe=probe, cache=Cache(sweep=Duration(max_age)))
    return OnDemand(settings, prober=guests, snapshot=lambda: snapshot)


def alive(asker: OnDemand, *instances: Instance) -> dict[str, bool | None]:
    return {id_: verdict.alive for id_, verdict in asker.judge(instances).items()}


# ------------------------------------------------------ what the sweep has said


def test_the_verdicts_of_the_snapshot_count() -> None:
    guests = Guests("10.0.0.2", "10.0.0.3")
    snapshot = swept(A, B, alive=["10.0.0.1"])
    assert alive(on_demand(guests, snapshot), A, B, C) == {"a": True, "b": False, "c": True}
    assert asked(guests) == [{"10.0.0.3"}]


def test_they_count_where_the_server_has_changed_since() -> None:
    guests = Guests("10.0.0.9")
    moved = instance("a", "10.0.0.9")
    assert alive(on_demand(guests, swept(A)), moved) == {"a": False}
    assert guests.asked == []


def test_what_the_sweep_could_not_ask_is_asked() -> None:
    class NoRoom(Guests):
        def probe(self, targets: Collection[Target]) -> Sweep:
            return sweep(dict.fromkeys(targets, NOT_ASKED))

    snapshot = take_snapshot(inventory(A), prober=NoRoom(), probe=Probe())
    assert alive(on_demand(Guests("10.0.0.1"), snapshot), A) == {"a": True}


def test_without_a_snapshot_nothing_is_asked() -> None:
    """Nobody could tell then whose the answers are."""
    guests = Guests("10.0.0.1")
    with pytest.raises(NoResultsError):
        on_demand(guests, None).judge([A])
    assert guests.asked == []


def test_nothing_to_judge() -> None:
    assert on_demand(Guests(), None).judge([]) == {}


# ------------------------------------------------------------------ new pings


def test_all_addresses_are_asked_at_once() -> None:
    guests = Guests("2001:db8::1", "10.0.0.9")
    servers = (
        instance("many", "10.0.0.4", "2001:db8::1"),
        A,
        instance("none"),
        instance("z", "10.0.0.9", status="ERROR"),
    )
    assert alive(on_demand(guests), *servers) == {"many": True, "a": False, "none": False, "z": True}
    assert asked(guests) == [{"10.0.0.1", "10.0.0.4", "2001:db8::1", "10.0.0.9"}]


def test_outcomes_are_given_again_while_they_are_young() -> None:
    guests = Guests("10.0.0.1")
    asker = on_demand(guests)
    assert alive(asker, A, B) == {"a": True, "b": False}
    guests.alive = set()
    assert alive(asker, B, A) == {"a": True, "b": False}
    assert alive(asker, A, C) == {"a": True, "c": False}
    assert asked(guests) == [{"10.0.0.1", "10.0.0.2"}, {"10.0.0.3"}]


def test_old_outcomes_are_not() -> None:
    guests = Guests("10.0.0.1")
    asker = on_demand(guests, max_age=0.05)
    assert alive(asker, A) == {"a": True}
    time.sleep(0.06)
    guests.alive = set()
    assert alive(asker, A) == {"a": False}
    assert len(guests.asked) == 2


def test_callers_who_want_the_same_cause_one_ping() -> None:
    guests = Slow("10.0.0.1", "10.0.0.3")
    asker = on_demand(guests)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(alive, asker, A, B)
        assert guests.begun.acquire(timeout=SOON)
        same = [pool.submit(alive, asker, B, A) for _ in range(3)]
        overlapping = pool.submit(alive, asker, A, C)
        assert guests.begun.acquire(timeout=SOON)  # for C only
        time.sleep(0.05)
        assert not any(call.done() for call in [first, *same, overlapping])
        guests.open.set()
        assert [call.result(SOON) for call in [first, *same]] == [{"a": True, "b": False}] * 4
        assert overlapping.result(SOON) == {"a": True, "c": True}
    assert sorted(asked(guests), key=len) == [{"10.0.0.3"}, {"10.0.0.1", "10.0.0.2"}]


def test_a_failure_reaches_all_who_wait_and_is_not_kept() -> None:
    guests = Slow("10.0.0.1")
    guests.error = ProbeError("no socket")
    asker = on_demand(guests)
    with ThreadPoolExecutor() as pool:
        calls = [pool.submit(asker.judge, [A])]
        assert guests.begun.acquire(timeout=SOON)
        calls.append(pool.submit(asker.judge, [A]))
        while not calls[1].running():
            time.sleep(0.001)
        time.sleep(0.1)
        guests.open.set()
        for call in calls:
            with pytest.raises(ProbeError, match="no socket"):
                call.result(SOON)
    guests.error = None
    assert alive(asker, A) == {"a": True}
    assert len(guests.asked) == 2


def test_what_is_remembered_is_forgotten_in_time() -> None:
    asker = on_demand(Guests(), max_age=0.01)
    asker.judge([instance(str(i), f"10.1.{i}.1") for i in range(200)])
    time.sleep(0.02)
    asker.judge([A])
    assert len(asker._probes) == 1  # noqa: SLF001, memory has no other face


# ------------------------------------------------------------- what nobody knows


def reasons(asker: OnDemand, *instances: Instance) -> dict[str, str | None]:
    verdicts = asker.judge(instances)
    return {each.id: why_unasked(each, verdicts[each.id]) for each in instances}


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
    snapshot = msgspec.structs.replace(EMPTY, inventory=inventory(topology=topology))
    guests = Guests("10.0.0.1", "10.0.0.2", "10.0.0.3")
    asker = on_demand(guests, snapshot, probe=Probe(vantages=("qdhcp", "local")))
    none = "this exporter has no vantage that reaches it"
    assert reasons(asker, A, B, C) == {"a": None, "b": none, "c": none}
    assert alive(asker, A, B, C) == {"a": True, "b": None, "c": None}
    assert guests.asked == [{Target(LOCAL, "10.0.0.1")}]


def test_addresses_that_the_configuration_leaves_out_are_not_asked() -> None:
    guests = Guests("10.0.0.1", "198.51.100.2")
    both = instance("b", "10.0.0.2", address("198.51.100.2", kind="floating"))
    probe = Probe(addresses="floating", families=(4,))
    asker = on_demand(guests, swept(A, probe=probe), probe=probe)
    left_out = "it has no address that this exporter asks (probe.addresses, probe.families)"
    servers = (A, both, instance("v6", "2001:db8::1"), instance("none"))
    assert reasons(asker, *servers) == {"a": left_out, "b": None, "v6": left_out, "none": None}
    assert asked(guests) == [{"198.51.100.2"}]


def test_a_server_that_had_no_address_at_the_sweep_was_not_asked() -> None:
    asker = on_demand(Guests(), swept(instance("a")))
    assert reasons(asker, instance("a")) == {"a": None}
    assert reasons(asker, A) == {
        "a": "it has no address that this exporter asks (probe.addresses, probe.families)"
    }


def test_a_server_to_which_nothing_could_be_sent() -> None:
    class NoRoom(Guests):
        def probe(self, targets: Collection[Target]) -> Sweep:
            return sweep(dict.fromkeys(targets, NOT_ASKED))

    assert reasons(on_demand(NoRoom()), A) == {"a": "no request could be sent to it"}


@pytest.mark.parametrize("status", ["ACTIVE", "SHUTOFF"])
def test_an_address_that_a_listed_instance_has_as_well(status: str) -> None:
    guests = Guests("10.0.0.1")
    newer = instance("newer", "10.0.0.1", status=status)
    asker = on_demand(guests, swept(A, alive=["10.0.0.1"]))
    assert reasons(asker, newer) == {"newer": "its address may be somebody else's as well"}
    assert guests.asked == []
    assert alive(asker, A) == {"a": True}


def test_two_servers_of_a_caller_with_one_address() -> None:
    asker = on_demand(Guests("10.0.0.1"))
    twin = instance("twin", "10.0.0.1")
    assert alive(asker, A, twin) == {"a": None, "twin": None}


def test_when_to_ask_again() -> None:
    assert on_demand(Guests(), max_age=14.2).retry_after == 15
    assert on_demand(Guests(), max_age=0.1).retry_after == 1
