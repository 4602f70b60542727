"""What a running exporter has stored, explained without a list and without a packet."""

import msgspec
import pytest

from fping_exporter import config
from fping_exporter.cli.explanation_text import as_text
from fping_exporter.config import Config
from fping_exporter.explanation.build import explain
from fping_exporter.explanation.stored import recall
from fping_exporter.history import History
from fping_exporter.model import Reason
from fping_exporter.timeline import PingResult, Timeline
from tests.build import NOW, instance, inventory
from tests.storage.worlds import state_of

ONE, TWIN = instance("one", "10.0.0.1"), instance("twin", "10.0.0.2")


def history(*results: PingResult) -> History:
    timeline = Timeline()
    times = tuple(NOW - 60 * (len(results) - place) for place in range(len(results)))
    for result, at in zip(results, times, strict=True):
        timeline = timeline.then(result, at)
    return History(timelines={"one": timeline}, sweeps=times, last_replies={"one": NOW - 600})


@pytest.mark.parametrize(
    ("results", "status", "alive", "reason"),
    [
        ([PingResult.SILENT, PingResult.ANSWERED], "ACTIVE", True, None),
        ([PingResult.ANSWERED, PingResult.SILENT], "ACTIVE", False, None),
        ([PingResult.ANSWERED, PingResult.SILENT], "SHUTOFF", False, Reason.NOT_ACTIVE),
        ([PingResult.ANSWERED, PingResult.UNKNOWN], "ACTIVE", None, None),
        ([], "ACTIVE", None, None),
    ],
)
def test_whether_it_answered_is_stored(
    results: list[PingResult],
    status: str,
    alive: bool | None,  # noqa: FBT001, the expected value
    reason: Reason | None,
) -> None:
    one = msgspec.structs.replace(ONE, status=status)
    verdict, evidence = recall(one, state_of(inventory(one, TWIN), history=history(*results)), Config())
    explanation = explain(verdict, evidence)
    text = as_text(explanation, now=NOW)
    assert (explanation.alive, explanation.reason) == (alive, reason)
    assert explanation.last_reply_at == NOW - 600
    assert (explanation.since is not None) is (alive is not None)
    assert "what came of the packets is not kept" in text
    assert "not known: it is not kept" in text
    assert "by the last sweep" in text


def test_what_needs_no_packet_is_still_said() -> None:
    rival = instance("rival", "10.0.0.1", name="web-2")
    verdict, evidence = recall(
        ONE, state_of(inventory(ONE, rival), history=history(PingResult.UNKNOWN)), Config()
    )
    explanation = explain(verdict, evidence)
    assert explanation.reason is Reason.AMBIGUOUS_ADDRESS
    assert [other.name for other in explanation.addresses[0].others] == ["web-2"]
    bare = instance("one")
    verdict, _ = recall(bare, state_of(inventory(bare), history=history(PingResult.UNKNOWN)), Config())
    assert verdict.reason is Reason.NO_ADDRESS
    assert verdict.silent, "as list and a sweep have it"


def test_what_was_asked_has_a_vantage_whatever_this_process_may_enter() -> None:
    settings = Config(probe=config.Probe(vantages=("qdhcp",)))
    for result, reason in ((PingResult.SILENT, None), (PingResult.UNKNOWN, Reason.NO_VANTAGE)):
        verdict, _ = recall(ONE, state_of(inventory(ONE), history=history(result)), settings)
        assert verdict.reason is reason


def test_one_of_which_nobody_knows_is_not_called_silent() -> None:
    verdict, evidence = recall(ONE, state_of(inventory(ONE), history=history(PingResult.UNKNOWN)), Config())
    step = explain(verdict, evidence).next
    assert step.sentence == "Ask anew: whether it answers is not known."
    assert (step.command, step.section) == (None, None)
