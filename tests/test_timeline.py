"""The last results of each instance and since when it is as it is, in any order of sweeps and pauses."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fping_exporter import config
from fping_exporter.history import RETENTION, History
from fping_exporter.model import NOT_ASKED, Outcome, Snapshot
from fping_exporter.timeline import LENGTH, PingResult, Since, Timeline
from fping_exporter.verdict.judge import judge
from fping_exporter.verdict.plan import plan
from tests.build import ALIVE, NOW, SILENT, instance, inventory, sweep

NONE, ANSWERED, SILENCE, UNKNOWN = PingResult
PAUSE = 600.0

A = instance("a", "10.0.0.1")


def look(at: float, outcomes: dict[str, Outcome], *, blind: bool = False) -> Snapshot:
    """Return the snapshot of a sweep `at` seconds after NOW, with these outcomes by the instance's id."""
    instances = [instance(id_, f"10.0.0.{ord(id_)}") for id_ in outcomes]
    there = inventory(*instances)
    by_ip = {each.addresses[0].ip: outcomes[each.id] for each in instances}
    swept = msgspec.structs.replace(sweep(by_ip), started_at=NOW + at)
    targets = plan(there.instances, there.topology, config.Probe())
    return msgspec.structs.replace(judge(there, targets=targets, sweep=swept), blind=blind)


class Step(NamedTuple):
    """One sweep."""

    seconds: float
    """Since the sweep before."""
    outcome: Outcome | None
    """None: the instance is not listed."""
    blind: bool = False

    @property
    def result(self) -> PingResult:
        if self.outcome is None or self.outcome is NOT_ASKED:
            return UNKNOWN
        if self.outcome.alive:
            return ANSWERED
        return UNKNOWN if self.blind else SILENCE


def run(steps: Sequence[Step]) -> tuple[History, Snapshot]:
    history, at = History(), -steps[0].seconds
    for step in steps:
        at += step.seconds
        snapshot = look(at, {"a": step.outcome} if step.outcome else {}, blind=step.blind)
        history = history.after(snapshot, max_pause=PAUSE)
        snapshot = history.told(snapshot)
    return history, snapshot


steps = st.builds(
    Step,
    seconds=st.sampled_from([15.0, 15.0, 15.0, PAUSE, PAUSE + 1, 7200.0]),
    outcome=st.sampled_from([ALIVE, SILENT, SILENT, NOT_ASKED, None]),
    blind=st.sampled_from([False, False, True]),
)


class Expected:
    """A list of all results, from which the same can be read at leisure."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.results: list[PingResult] = []
        self._unlisted_since: float | None = None

    def add(self, step: Step) -> None:
        now = NOW if not self.times else self.times[-1] + step.seconds
        if self.times and step.seconds > PAUSE:
            self._append(self.times[-1] + PAUSE, UNKNOWN if self.listed else NONE)
        if step.outcome:
            self._unlisted_since = None
        elif self._unlisted_since is None:
            self._unlisted_since = now
        elif now - self._unlisted_since >= RETENTION:
            self.results = [NONE] * len(self.results)
        self._append(now, step.result if step.outcome or self.listed else NONE)

    def _append(self, at: float, result: PingResult) -> None:
        self.times.append(at)
        self.results.append(result)

    @property
    def listed(self) -> bool:
        return any(self.results)

    def last(self) -> list[PingResult]:
        return [*[NONE] * LENGTH, *self.results][-LENGTH:]

    def state(self) -> tuple[bool, Since] | None:
        """Whether it answered when that was last known, and since when."""
        known = [number for number, each in enumerate(self.results) if each in {ANSWERED, SILENCE}]
        if not known:
            return None
        first = known.pop()
        while known and self.results[known[-1]] is self.results[first]:
            first = known.pop()
        before = self.results[first - 1] if first else NONE
        since = Since(self.times[first], at_least=before in {NONE, UNKNOWN})
        return self.results[first] is ANSWERED, since


@given(st.lists(steps, min_size=1, max_size=90))
def test_it_says_what_a_list_of_all_results_would(taken: list[Step]) -> None:
    expected = Expected()
    for step in taken:
        expected.add(step)
    history, snapshot = run(taken)
    assert history.sweeps == tuple(expected.times[-LENGTH:])
    timeline = history.timelines.get("a", Timeline())
    assert list(timeline) == expected.last()
    state = expected.state()
    assert (timeline.alive, Since(timeline.since, timeline.at_least)) == (
        state or (None, Since(0, at_least=False))
    )
    for verdict in snapshot.verdicts:
        told = state[1] if state and verdict.alive is state[0] else None
        assert snapshot.since(verdict) == told


@given(st.lists(steps, min_size=1, max_size=20), st.floats(0, 1e6))
def test_a_clock_that_was_set_back_moves_all_times(taken: list[Step], seconds: float) -> None:
    history, _ = run(taken)
    moved = history.moved_back(seconds)
    assert moved.sweeps == tuple([at - seconds for at in history.sweeps])
    for before, after in zip(history.timelines.values(), moved.timelines.values(), strict=True):
        assert list(after) == list(before)
        assert (after.alive, after.at_least) == (before.alive, before.at_least)
        assert after.since == (before.since if before.alive is None else before.since - seconds)


def test_silence_begins_with_the_first_silent_sweep_after_the_last_reply() -> None:
    _, snapshot = run([Step(0, ALIVE), Step(15, SILENT), Step(15, SILENT)])
    assert snapshot.since(snapshot.verdicts[0]) == Since(NOW + 15, at_least=False)


def test_who_is_silent_when_first_asked_may_have_been_so_for_longer() -> None:
    _, snapshot = run([Step(0, NOT_ASKED), Step(15, SILENT), Step(15, SILENT)])
    assert snapshot.since(snapshot.verdicts[0]) == Since(NOW + 15, at_least=True)


@pytest.mark.parametrize(
    "between",
    [Step(15, NOT_ASKED), Step(15, None), Step(15, SILENT, blind=True), Step(15, NOT_ASKED, blind=True)],
)
def test_what_nobody_knows_is_neither_silence_nor_its_end(between: Step) -> None:
    _, silent_before = run([Step(0, ALIVE), Step(15, SILENT), between, Step(15, SILENT)])
    assert silent_before.since(silent_before.verdicts[0]) == Since(NOW + 15, at_least=False)
    _, alive_before = run([Step(0, ALIVE), between, Step(15, SILENT)])
    assert alive_before.since(alive_before.verdicts[0]) == Since(NOW + 30, at_least=True)


def test_while_it_is_not_asked_nobody_knows_since_when() -> None:
    _, snapshot = run([Step(0, ALIVE), Step(15, NOT_ASKED)])
    assert snapshot.since(snapshot.verdicts[0]) is None


def test_an_instance_without_an_address_is_not_silent() -> None:
    history = History()
    there = inventory(msgspec.structs.replace(A, addresses=()))
    bare = judge(there, targets={"a": ()}, sweep=sweep({}))
    history = history.after(look(0, {"a": SILENT})).after(bare)
    assert list(history.timelines["a"])[-2:] == [SILENCE, UNKNOWN]
    assert history.told(bare).since(bare.verdicts[0]) is None


def test_a_restart_is_a_gap_only_if_it_was_long() -> None:
    history, _ = run([Step(0, ALIVE), Step(15, SILENT)])
    for seconds, last in ((20, [SILENCE, SILENCE]), (3600, [SILENCE, UNKNOWN, SILENCE])):
        resumed = history.stored.resumed(stopped_at=NOW + 20, now=NOW + seconds)
        snapshot = look(seconds + 15, {"a": SILENT})
        after = resumed.after(snapshot, max_pause=PAUSE)
        assert list(after.timelines["a"])[1 - len(last) - 1 :] == last
        assert after.told(snapshot).since(snapshot.verdicts[0]) == Since(NOW + 15, at_least=False)


def test_no_silence_begins_in_the_future_if_the_clock_is_set_back_meanwhile() -> None:
    history, _ = run([Step(0, ALIVE), Step(15, SILENT)])
    snapshot = look(-3600, {"a": SILENT})
    history = history.after(snapshot)
    assert history.sweeps == (NOW - 3600, NOW - 3600, NOW - 3600)
    assert history.told(snapshot).since(snapshot.verdicts[0]) == Since(NOW - 3600, at_least=True)


def test_no_silence_begins_before_the_last_reply_if_the_clock_was_ahead_for_a_while() -> None:
    history, _ = run([Step(0, ALIVE), Step(15, SILENT), Step(7200, SILENT), Step(15, SILENT)])
    snapshot = look(45, {"a": SILENT})
    history = history.after(snapshot)
    assert history.sweeps == (NOW, NOW + 15, NOW + 45, NOW + 45, NOW + 45, NOW + 45)
    assert history.told(snapshot).since(snapshot.verdicts[0]) == Since(NOW + 15, at_least=True)


@given(st.lists(steps, min_size=1, max_size=20), st.floats(0.01, 1e5))
def test_whatever_the_clock_was_nobody_is_said_to_be_silent_for_too_long(
    taken: list[Step], back: float
) -> None:
    before, _ = run(taken)
    now = before.sweeps[-1] - back
    history = before.after(look(now - NOW, {"b": ALIVE}), max_pause=PAUSE)
    assert max(history.sweeps) == history.sweeps[-1] == now
    assert list(history.sweeps) == sorted(history.sweeps)
    for id_, timeline in before.timelines.items():
        after = history.timelines[id_]
        assert list(after)[:-1] == list(timeline)[1:]
        assert (after.alive, after.since) == (timeline.alive, min(timeline.since, now))
        assert after.at_least is (timeline.alive is not None)


def test_instances_that_are_alike_share_one_timeline() -> None:
    history = History()
    for at in range(3):
        history = history.after(look(at, {"a": ALIVE, "b": ALIVE, "c": SILENT}))
    assert history.timelines["a"] is history.timelines["b"]
    again = msgspec.json.decode(msgspec.json.encode(history.stored), type=History)
    assert again == history.stored
    resumed = again.resumed(stopped_at=NOW + 3, now=NOW + 4)
    assert resumed.timelines["a"] is resumed.timelines["b"]


@pytest.mark.parametrize("length", [0, 15, 17])
def test_a_timeline_of_another_length_is_not_read(length: int) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"results": bytes(length)}, Timeline)
