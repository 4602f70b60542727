"""The page of an instance: what it explains, and what asking again does."""

import re
from html import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fping_exporter.errors import ProbeError, RateLimitError
from fping_exporter.model import Inventory
from tests.build import SILENT, instance, inventory
from tests.explanation.worlds import SECRET
from tests.fleet.worlds import inventories
from tests.web.pages import Exporter, Pinger

ONE, OTHER = instance("one", "10.0.0.1"), instance("other", "10.0.0.2")


def text_of(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


@pytest.fixture
def exporter() -> Exporter:
    exporter = Exporter(lambda: inventory(ONE, OTHER), Pinger({"10.0.0.1": SILENT}))
    exporter.sweep()
    return exporter


def test_a_view_shows_the_last_sweep(exporter: Exporter) -> None:
    html = exporter.client.get("/instance/one").text
    assert re.search(r"Found out \S+ ago \S+ UTC , by the last sweep. Ask again now", text_of(html))
    assert 'href="/instance/one?ask=now" rel="nofollow"' in html
    assert exporter.pinger.sweeps == 1


def test_nobody_knows_whether_one_in_a_cell_that_is_down_was_launched() -> None:
    two = instance("new", "10.0.0.1", status="BUILD"), instance("lost", "10.0.0.2", status="UNKNOWN")
    exporter = Exporter(lambda: inventory(*two), Pinger({}))
    exporter.sweep()
    assert "Launched not yet" in text_of(exporter.client.get("/instance/new").text)
    assert "Launched unknown" in text_of(exporter.client.get("/instance/lost").text)


def test_asking_again_keeps_the_way_back_and_is_not_repeated(exporter: Exporter) -> None:
    html = exporter.client.get("/instance/one?status=ACTIVE&page=2&refresh=15").text
    [href] = re.findall(r'href="([^"]*ask=now[^"]*)"', html)
    assert set(unescape(href).partition("?")[2].split("&")) == {"ask=now", "status=ACTIVE", "page=2"}


def test_asking_again_pings_this_one_alone(exporter: Exporter) -> None:
    exporter.pinger.outcomes = {}
    exporter.pinger.targets.clear()
    text = text_of(exporter.client.get("/instance/one?ask=now").text)
    assert "for this page" in text
    assert "It answers" in text or "Next Nothing: it answers." in text
    assert [{target.ip for target in asked} for asked in exporter.pinger.targets] == [{"10.0.0.1"}]
    exporter.client.get("/instance/one?ask=now")
    assert len(exporter.pinger.targets) == 1, "those who ask again at once share the pings"


def test_who_asks_too_often_sees_the_last_sweep(exporter: Exporter) -> None:
    clients = []

    def refuse(client: str) -> None:
        clients.append(client)
        raise RateLimitError("Asking anew was rate-limited: 12 per 1 minute are allowed.", retry_after=7)

    exporter.asker.count = refuse
    answer = exporter.client.get("/instance/one?ask=now")
    assert answer.status_code == 200
    assert "It was not asked again, and these are the results of the last sweep." in text_of(answer.text)
    assert "by the last sweep. Ask again now" in text_of(answer.text)
    assert clients == ["127.0.0.1"]
    assert exporter.pinger.sweeps == 1


def test_where_nothing_can_be_sent_the_page_says_why(exporter: Exporter) -> None:
    exporter.pinger.error = ProbeError("no socket")
    answer = exporter.client.get("/instance/one?ask=now")
    assert answer.status_code == 200
    assert "It could not be asked again: no socket" in text_of(answer.text)


@settings(max_examples=10, deadline=None)
@given(
    inventories(), st.text(max_size=20) | st.sampled_from(["<script>alert(1)</script>", "\x1b[2J", "\u202e"])
)
def test_any_instance_has_a_page_that_harms_nobody(cloud: Inventory, name: str) -> None:
    named = inventory(
        *(instance(each.id, *each.addresses, name=name) for each in cloud.instances),
        topology=cloud.topology,
        contacts={"another project": SECRET},
    )
    exporter = Exporter(lambda: named, Pinger({"10.0.0.1": SILENT}))
    exporter.sweep()
    for each in named.instances:
        answer = exporter.client.get(f"/instance/{each.id}")
        assert answer.status_code == 200
        assert "<script" not in answer.text
        assert SECRET not in answer.text
        assert all(char.isprintable() or char == "\n" for char in answer.text)
