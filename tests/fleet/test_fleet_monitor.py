"""When the fleet is read, and what os-fping, the page and /sd say of the whole then."""

import json
import logging
import threading
import time
from collections.abc import Iterator

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.config.duration import Duration
from fping_exporter.demo.http import Answer
from fping_exporter.fleet.reader import FleetReader
from fping_exporter.fleet.reading import Reading
from fping_exporter.fleet_monitor import FleetMonitor
from fping_exporter.metrics.telemetry import Telemetry
from fping_exporter.model import NOT_ASKED, FleetExporter, Witness
from fping_exporter.monitor import Monitor, Setup
from fping_exporter.web import create_app
from tests.build import ORIGIN, SILENT, Source, instance, inventory
from tests.fleet.api import FakePrometheus
from tests.os_fping.anonymous import anonymous_os_fping
from tests.web.pages import Pinger

SOON = 5.0
HOUR = 3600.0
OWN = {"198.51.100.2": SILENT} | dict.fromkeys(("10.0.0.3", "10.0.0.4", "10.0.0.5"), NOT_ASKED)
"""What this exporter's own pings say; the others answer."""
GUESTS = (
    instance("near", "198.51.100.1"),
    instance("dead", "198.51.100.2"),
    instance("close", "198.51.100.3"),
    instance("far", "10.0.0.3"),
    instance("hushed", "10.0.0.4"),
    instance("lost", "10.0.0.5"),
)
ALONE = {"near": True, "dead": False, "close": True, "far": None, "hushed": None, "lost": None}
WHOLE = ALONE | {"far": True, "hushed": False}


@pytest.fixture
def prometheus() -> Iterator[FakePrometheus]:
    with FakePrometheus() as server:
        yield server


class Central:
    """The exporter that reads, with all of its pages."""

    def __init__(self, prometheus: FakePrometheus, *, max_age: float = 180, sweep: float = HOUR) -> None:
        fleet = config.Fleet(prometheus=prometheus.url, max_age=Duration(max_age))
        cache = config.Cache(inventory=Duration(HOUR), sweep=Duration(HOUR), max_stale=Duration(2 * HOUR))
        self.telemetry = Telemetry()
        self.telemetry.expect_fleet(read=True)
        self.reader = FleetReader(
            fleet,
            interval=sweep,
            observer=self.telemetry,
            own_sweeps=lambda: self.telemetry.sweep.recent,
        )
        pinger = Pinger(OWN)
        settings = config.Config(cache=cache)
        setup = Setup(settings, Source(lambda: inventory(*GUESTS)), pinger, fleet=self.reader)
        self.monitor = Monitor(setup, telemetry=self.telemetry)
        self.whole = FleetMonitor(self.monitor, self.reader)
        app = create_app(
            lambda: self.monitor,
            whole=lambda: self.whole,
            telemetry=self.telemetry,
            telemetry_path="/metrics",
            origin=lambda: ORIGIN,
            others=[anonymous_os_fping(self.whole, prober=pinger, telemetry=self.telemetry)],
        )
        self.client = app.test_client()

    def read(self) -> None:
        assert self.reader.refresh().wait(SOON)

    def get(self, path: str) -> str:
        return self.client.get(path).text

    def alive(self) -> dict[str, bool | None]:
        snapshot = self.whole.snapshot(timeout=SOON)
        assert snapshot
        return {verdict.instance.id: verdict.alive for verdict in snapshot.verdicts}

    def sample(self, name: str, **labels: str) -> float | None:
        return self.telemetry.registry.get_sample_value(f"fping_exporter_fleet_{name}", labels)


@pytest.fixture
def scraped(prometheus: FakePrometheus) -> FakePrometheus:
    prometheus.scrape("compute-1:10605", {"far": True, "hushed": False})
    return prometheus


def test_every_page_but_the_metrics_speaks_of_the_whole(scraped: FakePrometheus) -> None:
    central = Central(scraped)
    assert central.alive() == WHOLE
    servers = {each["id"]: each["alive"] for each in json.loads(central.get("/os-fping"))["servers"]}
    assert servers == {id_: alive for id_, alive in WHOLE.items() if alive is not None}
    assert central.client.get("/os-fping/lost").status_code == 503
    targets = json.loads(central.get("/sd?alive=1"))
    assert [group["targets"] for group in targets] == [
        ["198.51.100.1:80"],
        ["198.51.100.3:80"],
        ["10.0.0.3:80"],
    ]
    assert "compute-1:10605</bdi>: answers" in central.get("/instance/far")
    assert "compute-1:10605</bdi>: no reply" in central.get("/instance/hushed")
    assert "Other exporters" not in central.get("/instance/near")
    assert ">answers<" in central.get("/?q=far")
    metrics = central.get("/metrics")
    assert 'instance_alive{id="near"' in metrics
    assert 'instance_alive{id="far"' not in metrics
    assert "fping_exporter_fleet_success 1.0" in metrics


def test_the_last_day_is_on_the_page_of_an_instance_or_why_it_is_not(scraped: FakePrometheus) -> None:
    scraped.day = [(time.time() - 900, "0"), (time.time(), "1")]
    central = Central(scraped)
    html = central.get("/instance/far")
    assert "Last 24 hours, of all exporters: 1 answered, 1 silent, 94 unknown" in html
    assert central.get("/instance/far").count("<svg") == 1  # this exporter has never asked it
    asked = [request for request in scraped.requests if request.path.endswith("query_range")]
    assert len(asked) == 1
    assert central.client.get("/instance/nobody").status_code == 404
    assert len([request for request in scraped.requests if request.path.endswith("query_range")]) == 1
    assert central.get("/instance/dead").count("<svg") == 2
    scraped.faults = iter([Answer(503, b"")])
    html = central.get("/instance/near")
    assert "last 24 hours cannot be shown" in html
    assert "api/v1/query_range: HTTP 503" in html
    assert html.count("<svg") == 1


def test_the_readings_are_reported(scraped: FakePrometheus) -> None:
    scraped.scrape("compute-2:10605", blind=True)
    scraped.scrape("compute-3:10605", age=1000)
    central = Central(scraped)
    assert central.sample("success") == 0
    before = time.time()
    central.read()
    assert central.sample("success") == 1
    assert central.sample("instances") == 2
    assert central.sample("partial") == 0
    at = central.sample("last_success_timestamp_seconds")
    assert at is not None
    assert before - 1 <= at <= time.time()
    states = {state: central.sample("exporters", state=state) for state in ("heard", "blind", "stale")}
    assert states == dict.fromkeys(states, 1)
    central.telemetry.expect_fleet(read=False)
    assert central.sample("success") is None


def test_the_fleet_is_read_once_in_an_interval_by_whoever_asks(scraped: FakePrometheus) -> None:
    central = Central(scraped)
    threads = [threading.Thread(target=central.alive) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    central.get("/")
    central.get("/metrics")
    assert len(scraped.expressions) == 11


def test_a_scrape_makes_the_fleet_be_read_without_waiting_for_it(scraped: FakePrometheus) -> None:
    scraped.hold.clear()
    central = Central(scraped)
    assert 'instance_alive{id="near"' in central.get("/metrics")
    scraped.hold.set()
    assert central.reader.refresh().wait(SOON)
    assert central.reader.newest


def test_the_same_snapshot_is_merged_once(scraped: FakePrometheus) -> None:
    central = Central(scraped)
    first = central.whole.snapshot(timeout=SOON)
    assert central.whole.snapshot(timeout=SOON) is first
    assert central.whole.latest is first


def test_words_expire_while_prometheus_is_away(scraped: FakePrometheus) -> None:
    central = Central(scraped)
    assert central.alive() == WHOLE
    reading = central.reader.newest
    assert reading
    central.reader.newest = msgspec.structs.replace(reading, began=reading.began - 200)
    assert central.alive() == ALONE
    snapshot = central.whole.latest
    assert snapshot
    [far] = [verdict for verdict in snapshot.verdicts if verdict.instance.id == "far"]
    assert far.last_reply_at, "it is still known when it last answered"
    assert far.witnesses == ()


def test_what_is_merged_expires_with_the_words_in_it(scraped: FakePrometheus) -> None:
    central = Central(scraped, max_age=0.4)
    exporter = FleetExporter("e1", age=0, swept_at=time.time(), blind=False)
    words = {"far": (Witness(exporter, alive=True),)}
    central.reader.newest = Reading(exporters=(exporter,), words=words, began=time.monotonic())
    scraped.hold.clear()  # no other reading comes in between
    deadline = time.monotonic() + SOON
    while (snapshot := central.whole.snapshot(timeout=0)) is None or any(
        verdict.witnesses for verdict in snapshot.verdicts
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_word_expires_that_is_older_than_its_exporter(scraped: FakePrometheus) -> None:
    central = Central(scraped, max_age=10)
    young = FleetExporter("e1", age=0, swept_at=time.time(), blind=False)
    old = msgspec.structs.replace(young, age=8.8)
    words = {"far": (Witness(old, alive=True),), "hushed": (Witness(young, alive=True),)}
    central.reader.newest = Reading(
        exporters=(young,), words=words, older=frozenset({8.8}), began=time.monotonic()
    )
    scraped.hold.clear()  # no other reading comes in between
    deadline = time.monotonic() + SOON
    while (snapshot := central.whole.snapshot(timeout=0)) is None or any(
        old in [word.exporter for word in verdict.witnesses] for verdict in snapshot.verdicts
    ):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_this_exporters_own_pings_expire_like_the_words_of_the_others(scraped: FakePrometheus) -> None:
    central = Central(scraped, max_age=0.5)
    assert central.whole.snapshot(timeout=SOON)
    unknown = dict.fromkeys(ALONE, None)
    deadline = time.monotonic() + SOON
    while central.alive() != unknown:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    snapshot = central.whole.latest
    assert snapshot
    replied = {verdict.instance.id for verdict in snapshot.verdicts if verdict.last_reply_at}
    assert {"near", "close"} <= replied, "it is still known when they last answered"


def test_prometheus_is_away_from_the_start(scraped: FakePrometheus, caplog: pytest.LogCaptureFixture) -> None:
    scraped.faults = iter([Answer(503, b"")] * 10_000)
    central = Central(scraped, sweep=0.001)
    assert central.alive() == ALONE
    servers = {each["id"] for each in json.loads(central.get("/os-fping"))["servers"]}
    assert servers == {"near", "dead", "close"}
    assert central.sample("success") == 0
    assert "What the other exporters say could not be read: " in central.get("/")
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.getMessage().split(":")[0] for record in errors] == ["reading the fleet failed"]
    scraped.faults = iter(())
    deadline = time.monotonic() + SOON
    while central.alive() != WHOLE:
        assert time.monotonic() < deadline
    assert central.sample("success") == 1


def test_a_page_says_that_prometheus_warns(scraped: FakePrometheus) -> None:
    central = Central(scraped)
    assert "Prometheus warns" not in central.get("/")
    scraped.extra = {"warnings": ["a store is away"]}
    central = Central(scraped)
    assert "Prometheus warns that something may be missing of what the other exporters say" in central.get(
        "/"
    )


def test_a_prometheus_that_hangs_delays_nobody_longer_than_they_wait(scraped: FakePrometheus) -> None:
    scraped.hold.clear()
    central = Central(scraped)
    assert central.monitor.snapshot(timeout=SOON)
    began = time.monotonic()
    assert central.whole.snapshot(timeout=0.3)
    assert time.monotonic() - began < SOON
    assert central.whole.snapshot(timeout=None, stop_waiting=lambda: True)


def test_no_list_no_answer(scraped: FakePrometheus) -> None:
    scraped.hold.clear()
    central = Central(scraped)
    began = time.monotonic()
    assert central.whole.latest is None
    assert time.monotonic() - began < SOON, "nothing is there that the fleet could speak of"
    scraped.hold.set()
    source = Source(lambda: inventory(*GUESTS))
    stale = config.Cache(inventory=Duration(1e-6), sweep=Duration(1e-6), max_stale=Duration(2e-6))
    monitor = Monitor(Setup(config.Config(cache=stale), source, Pinger(OWN)), telemetry=Telemetry())
    assert FleetMonitor(monitor, central.reader).snapshot(timeout=SOON) is None


def test_a_reload_goes_on_with_the_words_of_the_same_fleet(scraped: FakePrometheus) -> None:
    before = Central(scraped)
    before.read()
    after = Central(scraped)
    after.reader.take_over(before.reader)
    assert after.reader.newest is before.reader.newest
    other = Central(scraped, max_age=60)
    other.reader.take_over(before.reader)
    assert other.reader.newest is None


def test_a_retired_reader_reports_nothing(scraped: FakePrometheus, caplog: pytest.LogCaptureFixture) -> None:
    central = Central(scraped, sweep=0.001)
    central.reader.retire()
    central.read()
    assert central.reader.newest
    assert central.sample("success") == 0
    scraped.faults = iter([Answer(503, b"")])
    time.sleep(0.002)
    central.read()
    assert central.telemetry.fleet
    assert central.telemetry.fleet.error is None
    assert not caplog.records


def test_a_bug_costs_one_reading(scraped: FakePrometheus, caplog: pytest.LogCaptureFixture) -> None:
    telemetry = Telemetry()
    telemetry.expect_fleet(read=True)
    answers = iter([None, ()])
    reader = FleetReader(
        config.Fleet(prometheus=scraped.url),
        interval=0.001,
        observer=telemetry,
        own_sweeps=lambda: next(answers),  # type: ignore[arg-type]
    )
    assert reader.refresh().wait(SOON)
    assert reader.newest is None
    assert telemetry.fleet
    assert telemetry.fleet.error == "a bug, see the log"
    assert "reading the fleet failed, which is a bug" in caplog.text
    time.sleep(0.002)
    assert reader.refresh().wait(SOON)
    assert reader.newest
