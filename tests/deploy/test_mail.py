"""The mail about a guest that stops answering, sent by a real Prometheus and Alertmanager."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from prometheus_client import CollectorRegistry, Metric, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fping_exporter import config
from fping_exporter.history import History
from fping_exporter.metrics.exposition import as_metrics
from fping_exporter.model import Project
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, SILENT, instance, inventory, sweep
from tests.deploy.stack import Sink, alerting
from tests.integration.process import eventually, free_port

pytestmark = pytest.mark.e2e

OPERATOR = "operator@example.org"
CONTACT = "ops@alpha.example"
NASTY = '<script>alert("x")</script>\r\nBcc: everyone@example.com'
LONG = 10
"""Seconds in which whatever is going to be mailed has been: the longest wait is 3 s, the interval 2 s."""


class Cloud(Collector):
    """The metrics of an exporter for six guests, some of which a test lets die."""

    def __init__(self) -> None:
        self.dead: set[str] = set()
        self.contact = CONTACT
        self._history = History()
        self._inventory = inventory(
            instance("a1", "10.0.0.1", name="web-1", project_id="alpha", hypervisor="c1"),
            instance("a2", "10.0.0.2", name="web-2", project_id="alpha", hypervisor="c2"),
            instance("a3", "10.0.0.3", name="web-3", project_id="alpha", hypervisor="c3"),
            instance("b1", "10.0.0.4", name=NASTY, project_id="beta", hypervisor="c1"),
            instance("b2", "10.0.0.5", name="db-2", project_id="beta", hypervisor="c2"),
            instance("b3", "10.0.0.6", name="db-3", project_id="beta", hypervisor="c3"),
            projects=(Project("alpha", "Alpha Shop", "default"), Project("beta", "Beta", "default")),
        )

    def collect(self) -> Iterator[Metric]:
        outcomes = {
            each.addresses[0].ip: SILENT if each.id in self.dead else ALIVE
            for each in self._inventory.instances
        }
        snapshot = judge(
            self._inventory,
            targets=plan(self._inventory.instances, self._inventory.topology, config.Probe()),
            sweep=msgspec.structs.replace(sweep(outcomes), started_at=time.time()),
            last_replies=self._history.last_replies,
        )
        snapshot = find_missed(snapshot, self._history)
        self._history = self._history.after(snapshot)
        yield from as_metrics(snapshot)
        for name, value in (("blind", snapshot.blind), ("inventory_success", True)):
            yield GaugeMetricFamily(f"fping_exporter_{name}", "Of the exporter itself.", value=value)
        contacts = GaugeMetricFamily(
            "project_contact_info", "Whom to write to.", labels=["project_id", "email"]
        )
        contacts.add_metric(["alpha", self.contact], 1)
        yield contacts


@contextlib.contextmanager
def serving(cloud: Cloud, *, port: int) -> Iterator[None]:
    registry = CollectorRegistry()
    registry.register(cloud)
    server, thread = start_http_server(port, "127.0.0.1", registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def cloud() -> Cloud:
    return Cloud()


@pytest.fixture
def sink(cloud: Cloud, tmp_path: Path) -> Iterator[Sink]:
    port = free_port()
    with serving(cloud, port=port), alerting(tmp_path, target=f"127.0.0.1:{port}") as sink:
        yield sink


def expect(sink: Sink, address: str, count: int) -> None:
    """Wait until `address` has received that number of mails."""

    def check() -> None:
        assert len(sink.to(address)) >= count, str(sink)

    eventually(check)
    assert len(sink.to(address)) == count, str(sink)


def test_a_guest_dies_and_its_contact_is_told_and_told_again_when_it_is_back(
    cloud: Cloud, sink: Sink
) -> None:
    cloud.dead |= {"a1"}
    expect(sink, CONTACT, 1)
    died = sink.to(CONTACT)[0]
    assert died.message["Subject"] == "[cloud] WARNING InstanceSilent Alpha Shop: 1 now"
    assert died.message["To"] == CONTACT
    for part in ("plain", "html"):
        assert "web-1 does not answer" in died.part(part)
        assert "web-2" not in died.part(part)
        assert "openstack console log show" in died.part(part)

    cloud.dead.clear()
    expect(sink, CONTACT, 2)
    back = sink.to(CONTACT)[1]
    assert back.message["Subject"] == "[cloud] RESOLVED InstanceSilent Alpha Shop: 1 over"
    for part in ("plain", "html"):
        assert "web-1 answers again" in back.part(part)
        assert "(instance a1)" in back.part(part)
    assert not sink.to(OPERATOR)


def test_a_project_of_many_people(cloud: Cloud, sink: Sink) -> None:
    people = [f"somebody.with.a.long.name.{number}@alpha.example" for number in range(100)]
    cloud.contact = ",".join(people)
    cloud.dead |= {"a1"}
    expect(sink, people[-1], 1)
    [mail] = sink.to(people[0])
    assert set(mail.recipients) == set(people)
    assert mail.message["To"] == "undisclosed-recipients:;"


def test_one_mail_for_each_project_to_the_operator_where_there_is_no_contact(
    cloud: Cloud, sink: Sink
) -> None:
    cloud.dead |= {"a1", "a2", "b1"}
    expect(sink, CONTACT, 1)
    expect(sink, OPERATOR, 1)
    (ours,) = sink.to(CONTACT)
    assert ours.message["Subject"] == "[cloud] WARNING InstanceSilent Alpha Shop: 2 now"
    assert "web-1 does not answer" in ours.part("plain")
    assert "web-2 does not answer" in ours.part("plain")
    assert "instance b1" not in ours.part("plain")

    # The name that a tenant gives to a guest is text everywhere, and never HTML.
    (theirs,) = sink.to(OPERATOR)
    assert theirs.message["Subject"] == "[cloud] WARNING InstanceSilent Beta: 1 now"
    assert theirs.message["Bcc"] is None
    assert "instance b1" in theirs.part("plain")
    assert "runbook.md#instancesilent" in theirs.part("plain")
    assert "&lt;script&gt;" in theirs.part("html")
    assert "<script>" not in theirs.part("html")


def test_a_project_that_is_silent_as_a_whole_is_told_as_one(cloud: Cloud, sink: Sink) -> None:
    cloud.dead |= {"a1", "a2", "a3"}
    expect(sink, CONTACT, 1)
    expect(sink, OPERATOR, 1)
    cloud.dead.clear()
    expect(sink, CONTACT, 2)
    expect(sink, OPERATOR, 2)
    silent, back = sink.to(CONTACT)
    assert silent.message["Subject"] == "[cloud] CRITICAL ProjectSilent Alpha Shop: 1 now"
    assert "No instance of project Alpha Shop answers" in silent.part("plain")
    assert "web-" not in silent.part("plain")
    # The mail also lists the guests that answer again, including those that were silenced or inhibited.
    assert "Instances of project Alpha Shop answer again" in back.part("plain")
    assert "now" not in back.message["Subject"]
    time.sleep(LONG)
    assert len(sink.mails) == 4, str(sink)


def test_when_all_are_silent_at_once_only_the_operator_is_told_of_the_uplink(
    cloud: Cloud, sink: Sink
) -> None:
    cloud.dead |= {"a1", "a2", "a3", "b1", "b2", "b3"}
    expect(sink, OPERATOR, 1)
    assert "has lost sight of 100% of the instances" in sink.to(OPERATOR)[0].part("plain")
    time.sleep(LONG)
    assert len(sink.mails) == 1, str(sink)


def test_an_exporter_that_goes_away_brings_nobody_back(cloud: Cloud, tmp_path: Path) -> None:
    port = free_port()
    with contextlib.ExitStack() as running, contextlib.ExitStack() as exporter:
        exporter.enter_context(serving(cloud, port=port))
        sink = running.enter_context(alerting(tmp_path, target=f"127.0.0.1:{port}"))
        cloud.dead |= {"a1"}
        expect(sink, CONTACT, 1)

        exporter.close()
        expect(sink, OPERATOR, 1)
        assert "cannot be scraped" in sink.to(OPERATOR)[0].part("plain")
        time.sleep(LONG)
        assert len(sink.to(CONTACT)) == 1

        cloud.dead.clear()
        exporter.enter_context(serving(cloud, port=port))
        expect(sink, CONTACT, 2)
        assert "web-1 answers again" in sink.to(CONTACT)[1].part("plain")
