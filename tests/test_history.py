"""What is remembered of instances."""

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.history import RETENTION, History
from fping_exporter.model import Instance, Snapshot
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.missed import find_missed
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, NOW, SILENT, instance, inventory, sweep

A, B = instance("a", "10.0.0.1"), instance("b", "10.0.0.2")


def look(history: History, *instances: Instance, alive: bool = True, at: float = 0) -> Snapshot:
    there = inventory(*instances)
    outcomes = {each.addresses[0].ip: ALIVE if alive else SILENT for each in instances}
    swept = msgspec.structs.replace(sweep(outcomes), started_at=NOW + at)
    return judge(
        there,
        targets=plan(there.instances, there.topology, config.Probe()),
        sweep=swept,
        last_replies=history.last_replies,
    )


def test_the_last_reply_is_remembered() -> None:
    history = History()
    for at, alive in ((0, True), (60, True), (120, False), (RETENTION * 3, False)):
        history = history.after(look(history, A, alive=alive, at=at))
    assert history.last_replies == {"a": NOW + 60}


def test_no_reply_is_from_the_future_if_the_clock_is_set_back() -> None:
    history = History().after(look(History(), A, at=7200))
    history = history.after(look(history, A, alive=False, at=30))
    assert history.last_replies == {"a": NOW + 30}
    assert look(history, A, alive=False, at=45).verdicts[0].last_reply_at == NOW + 30


def test_one_who_never_answered_is_not_in_it() -> None:
    assert History().after(look(History(), A, alive=False)).last_replies == {}


def test_one_that_is_not_listed_is_remembered_for_a_day() -> None:
    history = History().after(look(History(), A, B))
    history = history.after(look(history, B, at=60))
    history = history.after(look(history, B, at=60 + RETENTION - 1))
    assert history.last_replies["a"] == NOW
    back = history.after(look(history, A, B, alive=False, at=60 + RETENTION))
    assert back.last_replies["a"] == NOW
    assert back.unlisted_since == {}
    gone = history.after(look(history, B, at=60 + RETENTION))
    assert set(gone.last_replies) == {"b"}


def missed(history: History, *, at: float) -> History:
    return history.after(find_missed(look(history, A, alive=False, at=at), history))


def test_since_when_an_instance_is_missed_is_remembered_over_a_restart() -> None:
    history = missed(History().after(look(History(), A)), at=60)
    resumed = history.stored.resumed(stopped_at=NOW + 60, now=NOW + 100)
    assert missed(resumed, at=120).missed == {"a": NOW + 60}
    assert history.moved_back(10).missed == {"a": NOW + 50}


@pytest.mark.parametrize(("away", "begun_at"), [(899, NOW), (900, None)])
def test_what_was_launched_while_the_process_was_away_for_long_was_not_watched(
    away: float, begun_at: float | None
) -> None:
    history = History().after(look(History(), A))
    assert history.resumed(stopped_at=NOW, now=NOW + away).begun_at == begun_at
