"""The mail about a guest that stops answering, sent by a real Prometheus and Alertmanager."""

import contextlib
import time
from pathlib import Path

import pytest

from tests.deploy.cloud import CONTACT, Cloud, serving
from tests.deploy.stack import Sink, alerting
from tests.integration.process import eventually, free_port

pytestmark = pytest.mark.e2e

OPERATOR = "operator@example.org"
LONG = 10
"""Seconds in which whatever is going to be mailed has been: the longest wait is 3 s, the interval 2 s."""


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
