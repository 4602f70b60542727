"""The cache: when it refreshes, who waits for whom, and what a fault costs."""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence

import pytest

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.errors import CloudError, ProbeError
from fping_exporter.metrics.exposition import Exposition
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import NOT_ASKED, Inventory, Outcome, Snapshot, Sweep, Target, Verdict
from fping_exporter.monitor import Monitor, Setup
from tests.build import ALIVE, SILENT, instance, inventory

SOON = 5.0
"""Seconds by which what should happen at once has happened."""
FOREVER = Duration(3600)
NOW = Duration(0.000_001)


class Cloud:
    """A list of instances that can be held up, changed and broken."""

    def __init__(self) -> None:
        self.calls = 0
        self.silent: Collection[str] = ()
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None
        self.guests = [instance("a", "10.0.0.1")]

    def inventory(self, *, full: bool = False, silent: Collection[str] = ()) -> Inventory:  # noqa: ARG002, all lists are full
        self.calls += 1
        self.silent = silent
        assert self.open.wait(SOON)
        if self.error:
            raise self.error
        return inventory(*self.guests)


class Pinger:
    """A prober to which everything is alive, that can be held up and broken."""

    def __init__(self) -> None:
        self.calls: list[set[Target]] = []
        self.open = threading.Event()
        self.open.set()
        self.error: Exception | None = None
        self.outcomes: dict[str, Outcome] = {}

    def probe(self, targets: Collection[Target]) -> Sweep:
        self.calls.append(set(targets))
        assert self.open.wait(SOON)
        if self.error:
            raise self.error
        outcomes = {target: self.outcomes.get(target.ip, ALIVE) for target in targets}
        return Sweep(
            outcomes=outcomes, sent=len(outcomes), received=len(outcomes), started_at=time.time(), duration=0
        )


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    yield cloud
    cloud.open.set()


@pytest.fixture
def pinger() -> Iterator[Pinger]:
    pinger = Pinger()
    yield pinger
    pinger.open.set()


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry()


def sample(telemetry: Telemetry, name: str, **labels: str) -> float | None:
    return telemetry.registry.get_sample_value(f"fping_exporter_{name}", labels)


@pytest.fixture
def monitor(cloud: Cloud, pinger: Pinger, telemetry: Telemetry) -> Callable[..., Monitor]:
    def make(
        *, inventory: Duration = FOREVER, sweep: Duration = FOREVER, max_stale: Duration = FOREVER
    ) -> Monitor:
        settings = config.Config(
            cache=config.Cache(inventory=inventory, sweep=sweep, max_stale=Duration(max_stale + 1))
        )
        return Monitor(Setup(settings, cloud, pinger), telemetry=telemetry)

    return make


def verdicts(snapshot: Snapshot | None) -> Sequence[Verdict]:
    return snapshot.verdicts if snapshot else ()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_nothing_is_done_before_somebody_asks(
    monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger
) -> None:
    monitor()
    assert (cloud.calls, pinger.calls) == (0, [])


def test_a_young_snapshot_is_served_as_it_is(
    monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger
) -> None:
    one = monitor()
    first = one.snapshot(timeout=SOON)
    assert first is not None
    assert one.snapshot(timeout=SOON) is first
    assert one.latest is first
    assert (cloud.calls, len(pinger.calls)) == (1, 1)


def test_an_old_snapshot_is_refreshed_from_a_young_inventory(
    monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger
) -> None:
    one = monitor(sweep=NOW)
    assert one.snapshot(timeout=SOON) is not one.snapshot(timeout=SOON)
    assert (cloud.calls, len(pinger.calls)) == (1, 2)


def test_the_next_list_is_told_who_is_silent(
    monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger
) -> None:
    """Those in whose case something explains it are left out."""
    cloud.guests += [instance("b", "10.0.0.2"), instance("c", "10.0.0.3", status="SHUTOFF")]
    pinger.outcomes = {"10.0.0.2": SILENT, "10.0.0.3": SILENT}
    one = monitor(sweep=NOW, inventory=NOW)
    one.snapshot(timeout=SOON)
    assert cloud.silent == ()
    one.snapshot(timeout=SOON)
    eventually(lambda: cloud.silent == {"b"})


def test_parallel_callers_join_one_refresh(
    monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger
) -> None:
    one = monitor()
    pinger.open.clear()
    results: list[object] = []
    callers = [threading.Thread(target=lambda: results.append(one.snapshot(timeout=SOON))) for _ in range(8)]
    for caller in callers:
        caller.start()
    eventually(lambda: bool(pinger.calls))
    pinger.open.set()
    for caller in callers:
        caller.join()
    assert len(set(map(id, results))) == 1
    assert results[0] is not None
    assert (cloud.calls, len(pinger.calls)) == (1, 1)


def test_a_caller_leaves_at_its_deadline_and_the_refresh_goes_on(
    monitor: Callable[..., Monitor], pinger: Pinger
) -> None:
    one = monitor()
    pinger.open.clear()
    begun = time.monotonic()
    assert one.snapshot(timeout=0.05) is None
    assert time.monotonic() - begun < SOON
    pinger.open.set()
    eventually(lambda: one.latest is not None)
    assert len(pinger.calls) == 1


def test_a_caller_who_leaves_gets_the_newest_complete_snapshot(
    monitor: Callable[..., Monitor], pinger: Pinger
) -> None:
    one = monitor(sweep=NOW)
    first = one.snapshot(timeout=SOON)
    pinger.open.clear()
    assert one.snapshot(timeout=0.01) is first


def test_a_new_inventory_never_holds_a_sweep_up(
    monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger
) -> None:
    one = monitor(inventory=NOW, sweep=NOW)
    first = one.snapshot(timeout=SOON)
    cloud.open.clear()
    cloud.guests.append(instance("b", "10.0.0.2"))
    second = one.snapshot(timeout=SOON)
    assert second is not None
    assert second is not first
    assert len(second.verdicts) == 1
    cloud.open.set()
    eventually(lambda: len(verdicts(one.snapshot(timeout=SOON))) == 2)
    assert len(pinger.calls[-1]) == 2


def test_a_cloud_that_is_away_leaves_the_last_inventory_in_use(
    monitor: Callable[..., Monitor],
    cloud: Cloud,
    telemetry: Telemetry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = monitor(inventory=NOW, sweep=NOW)
    first = one.snapshot(timeout=SOON)
    cloud.error = CloudError("Nova does not answer")
    second = one.snapshot(timeout=SOON)
    assert second is not None
    assert second is not first
    eventually(lambda: caplog.messages == ["listing the instances failed: Nova does not answer"])
    assert sample(telemetry, "inventory_success") == 0
    assert sample(telemetry, "sweep_success") == 1
    assert sample(telemetry, "inventory_instances") == 1


def test_what_is_too_old_is_not_served(cloud: Cloud, pinger: Pinger, telemetry: Telemetry) -> None:
    cache = config.Cache(inventory=NOW, sweep=NOW, max_stale=Duration(0.4))
    one = Monitor(Setup(config.Config(cache=cache), cloud, pinger), telemetry=telemetry)
    eventually(lambda: one.snapshot(timeout=SOON) is not None)
    sweeps = len(pinger.calls)
    cloud.error = CloudError("Nova does not answer")
    time.sleep(0.45)
    assert one.snapshot(timeout=SOON) is None
    assert one.latest is not None
    assert len(pinger.calls) == sweeps
    cloud.error = None
    eventually(lambda: one.snapshot(timeout=SOON) is not None)


@pytest.mark.parametrize("error", [ProbeError("no sockets"), ZeroDivisionError()])
def test_a_sweep_that_fails_costs_only_itself(
    error: Exception,
    monitor: Callable[..., Monitor],
    pinger: Pinger,
    telemetry: Telemetry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = monitor(sweep=NOW)
    first = one.snapshot(timeout=SOON)
    pinger.error = error
    assert one.snapshot(timeout=SOON) is first
    assert sample(telemetry, "sweep_success") == 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    pinger.error = None
    assert one.snapshot(timeout=SOON) is not first
    assert sample(telemetry, "sweep_success") == 1


def text(exposition: Exposition | None) -> str:
    return b"".join(exposition.plain()).decode() if exposition else ""


def test_a_snapshot_comes_with_its_text(monitor: Callable[..., Monitor]) -> None:
    one = monitor()
    first = one.exposition(timeout=SOON)
    assert 'instance_alive{id="a",project_id="p"} 1.0' in text(first)
    assert one.exposition(timeout=SOON) is first
    assert one.snapshot(timeout=SOON) is one.latest


def test_a_sweep_is_reported_before_the_snapshot_before_is_freed(
    monitor: Callable[..., Monitor], pinger: Pinger, telemetry: Telemetry
) -> None:
    """Freeing takes a while where instances are many, and scrapes bring the new snapshot meanwhile."""
    reported: list[float | None] = []

    class Freed(Outcome, frozen=True):
        def __del__(self) -> None:
            reported.append(sample(telemetry, "packets_sent_total"))

    one = monitor(sweep=NOW)
    pinger.outcomes = {"10.0.0.1": Freed(sent=1, received=1, rtt=0.001)}
    one.snapshot(timeout=SOON)
    pinger.outcomes = {}
    one.snapshot(timeout=SOON)
    eventually(lambda: bool(reported))
    assert reported == [2]


def test_an_instance_that_cannot_be_rendered_costs_the_refreshes_that_have_it(
    monitor: Callable[..., Monitor], cloud: Cloud, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    one = monitor(inventory=NOW, sweep=NOW)
    assert one.exposition(timeout=SOON)
    good, cloud.guests = cloud.guests, [instance("a", "10.0.0.1", name="\ud800")]
    eventually(lambda: one.exposition(timeout=SOON) is not None and "which is a bug" in caplog.text)
    assert sample(telemetry, "sweep_success") == 0
    assert 'name="a"' in text(one.exposition(timeout=SOON))
    cloud.guests = good
    eventually(lambda: one.exposition(timeout=SOON) is not None and sample(telemetry, "sweep_success") == 1)


def test_nothing_of_a_disabled_metric_is_rendered(cloud: Cloud, pinger: Pinger, telemetry: Telemetry) -> None:
    cloud.guests = [instance("a", "10.0.0.1", name="\ud800")]  # only instance_info has the name
    settings = config.Config(metrics=config.Metrics(disable=("instance_info",)))
    shown = text(Monitor(Setup(settings, cloud, pinger), telemetry=telemetry).exposition(timeout=SOON))
    assert 'instance_alive{id="a",project_id="p"} 1.0' in shown
    assert "instance_info" not in shown


def test_a_first_sweep_that_fails_leaves_no_vantage_up(
    monitor: Callable[..., Monitor], pinger: Pinger, telemetry: Telemetry
) -> None:
    pinger.error = ProbeError("no sockets")
    one = monitor()
    assert one.snapshot(timeout=SOON) is None
    for name, value in (("vantages", 1), ("vantage_up", 0)):
        assert telemetry.registry.get_sample_value(f"fping_exporter_{name}", {"vantage": "local"}) == value


def test_no_cloud_at_first(monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger) -> None:
    cloud.error = CloudError("Nova does not answer")
    one = monitor()
    assert one.snapshot(timeout=SOON) is None
    assert pinger.calls == []
    cloud.error = None
    assert one.snapshot(timeout=SOON)


def test_only_selected_instances_are_asked(cloud: Cloud, pinger: Pinger, telemetry: Telemetry) -> None:
    cloud.guests.append(instance("b", "10.0.0.2"))
    settings = config.Config(instances=config.Instances(exclude=(config.Rule(id="a"),)))
    one = Monitor(Setup(settings, cloud, pinger), telemetry=telemetry)
    snapshot = one.snapshot(timeout=SOON)
    assert snapshot is not None
    assert [verdict.instance.id for verdict in snapshot.verdicts] == ["b"]
    assert pinger.calls == [{Target("local", "10.0.0.2")}]


def test_a_refresh_does_not_wait(monitor: Callable[..., Monitor], pinger: Pinger) -> None:
    one = monitor()
    pinger.open.clear()
    one.refresh()
    assert one.latest is None
    pinger.open.set()
    eventually(lambda: one.latest is not None)


def test_a_sweep_is_counted(monitor: Callable[..., Monitor], telemetry: Telemetry) -> None:
    monitor().snapshot(timeout=SOON)
    assert sample(telemetry, "packets_sent_total") == 1
    assert sample(telemetry, "packets_received_total") == 1
    assert sample(telemetry, "sweep_targets") == 1
    assert sample(telemetry, "part_success", part="hypervisors") == 0


LONG = config.Cache(inventory=FOREVER, sweep=NOW, max_stale=Duration(FOREVER + 1))


def sweeping(cloud: Cloud, pinger: Pinger, telemetry: Telemetry, **settings: object) -> Monitor:
    configured = config.Config(cache=LONG, **settings)  # type: ignore[arg-type]
    return Monitor(Setup(configured, cloud, pinger), telemetry=telemetry)


def follow(
    one: Monitor, cloud: Cloud, pinger: Pinger, *, same_cloud: bool = True, **settings: object
) -> Monitor:
    configured = config.Config(cache=LONG, **settings)  # type: ignore[arg-type]
    return one.hand_over(Setup(configured, cloud, pinger), same_cloud=same_cloud)


def test_a_reload_keeps_the_last_snapshot_until_the_next_sweep(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry
) -> None:
    one = sweeping(cloud, pinger, telemetry)
    first = one.snapshot(timeout=SOON)
    pinger.open.clear()
    two = follow(one, cloud, pinger)
    assert two.snapshot(timeout=0.01) is first
    pinger.open.set()
    eventually(lambda: two.snapshot(timeout=SOON) is not first)


@pytest.mark.parametrize(
    "vantages",
    [
        pytest.param(("qdhcp",), id="without local"),
        pytest.param(("local", "qdhcp"), id="only external networks are reached from local now"),
    ],
)
def test_a_vantage_from_which_a_reload_has_nobody_asked_is_not_lost(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry, vantages: tuple[config.Vantage, ...]
) -> None:
    one = sweeping(cloud, pinger, telemetry)
    first = one.snapshot(timeout=SOON)
    assert sample(telemetry, "blind") == 0
    two = follow(one, cloud, pinger, probe=config.Probe(vantages=vantages))
    eventually(lambda: two.snapshot(timeout=SOON) is not first)
    assert [verdict.alive for verdict in verdicts(two.latest)] == [None]
    assert sample(telemetry, "blind") == 0


def test_a_reload_to_another_cloud_keeps_nothing(cloud: Cloud, pinger: Pinger, telemetry: Telemetry) -> None:
    one = sweeping(cloud, pinger, telemetry)
    assert one.snapshot(timeout=SOON)
    other = Cloud()
    other.guests = [instance("b", "10.0.0.2")]
    other.open.clear()
    two = follow(one, other, pinger, same_cloud=False)
    assert two.snapshot(timeout=0.01) is None
    assert two.exposition(timeout=0.01) is None
    assert sample(telemetry, "inventory_success") == sample(telemetry, "sweep_success") == 0
    assert sample(telemetry, "inventory_instances") == 0
    other.open.set()
    eventually(lambda: [v.instance.id for v in verdicts(two.snapshot(timeout=SOON))] == ["b"])


def test_a_sweep_of_the_cloud_before_is_not_served_as_the_next_ones(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry
) -> None:
    one = sweeping(cloud, pinger, telemetry)
    pinger.open.clear()
    assert one.snapshot(timeout=0.01) is None
    eventually(lambda: len(pinger.calls) == 1)
    other, second = Cloud(), Pinger()
    other.guests = [instance("b", "10.0.0.2")]
    two = follow(one, other, second, same_cloud=False)
    pinger.open.set()
    eventually(lambda: one.latest is not None)
    assert two.latest is None
    assert sample(telemetry, "sweep_success") == 0
    assert [v.instance.id for v in verdicts(two.snapshot(timeout=SOON))] == ["b"]
    assert other.calls == 1


def test_a_cloud_that_hangs_holds_up_no_other(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    cloud.open.clear()
    cloud.error = CloudError("Nova does not answer")
    one = sweeping(cloud, pinger, telemetry)
    assert one.snapshot(timeout=0.01) is None
    eventually(lambda: cloud.calls == 1)
    other = Cloud()
    two = follow(one, other, pinger, same_cloud=False)
    assert two.snapshot(timeout=SOON)
    cloud.open.set()
    eventually(lambda: one.refresh().is_set())
    assert sample(telemetry, "inventory_success") == 1
    assert telemetry.inventory.error is None
    # Only these: threads that an earlier test left may still log what they ask of a cloud.
    loggers = {"fping_exporter.lister", "fping_exporter.monitor"}
    assert [record.getMessage() for record in caplog.records if record.name in loggers] == []


def test_a_reload_of_the_same_cloud_needs_no_new_list_to_ping_on(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry
) -> None:
    cloud.guests.append(instance("b", "10.0.0.2"))
    one = sweeping(cloud, pinger, telemetry)
    one.snapshot(timeout=SOON)
    cloud.error = CloudError("away")

    def reconfigure(instances: config.Instances) -> set[Target]:
        nonlocal one
        one = follow(one, cloud, pinger, instances=instances)
        assert one.snapshot(timeout=SOON)
        return pinger.calls[-1]

    a, b = Target("local", "10.0.0.1"), Target("local", "10.0.0.2")
    assert reconfigure(config.Instances(exclude=(config.Rule(id="a"),))) == {b}
    assert reconfigure(config.Instances(include=(config.Rule(id="a"),))) == {a}
    assert reconfigure(config.Instances()) == {a, b}

    cloud.error = None
    cloud.guests.pop()
    eventually(lambda: bool(one.snapshot(timeout=SOON)) and pinger.calls[-1] == {a})


def test_a_list_that_lands_after_a_reload_is_selected_anew(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry
) -> None:
    cloud.guests.append(instance("b", "10.0.0.2"))
    one = sweeping(cloud, pinger, telemetry)
    cloud.open.clear()
    assert one.snapshot(timeout=0.01) is None
    eventually(lambda: cloud.calls == 1)
    two = follow(one, cloud, pinger, instances=config.Instances(exclude=(config.Rule(id="a"),)))
    waiting = two.refresh()
    cloud.open.set()
    assert waiting.wait(SOON)
    assert [v.instance.id for v in verdicts(two.latest)] == ["b"]
    assert sample(telemetry, "inventory_instances") == 1


def test_reloads_that_come_faster_than_lists_do_not_starve_them(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry
) -> None:
    one = sweeping(cloud, pinger, telemetry)
    cloud.open.clear()
    for _ in range(20):
        assert one.snapshot(timeout=0.001) is None
        one = follow(one, cloud, pinger)
    assert cloud.calls == 1
    cloud.open.set()
    assert one.snapshot(timeout=SOON)


def test_a_thread_that_cannot_be_started_is_tried_again(
    monitor: Callable[..., Monitor], telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    one = monitor()
    with no_more_threads():
        assert one.snapshot(timeout=SOON) is None
        assert one.snapshot(timeout=SOON) is None
    assert sample(telemetry, "sweep_success") == 0
    assert all("no thread could be started" in message for message in caplog.messages)
    assert one.snapshot(timeout=SOON)
    assert sample(telemetry, "sweep_success") == 1


@contextlib.contextmanager
def no_more_threads() -> Iterator[None]:
    """Have the system refuse new threads, as at the limit of processes: no stack is as large as this."""
    before = threading.stack_size(1 << 46)
    try:
        yield
    finally:
        threading.stack_size(before)


def test_a_sweep_that_could_not_send_is_no_success(
    monitor: Callable[..., Monitor], cloud: Cloud, pinger: Pinger, telemetry: Telemetry
) -> None:
    cloud.guests = [instance(str(number), f"10.0.0.{number}") for number in range(1, 4)]
    one = monitor(sweep=NOW)
    pinger.outcomes = {"10.0.0.1": NOT_ASKED}
    assert one.snapshot(timeout=SOON)
    assert sample(telemetry, "sweep_success") == 1
    pinger.outcomes |= {"10.0.0.2": NOT_ASKED}
    assert one.snapshot(timeout=SOON)
    assert sample(telemetry, "sweep_success") == 0
    assert telemetry.sweep.error == "nothing could be sent to 2 of 3 targets"


def test_one_list_without_an_instance_does_not_forget_when_it_answered(
    cloud: Cloud, pinger: Pinger, telemetry: Telemetry
) -> None:
    a, b = cloud.guests[0], instance("b", "10.0.0.2")
    cache = config.Cache(inventory=NOW, sweep=NOW, max_stale=FOREVER)
    one = Monitor(Setup(config.Config(cache=cache), cloud, pinger), telemetry=telemetry)
    assert one.snapshot(timeout=SOON)
    cloud.guests = [b]
    eventually(lambda: [v.instance.id for v in verdicts(one.snapshot(timeout=SOON))] == ["b"])
    pinger.outcomes = {"10.0.0.1": SILENT}
    cloud.guests = [a, b]
    eventually(lambda: len(verdicts(one.snapshot(timeout=SOON))) == 2)
    [back] = [v for v in verdicts(one.latest) if v.instance.id == "a"]
    assert back.alive is False
    assert back.last_reply_at
