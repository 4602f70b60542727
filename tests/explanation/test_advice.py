"""What to do next leads somewhere."""

import re
from collections import Counter
from pathlib import Path

import msgspec
import pytest

from fping_exporter.explanation import advice
from fping_exporter.explanation.advice import REASONS, Advice, advise, anchor_of
from fping_exporter.model import Reason, Verdict
from tests.build import instance

RUNBOOK = (Path(__file__).parents[2] / "deploy" / "runbook.md").read_text("utf-8")
HEADINGS = set(re.findall(r"(?m)^### (.+)$", RUNBOOK))
SILENT = Verdict(instance=instance("a", "10.0.0.1"), alive=False, reason=Reason.NO_REPLY)
ALL = {
    *(each.advice for each in REASONS.values()),
    *(each for each in vars(advice).values() if isinstance(each, Advice)),
    advise(SILENT),
}


@pytest.mark.parametrize("each", sorted(ALL))
def test_every_section_is_in_the_runbook(each: Advice) -> None:
    assert each.section in HEADINGS
    assert anchor_of(each.section) == f"#{each.section.lower()}"
    assert each.sentence.endswith((".", "?"))


def test_no_two_headings_have_one_anchor() -> None:
    """Where several have, the pages of the runbook number them, and a link leads to the first."""
    anchors = Counter(anchor_of(each) for each in re.findall(r"(?m)^#+ (.+)$", RUNBOOK))
    assert {anchors[anchor_of(heading)] for heading in HEADINGS} == {1}


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_leads_to_a_section(reason: Reason) -> None:
    for alive in (False, None):
        for remembered in (False, True):
            verdict = msgspec.structs.replace(SILENT, alive=alive, reason=reason)
            assert advise(verdict, remembered=remembered).section in HEADINGS


def test_an_instance_that_has_never_answered_has_a_section_of_its_own() -> None:
    assert advise(SILENT).section == "InstanceNeverAnswered"
    assert advise(SILENT, remembered=False).section == "InstanceSilent"


def test_an_id_is_no_command_of_the_shell() -> None:
    evil = instance("x; rm -rf ~", "10.0.0.1")
    step = advise(Verdict(instance=evil, alive=False, reason=Reason.NO_REPLY))
    assert step.command == "openstack console log show 'x; rm -rf ~' --lines 50"
