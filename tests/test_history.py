"""What is remembered of instances."""

import msgspec

from fping_exporter import config
from fping_exporter.history import RETENTION, History
from fping_exporter.model import Instance, Snapshot
from fping_exporter.verdict.judge import judge
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


def test_one_who_never_answered_is_not_in_it() -> None:
    assert History().after(look(History(), A, alive=False)) == History()


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
