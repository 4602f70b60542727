"""What is read of the fleet, and whose words it holds."""

import time
from collections.abc import Iterator, Mapping

import msgspec
import pytest

from fping_exporter.config import Fleet
from fping_exporter.demo.http import Answer
from fping_exporter.errors import FleetError
from fping_exporter.fleet.prometheus import Prometheus
from fping_exporter.fleet.reading import Reading, read_fleet
from fping_exporter.model import Reason
from tests.fleet.api import FakePrometheus, Scraped, vector

MAX_AGE = 180.0


@pytest.fixture
def server() -> Iterator[FakePrometheus]:
    with FakePrometheus() as server:
        yield server


def read(server: FakePrometheus, *, match: Mapping[str, str] = {}, **more: object) -> Reading:
    return read_fleet(
        Prometheus(Fleet(prometheus=server.url)),
        match=match,
        max_age=MAX_AGE,
        deadline=time.monotonic() + 5,
        **more,  # type: ignore[arg-type]
    )


def words(reading: Reading) -> dict[str, list[tuple[str, bool]]]:
    return {
        id_: [(word.exporter.name, word.alive) for word in witnesses]
        for id_, witnesses in reading.words.items()
    }


def test_the_words_of_two_exporters_by_instance(server: FakePrometheus) -> None:
    server.scrape("e1", {"a": True, "b": False}, layer2={"b": True}, last_replies={"b": 1e9})
    server.reason = "icmp_blocked"
    server.scrape("e2", {"b": True, "c": False}, blind=True)
    reading = read(server)
    assert words(reading) == {"a": [("e1", True)], "b": [("e1", False), ("e2", True)], "c": [("e2", False)]}
    [a], [b1, b2], [c] = (reading.words[id_] for id_ in "abc")
    assert (a.rtt, a.reason, a.layer2_alive) == (0.0004, None, None)
    assert (b1.rtt, b1.reason, b1.layer2_alive) == (None, Reason.NO_REPLY, True)
    assert b2.rtt == 0.0004
    assert (c.reason, c.layer2_alive) == (Reason.ICMP_BLOCKED, None)
    assert [each.blind for each in reading.exporters] == [False, True]
    assert not reading.partial


def test_who_answers_did_so_in_the_sweep_of_its_exporter(server: FakePrometheus) -> None:
    long_ago = server.now - 5000
    server.scrape("e1", {"a": True, "b": False, "c": False}, last_replies={"b": long_ago}, sweep_age=7)
    reading = read(server)
    assert reading.last_replies == {"a": reading.exporters[0].swept_at, "b": long_ago}
    server.series.clear()  # nobody speaks of them any more
    again = read(server, before=reading)
    assert again.words == {}
    assert again.last_replies == reading.last_replies


def test_silence_began_when_it_began_for_the_last_of_them(server: FakePrometheus) -> None:
    now = server.now
    server.scrape("e1", {"a": False, "b": False}, silent_since={"a": now - 900, "b": now - 50})
    server.scrape("e2", {"a": False, "c": False}, silent_since={"a": now - 600, "c": 4e9})
    assert read(server).silent_since == {"a": now - 600, "b": now - 50}


@pytest.mark.parametrize("at", [1e18, -1e18, 0, 4e9])
def test_no_time_is_out_of_bounds_whatever_an_exporter_says(server: FakePrometheus, at: float) -> None:
    server.scrape("e1", {"b": False}, last_replies={"b": at})
    server.scrape("e2", {"a": True}, sweep_age=-at)
    reading = read(server)
    assert all(0 < known <= server.now for known in reading.last_replies.values())
    assert reading.exporters[1].swept_at <= server.now


def test_a_last_reply_is_forgotten_after_a_day(server: FakePrometheus) -> None:
    before = Reading(last_replies={"a": time.time() - 86_300, "b": time.time() - 86_500}, began=0)
    assert set(read(server, before=before).last_replies) == {"a"}


@pytest.mark.parametrize("offset", [0.0, 7200.0])
def test_an_age_is_by_the_clock_of_the_server(server: FakePrometheus, offset: float) -> None:
    server.clock_offset = offset
    server.scrape("e1", {"a": True}, age=20, sweep_age=15)
    [exporter] = read(server).exporters
    assert exporter.age == pytest.approx(35, abs=2)
    assert exporter.swept_at == pytest.approx(server.now - 35, abs=2)


def test_an_exporter_that_has_not_swept_yet_or_whose_clock_is_ahead(server: FakePrometheus) -> None:
    server.scrape("new", {"a": True}, age=5)
    server.series[0] = server.series[0]._replace(value=0)
    server.scrape("ahead", {"b": True}, age=5, sweep_age=-3600)
    new, ahead = read(server).exporters
    assert new.age > 1e9
    assert ahead.age == pytest.approx(5, abs=2)


def test_series_that_prometheus_has_kept_without_their_exporter_do_not_count(server: FakePrometheus) -> None:
    server.scrape("e1", {"moved": False, "dumb": False}, age=MAX_AGE + 10, layer2={"dumb": True})
    old = [each for each in server.series if each.name.startswith("instance")]
    server.series.clear()
    server.scrape("e1", {"a": True, "dumb": False})
    server.series += [each for each in old if each.name != "instance_alive" or each.labels["id"] == "moved"]
    reading = read(server)
    assert words(reading) == {"a": [("e1", True)], "dumb": [("e1", False)]}
    assert reading.words["dumb"][0].layer2_alive is None


def test_a_word_that_lingers_has_its_own_age(server: FakePrometheus) -> None:
    server.scrape("e1", {"moved": True}, age=MAX_AGE - 20)
    old = [each for each in server.series if each.name.startswith("instance")]
    server.series.clear()
    server.scrape("e1", {"a": True})
    server.series += old
    reading = read(server)
    [moved], [a] = (reading.words[id_] for id_ in ("moved", "a"))
    assert reading.older == {moved.exporter.age}
    assert moved.exporter.age == pytest.approx(MAX_AGE - 20, abs=2)
    assert a.exporter.age == pytest.approx(1, abs=2)


def test_an_exporter_that_is_scraped_seldom_is_as_old_as_its_last_scrape(server: FakePrometheus) -> None:
    server.scrape("e1", {"a": True}, age=MAX_AGE - 20)
    before = read(server)
    server.series.clear()
    server.scrape("e1", {"a": True})
    assert read(server, before=before).words["a"][0].exporter.age == pytest.approx(1, abs=2)


def test_what_changes_less_is_asked_in_turns(server: FakePrometheus) -> None:
    server.scrape("e1", {"a": True, "b": False}, last_replies={"b": 1e9})
    reading = read(server)
    assert len(server.expressions) == 11
    turned = []
    for _ in range(12):  # every fifteen seconds
        server.expressions.clear()
        assert reading.turns
        earlier = {name: at - 15 for name, at in reading.turns.asked_at.items()}
        turns = msgspec.structs.replace(reading.turns, asked_at=earlier)
        reading = read(server, before=msgspec.structs.replace(reading, turns=turns))
        turned.append(len(server.expressions) - 6)
        [[a], [b]] = reading.words.values()
        assert (a.rtt, b.rtt) == (0.0004, None)
        assert reading.last_replies["b"] == 1e9
    assert turned == [0, 0, 1, 1, 2, 1, 1, 1, 2, 1, 1, 1]  # last replies and since when are asked together


def test_after_a_pause_all_is_asked_again(server: FakePrometheus) -> None:
    server.scrape("e1", {"a": True})
    reading = read(server)
    assert reading.turns
    earlier = {name: at - 600 for name, at in reading.turns.asked_at.items()}
    turns = msgspec.structs.replace(reading.turns, asked_at=earlier)
    server.expressions.clear()
    read(server, before=msgspec.structs.replace(reading, turns=turns))
    assert len(server.expressions) == 11


@pytest.mark.parametrize("reason", ["no_address", "no_vantage", "ambiguous_address", "brand_new", ""])
def test_who_did_not_ask_is_no_witness(server: FakePrometheus, reason: str) -> None:
    server.reason = reason
    server.scrape("e1", {"a": False, "b": True})
    assert words(read(server)) == {"b": [("e1", True)]}


def test_silence_without_a_reason_is_no_word(server: FakePrometheus) -> None:
    server.scrape("e1", {"a": False})
    server.series = [each for each in server.series if each.name != "instance_silent"]
    assert words(read(server)) == {}


def test_life_without_a_round_trip_is_life(server: FakePrometheus) -> None:
    server.scrape("e1", {"a": True})
    server.series = [each for each in server.series if each.name != "instance_rtt_seconds"]
    assert [(word.alive, word.rtt) for word in read(server).words["a"]] == [(True, None)]


def test_an_exporter_of_which_it_is_not_known_is_taken_to_be_blind(server: FakePrometheus) -> None:
    server.scrape("e1", {"a": False})
    server.series = [each for each in server.series if each.name != "fping_exporter_blind"]
    assert [exporter.blind for exporter in read(server).exporters] == [True]


def test_exporters_of_the_same_name_are_told_apart_by_their_other_labels(server: FakePrometheus) -> None:
    server.external_labels = {"cluster": 'a"\\'}
    server.scrape("e1", {"a": False}, age=500)
    server.external_labels = {"cluster": "b"}
    server.scrape("e1", {"b": False})
    reading = read(server)
    assert [exporter.age > MAX_AGE for exporter in reading.exporters] == [True, False]
    assert [reading.words[id_][0].exporter for id_ in "ab"] == list(reading.exporters)
    assert words(read(server, match={"cluster": "b"})) == {"b": [("e1", False)]}
    assert [each.name for each in read(server, match={"cluster": 'a"\\'}).exporters] == ["e1"]
    assert all('{cluster="' in each or ',cluster="' in each for each in server.expressions[-11:])


@pytest.mark.parametrize("lost", [0, 2.4e-6, -2.4e-6])
def test_the_exporter_that_reads_is_no_witness_of_its_own(server: FakePrometheus, lost: float) -> None:
    server.scrape("central", {"a": True})
    server.scrape("e1", {"a": False}, sweep_age=1.01)
    own = server.series[0].value
    # VictoriaMetrics keeps fifteen digits, and a time with microseconds has sixteen.
    assert words(read(server, own_sweeps={own - 15, own + lost})) == {"a": [("e1", False)]}


def test_words_of_nobody_known_do_not_count(server: FakePrometheus) -> None:
    labels = {"id": "a", "project_id": "p", "instance": "old-version", "job": "x"}
    server.series.append(Scraped("instance_alive", labels, 1, server.now))
    server.series.append(
        Scraped("instance_alive", {"instance": "e1", "job": "fping-exporter"}, 1, server.now)
    )
    server.scrape("e1", {"b": True})
    assert words(read(server)) == {"b": [("e1", True)]}


def test_a_warning_makes_the_reading_partial(server: FakePrometheus) -> None:
    server.extra = {"warnings": ["a store is away"]}
    assert read(server).partial


@pytest.mark.parametrize("number", range(11))
def test_half_a_reading_is_none(server: FakePrometheus, number: int) -> None:
    server.scrape("e1", {"a": True})
    server.faults = iter([*[None] * number, Answer(503, b"")])
    with pytest.raises(FleetError):
        read(server)
    assert len(server.expressions) == number + 1


@pytest.mark.parametrize("value", ["", "x", "NaN", "+Inf", "0.5"])
def test_a_value_that_says_nothing_costs_that_series(server: FakePrometheus, value: str) -> None:
    labels = {"instance": "e1", "job": "fping-exporter"}
    odd = vector(({"id": "a", **labels}, 1), ({"id": "b", **labels}, 1))
    odd["data"]["result"][0]["value"][1] = value  # type: ignore[index]
    server.scrape("e1")
    server.faults = iter([*[None] * 8, Answer(200, odd)])
    assert words(read(server)) == {"b": [("e1", True)]}


def test_shards_of_an_exporter_have_ages_of_their_own(server: FakePrometheus) -> None:
    server.external_labels = {"shard": "0"}
    server.scrape("e1", {"a": True})
    server.external_labels = {"shard": "1"}
    server.scrape("e1", {"b": True}, age=100)
    reading = read(server)
    assert words(reading) == {"a": [("e1", True)], "b": [("e1", True)]}
    assert [round(exporter.age / 10) for exporter in reading.exporters] == [0, 10]


@pytest.mark.parametrize("sends", [True, False])
def test_silence_of_one_that_is_off_counts_if_something_was_sent(
    server: FakePrometheus, *, sends: bool
) -> None:
    server.reason, server.sends = "not_active", sends
    server.scrape("e1", {"a": False})
    assert words(read(server)) == ({"a": [("e1", False)]} if sends else {})
