"""Waiting: who is asked, how often, and what ends it."""

import threading
from collections import Counter
from collections.abc import Callable, Collection
from functools import partial

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter.config import Config, Fleet, Probe
from fping_exporter.config.duration import Duration
from fping_exporter.errors import (
    AmbiguousInstanceError,
    CentralError,
    CloudError,
    NotFoundError,
    ProbeError,
    UnknownInstanceError,
)
from fping_exporter.fleet.reading import Reading
from fping_exporter.model import (
    FleetExporter,
    Instance,
    Inventory,
    Reason,
    Snapshot,
    Sweep,
    Target,
    Verdict,
    Witness,
)
from fping_exporter.snapshot import take_snapshot
from fping_exporter.verdict.judge import judge_instance
from fping_exporter.wait import Ended, InstanceWait, Result, is_down
from tests.build import ALIVE, NOW, SILENT, UNREACHABLE, instance, inventory, sweep

A, B, C = "198.51.100.1", "198.51.100.2", "198.51.100.3"


class World:
    """A cloud, its guests and the time; each pause is a chance for something to happen."""

    def __init__(self, *instances: Instance) -> None:
        self.instances = {each.id: each for each in instances}
        self.answering: set[str] = set()
        self.now = 0.0
        self.plot: dict[int, Callable[[], object]] = {}
        """What happens in which pause, counted from 1."""
        self.pauses = 0
        self.listings: list[float] = []
        self.lookups: list[str] = []
        self.pinged: list[set[str]] = []
        self.list_error: CloudError | None = None
        self.lookup_error: CloudError | None = None
        self.probe_error: ProbeError | None = None
        self.sweep_seconds = 0.0
        self.lookup_seconds = 0.0
        self.relay_age: float | None = None

    def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:  # noqa: ARG002, all lists are full
        self.listings.append(self.now)
        if self.list_error:
            raise self.list_error
        return msgspec.structs.replace(inventory(*self.instances.values()), relay_age=self.relay_age)

    def look_up(self, id_: str) -> Instance | None:
        self.lookups.append(id_)
        self.now += self.lookup_seconds
        if self.lookup_error:
            raise self.lookup_error
        if id_ not in self.instances:
            raise NotFoundError("gone")
        return self.instances[id_]

    def probe(self, targets: Collection[Target]) -> Sweep:
        self.now += self.sweep_seconds
        if self.probe_error:
            raise self.probe_error
        self.pinged.append({target.ip for target in targets})
        return sweep({target: ALIVE if target.ip in self.answering else SILENT for target in targets})

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses += 1
        self.plot.get(self.pauses, int)()

    def change(self, id_: str, **changes: object) -> None:
        self.instances[id_] = msgspec.structs.replace(self.instances[id_], **changes)

    def wait(self, *texts: str, settings: Config | None = None, **options: object) -> list[Ended]:
        job = self.job(settings=settings, **options)
        job.begin(texts)
        return list(job.run())

    def job(self, *, settings: Config | None = None, **options: object) -> InstanceWait:
        settings = settings or Config()
        return InstanceWait(
            settings,
            self,  # type: ignore[arg-type]  # the rest of an upstream is not used
            sweep=partial(take_snapshot, prober=self, probe=settings.probe),
            clock=lambda: self.now,
            sleep=self.sleep,
            **({"timeout": 30.0} | options),  # type: ignore[arg-type]
        )


def results(ended: list[Ended]) -> dict[str, Result]:
    return {each.instance.id: each.result for each in ended}


def test_each_is_yielded_once_as_soon_as_it_answers_and_only_the_others_are_pinged_again() -> None:
    world = World(instance("a", A), instance("b", B), instance("c", C))
    world.answering = {A, C}
    world.plot[3] = lambda: world.answering.add(B)
    ended = world.wait("b", "a")
    assert [(each.instance.id, each.result, each.seconds) for each in ended] == [
        ("a", Result.ANSWERS, 0),
        ("b", Result.ANSWERS, 3),
    ]
    assert world.pinged == [{A, B}, {B}, {B}, {B}]
    assert world.listings == [0]
    assert world.lookups == []


def test_what_is_missing_when_the_time_is_up() -> None:
    world = World(instance("a", A), instance("b", B))
    world.answering = {A}
    ended = world.wait("a", "b", timeout=2.5)
    assert results(ended) == {"a": Result.ANSWERS, "b": Result.MISSING}
    assert ended[1].seconds == 2.5
    assert ended[1].verdict
    assert ended[1].verdict.reason is Reason.NO_REPLY


def test_a_round_that_began_in_time_counts() -> None:
    world = World(instance("a", A))
    world.sweep_seconds = 100
    world.answering = {A}
    assert results(world.wait("a", timeout=50)) == {"a": Result.ANSWERS}


def test_one_that_is_built_is_looked_up_and_pinged_as_soon_as_it_has_an_address() -> None:
    world = World(instance("a", status="BUILD"), instance("b", B))
    world.plot[2] = lambda: world.change("a", addresses=instance("a", A).addresses)
    world.plot[7] = lambda: world.answering.add(A)
    world.plot[9] = lambda: world.change("a", status="ACTIVE")
    ended = world.wait("a")
    assert [(each.result, each.seconds) for each in ended] == [(Result.ANSWERS, 7)]
    assert world.lookups[:2] == ["a", "a"]
    assert world.listings == [0, 2]
    assert set().union(*world.pinged) == {A}


def test_the_list_is_refreshed_when_it_is_too_old() -> None:
    world = World(instance("a", A))
    world.wait(
        "a", timeout=9, settings=Config(cache=msgspec.structs.replace(Config().cache, inventory=Duration(3)))
    )
    assert world.listings == [0, 3, 8]  # not more often than in 5 s, whatever happens


def test_an_address_that_may_be_somebody_elses_proves_nothing() -> None:
    world = World(instance("a", A), instance("b", A, status="SHUTOFF"))
    world.answering = {A}
    [ended] = world.wait("a", timeout=3)
    assert ended.result is Result.MISSING
    assert ended.verdict
    assert ended.verdict.reason is Reason.AMBIGUOUS_ADDRESS
    assert set().union(*world.pinged) == set()


def test_an_address_that_becomes_somebody_elses_as_well() -> None:
    world = World(instance("a", status="BUILD"))
    world.answering = {A}

    def happen() -> None:
        world.instances["b"] = instance("b", A)
        world.change("a", status="ACTIVE", addresses=instance("a", A).addresses)

    world.plot[1] = happen
    assert results(world.wait("a", timeout=20)) == {"a": Result.MISSING}


def test_one_that_is_deleted_is_not_waited_for() -> None:
    world = World(instance("a", A, status="BUILD"), instance("b", B))
    world.plot[1] = lambda: world.instances.pop("a")
    world.plot[9] = lambda: world.answering.add(B)
    assert results(world.wait("a", "b")) == {"a": Result.DELETED, "b": Result.ANSWERS}


def test_one_that_a_list_lacks_and_nova_has_is_not_deleted() -> None:
    world = World(instance("a", A))
    world.plot[1] = lambda: world.instances.pop("a")
    world.lookup_error = CloudError("Nova is away")
    settings = Config(cache=msgspec.structs.replace(Config().cache, inventory=Duration(1)))
    [ended] = world.wait("a", timeout=9, settings=settings)
    assert (ended.result, ended.verdict) == (Result.MISSING, None)


def test_one_that_nova_does_not_find_and_one_list_lacks_is_not_deleted() -> None:
    """To the role in deploy/policy, Nova says 404 of each server of another project."""
    a = instance("a", A, status="BUILD")
    world = World(a)
    world.lookup_error = NotFoundError("hidden")

    def cut_once() -> None:
        del world.instances["a"]
        world.plot[world.pauses + 6] = lambda: world.instances.update(a=a)  # after the next list

    world.plot[12] = cut_once
    world.plot[25] = lambda: world.answering.add(A)
    [ended] = world.wait("a")
    assert (ended.result, ended.seconds) == (Result.ANSWERS, 25)
    assert world.lookups == ["a"], "it is known to be hidden by then"
    assert world.listings == [0, 1, 6, 11, 16, 21]


def test_one_that_nova_hides_is_deleted_once_two_lists_lack_it() -> None:
    world = World(instance("a", A, status="BUILD"))
    world.lookup_error = NotFoundError("hidden")
    world.plot[3] = lambda: world.instances.pop("a")
    [ended] = world.wait("a")
    assert ended.result is Result.DELETED
    assert world.listings == [0, 1, 6, 11]


def test_down_is_who_was_asked_and_is_silent() -> None:
    world = World(instance("a", A), instance("b", B, status="SHUTOFF"), instance("c"))
    world.answering = {A}
    world.plot[2] = world.answering.clear
    ended = world.wait("a", "b", "c", down=True, timeout=5)
    assert [(each.instance.id, each.result, each.seconds) for each in ended] == [
        ("b", Result.DOWN, 0),
        ("a", Result.DOWN, 2),
        ("c", Result.MISSING, 5),
    ]


def test_down_is_not_who_could_not_be_asked() -> None:
    world = World(instance("a", A, status="SHUTOFF"))
    settings = Config(probe=Probe(vantages=("qdhcp",)))
    snapshots = []

    def from_nowhere(there: Inventory) -> Snapshot:
        snapshots.append(take_snapshot(there, prober=world, probe=settings.probe))
        return snapshots[-1]

    job = InstanceWait(
        settings,
        world,  # type: ignore[arg-type]
        sweep=from_nowhere,
        down=True,
        timeout=2,
        clock=lambda: world.now,
        sleep=world.sleep,
    )
    job.begin(["a"])
    assert [each.result for each in job.run()] == [Result.MISSING]
    assert {verdict.alive for snapshot in snapshots for verdict in snapshot.verdicts} == {None}


def test_down_counts_who_is_deleted() -> None:
    world = World(instance("a", A, status="BUILD"))
    world.answering = {A}
    world.plot[3] = lambda: world.instances.pop("a")
    [ended] = world.wait("a", down=True)
    assert (ended.result, ended.verdict) == (Result.DELETED, None)  # nobody has asked it since


SHUT = instance("a", A, status="SHUTOFF")
UP = instance("a", A)
BETWEEN = instance("a", A, status="REBOOT")


def verdict(of: Instance, outcome: object, **changes: object) -> Verdict:
    there = inventory(of)
    snapshot = take_snapshot(there, prober=World(), probe=Probe())
    [planned] = snapshot.verdicts
    target = planned.probed[0].target
    assert target
    judged = judge_instance(of, planned.probed, {target: outcome} if outcome else {}, asked_at=NOW)  # type: ignore[dict-item]
    return msgspec.structs.replace(judged, **changes)


@pytest.mark.parametrize(
    ("given_verdict", "down"),
    [
        (verdict(UP, SILENT), True),
        (verdict(UP, UNREACHABLE), True),
        (verdict(UP, ALIVE), False),
        (verdict(UP, SILENT, reason=Reason.ICMP_BLOCKED), False),
        (verdict(UP, SILENT, reason=Reason.ICMP_BLOCKED, layer2_alive=False), False),
        (verdict(UP, SILENT, reason=Reason.ICMP_IGNORED, layer2_alive=True), False),
        (verdict(UP, SILENT, layer2_alive=False), True),
        (verdict(SHUT, SILENT), True),
        (verdict(SHUT, SILENT, layer2_alive=True), False),
        (verdict(SHUT, ALIVE), False),
        (verdict(BETWEEN, SILENT), False),
        (Verdict(instance=SHUT, alive=None, reason=Reason.NOT_ACTIVE), False),
        (Verdict(instance=instance("a"), alive=False, reason=Reason.NO_ADDRESS), False),
    ],
)
def test_is_down(given_verdict: Verdict, *, down: bool) -> None:
    assert is_down(given_verdict) is down


def test_names_are_errors_at_once_and_nothing_is_pinged() -> None:
    world = World(instance("a", A, name="web"), instance("b", B, name="web"))
    for text, error in (("nope", UnknownInstanceError), ("web", AmbiguousInstanceError)):
        with pytest.raises(error):
            world.wait(text)
    assert world.pinged == []


def test_the_first_list_has_to_come_in_time() -> None:
    class Hanging(World):
        def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:
            self.blocked.wait()
            return super().inventory(full=full, silent=silent)

        def __init__(self) -> None:
            super().__init__()
            self.blocked = threading.Event()

    world = Hanging()
    with pytest.raises(CloudError, match=r"^the cloud was not listed within the 0\.01 s of the wait$"):
        world.wait("a", timeout=0.01)
    world.blocked.set()


def test_a_list_that_fails_later_is_survived_until_it_is_too_old() -> None:
    world = World(instance("a", A))

    def fail() -> None:
        world.list_error = CloudError("Nova is away")

    world.plot[1] = fail
    cache = msgspec.structs.replace(Config().cache, inventory=Duration(10), max_stale=Duration(25))
    settings = Config(cache=cache)
    assert results(world.wait("a", timeout=22, settings=settings)) == {"a": Result.MISSING}
    assert world.listings == [0, 10, 15, 20]
    world.now, world.pauses, world.list_error = 0, 0, None
    with pytest.raises(CloudError, match="Nova is away"):
        world.wait("a", timeout=60, settings=settings)
    assert world.now == 25


def test_a_list_of_a_central_is_as_old_as_it_says() -> None:
    world = World(instance("a", A))
    world.answering = {A}
    world.relay_age = 600
    with pytest.raises(
        CentralError, match=r"^the newest list of the central is 10m old, and cache.max_stale is 10m:"
    ):
        world.wait("a")
    assert world.pinged == []
    world = World(instance("a", A))
    world.relay_age = 590
    world.plot[3] = lambda: setattr(world, "relay_age", 600)
    with pytest.raises(CentralError):  # once it is older than the 10 minutes of cache.max_stale
        world.wait("a", timeout=60)
    assert world.now == 11  # it was listed a second ago when it was 590 s old


def test_a_sweep_that_fails_may_succeed_later(caplog: pytest.LogCaptureFixture) -> None:
    world = World(instance("a", A))
    world.probe_error = ProbeError("the network is down")

    def recover() -> None:
        world.probe_error = None
        world.answering = {A}

    world.plot[3] = recover
    assert results(world.wait("a")) == {"a": Result.ANSWERS}
    assert [record.message for record in caplog.records] == ["pinging failed: the network is down"]


def test_what_nova_cannot_be_asked_is_asked_later() -> None:
    world = World(instance("a", status="BUILD"))
    world.lookup_error = CloudError("Nova is away")

    def recover() -> None:
        world.lookup_error = None
        world.change("a", status="ACTIVE", addresses=instance("a", A).addresses)
        world.answering = {A}

    world.plot[3] = recover
    assert results(world.wait("a")) == {"a": Result.ANSWERS}


def test_of_many_a_few_are_looked_up_at_a_time_and_all_in_turns() -> None:
    world = World(*(instance(f"{number:03}", status="BUILD") for number in range(50)))
    world.wait(*world.instances, timeout=4)
    assert len(world.lookups) == 3 * 20  # none before the last round, for which no time is left
    assert set(world.lookups) == set(world.instances)


def test_lookups_that_are_slow_do_not_keep_others_from_being_pinged() -> None:
    world = World(*(instance(f"{number:03}", status="BUILD") for number in range(20)), instance("a", A))
    world.lookup_seconds = 3
    world.plot[2] = lambda: world.answering.add(A)
    [*_, ended] = [each for each in world.wait(*world.instances, timeout=90) if each.result is Result.ANSWERS]
    assert (ended.instance.id, ended.seconds) == ("a", 1 + 2 * 3 + 1 + 2 * 3)
    assert set(world.lookups) == set(world.instances) - {"a"}  # all in turns


def test_however_many_vanish_while_nova_is_slow_the_wait_ends() -> None:
    world = World(*(instance(f"{number:03}", f"198.51.100.{number}") for number in range(1, 41)))
    texts = list(world.instances)
    world.plot[1] = world.instances.clear
    world.lookup_error, world.lookup_seconds = CloudError("Nova is away"), 10
    settings = Config(cache=msgspec.structs.replace(Config().cache, inventory=Duration(1)))
    assert {each.result for each in world.wait(*texts, timeout=30, settings=settings)} == {Result.MISSING}
    assert world.now <= 30 + 10  # one that was begun is finished


def test_the_reasons_after_each_round() -> None:
    world = World(instance("a", A), instance("b", status="BUILD"), instance("c", C))
    job = world.job(timeout=1)
    job.begin(["a", "b", "c"])
    world.answering = {C}
    seen: list[Counter[str]] = []
    list(job.run(after_round=seen.append))
    assert seen == [Counter(no_reply=1, not_active=1)] * 2


OTHER = "other.example:10605"


@pytest.mark.parametrize(("age", "result"), [(4.0, Result.ANSWERS), (16.0, Result.MISSING)])
def test_what_other_exporters_say_counts_if_they_swept_since_the_wait_began(
    age: float, result: Result
) -> None:
    world = World(instance("a", A))
    exporter = FleetExporter(OTHER, age=age, swept_at=NOW, blind=False)
    reading = Reading(words={"a": (Witness(exporter, alive=True),)}, began=0)
    settings = Config(probe=Probe(vantages=("qdhcp",)), fleet=Fleet(prometheus="http://127.0.0.1:9090"))
    ended = world.wait("a", settings=settings, timeout=20, read_fleet=lambda: reading)
    assert results(ended) == {"a": result}


def test_whom_another_exporter_heard_lately_is_not_down_before_that_one_has_asked_again() -> None:
    world = World(instance("a", A))
    asked: list[float] = []

    def read() -> Reading:
        asked.append(world.now)
        exporter = FleetExporter(OTHER, age=4.0, swept_at=NOW, blind=False)
        alive = len(asked) < 3
        word = Witness(exporter, alive=alive, reason=None if alive else Reason.NO_REPLY)
        return Reading(words={"a": (word,)}, began=0)

    settings = Config(fleet=Fleet(prometheus="http://127.0.0.1:9090"))
    ended = world.wait("a", settings=settings, timeout=60, down=True, read_fleet=read)
    assert results(ended) == {"a": Result.DOWN}
    assert asked == [0, 15, 30]


def test_down_takes_no_silence_from_before_the_wait_began() -> None:
    world = World(instance("a", A))
    exporter = FleetExporter(OTHER, age=16.0, swept_at=NOW, blind=False)
    reading = Reading(words={"a": (Witness(exporter, alive=False, reason=Reason.NO_REPLY),)}, began=0)
    settings = Config(probe=Probe(vantages=("qdhcp",)), fleet=Fleet(prometheus="http://127.0.0.1:9090"))
    ended = world.wait("a", settings=settings, timeout=20, down=True, read_fleet=lambda: reading)
    assert results(ended) == {"a": Result.MISSING}


IPS = {"a": A, "b": B, "c": C}


def stop(world: World, id_: str) -> None:
    if id_ in world.instances:
        world.change(id_, status="SHUTOFF")


def get_an_address(world: World, id_: str) -> None:
    if id_ in world.instances:
        world.change(id_, status="ACTIVE", addresses=instance(id_, IPS[id_]).addresses)


EVENTS = (
    lambda world, id_: world.answering.add(IPS[id_]),
    lambda world, id_: world.answering.discard(IPS[id_]),
    lambda world, id_: world.instances.pop(id_, None),
    stop,
    get_an_address,
)


@given(
    st.lists(st.tuples(st.sampled_from(EVENTS), st.sampled_from("abc")), max_size=6),
    st.sampled_from([False, True]),
)
def test_whatever_happens_each_has_one_result_and_a_good_one_is_true(
    plot: list[tuple[Callable[[World, str], object], str]],
    down: bool,  # noqa: FBT001, hypothesis passes it so
) -> None:
    world = World(instance("a", A), instance("b", status="BUILD"), instance("c", C))
    world.plot = {number: partial(event, world, id_) for number, (event, id_) in enumerate(plot, start=1)}
    job = world.job(down=down, timeout=6)
    job.begin(["a", "b", "c"])
    seen: dict[str, Result] = {}
    for ended in job.run():
        id_ = ended.instance.id
        assert id_ not in seen
        seen[id_] = ended.result
        assert {
            Result.ANSWERS: IPS[id_] in world.answering,
            Result.DOWN: IPS[id_] not in world.answering and ended.verdict and ended.verdict.asked,
            Result.DELETED: id_ not in world.instances,
            Result.MISSING: world.now == 6,
        }[ended.result]
    assert seen.keys() == IPS.keys()
