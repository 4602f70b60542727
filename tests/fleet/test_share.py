"""Who pings what: the parts of several members, with tooz's coordinator of files."""

import math
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from tooz import coordination

from fping_exporter import config
from fping_exporter.errors import ConfigError
from fping_exporter.fleet.merge import merge
from fping_exporter.fleet.reader import FleetReader
from fping_exporter.fleet.share import Share
from fping_exporter.fleet_monitor import FleetMonitor
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import Inventory
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.os_fping.on_demand import OnDemand
from tests.build import Source, instance, inventory
from tests.fleet.api import FakePrometheus
from tests.integration.process import eventually
from tests.web.pages import Pinger

HOSTS = 60
EVERYTHING = inventory(
    *(instance(f"{host}-{i}", "10.0.0.1", hypervisor=f"kvm-{host}") for host in range(HOSTS) for i in (0, 1))
)
POLL = 0.02


class Seen:
    """What is told of a share."""

    def __init__(self) -> None:
        self.members, self.answered_at, self.own = 0, -math.inf, 0
        self.looks = 0

    def observe_share(self, *, members: int, answered_at: float) -> None:
        self.members, self.answered_at = members, answered_at
        self.looks += 1

    def observe_own_share(self, instances: int) -> None:
        self.own = instances


class Member:
    """A share, and what it tells."""

    def __init__(self, settings: config.Share, *, grace: float = 0, exports: bool = True) -> None:
        self.seen = Seen()
        self.exports = exports
        self.share = Share(settings, observer=self.seen, exports=lambda: self.exports, poll=POLL, grace=grace)
        self.share.start()

    def ids(self, inventory: Inventory = EVERYTHING) -> set[str]:
        return {each.id for each in self.share.part(inventory).instances}

    def sees(self, members: int) -> None:
        def check() -> None:
            assert self.seen.members == members
            assert self.seen.answered_at > -math.inf

        eventually(check, timeout=10)

    def looks_again(self) -> None:
        looks = self.seen.looks

        def check() -> None:
            assert self.seen.looks > looks + 1  # the one under way may be from before

        eventually(check, timeout=10)


Join = Callable[..., Member]


@pytest.fixture
def join(settings: config.Share) -> Iterator[Join]:
    """Let another member join, and leave after the test: together, as tooz takes its time to disconnect."""
    members: list[Member] = []

    def add(settings: config.Share = settings, *, grace: float = 0, exports: bool = True) -> Member:
        members.append(Member(settings, grace=grace, exports=exports))
        return members[-1]

    yield add
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda member: member.share.leave(), members))


@pytest.fixture
def settings(tmp_path: Path) -> config.Share:
    return config.Share(f"file://{tmp_path}")


ALL = {each.id for each in EVERYTHING.instances}


def test_each_instance_belongs_to_one_of_three(join: Join) -> None:
    members = [join() for _ in range(3)]
    for member in members:
        member.sees(3)
    parts = [member.ids() for member in members]
    assert set.union(*parts) == ALL
    assert sum(map(len, parts)) == len(ALL)
    assert min(map(len, parts)) > len(ALL) / 6
    assert [member.seen.own for member in members] == list(map(len, parts))
    for part in parts:
        assert {id_.partition("-")[0] for id_ in part & {f"{h}-0" for h in range(HOSTS)}} == {
            id_.partition("-")[0] for id_ in part & {f"{h}-1" for h in range(HOSTS)}
        }, "one hypervisor, one member"


def test_two_replicas_are_pinged_by_two(join: Join, tmp_path: Path) -> None:
    twice = config.Share(f"file://{tmp_path}", replicas=2)
    members = [join(twice) for _ in range(3)]
    for member in members:
        member.sees(3)
    assert sum(len(member.ids()) for member in members) == 2 * len(ALL)


def test_whoever_leaves_is_replaced_at_once(join: Join) -> None:
    one, two = join(), join()
    one.sees(2)
    two.sees(2)
    assert one.ids() != ALL
    two.share.leave()
    one.sees(1)
    assert one.ids() == ALL


def test_who_has_nothing_to_export_leaves_all_to_the_others(join: Join) -> None:
    one, new = join(), join(exports=False)
    new.sees(2)
    assert set() < new.ids() < ALL, "it begins with the part that will be its own"
    new.looks_again()
    one.looks_again()
    assert one.seen.members == 1
    assert one.ids() == ALL
    new.exports = True
    one.sees(2)
    assert one.ids() == ALL - new.ids()
    new.exports = False
    one.sees(1)
    assert one.ids() == ALL


def test_what_has_become_anothers_is_asked_by_both_for_a_while(join: Join) -> None:
    one = join(grace=60)
    one.sees(1)
    assert one.ids() == ALL
    two = join()
    one.sees(2)
    two.sees(2)
    assert one.ids() == ALL
    assert set() < two.ids() < ALL


def test_an_instance_that_moves_is_asked_until_the_other_member_has_listed_it(join: Join) -> None:
    second = join()
    second.sees(1)
    first = join(grace=60)
    for member in (first, second):
        member.sees(2)
    one, two = first.ids(), second.ids()
    assert one.isdisjoint(two)
    moving = min(one)
    there = next(each.hypervisor for each in EVERYTHING.instances if each.id in two)
    moved = inventory(
        *(
            msgspec.structs.replace(each, hypervisor=there) if each.id == moving else each
            for each in EVERYTHING.instances
        )
    )
    assert first.ids(moved) == one, "the second one's list may be older"
    assert second.ids(moved) == two | {moving}


def test_a_member_that_was_forgotten_joins_again(join: Join, settings: config.Share) -> None:
    one, two = join(), join()
    one.sees(2)
    two.sees(2)
    group = settings.group.encode()
    watcher = coordination.get_coordinator(settings.url, b"watcher")
    watcher.start()
    members = watcher.get_members(group).get()
    forgotten = coordination.get_coordinator(settings.url, min(members))
    forgotten.start()
    forgotten.leave_group(group).get()

    def is_there_again() -> None:
        assert watcher.get_members(group).get() == members

    eventually(is_there_again, timeout=10)


def test_without_a_coordinator_all_is_pinged(join: Join, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    alone = join(config.Share(f"file://{tmp_path}/file"))
    assert alone.ids() == ALL
    assert (alone.seen.members, alone.seen.answered_at) == (1, -math.inf)


def test_without_a_thread_all_is_pinged(
    join: Join, settings: config.Share, caplog: pytest.LogCaptureFixture
) -> None:
    before = threading.stack_size(1 << 46)  # larger than any: the system refuses it
    try:
        alone = join(settings)
    finally:
        threading.stack_size(before)
    assert alone.ids() == ALL
    [line] = [line for line in caplog.messages if "shared" in line]
    assert line.startswith("nothing is shared, and all instances are pinged: no thread could be started")


def test_where_hypervisors_are_hidden_projects_are_shared_out(join: Join) -> None:
    hidden = inventory(
        *(
            instance(f"{p}-{i}", "10.0.0.1", hypervisor="", project_id=f"p{p}")
            for p in range(40)
            for i in (0, 1)
        )
    )
    one, two = join(), join()
    one.sees(2)
    two.sees(2)
    assert one.ids(hidden) | two.ids(hidden) == {each.id for each in hidden.instances}
    assert not one.ids(hidden) & two.ids(hidden)
    assert {id_[:-2] for id_ in one.ids(hidden)}.isdisjoint(id_[:-2] for id_ in two.ids(hidden))


def test_where_the_fleet_is_read_a_member_knows_the_whole(join: Join) -> None:
    guests = inventory(*(instance(f"{n}", f"10.0.0.{n}", hypervisor=f"kvm-{n}") for n in range(1, HOSTS + 1)))
    first, second = join(), join()
    first.sees(2)
    second.sees(2)
    own, others = first.ids(guests), second.ids(guests)
    telemetry = Telemetry()
    with FakePrometheus() as prometheus:
        prometheus.scrape("second:10605", dict.fromkeys(others, True))
        reader = FleetReader(config.Fleet(prometheus=prometheus.url), interval=3600, observer=telemetry)
        setup = Setup(config.Config(), Source(lambda: guests), Pinger({}), fleet=reader, share=first.share)
        monitor = Monitor(setup, telemetry=telemetry)
        snapshot = FleetMonitor(monitor, reader).snapshot(timeout=10)
    assert monitor.latest
    assert {each.instance.id for each in monitor.latest.verdicts} == own
    assert snapshot
    assert {each.id for each in snapshot.inventory.instances} == own | others
    assert {each.instance.id: each.alive for each in snapshot.verdicts} == dict.fromkeys(own | others, True)
    alone = merge(monitor.latest, None, max_age=180)
    assert {each.instance.id for each in alone.verdicts if each.alive is None} == others, "unknown, not dead"
    asked = OnDemand(config.Config(), prober=Pinger({}), snapshot=lambda: alone).judge(guests.instances)
    assert {id_: verdict.alive for id_, verdict in asked.items()} == dict.fromkeys(own | others, True)


@pytest.mark.parametrize("content", ["with space", "a@b", "a/b", "a[b]c", "a\u2100b"])
def test_a_password_that_tooz_could_not_take_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "password"
    path.write_text(content)
    with pytest.raises(ConfigError, match=r"share\.password_file: .*: expected a password without spaces"):
        Share(config.Share("redis://localhost", password_file=str(path)), observer=Seen(), exports=bool)


def test_a_password_file_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"share\.password_file: .*/none: cannot be read: No such"):
        Share(
            config.Share("redis://localhost", password_file=f"{tmp_path}/none"), observer=Seen(), exports=bool
        )


@pytest.mark.parametrize("lease", ["0", "-1", "1.5", "nan", "soon", "", "٣"])
def test_a_lease_that_tooz_could_not_take_is_refused(tmp_path: Path, lease: str) -> None:
    settings = config.Share(f"file://{tmp_path}?membership_timeout={lease}")
    with pytest.raises(ConfigError, match=r"share\.url: membership_timeout: expected whole seconds above 0"):
        Share(settings, observer=Seen(), exports=bool)
